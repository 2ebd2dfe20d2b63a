"""One deployment for all contenders: nodes, a bucket and keys that exist, secrets; and its effect."""

from __future__ import annotations

import json
import re
import secrets as entropy
from typing import Any

from config.model import S3
from lab.api import Lab
from lab.sites import Node, Site, host_key
from plan import iam as policies

RECONFIGURE = json.dumps({"reconfigure_seconds": 2, "registry_key_bits": 2048})
BUCKET, REGION, ISSUER = "acme-gitlab-registry", "eu-west-1", "omnibus-gitlab-issuer"
RENDERED = (
    "/var/opt/gitlab/registry/config.yml",
    "/var/opt/gitlab/registry/gitlab-registry.crt",
    "/var/opt/gitlab/gitlab-rails/etc/gitlab-registry.key",
    "/var/opt/gitlab/gitlab-rails/etc/gitlab.yml",
)
KNOWN = ("/etc/gitlab/geo-registry/secrets.json", "/etc/gitlab/geo-registry.json")
"""Where a node's secrets are: put there by the program, and by the other two."""


class World:
    """The facts for every contender. `reset` renews them: factory state, another bucket, other keys."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.dir = lab.dir / "bench"
        self.dir.mkdir()
        self.keys: dict[str, dict[str, str]] = {}
        for host in lab.hosts():
            host.write("/opt/gitlab/etc/lab.json", RECONFIGURE)
        lab.pulumi("stack", "init", "bench", "--no-select", stack=None)
        lab.snapshot()

    @property
    def primary(self) -> Site:
        return self.lab.layout.sites[0]

    def nodes(self) -> list[tuple[Site, Node]]:
        """Every node with its site."""
        return [(site, node) for site in self.lab.layout.sites for node in site.nodes]

    def reset(self) -> None:
        """Hosts, stacks and AWS as at the start of the lab, and the bucket with a user for each site."""
        self.lab.reset()
        place = {"LocationConstraint": REGION}
        self.lab.s3(REGION).create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)  # type: ignore[arg-type]
        iam = self.lab.iam()
        for site in self.lab.layout.sites:
            iam.create_user(UserName=site.name)
            policy = policies.permissions(S3(bucket=BUCKET, region=REGION), write=site is self.primary)
            iam.put_user_policy(UserName=site.name, PolicyName="registry", PolicyDocument=json.dumps(policy))
            made = iam.create_access_key(UserName=site.name)["AccessKey"]
            self.keys[site.name] = {"access_key": made["AccessKeyId"], "secret_key": made["SecretAccessKey"]}

    def secrets(self) -> dict[str, Any]:
        """New ones, for the contenders that do not make their own."""
        generated = {name: entropy.token_hex(32) for name in ("notification_secret", "http_secret")}
        return {**generated, "s3_keys": self.keys}

    def configuration(self) -> dict[str, Any]:
        """The stack's configuration, keys without their namespace."""
        s3 = {"bucket": BUCKET, "region": REGION, "create": False}
        return {
            "gitlab_version": "19.2",
            "primary": self.primary.name,
            "ssh": {"user": "ubuntu"},
            "storage": {"mode": "shared", "s3": s3},
            "sites": {
                site.name: {
                    "external_url": site.external_url,
                    "registry_url": site.registry_url,
                    "s3_keys": self.keys[site.name],
                    "nodes": {
                        node.name: {"host": node.address, "host_key": host_key(node.name)}
                        for node in site.nodes
                    },
                }
                for site in self.lab.layout.sites
            },
        }

    def facts(self, site: Site) -> dict[str, str]:
        """What the playbook's template and the proof must know of a site; nothing secret."""
        return {
            "site": site.name,
            "role": site.role,
            "registry_url": site.registry_url,
            "primary_external_url": self.primary.external_url,
            "primary_registry_url": self.primary.registry_url,
            "events_path": "/api/v4/container_registry_event/events",
            "issuer": ISSUER,
            "bucket": BUCKET,
            "region": REGION,
        }

    def effect(self) -> dict[str, str]:
        """Node and file → what omnibus has made of the settings, each secret replaced by its name."""
        return {
            f"{node.name}:{path}": self._masked(node, path) for _, node in self.nodes() for path in RENDERED
        }

    def _masked(self, node: Node, path: str) -> str:
        host = self.lab.host(node.name)
        text = host.read(path).decode()
        known = next(json.loads(host.read(file)) for file in KNOWN if host.exists(file))
        for name, value in known.items():
            if not name.startswith("registry_"):  # The key pair is the primary's own, so the same every time.
                text = text.replace(value, f"[{name}]")
        return re.sub(r"\s+$", "", text, flags=re.MULTILINE)

    def wait_ready(self) -> None:
        """Until the services of all nodes answer."""
        self.lab.wait_ready(120)
