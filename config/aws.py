"""Hosts that are created on AWS: a site's network, its EC2 instances and who may connect to them."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, SecretStr, StringConstraints

from config.field_types import MAX_INT32, Cidr, FieldHelp, Flag, KmsKey, Port, Region, StrictModel

InstanceType = Annotated[
    str,
    StringConstraints(
        pattern=r"^[a-z][a-z0-9-]*[0-9][a-z0-9-]*\.([0-9]*x?large|medium|small|micro|nano|metal(-[0-9]+xl)?)$"
    ),
    FieldHelp(
        expectation="an EC2 instance type: family, dot, size",
        consequence="AWS has no such instance type, and the update would fail when it creates the node",
        example="c6i.2xlarge",
    ),
]
Ami = Annotated[
    str,
    StringConstraints(pattern=r"^ami-[0-9a-f]{8,17}$"),
    FieldHelp(
        expectation="ami- and 8 to 17 hexadecimal digits",
        consequence="AWS has no such image, and the update would fail when it creates the node",
        example="ami-0123456789abcdef0",
    ),
]
VolumeGb = Annotated[
    int,
    Field(ge=20, le=16384),
    FieldHelp(
        expectation="a number of GiB from 20 to 16384",
        consequence="GitLab's image does not fit on less than 20 GiB, and AWS refuses a gp3 volume of more "
        "than 16384 GiB",
        example="100",
    ),
]


class NodeAws(StrictModel):
    """What differs for one node of a created site."""

    instance_type: Annotated[
        InstanceType | None,
        FieldHelp(
            "The node's instance type; the site's by default. Another processor needs `replace` as well."
        ),
    ] = None
    volume_gb: Annotated[
        VolumeGb | None, FieldHelp("The size of the node's disk in GiB; the site's by default.")
    ] = None
    ami: Annotated[Ami | None, FieldHelp("The node's image; the site's by default.")] = None
    replace: Annotated[
        int,
        Field(ge=0, le=MAX_INT32),
        FieldHelp(
            "Raise it to replace the node's EC2 instance by a new one, whose disk is empty.",
            expectation="a whole number from 0 to 2147483647",
            consequence="the program could not tell whether the instance is to be replaced",
            example="1",
        ),
    ] = 0


class Tls(StrictModel):
    """Certificates of a created site: from Let's Encrypt, or your own for all of its host names."""

    letsencrypt_email: Annotated[
        str | None,
        StringConstraints(pattern=r"^[^@\s,]+@[^@\s,]+$"),
        FieldHelp(
            "The address that Let's Encrypt writes to. It issues the certificate, as it does without `tls`.",
            expectation="one email address",
            consequence="Let's Encrypt refuses to register the account, and the site would get no "
            "certificate",
            example="ops@example.com",
        ),
    ] = None
    certificate: Annotated[
        str | None,
        StringConstraints(pattern=r"^-----BEGIN CERTIFICATE-----"),
        FieldHelp(
            "The certificate for all host names of the site, and its chain.",
            expectation="certificates in PEM form, which begin with -----BEGIN CERTIFICATE-----",
            consequence="NGINX would not start",
            example="the PEM text of the certificate and its chain",
        ),
    ] = None
    private_key: Annotated[
        SecretStr | None,
        FieldHelp(
            "The certificate's private key.",
            expectation="a private key in PEM form, without a passphrase",
            consequence="NGINX would not start",
            example="pulumi config set --secret --path sites.london.aws.tls.private_key < key.pem",
        ),
    ] = None


class Aws(StrictModel):
    """A site's network and EC2 instances. Only the network access that you name here is allowed."""

    region: Annotated[Region, FieldHelp("The AWS region of the site.")]
    cidr: Annotated[
        Cidr | None,
        FieldHelp(
            "The address range of a VPC that is created for the site.",
            expectation="a network of /16 to /24: its first IPv4 address, a slash and the number of network "
            "bits",
            consequence="AWS refuses a VPC or subnet with another range",
            example="10.110.0.0/16",
        ),
    ] = None
    vpc_id: Annotated[
        str | None,
        StringConstraints(pattern=r"^vpc-[0-9a-f]{8,17}$"),
        FieldHelp(
            "A VPC that exists, instead of `cidr`.",
            expectation="vpc- and 8 to 17 hexadecimal digits",
            consequence="AWS has no such VPC, and the update would fail when it creates the site's network",
            example="vpc-0123456789abcdef0",
        ),
    ] = None
    subnet_id: Annotated[
        str | None,
        StringConstraints(pattern=r"^subnet-[0-9a-f]{8,17}$"),
        FieldHelp(
            "A public subnet of that VPC.",
            expectation="subnet- and 8 to 17 hexadecimal digits",
            consequence="AWS has no such subnet, and the update would fail when it creates the nodes",
            example="subnet-0123456789abcdef0",
        ),
    ] = None
    availability_zone: Annotated[
        str | None,
        StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9][a-z]$"),
        FieldHelp(
            "The availability zone of the site's nodes; AWS chooses one by default.",
            expectation="an AWS availability zone: the site's region and a letter",
            consequence="AWS refuses a subnet in a zone that does not exist, and the update would fail",
            example="eu-west-2a",
        ),
    ] = None
    admin_cidrs: Annotated[
        list[Cidr],
        Field(min_length=1),
        FieldHelp(
            "Who may log in by SSH. Include the machine that runs this program; the whole Internet is "
            "refused.",
            expectation="a list of at least one IPv4 range",
            consequence="no one could log in to the nodes by SSH, this program included",
            example="[198.51.100.7/32]",
        ),
    ]
    client_cidrs: Annotated[
        list[Cidr],
        FieldHelp(
            "Who may use GitLab and its registry, at port 80 and the ports of both URLs; no one by default.",
            expectation="a list of IPv4 ranges",
            consequence="your users could not connect to the site",
            example="[198.51.100.0/24]",
        ),
    ] = Field(default_factory=list)
    egress_ports: Annotated[
        list[Port],
        FieldHelp(
            "TCP ports to which the nodes may connect outside of the site. Add 587 for mail, for example.",
            expectation="a list of ports from 1 to 65535, without quotes",
            consequence="the nodes could not connect to the services that they need",
            example="[80, 443, 587]",
        ),
    ] = Field(default_factory=lambda: [80, 443])
    instance_type: Annotated[
        InstanceType,
        FieldHelp("The nodes' instance type. Another processor needs each node's `replace` as well."),
    ] = "c6i.2xlarge"
    volume_gb: Annotated[VolumeGb, FieldHelp("The size of each node's encrypted disk in GiB.")] = 100
    kms_key_id: Annotated[
        KmsKey | None,
        FieldHelp(
            "The key that encrypts the nodes' disks and a database that is created; AWS's own keys by "
            "default.",
            consequence="AWS could not encrypt the disks, and the nodes would not start",
            example="arn:aws:kms:eu-west-2:123456789012:key/1234abcd-…",
        ),
    ] = None
    ami: Annotated[
        Ami | None,
        FieldHelp("An image of your own with GitLab EE; by default GitLab's own image of `gitlab_version`."),
    ] = None
    termination_protection: Annotated[
        Flag,
        FieldHelp(
            "true: neither AWS nor `pulumi destroy` terminates the nodes or deletes a database that was "
            "created.",
            consequence="nodes that hold your data could be left without protection",
        ),
    ] = True
    hosted_zone: Annotated[
        str | None,
        StringConstraints(pattern=r"^[a-z0-9.-]+[a-z0-9]$"),
        FieldHelp(
            "A Route 53 zone in which both host names of the site are created.",
            expectation="a domain name in lowercase, without a dot at its end",
            consequence="Route 53 has no zone of that name, and the site's host names could not be created",
            example="example.com",
        ),
    ] = None
    tls: Annotated[
        Tls,
        FieldHelp(
            "How the site gets its certificates.",
            expectation="a map with letsencrypt_email, or with certificate and private_key",
            consequence="the site would get another certificate than you want, or none",
            example="{letsencrypt_email: ops@example.com}",
        ),
    ] = Tls()
    tags: Annotated[
        dict[str, str],
        FieldHelp(
            "Tags on everything that is created for the site.",
            expectation="a map of strings; a value that looks like a number in quotes",
            consequence="AWS refuses tags that are not strings",
            example='{CostCenter: "42"}',
        ),
    ] = Field(default_factory=dict)

    def instance_type_of(self, node: NodeAws) -> str:
        return node.instance_type or self.instance_type


ARCHITECTURES = ("x86_64", "arm64")


def architecture(instance_type: str) -> str:
    """`m7g.large` → arm64, `c6i.2xlarge` → x86_64: a g behind the generation marks AWS's Graviton processors.

    Source: AWS, "Amazon EC2 instance type naming conventions"; a1 was the only one before the mark.
    """
    family = instance_type.split(".", maxsplit=1)[0]
    return "arm64" if family == "a1" or re.match(r"[a-z]+[0-9]+[a-z]*g", family) else "x86_64"
