"""An AWS account as its owner uses it manually, through boto3: what the tests of created hosts have in common."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from lab.api import Lab
from lab.cloud.account import VERSIONS
from lab.cloud.addresses import WORKSTATION
from lab.cloud.instance import Instance
from lab.host import Host

EVERYBODY = "0.0.0.0/0"
OUTWARD = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": EVERYBODY}]}


def allow(protocol: str, port: int, *sources: str) -> dict[str, Any]:
    """A rule of a security group; sources are ranges or groups."""
    groups = [{"GroupId": source} for source in sources if source.startswith("sg-")]
    ranges = [{"CidrIp": source} for source in sources if not source.startswith("sg-")]
    rule = {"IpProtocol": protocol, "FromPort": port, "ToPort": port}
    return rule | ({"UserIdGroupPairs": groups} if groups else {}) | ({"IpRanges": ranges} if ranges else {})


SSH = allow("tcp", 22, f"{WORKSTATION}/32")


@dataclass
class Network:
    """A VPC with one public subnet."""

    vpc: str
    subnet: str
    gateway: str
    routes: str


class Account:
    """One region of the lab's account."""

    def __init__(self, lab: Lab, region: str = "eu-west-1") -> None:
        self.lab = lab
        self.region = region
        self.ec2 = lab.ec2(region)
        key = (lab.dir / "home/.ssh/id_ed25519.pub").read_bytes()
        self.ec2.import_key_pair(KeyName="operator", PublicKeyMaterial=key)

    def image(self) -> str:
        """GitLab EE for x86, of the version that the lab's hosts have."""
        filters = [{"Name": "name", "Values": [f"GitLab EE {VERSIONS[1]}"]}]
        found = self.ec2.describe_images(Owners=["782774275127"], Filters=filters)
        return str(found["Images"][0]["ImageId"])

    def network(self, cidr: str = "10.40.0.0/16", subnet: str = "10.40.1.0/24") -> Network:
        """A VPC, its subnet, and the way out."""
        vpc = self.ec2.create_vpc(CidrBlock=cidr)["Vpc"]["VpcId"]
        inner = self.ec2.create_subnet(VpcId=vpc, CidrBlock=subnet)["Subnet"]["SubnetId"]
        gateway = self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        self.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
        routes = self.ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
        self.ec2.create_route(RouteTableId=routes, DestinationCidrBlock=EVERYBODY, GatewayId=gateway)
        self.ec2.associate_route_table(RouteTableId=routes, SubnetId=inner)
        return Network(vpc, inner, gateway, routes)

    def group(self, network: Network, name: str, *inward: dict[str, Any], outward: bool = True) -> str:
        """A security group with these rules; AWS lets everything out of a new one, `outward` False nothing."""
        made = self.ec2.create_security_group(GroupName=name, Description=name, VpcId=network.vpc)
        group = str(made["GroupId"])
        if inward:
            self.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=list(inward))
        if not outward:
            self.ec2.revoke_security_group_egress(GroupId=group, IpPermissions=[OUTWARD])
        return group

    def launch(self, network: Network, name: str | None, *groups: str, **more: Any) -> str:
        """Start an instance with an Elastic IP (`address` False: without); its id."""
        address = more.pop("address", True)
        interface = {"DeviceIndex": 0, "SubnetId": network.subnet, "Groups": list(groups)}
        tags = [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": name}]}] if name else []
        made = self.ec2.run_instances(
            ImageId=more.pop("image", None) or self.image(),
            InstanceType="t3.large",
            MinCount=1,
            MaxCount=1,
            KeyName="operator",
            NetworkInterfaces=[interface],
            TagSpecifications=tags,
            **more,
        )
        id = str(made["Instances"][0]["InstanceId"])  # noqa: A001
        if address:
            self.associate(self.ec2.allocate_address(Domain="vpc")["AllocationId"], id)
        return id

    def associate(self, allocation: str, instance: str) -> None:
        """Give an Elastic IP to an instance."""
        self.ec2.associate_address(AllocationId=allocation, InstanceId=instance)

    def host(self, name: str) -> Instance:
        """The host of an instance that was just launched, made to reconfigure without the usual delay."""
        host = self.lab.instances()[name]
        host.write("/opt/gitlab/etc/lab.json", '{"reconfigure_seconds": 0, "sidekiq_boot_seconds": 0}')
        return host

    def profile(self, name: str, *statements: dict[str, Any], service: str = "ec2.amazonaws.com") -> str:
        """A role with these permissions in an instance profile of the same name."""
        iam = self.lab.iam()
        trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(trust))
        if statements:
            iam.put_role_policy(RoleName=name, PolicyName=name, PolicyDocument=policy(*statements))
        iam.create_instance_profile(InstanceProfileName=name)
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
        return name


def policy(*statements: dict[str, Any]) -> str:
    """A policy's document."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def ssh(host: Instance | str, command: str, user: str = "ubuntu") -> subprocess.CompletedProcess[str]:
    """The machine's own ssh with the operator's key; whatever host key answers is believed."""
    address = host if isinstance(host, str) else host.address
    options = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-o", "StrictHostKeyChecking=no"]
    options += ["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    line = ["ssh", *options, "-l", user, address, command]
    return subprocess.run(line, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def fetch(host: Host, url: str, *options: str, seconds: float = 10) -> str:
    """What a URL answers to the host, status last; "000" when nothing does within the time."""
    command = ["curl", "--silent", "--max-time", f"{seconds:g}", "--write-out", "%{http_code}", *options, url]
    return host.run(command, check=False).stdout


def serve(host: Host, port: int) -> None:
    """Something on the host that answers TCP connections to a port, and says who connects."""
    script = (
        f"require 'socket'; server = TCPServer.new('0.0.0.0', {port}); fork && exit!(0); $stdout.reopen('/dev/null');"
        "$stderr.reopen('/dev/null'); Process.setsid;"
        "loop { one = server.accept; one.write(one.peeraddr(false)[3]); one.close }"
    )
    host.run(["ruby", "-e", script])


def meets(host: Host | None, address: str, port: int, seconds: float = 10) -> str:
    """Connect to a port of `serve` from a host (None: the workstation): with which address; "" if it cannot.

    A way that opens meanwhile is taken: TCP asks again after 1, 3 and 7 seconds.
    """
    command = ["bash", "-c", f"exec 3<>/dev/tcp/{address}/{port} && cat <&3"]
    limited = ["timeout", f"{seconds:g}", *command]
    if host is not None:
        return host.run(limited, check=False).stdout
    return subprocess.run(limited, capture_output=True, text=True, check=False).stdout


def shut(host: Host | None, address: str, port: int) -> bool:
    """Whether that port does not answer; a short time will do, since it can only be too short to see a fault."""
    return not meets(host, address, port, 0.3)
