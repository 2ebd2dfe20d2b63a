"""Whole configurations that are right, over everything that may stand in one."""

from __future__ import annotations

import json

from hypothesis import strategies as st

from tests.corpus import sites
from tests.corpus import storage as storages
from tests.corpus.storage import Registry
from tests.corpus.values import FLAGS, Raw, Tape, names, pair, ssh, version

KINDS = ("existing", "created", "external", "existing", "snippet")
ONE_URL = ((False, False), (True, True), (False, False), (True, False), (False, True))


TAPES = st.binary(min_size=Tape.LENGTH, max_size=Tape.LENGTH).map(Tape)


@st.composite
def configurations(draw: st.DrawFn) -> Raw:
    """One to four sites of any kinds, as the keys of the project's namespace."""
    return configuration(draw(TAPES))


def configuration(tape: Tape) -> Raw:
    """The configuration that a tape of choices stands for."""
    site_names = names(tape, tape.pick((1, 2, 3, 4)))
    mode = tape.pick(("shared", "per_site"))
    raw: Raw = {
        "gitlab_version": version(tape),
        "primary": tape.pick(site_names),
        "sites": {},
        "storage": {"mode": mode},
    }
    raw |= _further(tape)
    kinds = {name: tape.pick(KINDS) for name in site_names}
    for name, kind in kinds.items():
        if kind == "created" and name in {"no", "null", "true"}:
            kinds[name] = "existing"  # not a text to YAML, which reads a created site's name
        if mode == "shared" and name != raw["primary"] and kind == "snippet":
            kinds[name] = "external"  # nobody else would make its registry read-only
    registries = {
        name: Registry(raw["gitlab_version"], kind in {"external", "snippet"}) for name, kind in kinds.items()
    }
    stores = _stores(tape, raw, registries)
    databases = mode == "per_site" and all(its.newer(17, 3) for its in registries.values()) and tape.flag()
    one = tape.pick(ONE_URL)
    free = [f"machine-number-{n}" for n in range(28)] + names(tape, 6)
    for number, (name, kind) in enumerate(kinds.items()):
        created, external = kind == "created", registries[name].external
        site = sites.urls(tape, number, one, created=created)
        first, alone = 1 + 7 * number, stores[name] == "filesystem"
        site["nodes"] = sites.nodes(tape, free, first, registry=not external, created=created, one=alone)
        if created:
            site["aws"] = sites.aws(tape, number, site, alone=len(kinds) == 1 or not any(one))
        if external:
            site["external_registry"] = sites.external(tape, free, first + 5, hosts=kind == "external")
        if databases and tape.flag():
            site["metadata_database"] = _database(tape, raw, name, site, registries[name])
        if tape.flag():
            site["ssh"] = ssh(tape, name)
        raw["sites"][name] = site
    _places(tape, raw, registries, stores)
    for name in kinds:
        raw["sites"][name] |= _peers(tape, raw, name) | _read_only(tape, raw, name)
    copied: Raw = json.loads(json.dumps(raw))  # no two places have one list
    return copied


def _further(tape: Tape) -> Raw:
    trusted = pair("ca.example.com")["certificate"]
    found = tape.some(
        replication=FLAGS, issuer=("omnibus-gitlab-issuer", "-x", "A.b_c-9", "1.2.3"),
        trusted_certificates=(trusted, "", f"# é\n{trusted}\r\n{trusted}"),
        reconfigure_seconds=(60, 7200), proof=("", "it's #{x} é"),
        rotate=({"notification_secret": 1}, {"http_secret": 0}, {"registry_key": 2, "registry_key_finished": 2}, {}),
    )  # fmt: skip
    return found | ({"ssh": ssh(tape, "stack")} if tape.flag() else {})


def _stores(tape: Tape, raw: Raw, registries: dict[str, Registry]) -> dict[str, str]:
    """site → its driver, or keep."""
    if raw["storage"]["mode"] == "per_site":
        return {name: tape.pick(["keep", *sorted(its.drivers)]) for name, its in registries.items()}
    common = set.intersection(*(its.drivers for its in registries.values())) - {"filesystem"}
    if not all(its.roles for name, its in registries.items() if name != raw["primary"]):
        common.discard("azure")  # an account's key may write
    return dict.fromkeys(registries, tape.pick(sorted(common, reverse=True)))


def _database(tape: Tape, raw: Raw, name: str, site: Raw, registry: Registry) -> Raw | str:
    """The Linux package's own only where one node of the primary has the registry."""
    nodes = [node for node in site["nodes"].values() if "registry" in node.get("roles", ["registry"])]
    may = name == raw["primary"] and len(nodes) == 1 and not registry.external and registry.newer(18, 3)
    if may and tape.flag():
        return "managed"
    room = "aws" in site and not site["aws"].get("cidr", "").endswith("/24")
    if room and not registry.external and tape.flag():
        return sites.created_database(tape, site)
    return sites.database(tape, len(raw["sites"]))


def _places(tape: Tape, raw: Raw, registries: dict[str, Registry], stores: dict[str, str]) -> None:
    """Puts storage and credentials where they belong: one for all sites, or one in each."""
    shared = raw["storage"]["mode"] == "shared"
    raw["storage"] |= tape.some(data_moved=FLAGS)
    for number, group in enumerate([[*stores]] if shared else [[name] for name in stores]):
        name, sites = stores[group[0]], [raw["sites"][site] for site in group]
        if name == "keep":
            sites[0]["storage"] = "keep"
            continue
        place = storages.place(tape, name, number, [registries[site] for site in group])
        for site in group:
            reader = shared and site != raw["primary"]
            raw["sites"][site] |= storages.credentials(
                tape, name, site, place, registries[site], reader=reader
            )
        keys = [site.get("credentials", {}).get("azure", {}) for site in sites]
        if "serviceurl" in place and not any("accountkey" in its for its in keys):
            del place["accountname"]
        if shared:
            raw["storage"][name] = place
        else:
            sites[0]["storage"] = place if name == "s3" and tape.flag() else {name: place}


def _peers(tape: Tape, raw: Raw, name: str) -> Raw:
    """What an existing site's requests come from, where created sites cannot tell by its hosts."""
    if "aws" in raw["sites"][name]:
        return {}
    created = any("aws" in site for site in raw["sites"].values())
    hosts = [node["host"] for node in raw["sites"][name]["nodes"].values()]
    unknown = created and not all(host.startswith("10.1.0.") for host in hosts)
    provided = ["203.0.113.0/24", "198.0.0.0/8"]
    return {"peer_cidrs": provided} if unknown else tape.some(peer_cidrs=(provided, []))


def _read_only(tape: Tape, raw: Raw, name: str) -> Raw:
    allowed = [False]
    if name != raw["primary"] and raw["storage"]["mode"] == "shared":
        allowed = [True]
    elif (
        name != raw["primary"]
        and not raw.get("replication", True)
        and raw["sites"][name]["storage"] != "keep"
    ):
        allowed = [True, False]
    return tape.some(read_only=allowed, registry_url_changes=FLAGS)
