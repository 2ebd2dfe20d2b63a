"""The rules of a created site's security group, without AWS. components/firewall.py makes resources of them."""

from __future__ import annotations

from typing import Any

from plan import firewall
from plan.firewall import Node
from tests.configurations import CREATED, HOST_KEY, SHARED, changed, deployment


def opened(raw: dict[str, Any], site: str, way: str = "ingress") -> list[tuple[int, str | Node]]:
    """Port and peer of each rule."""
    rules = firewall.rules(deployment(raw), site)
    return [(rule.ports[0], rule.peer) for rule in rules if rule.way == way]


def test_ports_are_open_to_administrators_users_and_the_other_site() -> None:
    """PostgreSQL is open at the primary only, and the secondary may reach it there only."""
    web = [(80, "0.0.0.0/0"), (443, "0.0.0.0/0")]
    geo = [(443, Node("london-1")), (443, Node("tokyo-1")), (5432, Node("tokyo-1"))]
    assert opened(CREATED, "london") == [(22, "198.51.100.7/32"), *web, *geo]
    assert opened(CREATED, "london", "egress") == [*web, (5050, Node("tokyo-1"))]
    assert (5432, Node("london-1")) in opened(CREATED, "tokyo", "egress")


def test_only_users_that_are_named_reach_the_web_ports() -> None:
    """Without client_cidrs only administrators and the sites' nodes do."""
    raw = changed(CREATED, lambda r: r["sites"]["tokyo"]["aws"].pop("client_cidrs"))
    raw["sites"]["tokyo"] |= {
        "external_url": "http://gitlab.tokyo.example.com",
        "registry_url": "http://registry.tokyo.example.com",
    }
    nodes = [(80, Node("london-1")), (80, Node("tokyo-1"))]
    assert opened(raw, "tokyo") == [(22, "198.51.100.7/32"), *nodes]


def test_a_rule_that_two_sites_need_keeps_its_name_when_one_of_them_goes() -> None:
    """Two sites behind one address: AWS would refuse the same rule a second time, under another name."""

    def beside(*sites: str) -> set[str]:
        raw = changed(CREATED, lambda r: r["sites"].pop("tokyo"))
        for number, site in enumerate(sites):
            raw["sites"][site] = {
                "external_url": f"https://gitlab.{site}.example.com",
                "registry_url": f"https://registry.{site}.example.com",
                "nodes": {f"{site}-1": {"host": f"10.3{number}.0.11", "host_key": HOST_KEY}},
                "peer_cidrs": ["203.0.113.20/32"],
            }
        return {rule.name for rule in firewall.rules(deployment(raw), "london")}

    assert beside("paris", "rome") == beside("rome")
    assert "5432-from-203.0.113.20_32" in beside("rome") - beside()


def test_what_two_reasons_ask_for_is_one_rule() -> None:
    """An existing peer whose address users come from as well: AWS would refuse the second rule."""
    raw = changed(
        SHARED, lambda r: r["sites"].update(tokyo=changed(CREATED["sites"]["tokyo"], lambda _: None))
    )
    raw["sites"]["london"]["peer_cidrs"] = ["203.0.113.20/32"]
    raw["sites"]["tokyo"]["aws"]["client_cidrs"] = ["0.0.0.0/0", "203.0.113.20/32"]
    assert opened(raw, "tokyo").count((5050, "203.0.113.20/32")) == 1


def test_an_existing_peer_is_known_by_its_addresses() -> None:
    """By `peer_cidrs`, or without them by each `host`."""
    raw = changed(SHARED, lambda r: r["sites"].update(tokyo=CREATED["sites"]["tokyo"]))
    assert (443, "10.10.0.11/32") in opened(raw, "tokyo")
    raw["sites"]["london"]["peer_cidrs"] = ["203.0.113.20/32"]
    peers = {peer for _, peer in opened(raw, "tokyo")}
    assert "203.0.113.20/32" in peers and "10.10.0.11/32" not in peers


def test_several_nodes_of_a_site_reach_each_other() -> None:
    """On all ports, by the group itself."""
    raw = changed(CREATED, lambda r: r["sites"]["tokyo"]["nodes"].update({"tokyo-2": {}}))
    assert (0, "self") in opened(raw, "tokyo") and (0, "self") in opened(raw, "tokyo", "egress")
    assert (0, "self") not in opened(CREATED, "tokyo")
