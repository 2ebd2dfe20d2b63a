"""What sites and nodes may not say together."""

from __future__ import annotations

from tests.corpus.values import SECRET, Raw, at_least, key
from tests.corpus.whole import Reported, Whole, contradiction, created, external, own, respelled, roles


@contradiction("primary-not-a-site")
def no_primary(w: Whole) -> Reported:
    w.raw["primary"] = "nobody"
    return "primary"


@contradiction("gitlab-version-too-old")
def too_old(w: Whole) -> Reported:
    w.raw["gitlab_version"] = w.tape.pick(("15.11", "0.0", "2.999.1-ee"))
    return "gitlab_version"


@contradiction("node-name-not-unique")
def one_node_name(w: Whole) -> Reported:
    one, two = w.two()
    nodes = w.sites[two]["nodes"]
    name = w.node(one)
    nodes[name] = nodes.pop(w.node(two))
    return f"sites.{two}.nodes.{name}", f"sites.{one}.nodes.{name}"


@contradiction("ssh-address-not-unique")
def one_server(w: Whole) -> Reported:
    found = w.two(lambda site: not created(site))
    (one, two), (first, second) = found, (w.node(found[0]), w.node(found[1]))
    address = w.tape.pick(
        (("10.3.0.1", "10.3.0.1"), ("Host.example.com", "host.EXAMPLE.com"), ("fd00::1", "FD00:0:0::0001"))
    )
    for site, node, host in ((one, first, address[0]), (two, second, address[1])):
        its = w.sites[site]["nodes"][node]
        its |= {"host": host, "ssh": its.get("ssh", {}) | {"port": 2222}}
        w.sites[site]["peer_cidrs"] = ["203.0.113.0/24"]
    return f"sites.{two}.nodes.{second}.host", f"sites.{one}.nodes.{first}.host"


def _one_url(w: Whole, what: str) -> Reported:
    found = w.two(lambda site: not created(site))
    one, two = found
    key = {"registry": "registry_internal_url", "gitlab": "internal_url"}[what]
    w.sites[two][key] = respelled(w.tape, own(w.sites[one], what))
    return tuple(
        f"sites.{site}.{k}"
        for site in found
        for k in (key, key.replace("internal_url", "url"), "external_url")
    )


@contradiction("registry-url-not-unique")
def one_registry(w: Whole) -> Reported:
    return _one_url(w, "registry")


@contradiction("gitlab-url-not-unique")
def one_gitlab(w: Whole) -> Reported:
    return _one_url(w, "gitlab")


@contradiction("registry-url-of-gitlab")
def registry_is_gitlab(w: Whole) -> Reported:
    beside = {"rails", "registry"}
    site = w.site(
        lambda its: not created(its) and any(beside <= {*roles(node)} for node in its["nodes"].values())
    )
    w.sites[site]["registry_url"] = respelled(w.tape, w.sites[site]["external_url"])
    return f"sites.{site}.registry_url"


@contradiction("url-host-invalid")
def no_port(w: Whole) -> Reported:
    site = w.site(lambda site: not created(site))
    key = w.tape.pick(("external_url", "registry_url", "internal_url", "registry_internal_url"))
    w.sites[site][key] = w.tape.pick(
        ("https://a.example.com:0", "https://a.example.com:65536", "http://-", "https://.:1")
    )
    return f"sites.{site}.{key}"


@contradiction("issuer-not-a-string")
def issuer_that_is_no_text(w: Whole) -> Reported:
    w.raw["issuer"] = w.tape.pick(
        ("-", "2024", "1.5", "true", "null", "no", "y", "1e5", "0x1F", "2024-01-01", ".5")
    )
    return "issuer"


@contradiction("site-name-not-a-string")
def name_that_is_no_text(w: Whole) -> Reported:
    site = w.site(lambda its: created(its) and its is not w.sites[w.raw["primary"]])
    name = w.one(word for word in ("no", "y", "on", "null") if word not in w.sites)
    w.sites[name] = w.sites.pop(site)
    return f"sites.{name}"


@contradiction("host-name-not-a-string")
def host_that_is_no_text(w: Whole) -> Reported:
    site = w.site()
    w.sites[site]["registry_url"] = f"http://{w.tape.pick(('no', '10', '1.5', 'y', '0x10'))}:5050"
    return f"sites.{site}.registry_url"


@contradiction("registry-address-not-a-string")
def address_that_is_no_text(w: Whole) -> Reported:
    site = w.site(lambda its: any("registry" in roles(node) for node in its["nodes"].values()))
    node = w.node(site, lambda its: "registry" in roles(its))
    w.sites[site]["nodes"][node]["registry_http_addr"] = w.tape.pick(("[fd00::5]:5000", "[::]:5000", "10:50"))
    return f"sites.{site}.nodes.{node}.registry_http_addr"


@contradiction("registry-address-without-host")
def address_without_a_host_for_nginx(w: Whole) -> Reported:
    both = {"rails", "registry"}
    site = w.site(lambda its: any(both <= {*roles(node)} for node in its["nodes"].values()))
    node = w.node(site, lambda its: both <= {*roles(its)})
    w.sites[site]["nodes"][node]["registry_http_addr"] = ":5000"
    return f"sites.{site}.nodes.{node}.registry_http_addr"


@contradiction("registry-role-missing")
def no_registry(w: Whole) -> Reported:
    site = w.site(lambda site: not external(site))
    for node in w.sites[site]["nodes"].values():
        node["roles"] = [role for role in roles(node) if role != "registry"] or ["sidekiq"]
        node.pop("registry_http_addr", None)
    return f"sites.{site}.nodes"


@contradiction("rails-role-missing")
def no_rails(w: Whole) -> Reported:
    site = w.site()
    for node in w.sites[site]["nodes"].values():
        node["roles"] = [role for role in roles(node) if role != "rails"] or ["sidekiq"]
    return f"sites.{site}.nodes"


@contradiction("role-repeated")
def role_twice(w: Whole) -> Reported:
    site = w.site()
    node = w.node(site)
    its = w.sites[site]["nodes"][node]
    its["roles"] = [*roles(its), roles(its)[0]]
    return f"sites.{site}.nodes.{node}.roles"


@contradiction("registry-address-unused")
def address_of_none(w: Whole) -> Reported:
    site = w.site(lambda its: any("registry" not in roles(node) for node in its["nodes"].values()))
    node = w.node(site, lambda its: "registry" not in roles(its))
    w.sites[site]["nodes"][node]["registry_http_addr"] = "0.0.0.0:5000"
    return f"sites.{site}.nodes.{node}.registry_http_addr"


@contradiction("registry-without-rails")
def created_registry(w: Whole) -> Reported:
    site = w.site(created)
    w.sites[site]["nodes"]["alone"] = {"roles": ["registry"]}
    return f"sites.{site}.nodes.alone.roles"


@contradiction("ssh-keys-exclusive")
def two_ssh_keys(w: Whole) -> Reported:
    w.raw["ssh"] = w.raw.get("ssh", {}) | {"private_key": key(f"{SECRET}.x"), "private_key_file": "~/.ssh/x"}
    return "ssh.private_key_file"


@contradiction("registry-role-beside-external")
def external_with_role(w: Whole) -> Reported:
    site = w.site(external)
    node = w.node(site)
    w.sites[site]["nodes"][node]["roles"] = ["rails", "registry"]
    return f"sites.{site}.nodes.{node}.roles"


@contradiction("external-registry-of-created-site")
def external_and_created(w: Whole) -> Reported:
    site = w.site(created)
    w.sites[site]["external_registry"] = {}
    return f"sites.{site}.external_registry"


@contradiction("external-hosts-missing")
def external_unseen(w: Whole) -> Reported:
    w.need(w.shared)
    site = w.secondary(external)
    w.sites[site]["external_registry"] = {}
    return f"sites.{site}.external_registry.hosts"


def _database(host: str = "db.example.com") -> Raw:
    return {"host": host, "password": f"{SECRET}.db"}


@contradiction("database-password-missing")
def database_without_password(w: Whole) -> Reported:
    site = w.site(lambda its: "password" in (its.get("metadata_database") or {}))
    del w.sites[site]["metadata_database"]["password"]
    return f"sites.{site}.metadata_database.password"


@contradiction("database-managed-at-secondary")
def managed_replica(w: Whole) -> Reported:
    w.need(not w.shared and at_least(w.raw["gitlab_version"], 18, 3))
    site = w.secondary(lambda its: not external(its))
    w.sites[site]["metadata_database"] = "managed"
    return f"sites.{site}.metadata_database"


@contradiction("database-managed-by-several-nodes", "database-managed-not-in-version")
def managed_where_it_cannot_be(w: Whole) -> Reported:
    primary = w.raw["primary"]
    its = w.sites[primary]
    several = [name for name, node in its["nodes"].items() if "registry" in node.get("roles", ["registry"])]
    w.need(not w.shared and not external(its) and at_least(w.raw["gitlab_version"], 17, 3))
    w.need(len(several) > 1 or not at_least(w.raw["gitlab_version"], 18, 3))
    its["metadata_database"] = "managed"
    return f"sites.{primary}.metadata_database"


@contradiction("database-not-in-version", "database-of-external-registry", "database-with-shared-storage")
def database_where_it_cannot_be(w: Whole) -> Reported:
    site = w.site(lambda its: w.shared or external(its) or not at_least(w.raw["gitlab_version"], 17, 3))
    w.sites[site]["metadata_database"] = _database()
    return f"sites.{site}.metadata_database"


@contradiction("database-not-unique")
def one_database(w: Whole) -> Reported:
    found = w.two(lambda site: "host" in (site.get("metadata_database") or {}))
    for site, host in zip(found, w.tape.pick((("DB", "db"), ("fd00::1", "fd00:0::1"))), strict=True):
        w.sites[site]["metadata_database"] = _database(host)
    return tuple(f"sites.{site}.metadata_database.name" for site in found)


@contradiction("database-create-without-aws", "database-subnets-missing", "database-subnets-without-room")
def created_database_without_its_network(w: Whole) -> Reported:
    w.need(not w.shared and at_least(w.raw["gitlab_version"], 17, 3))
    site = w.site(lambda its: not external(its))
    its = w.sites[site]
    its["metadata_database"] = {"create": {}}
    if not created(its):
        return f"sites.{site}.metadata_database.create"
    if its["aws"].get("vpc_id"):
        return f"sites.{site}.metadata_database.create.subnet_ids"
    its["aws"]["cidr"] = its["aws"]["cidr"].partition("/")[0] + "/24"
    return f"sites.{site}.aws.cidr"


@contradiction("database-engine-too-old", "database-authority-missing", "database-subnets-of-created-network")
def created_database_that_contradicts_itself(w: Whole) -> Reported:
    site = w.site(lambda its: "create" in (its.get("metadata_database") or {}))
    key, change = w.tape.pick(
        (
            ("engine_version", {"engine_version": "14"}),
            ("sslrootcert", {"sslmode": "verify-ca", "sslrootcert": None}),
            ("subnet_ids", {"subnet_ids": ["subnet-01234567", "subnet-01234568"]}),
        )
    )
    w.need(key != "subnet_ids" or w.sites[site]["aws"].get("cidr"))
    w.sites[site]["metadata_database"]["create"] |= change
    return f"sites.{site}.metadata_database.create.{key}"


@contradiction("database-created-and-existing")
def created_database_that_exists(w: Whole) -> Reported:
    site = w.site(lambda its: "create" in (its.get("metadata_database") or {}))
    w.sites[site]["metadata_database"] |= _database()
    return tuple(f"sites.{site}.metadata_database.{key}" for key in ("host", "password"))
