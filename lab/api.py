"""The lab as tests see it. Use inside: ``python -m lab run -- pytest …``, then `Lab.current()`."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab import network, project, registry
from lab.cloud.instance import Instance
from lab.cloud.names import INSTANCES
from lab.databases import Database
from lab.host import RUN, Host, replace_tree
from lab.layouts import LAYOUTS
from lab.services import AWS_ENDPOINT, Credentials, fail_aws, http_status, reset_aws, settle, wait_for
from lab.sites import Layout, Site

if TYPE_CHECKING:
    from boto3 import Session
    from types_boto3_iam import IAMClient
    from types_boto3_s3 import S3Client


class Lab:
    """The running lab; `aws` is its account's administrator, `layout` the sites it has."""

    def __init__(self, directory: Path, layout_name: str, aws: Credentials) -> None:
        self.dir = directory
        self.layout_name = layout_name
        self.layout: Layout = LAYOUTS[layout_name]
        self.aws = aws

    @classmethod
    def current(cls) -> Lab:
        """The lab this process runs in; RuntimeError outside."""
        directory = os.environ.get("LAB_DIR", "")
        if not directory or not Path(directory, "lab.json").exists() or not Path("/run/lab").exists():
            raise RuntimeError("not inside a lab: run this through `python -m lab run -- …`")
        facts = json.loads(Path(directory, "lab.json").read_text())
        return cls(Path(directory), facts["layout"], Credentials(**facts["aws"]))

    def save(self) -> None:
        """Write lab.json, from which `current` reads."""
        facts = {"layout": self.layout_name, "aws": asdict(self.aws)}
        (self.dir / "lab.json").write_text(json.dumps(facts))

    # -- hosts and links

    def host(self, name: str) -> Host:
        """The host of that name, also one that was created on AWS; KeyError lists the existing hosts."""
        created = self.instances()
        if name in created:
            return created[name]
        return Host(self.dir, self.layout, *self.layout.find(name))

    def instances(self) -> dict[str, Instance]:
        """The running instances of all regions by their tag "Name"; if two have the same name, the later one.

        Earlier changes on AWS have taken effect. RuntimeError if a host could not be created.
        """
        settle()
        facts = json.loads(INSTANCES.read_text()) if INSTANCES.exists() else []
        return {one["name"]: Instance(self.dir, one) for one in facts if one["power"]}

    def hosts(self) -> list[Host]:
        """All hosts, including those without GitLab."""
        return [self.host(node.name) for _, node in self.layout.nodes()]

    def site(self, name: str) -> Site:
        """The site of that name: its URLs, role and nodes."""
        return self.layout.site(name)

    def site_ca(self, name: str) -> str:
        """The certificate, PEM, of the CA that issued the site's certificates."""
        own = self.site(name).own_authority
        return (self.dir / "ca" / (f"{name}.pem" if own else "lab-ca.pem")).read_text()

    def cut(self, one: str, other: str) -> None:
        """Cut the link between two of: site, host, `database_host` of a site, "s3", "workstation".

        Packets are dropped silently.
        """
        created = {name: host.public_address for name, host in self.instances().items()}
        network.cut(self.layout, one, other, {name: ip for name, ip in created.items() if ip})

    def heal(self) -> None:
        """Restore all links."""
        network.heal()

    def reset(self) -> None:
        """Restore the state at the start of the lab's command: hosts, databases, S3, links, stacks.

        There are no `database` servers then.
        """
        self.heal()
        for site in self.layout.sites:
            self._database(site).remove()
        hosts = self.hosts()
        with ThreadPoolExecutor() as pool:
            aws = pool.submit(reset_aws)
            list(pool.map(Host.stop, hosts))
            replace_tree(self.dir / "factory/db", self.dir / "db")
            for name in ("project", "state"):
                replace_tree(self.dir / "factory" / name, self.dir / name)
            list(pool.map(Host.reset, hosts))
            aws.result()
        self.wait_ready()

    def snapshot(self) -> None:
        """Save the current state as the one that `reset` restores."""
        for host in self.hosts():
            host.snapshot()
        for name in ("db", "project", "state"):
            replace_tree(self.dir / name, self.dir / "factory" / name)

    def wait_ready(self, seconds: float = 30) -> None:
        """Wait until every host's GitLab answers."""
        for host in self.hosts():
            host.wait_ready(seconds)

    def http_status(self, url: str) -> int:
        """The status of a GET from the workstation; 0 without an answer."""
        return http_status(url)

    # -- PostgreSQL

    def database(self, site: str) -> Database:
        """A PostgreSQL server for the site's registry, on no host of it: db.london.example.com, with TLS.

        It is created when it is asked for first, and gone after `reset`.
        """
        found = self._database(self.site(site))
        found.start()
        return found

    def _database(self, site: Site) -> Database:
        address = self.layout.database_address(site)
        return Database(site.name, site.database_host, address, RUN / "authority.pem")

    # -- object storage

    def s3(self, region: str = "eu-west-1") -> S3Client:
        """A boto3 S3 client with the administrator's key."""
        return self._session(region).client("s3", endpoint_url=AWS_ENDPOINT)

    def iam(self) -> IAMClient:
        """A boto3 IAM client with the administrator's key."""
        return self._session("us-east-1").client("iam", endpoint_url=AWS_ENDPOINT)

    def ec2(self, region: str = "eu-west-1") -> Any:
        """A boto3 EC2 client with the administrator's key."""
        return self._session(region).client("ec2", endpoint_url=AWS_ENDPOINT)

    def rds(self, region: str = "eu-west-1") -> Any:
        """A boto3 RDS client with the administrator's key."""
        return self._session(region).client("rds", endpoint_url=AWS_ENDPOINT)

    def route53(self) -> Any:
        """A boto3 Route 53 client with the administrator's key."""
        return self._session("us-east-1").client("route53", endpoint_url=AWS_ENDPOINT)

    def fail(
        self, action: str, code: str, message: str = "", times: int = 1, status: str = "400 Bad Request"
    ) -> None:
        """Make the next calls of an action of EC2, IAM or STS fail: "RunInstances", "RequestLimitExceeded".

        The AWS SDKs retry throttled calls ("RequestLimitExceeded", status "503 Service Unavailable"), so
        `times` must exceed their attempts for a failure to be visible; they also retry
        "InsufficientInstanceCapacity" (status "500 Internal Server Error").
        """
        fail_aws(action, code, message, times, status)

    def kms(self, region: str = "eu-west-1") -> Any:
        """A boto3 KMS client with the administrator's key."""
        return self._session(region).client("kms", endpoint_url=AWS_ENDPOINT)

    def sts(self) -> Any:
        """A boto3 STS client with the administrator's key."""
        return self._session("us-east-1").client("sts", endpoint_url=AWS_ENDPOINT)

    def _session(self, region: str) -> Session:
        from boto3 import Session  # Importing it takes half a second, and most callers do not need it.

        return Session(self.aws.access_key_id, self.aws.secret_access_key, region_name=region)

    # -- images

    def push(self, site: str, ref: str, seed: bytes = b"lab", *others: bytes) -> str:
        """Push a small image, "group/app:1", to a site's registry and return its digest "sha256:…".

        Of several seeds: an index of images.
        """
        return registry.push(self._registry(site), ref, seed, *others)

    def manifest(self, site: str, ref: str) -> dict[str, Any]:
        """The manifest that a tag or "group/app@sha256:…" refers to."""
        return registry.manifest(self._registry(site), ref)

    def pull(self, site: str, ref: str) -> str:
        """Pull an image from a site's registry and return its digest."""
        return registry.pull(self._registry(site), ref)

    def tags(self, site: str, repository: str) -> dict[str, str]:
        """Tag → digest of a repository; {} if it does not exist."""
        return registry.tags(self._registry(site), repository)

    def delete_tag(self, site: str, ref: str) -> None:
        """Delete the digest that a tag points to, with every tag on it, or "group/app@sha256:…"."""
        registry.delete_tag(self._registry(site), ref)

    def _registry(self, site: str) -> str:
        """A site's registry, also one that was created on AWS; "host:port" is used as it is."""
        if "." in site:
            return site
        known = (one for one in self.layout.sites if one.name == site)
        return next(known, Site(site, "", ())).registry_internal_url.removeprefix("https://")

    # -- the program

    def pulumi(
        self, *arguments: str, stack: str | None = "dev", check: bool = True, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run the Pulumi CLI in the lab's project directory, non-interactively.

        `stack` None omits the option, for commands that do not have it. CommandFailed shows the output.
        """
        chosen = [] if stack is None else ["--stack", stack]
        return project.pulumi(self.dir, os.environ, *arguments, *chosen, check=check, timeout=timeout)

    def wait(self, ready: Callable[[], object], seconds: float = 30, what: str = "it") -> float:
        """Poll until `ready()` is true; the seconds it took, or TimeoutError."""
        return wait_for(ready, what, seconds, step=0.1)
