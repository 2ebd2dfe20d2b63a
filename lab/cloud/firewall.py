"""Security groups as stateful nftables rules, in both directions, in an instance's network namespace.

As on AWS, they do not apply to the VPC's resolver and the metadata service, and open connections stay open
when a rule is removed.
"""

from __future__ import annotations

from lab.cloud import routing
from lab.cloud.addresses import METADATA, METADATA_PORT
from lab.cloud.desired_state import Attached
from lab.cloud.rules import Rule


def apply(machine: Attached) -> None:
    """Atomically replace the instance's former rules with the current ones."""
    routing.in_namespace(machine.id, "nft", "-f", "-", stdin=rules(machine))


def rules(machine: Attached) -> str:
    """The whole ruleset as text."""
    inward = "\n  ".join(line for rule in machine.rules if not rule.egress for line in _lines(rule, "saddr"))
    outward = "\n  ".join(line for rule in machine.rules if rule.egress for line in _lines(rule, "daddr"))
    return f"""\
table inet groups
delete table inet groups
table inet groups {{
 chain input {{
  type filter hook input priority 0
  policy drop
  iif lo accept
  ct state established,related accept
  {inward}
 }}
 chain output {{
  type filter hook output priority 0
  policy drop
  oif lo accept
  ct state established,related accept
  ip daddr {machine.resolver} meta l4proto {{ tcp, udp }} th dport 53 accept
  {outward}
 }}
 chain metadata {{
  type nat hook output priority -100
  ip daddr {METADATA} tcp dport 80 dnat ip to {METADATA}:{METADATA_PORT}
 }}
}}
"""


def _lines(rule: Rule, side: str) -> list[str]:
    if any(network.endswith("/0") for network in rule.networks):
        match = ""
    else:
        match = f"ip {side} {{ {', '.join(rule.networks)} }} "
    if rule.protocol in {"tcp", "udp"}:
        return [f"{match}{rule.protocol} dport {rule.ports or '0-65535'} accept"]
    if rule.protocol in {"icmp", "1"}:
        return [f"{match}meta l4proto icmp accept"]
    return [f"{match}accept"] if rule.protocol == "-1" else []
