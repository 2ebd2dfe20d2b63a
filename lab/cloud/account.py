"""What moto lacks for instances that are hosts, and what the user's account contains at the start.

Public addresses that are routed in the lab, GitLab's images, a hosted zone, and an Elastic IP that leaves its
former instance when it is associated with another.
"""

from __future__ import annotations

import hashlib
import ipaddress
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from moto.core.utils import utcnow
from moto.ec2.models import ec2_backends, elastic_ip_addresses
from moto.ec2.models import elastic_network_interfaces as interfaces
from moto.ec2.models.amis import Ami, AmiBackend
from moto.ec2.models.elastic_ip_addresses import ElasticAddress, ElasticAddressBackend
from moto.ec2.models.elastic_network_interfaces import NetworkInterfaceBackend
from moto.ec2.models.instances import Instance, InstanceBackend
from moto.route53.models import Route53Backend

from lab import gitlab_registry
from lab.cloud.addresses import AUTOMATIC, ELASTIC

ZONE = "example.com."
"""The public hosted zone in the user's account."""

GITLAB, STRANGER, CANONICAL = "782774275127", "123450000001", "099720109477"
REGIONS = ("eu-west-1", "eu-west-2", "ap-northeast-1", "us-east-1")
_GITLAB = ".".join(gitlab_registry.gitlab_version(gitlab_registry.chosen()).split(".")[:2])
"""The version of the lab's hosts and of the committed stacks, without its patch."""
VERSIONS = tuple(dict.fromkeys((f"{_GITLAB}.0", f"{_GITLAB}.1", "19.3.0")))

# (owner, name, architecture, days ago). Names as in support/packer of omnibus-gitlab. Others can use any
# name, and a query only for the newest image returns one of theirs.
_IMAGES = (
    *((GITLAB, f"GitLab EE {version}", "x86_64", 90 - 10 * age) for age, version in enumerate(VERSIONS)),
    *(
        (GITLAB, f"GitLab EE {version} (ARM64)", "arm64", 89 - 10 * age)
        for age, version in enumerate(VERSIONS)
    ),
    (GITLAB, f"GitLab CE {_GITLAB}.1", "x86_64", 79),
    (GITLAB, "GitLab CE 19.3.1", "x86_64", 5),
    (STRANGER, f"GitLab EE {_GITLAB}.9", "x86_64", 2),
    (STRANGER, f"GitLab EE {_GITLAB}.1", "x86_64", 1),
    (CANONICAL, "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-20260801", "x86_64", 30),
)


def prepare() -> None:
    """Change moto, before it serves its first request."""
    elastic_ip_addresses.random_ip = lambda: _free(ELASTIC)  # type: ignore[attr-defined]
    interfaces.random_public_ip = lambda: _free(AUTOMATIC)  # type: ignore[attr-defined]
    AmiBackend._load_amis = _load_images  # type: ignore[method-assign]  # noqa: SLF001
    _move_elastic_ips()
    _count_boots()
    _agree_on_groups()
    _add_zone()


# -- addresses

_lock = threading.Lock()
_next: dict[str, int] = {}


def _free(network: str) -> str:
    """The next unused address of the network, in any region; a released address is reused late."""
    hosts = list(ipaddress.ip_network(network).hosts())[9:]
    with _lock:
        taken = _taken()
        for _ in hosts:
            number = _next.get(network, 0)
            _next[network] = (number + 1) % len(hosts)
            if (address := str(hosts[number])) not in taken:
                return address
    raise RuntimeError(f"no address left in {network}")


def _taken() -> set[str | None]:
    taken: set[str | None] = set()
    for regions in list(ec2_backends.values()):
        for backend in list(regions.values()):
            taken |= {address.public_ip for address in backend.addresses}
            taken |= {interface.public_ip for interface in list(backend.enis.values())}
    return taken


def _move_elastic_ips() -> None:
    """Remove an Elastic IP from its former interface, also when that interface's instance is terminated.

    Also when another one replaces it: an interface has one Elastic IP.
    """
    associate, terminate = ElasticAddressBackend.associate_address, Instance.terminate

    def associated(self: ElasticAddressBackend, *arguments: Any, **named: Any) -> ElasticAddress:
        former = {address.public_ip: address.eni for address in self.addresses}
        address = associate(self, *arguments, **named)
        left = former[address.public_ip]
        if left is not None and left is not address.eni:
            left.public_ip = None
        for other in self.addresses:
            if other is not address and other.eni is not None and other.eni is address.eni:
                other.eni = other.instance = other.association_id = None
        return address

    def terminated(self: Instance) -> Any:
        for address in list(self.ec2_backend.addresses):
            if address.eni is not None and address.eni.instance is self:
                self.ec2_backend.disassociate_address(address=address.public_ip)
        return terminate(self)

    ElasticAddressBackend.associate_address = associated  # type: ignore[method-assign]
    Instance.terminate = terminated  # type: ignore[method-assign]


# -- instances


def _count_boots() -> None:
    """Make each instance count its starts and reboots: in moto, a reboot changes nothing."""
    for verb in (Instance.start, Instance.reboot):

        def counted(self: Instance, verb: Callable[[Instance], Any] = verb) -> Any:
            self.lab_boots = getattr(self, "lab_boots", 0) + 1  # type: ignore[attr-defined]
            return verb(self)

        setattr(Instance, verb.__name__, counted)


def _agree_on_groups() -> None:
    """Keep the groups of instance and interface identical; moto adds those of one to those of the other."""
    by_instance = InstanceBackend.modify_instance_security_groups
    by_interface = NetworkInterfaceBackend.modify_network_interface_attribute

    def changed(self: InstanceBackend, *arguments: Any, **named: Any) -> Instance:
        instance = by_instance(self, *arguments, **named)
        instance.nics[0]._group_set = list(instance.security_groups)  # noqa: SLF001
        return instance

    def changed_there(self: NetworkInterfaceBackend, eni_id: str, *arguments: Any, **named: Any) -> None:
        by_interface(self, eni_id, *arguments, **named)
        interface = self.get_network_interface(eni_id)
        if interface.instance is not None:
            interface.instance.security_groups = list(interface._group_set)  # noqa: SLF001

    InstanceBackend.modify_instance_security_groups = changed  # type: ignore[method-assign]
    NetworkInterfaceBackend.modify_network_interface_attribute = changed_there  # type: ignore[method-assign]


# -- images


def _load_images(self: AmiBackend) -> None:
    """GitLab's images, and others with similar names, in the lab's regions; ids differ between regions."""
    region = self.region_name  # type: ignore[attr-defined]
    if region not in REGIONS:
        return
    for owner, name, architecture, age in _IMAGES:
        id = "ami-" + hashlib.sha256(f"{region}{owner}{name}".encode()).hexdigest()[:17]  # noqa: A001
        self.amis[id] = Ami(
            self,
            id,
            name=name,
            description=f"{name} AMI. https://about.gitlab.com/",
            owner_id=owner,
            public=True,
            virtualization_type="hvm",
            architecture=architecture,
            creation_date=utcnow().replace(microsecond=0) - timedelta(days=age),
            image_location=f"{owner}/{name}",
            hypervisor="xen",
            root_device_type="ebs",
            region_name=f"{region}a",
        )


# -- names


def _add_zone() -> None:
    """Every account starts with the zone."""
    begin = Route53Backend.__init__

    def begun(self: Route53Backend, region_name: str, account_id: str) -> None:
        begin(self, region_name, account_id)
        self.create_hosted_zone(ZONE, private_zone=False, comment="the user's own")

    Route53Backend.__init__ = begun  # type: ignore[method-assign]


def profile_role(instance: Instance) -> tuple[str, str] | None:
    """(ARN of the instance's profile, ARN of the role in it); None without a profile or with an empty one."""
    association = instance.ec2_backend.iam_instance_profile_associations.get(instance.id)
    profile = association.iam_instance_profile if association else None
    return (profile.arn, profile.roles[0].arn) if profile and profile.roles else None
