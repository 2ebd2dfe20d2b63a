"""EC2: security groups and their rules."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from lab.providers.aws import tagging
from lab.providers.aws.base import AwsResource
from lab.providers.aws.ec2 import Ec2Resource, by
from lab.providers.aws.shapes import pick
from lab.providers.protocol import PropertyMap, is_unknown


class _Group(Ec2Resource):
    kind = "security-group"

    def complaints(self, values: PropertyMap) -> list[tuple[str, str]]:
        rules = [name for name in ("ingress", "egress") if values.get(name)]
        return [(name, "the lab's stand-in has only aws.vpc.SecurityGroup…Rule for it") for name in rules]

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap:
        found = client.describe_security_groups(GroupIds=[id])["SecurityGroups"][0]
        own = {
            "description": found["Description"],
            "egress": [_inline(rule) for rule in found["IpPermissionsEgress"]],
            "ingress": [_inline(rule) for rule in found["IpPermissions"]],
            "name": found["GroupName"],
            "vpcId": found.get("VpcId"),
        }
        return {**self.common(found, id, state), **own}

    @staticmethod
    def revoke_all(client: Any, id: str) -> None:
        found = client.describe_security_groups(GroupIds=[id])["SecurityGroups"][0]
        if found["IpPermissions"]:
            client.revoke_security_group_ingress(GroupId=id, IpPermissions=found["IpPermissions"])
        if found["IpPermissionsEgress"]:
            client.revoke_security_group_egress(GroupId=id, IpPermissions=found["IpPermissionsEgress"])


class SecurityGroup(_Group):
    token, what = "aws:ec2/securityGroup:SecurityGroup", "EC2 Security Group"
    named, longest_name = "name", 255
    replace_on = ("description", "name", "namePrefix", "region", "vpcId")
    computed = ("arn", "egress", "ingress", "ownerId", "tagsAll", "vpcId")

    def make(self, client: Any, inputs: PropertyMap) -> str:
        about = inputs.get("description", "Managed by Pulumi")
        asked = {"GroupName": inputs["name"], "Description": about, **pick(inputs, "vpcId")}
        return str(client.create_security_group(**asked, **self.tagged(inputs))["GroupId"])

    def finish(self, client: Any, id: str, inputs: PropertyMap) -> None:
        # On AWS, a new group allows all outbound traffic; the real provider removes that rule.
        everywhere = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
        client.revoke_security_group_egress(GroupId=id, IpPermissions=everywhere)

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        if state.get("revokeRulesOnDelete"):
            self.revoke_all(client, id)
        client.delete_security_group(GroupId=id)


class DefaultSecurityGroup(_Group):
    """The default group of each VPC: adopted, emptied of rules, and left in place on deletion.

    `ingress` and `egress` are optional and computed (vpc_default_security_group.go): if the program sets
    neither, rules that are added manually later are not drift, neither here nor in the real provider.
    """

    token, what = "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup", "Default Security Group"
    replace_on = ("region", "vpcId")
    computed = (
        "arn",
        "description",
        "egress",
        "ingress",
        "name",
        "namePrefix",
        "ownerId",
        "tagsAll",
        "vpcId",
    )

    def make(self, client: Any, inputs: PropertyMap) -> str:
        where = {"vpc_id": inputs["vpcId"]} if "vpcId" in inputs else {"description": "default group"}
        found = client.describe_security_groups(Filters=by(group_name="default", **where))["SecurityGroups"]
        if len(found) != 1:
            raise RuntimeError("reading Default Security Group: couldn't find resource")
        return str(found[0]["GroupId"])

    def finish(self, client: Any, id: str, inputs: PropertyMap) -> None:
        self.revoke_all(client, id)
        self.change(client, id, {}, inputs)

    def change(self, client: Any, id: str, old: PropertyMap, inputs: PropertyMap) -> None:
        super().change(client, id, old, inputs)
        if any(inputs.get(name) == [] and old.get(name) for name in ("ingress", "egress")):
            self.revoke_all(client, id)

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        """AWS does not delete a default group."""


def _inline(rule: dict[str, Any]) -> PropertyMap:
    """A rule in the form of a group's `ingress` and `egress`."""
    return {
        "cidrBlocks": [one["CidrIp"] for one in rule.get("IpRanges", [])],
        "fromPort": rule.get("FromPort", 0),
        "ipv6CidrBlocks": [one["CidrIpv6"] for one in rule.get("Ipv6Ranges", [])],
        "protocol": rule["IpProtocol"],
        "securityGroups": [one["GroupId"] for one in rule.get("UserIdGroupPairs", [])],
        "toPort": rule.get("ToPort", 0),
    }


_SOURCES = {
    "cidrIpv4": ("IpRanges", "CidrIp", "CidrIpv4"),
    "cidrIpv6": ("Ipv6Ranges", "CidrIpv6", "CidrIpv6"),
    "prefixListId": ("PrefixListIds", "PrefixListId", "PrefixListId"),
    "referencedSecurityGroupId": ("UserIdGroupPairs", "GroupId", "ReferencedGroupId"),
}
"""Input -> its keys in a permission, and in a change of a rule."""


class _Rule(Ec2Resource):
    kind = "security-group-rule"
    way = ""
    replace_on = ("region", "securityGroupId")
    computed = ("arn", "securityGroupRuleId", "tagsAll")
    # Implemented with Terraform's newer framework: the state has all tags, and the provider itself compares
    # them with the desired ones (internal/framework/with_tags… there).
    tags_among_inputs = False

    def implied(self, inputs: PropertyMap, state: PropertyMap) -> tuple[PropertyMap, PropertyMap]:
        if "tagsAll" not in state:
            return {}, {}
        return {"tagsAll": state["tagsAll"]}, {
            "tagsAll": tagging.both(self.api.default_tags, inputs.get("tags"))
        }

    def complaints(self, values: PropertyMap) -> list[tuple[str, str]]:
        stated = [name for name in _SOURCES if values.get(name)]
        if len(stated) != 1:
            problem = f"exactly one of {', '.join(_SOURCES)} must be configured, there are {len(stated)}"
            return [(stated[-1] if stated else "cidrIpv4", f"Invalid Attribute Combination: {problem}")]
        found = [(name, why) for name in ("cidrIpv4", "cidrIpv6") if (why := _host_bits(values.get(name)))]
        ports = [(name, values.get(name)) for name in ("fromPort", "toPort")]
        return found + [
            (name, f"value must be between -1 and 65535, got: {port}")
            for name, port in ports
            if port is not None and not is_unknown(port) and not -1 <= port <= 65535
        ]

    def replaced_by(self, old: PropertyMap, new: PropertyMap) -> tuple[str, ...]:
        # AWS changes a rule, but not from one kind of source to another.
        kinds = {name for name in _SOURCES if (name in old) != (name in new)}
        return (*self.replace_on, *sorted(kinds))

    def comparable(self, inputs: PropertyMap) -> PropertyMap:
        protocol = str(inputs.get("ipProtocol", ""))
        named = {"1": "icmp", "6": "tcp", "17": "udp", "58": "icmpv6", "all": "-1"}
        return {**super().comparable(inputs), "ipProtocol": named.get(protocol, protocol.lower())}

    def make(self, client: Any, inputs: PropertyMap) -> str:
        rule: dict[str, Any] = pick(inputs, "ipProtocol", "fromPort", "toPort")
        for name, (list_name, key, _) in _SOURCES.items():
            if inputs.get(name):
                rule[list_name] = [{key: inputs[name], **pick(inputs, "description")}]
        authorize = getattr(client, f"authorize_security_group_{self.way}")
        made = authorize(GroupId=inputs["securityGroupId"], IpPermissions=[rule], **self.tagged(inputs))
        return str(made["SecurityGroupRules"][0]["SecurityGroupRuleId"])

    def change(self, client: Any, id: str, old: PropertyMap, inputs: PropertyMap) -> None:
        names = ("description", "fromPort", "ipProtocol", "toPort", *_SOURCES)
        if any(old.get(name) != inputs.get(name) for name in names):
            rule = pick(inputs, "description", "ipProtocol", "fromPort", "toPort")
            rule |= {api: inputs[name] for name, (_, _, api) in _SOURCES.items() if inputs.get(name)}
            client.modify_security_group_rules(
                GroupId=inputs["securityGroupId"],
                SecurityGroupRules=[{"SecurityGroupRuleId": id, "SecurityGroupRule": rule}],
            )
        super().change(client, id, old, inputs)

    def look(self, client: Any, id: str, state: PropertyMap) -> PropertyMap | None:
        rules = client.describe_security_group_rules(SecurityGroupRuleIds=[id])["SecurityGroupRules"]
        if not rules or rules[0]["IsEgress"] != (self.way == "egress"):
            return None
        rule = rules[0]
        common = self.common(rule, id, state)
        ports = {name: rule.get(name[:1].upper() + name[1:]) for name in ("fromPort", "toPort")}
        return {
            "arn": common["arn"],
            "cidrIpv4": rule.get("CidrIpv4"),
            "cidrIpv6": rule.get("CidrIpv6"),
            "description": rule.get("Description") or None,
            # AWS returns -1 if no port was set.
            **{name: None if port == -1 and name not in state else port for name, port in ports.items()},
            "ipProtocol": rule["IpProtocol"],
            "prefixListId": rule.get("PrefixListId"),
            "referencedSecurityGroupId": rule.get("ReferencedGroupInfo", {}).get("GroupId"),
            "securityGroupId": rule["GroupId"],
            "securityGroupRuleId": id,
            "tags": common["tags"],
        }

    def drop(self, client: Any, id: str, state: PropertyMap) -> None:
        revoke = getattr(client, f"revoke_security_group_{self.way}")
        revoke(GroupId=state["securityGroupId"], SecurityGroupRuleIds=[id])


def _host_bits(cidr: Any) -> str | None:
    """The error in a range (internal/types/cidr_block.go), if any."""
    if not isinstance(cidr, str) or is_unknown(cidr):
        return None
    try:
        network = ip_network(cidr, strict=False)
    except ValueError:
        return f'"{cidr}" is not a valid CIDR block: invalid CIDR address: {cidr}'
    if str(network) == cidr:
        return None
    return f'"{cidr}" is not a valid IPv{network.version} CIDR block; did you mean "{network}"?'


class SecurityGroupIngressRule(_Rule):
    token = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
    what, way = "VPC Security Group Ingress Rule", "ingress"


class SecurityGroupEgressRule(_Rule):
    token = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
    what, way = "VPC Security Group Egress Rule", "egress"


TYPES: tuple[type[AwsResource], ...] = (
    SecurityGroup,
    DefaultSecurityGroup,
    SecurityGroupIngressRule,
    SecurityGroupEgressRule,
)
