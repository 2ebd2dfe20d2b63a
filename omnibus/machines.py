"""Hosts that are created on AWS: a site's network, its servers and who may reach them."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, SecretStr, StringConstraints

from omnibus.fields import LARGEST, Cidr, Closed, Doc, KmsKey, Port, Region

InstanceType = Annotated[
    str,
    StringConstraints(
        pattern=r"^[a-z][a-z0-9-]*[0-9][a-z0-9-]*\.([0-9]*x?large|medium|small|micro|nano|metal(-[0-9]+xl)?)$"
    ),
    Doc("AWS has no such instance type, and only the update would find out", "c6i.2xlarge"),
]
Ami = Annotated[
    str,
    StringConstraints(pattern=r"^ami-[0-9a-f]{8,17}$"),
    Doc(
        "no server could be started from it; without it GitLab's own image of gitlab_version is used",
        "ami-0123456789abcdef0",
    ),
]
VolumeGb = Annotated[
    int,
    Field(ge=20, le=16384),
    Doc("a gp3 volume has 20 (GitLab needs that much) to 16384 GiB", "100"),
]


class NodeAws(Closed):
    """What differs for one server of a site that is created."""

    instance_type: InstanceType | None = None
    """The server's type; the site's if left out. Another processor needs `replace` as well."""
    volume_gb: VolumeGb | None = None
    """The server's disk in GiB; the site's if left out."""
    ami: Ami | None = None
    """The image of this server; the site's if left out."""
    replace: Annotated[
        int,
        Field(ge=0, le=LARGEST),
        Doc("a whole number; raising it replaces the server by a new one, whose disk is empty", "1"),
    ] = 0


class Tls(Closed):
    """Certificates of a created site: Let's Encrypt's, or one that is given for both of its host names."""

    letsencrypt_email: Annotated[
        str | None,
        StringConstraints(pattern=r"^[^@\s,]+@[^@\s,]+$"),
        Doc("nobody would be told before a certificate ends", "ops@example.com"),
    ] = None
    """Whom Let's Encrypt writes to; the certificate then is Let's Encrypt's, as it is without `tls`."""
    certificate: Annotated[
        str | None,
        StringConstraints(pattern=r"^-----BEGIN CERTIFICATE-----"),
        Doc("nginx would not start", "the PEM text of the certificate and its chain"),
    ] = None
    """The certificate for both host names and its chain, in PEM."""
    private_key: Annotated[
        SecretStr | None,
        Doc(
            "nginx would not start",
            "pulumi config set --secret --path sites.london.aws.tls.private_key < key.pem",
        ),
    ] = None
    """The certificate's key, in PEM and without a passphrase."""


class Aws(Closed):
    """A site's network and servers. Nothing is open to anybody unless it is said here."""

    region: Region
    """Where the site is."""
    cidr: Annotated[Cidr | None, Doc("the range of the site's own VPC, /16 to /24", "10.110.0.0/16")] = None
    vpc_id: Annotated[
        str | None,
        StringConstraints(pattern=r"^vpc-[0-9a-f]{8,17}$"),
        Doc("a VPC that exists, instead of cidr", "vpc-0123456789abcdef0"),
    ] = None
    subnet_id: Annotated[
        str | None,
        StringConstraints(pattern=r"^subnet-[0-9a-f]{8,17}$"),
        Doc("a public subnet of that VPC", "subnet-0123456789abcdef0"),
    ] = None
    availability_zone: Annotated[
        str | None,
        StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9][a-z]$"),
        Doc("AWS chooses one if you do not", "eu-west-2a"),
    ] = None
    """The zone in that region; AWS chooses one if you do not."""
    admin_cidrs: Annotated[
        list[Cidr],
        Field(min_length=1),
        Doc("nobody could reach the servers by SSH, not even this program", "[198.51.100.7/32]"),
    ]
    """Who may log in by SSH, this program included; the whole Internet is refused."""
    client_cidrs: Annotated[
        list[Cidr],
        Doc("who may use GitLab and its registry; nobody if left out", "[198.51.100.0/24]"),
    ] = Field(default_factory=list)
    """Who may use GitLab and its registry, at port 80 and the ports of both URLs; nobody if left out."""
    egress_ports: Annotated[
        list[Port],
        Doc("where the servers may go outside, by TCP port; 587 for mail, say", "[80, 443, 587]"),
    ] = Field(default_factory=lambda: [80, 443])
    """TCP ports that the servers may reach outside; 587 for mail, say."""
    instance_type: InstanceType = "c6i.2xlarge"
    """The servers' type. Another processor needs each node's `replace` as well."""
    volume_gb: VolumeGb = 100
    """The size of each server's encrypted disk, in GiB."""
    kms_key_id: Annotated[
        KmsKey | None,
        Doc(
            "the volumes' key; without it AWS's own for EBS",
            "arn:aws:kms:eu-west-2:123456789012:key/1234abcd-…",
        ),
    ] = None
    ami: Ami | None = None
    """An image of your own with GitLab EE; without it GitLab's own of gitlab_version."""
    termination_protection: Annotated[
        bool, Doc("true refuses to terminate the servers by console or API", "true")
    ] = True
    """Neither AWS nor `pulumi destroy` takes the servers."""
    hosted_zone: Annotated[
        str | None,
        StringConstraints(pattern=r"^[a-z0-9.-]+[a-z0-9]$"),
        Doc("a Route 53 zone, in which both host names of the site are made", "example.com"),
    ] = None
    tls: Annotated[Tls, Doc("how the site gets its certificates", "{letsencrypt_email: ops@example.com}")] = (
        Tls()
    )
    tags: Annotated[dict[str, str], Doc("tags on everything that is created", '{CostCenter: "42"}')] = Field(
        default_factory=dict
    )

    def instance_type_of(self, node: NodeAws) -> str:
        return node.instance_type or self.instance_type


ARCHITECTURES = ("x86_64", "arm64")


def architecture(instance_type: str) -> str:
    """`m7g.large` → arm64, `c6i.2xlarge` → x86_64: a g behind the generation marks AWS's Graviton processors.

    Source: AWS, "Amazon EC2 instance type naming conventions"; a1 was the only one before the mark.
    """
    family = instance_type.split(".", maxsplit=1)[0]
    return "arm64" if family == "a1" or re.match(r"[a-z]+[0-9]+[a-z]*g", family) else "x86_64"
