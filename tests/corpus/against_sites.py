"""What sites and nodes may not say together."""

from __future__ import annotations

from tests.corpus.values import SECRET, Raw, at_least, key
from tests.corpus.whole import Told, Whole, contradiction, created, external, own, respelled, roles


@contradiction
def no_primary(w: Whole) -> Told:
    w.raw["primary"] = "nobody"
    return "primary"


@contradiction
def too_old(w: Whole) -> Told:
    w.raw["gitlab_version"] = w.tape.pick(("15.11", "0.0", "2.999.1-ee"))
    return "gitlab_version"


@contradiction
def one_node_name(w: Whole) -> Told:
    one, two = w.two()
    nodes = w.sites[two]["nodes"]
    name = w.node(one)
    nodes[name] = nodes.pop(w.node(two))
    return f"sites.{two}.nodes.{name}", f"sites.{one}.nodes.{name}"


@contradiction
def one_server(w: Whole) -> Told:
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


def _one_url(w: Whole, what: str) -> Told:
    found = w.two(lambda site: not created(site))
    one, two = found
    key = {"registry": "registry_internal_url", "gitlab": "internal_url"}[what]
    w.sites[two][key] = respelled(w.tape, own(w.sites[one], what))
    return tuple(
        f"sites.{site}.{k}"
        for site in found
        for k in (key, key.replace("internal_url", "url"), "external_url")
    )


@contradiction
def one_registry(w: Whole) -> Told:
    return _one_url(w, "registry")


@contradiction
def one_gitlab(w: Whole) -> Told:
    return _one_url(w, "gitlab")


@contradiction
def registry_is_gitlab(w: Whole) -> Told:
    beside = {"rails", "registry"}
    site = w.site(
        lambda its: not created(its) and any(beside <= {*roles(node)} for node in its["nodes"].values())
    )
    w.sites[site]["registry_url"] = respelled(w.tape, w.sites[site]["external_url"])
    return f"sites.{site}.registry_url"


@contradiction
def no_port(w: Whole) -> Told:
    site = w.site(lambda site: not created(site))
    key = w.tape.pick(("external_url", "registry_url", "internal_url", "registry_internal_url"))
    w.sites[site][key] = w.tape.pick(
        ("https://a.example.com:0", "https://a.example.com:65536", "http://-", "https://.:1")
    )
    return f"sites.{site}.{key}"


@contradiction
def issuer_that_is_no_text(w: Whole) -> Told:
    w.raw["issuer"] = w.tape.pick(
        ("-", "2024", "1.5", "true", "null", "no", "y", "1e5", "0x1F", "2024-01-01", ".5")
    )
    return "issuer"


@contradiction
def name_that_is_no_text(w: Whole) -> Told:
    site = w.site(lambda its: created(its) and its is not w.sites[w.raw["primary"]])
    name = w.one(word for word in ("no", "y", "on", "null") if word not in w.sites)
    w.sites[name] = w.sites.pop(site)
    return f"sites.{name}"


@contradiction
def host_that_is_no_text(w: Whole) -> Told:
    site = w.site()
    w.sites[site]["registry_url"] = f"http://{w.tape.pick(('no', '10', '1.5', 'y', '0x10'))}:5050"
    return f"sites.{site}.registry_url"


@contradiction
def address_that_is_no_text(w: Whole) -> Told:
    site = w.site(lambda its: any("registry" in roles(node) for node in its["nodes"].values()))
    node = w.node(site, lambda its: "registry" in roles(its))
    w.sites[site]["nodes"][node]["registry_http_addr"] = w.tape.pick(("[fd00::5]:5000", "[::]:5000", "10:50"))
    return f"sites.{site}.nodes.{node}.registry_http_addr"


@contradiction
def address_without_a_host_for_nginx(w: Whole) -> Told:
    both = {"rails", "registry"}
    site = w.site(lambda its: any(both <= {*roles(node)} for node in its["nodes"].values()))
    node = w.node(site, lambda its: both <= {*roles(its)})
    w.sites[site]["nodes"][node]["registry_http_addr"] = ":5000"
    return f"sites.{site}.nodes.{node}.registry_http_addr"


@contradiction
def no_registry(w: Whole) -> Told:
    site = w.site(lambda site: not external(site))
    for node in w.sites[site]["nodes"].values():
        node["roles"] = [role for role in roles(node) if role != "registry"] or ["sidekiq"]
        node.pop("registry_http_addr", None)
    return f"sites.{site}.nodes"


@contradiction
def no_rails(w: Whole) -> Told:
    site = w.site()
    for node in w.sites[site]["nodes"].values():
        node["roles"] = [role for role in roles(node) if role != "rails"] or ["sidekiq"]
    return f"sites.{site}.nodes"


@contradiction
def role_twice(w: Whole) -> Told:
    site = w.site()
    node = w.node(site)
    its = w.sites[site]["nodes"][node]
    its["roles"] = [*roles(its), roles(its)[0]]
    return f"sites.{site}.nodes.{node}.roles"


@contradiction
def address_of_none(w: Whole) -> Told:
    site = w.site(lambda its: any("registry" not in roles(node) for node in its["nodes"].values()))
    node = w.node(site, lambda its: "registry" not in roles(its))
    w.sites[site]["nodes"][node]["registry_http_addr"] = "0.0.0.0:5000"
    return f"sites.{site}.nodes.{node}.registry_http_addr"


@contradiction
def created_registry(w: Whole) -> Told:
    site = w.site(created)
    w.sites[site]["nodes"]["alone"] = {"roles": ["registry"]}
    return f"sites.{site}.nodes.alone.roles"


@contradiction
def two_ssh_keys(w: Whole) -> Told:
    w.raw["ssh"] = w.raw.get("ssh", {}) | {"private_key": key(f"{SECRET}.x"), "private_key_file": "~/.ssh/x"}
    return "ssh.private_key_file"


@contradiction
def external_with_role(w: Whole) -> Told:
    site = w.site(external)
    node = w.node(site)
    w.sites[site]["nodes"][node]["roles"] = ["rails", "registry"]
    return f"sites.{site}.nodes.{node}.roles"


@contradiction
def external_and_created(w: Whole) -> Told:
    site = w.site(created)
    w.sites[site]["external_registry"] = {}
    return f"sites.{site}.external_registry"


@contradiction
def external_unseen(w: Whole) -> Told:
    w.need(w.shared)
    site = w.secondary(external)
    w.sites[site]["external_registry"] = {}
    return f"sites.{site}.external_registry.hosts"


def _database(host: str = "db.example.com") -> Raw:
    return {"host": host, "password": f"{SECRET}.db"}


@contradiction
def database_of_one(w: Whole) -> Told:
    w.need(len(w.sites) > 1 and not w.shared)
    site = w.site(lambda its: "metadata_database" in its)
    del w.sites[site]["metadata_database"]
    return f"sites.{site}.metadata_database"


@contradiction
def database_where_it_cannot_be(w: Whole) -> Told:
    site = w.site(lambda its: w.shared or external(its) or not at_least(w.raw["gitlab_version"], 17, 3))
    w.sites[site]["metadata_database"] = _database()
    return f"sites.{site}.metadata_database"


@contradiction
def one_database(w: Whole) -> Told:
    found = w.two(lambda site: "metadata_database" in site)
    for site, host in zip(found, w.tape.pick((("DB", "db"), ("fd00::1", "fd00:0::1"))), strict=True):
        w.sites[site]["metadata_database"] = _database(host)
    return tuple(f"sites.{site}.metadata_database.name" for site in found)
