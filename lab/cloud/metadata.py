"""The instance metadata service: one for each host, on its loopback device, in the host's network namespace.

Only version 2 where the instance's options say so (AWS' user guide, "Configure the Instance Metadata
Service"), and not at its link-local address. Credentials of the instance's role come from moto's STS, so that
its policies are enforced.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from moto.ec2.models.instances import Instance
from moto.iam.models import iam_backends
from moto.sts.models import sts_backends

from lab.cloud import wanted
from lab.cloud.account import profile_role
from lab.cloud.addresses import METADATA, METADATA_PORT

LIFETIME = 6 * 3600
TTL = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
CLONE_NEWNET = 0x40000000
FORMAT = "%Y-%m-%dT%H:%M:%SZ"


@dataclass
class Service:
    """The metadata service of one instance, from `start` to `stop`."""

    id: str
    _server: ThreadingHTTPServer | None = None
    _tokens: dict[str, float] = field(default_factory=dict)
    _credentials: dict[str, dict[str, str]] = field(default_factory=dict)

    def start(self) -> None:
        """Listen; OSError if the host's network namespace is not there."""
        made = threading.Event()
        failed: list[OSError] = []

        def serve() -> None:
            try:
                _enter(self.id)
                self._server = _Server((METADATA, METADATA_PORT), self._handler())
            except OSError as error:
                failed.append(error)
            made.set()
            if self._server is not None:
                self._server.serve_forever(poll_interval=0.2)

        threading.Thread(target=serve, name=f"metadata of {self.id}", daemon=True).start()
        made.wait()
        if failed:
            raise failed[0]

    def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        service = self

        class Handler(BaseHTTPRequestHandler):
            server_version, sys_version = "EC2ws", ""

            def do_PUT(self) -> None:
                # SDKs take a token only together with its time to live.
                self._send(*service.put(self.path, dict(self.headers)), {TTL: self.headers.get(TTL, "")})

            def do_GET(self) -> None:
                self._send(*service.get(self.path, dict(self.headers)))

            def _send(self, status: int, text: str, more: dict[str, str] | None = None) -> None:
                body = text.encode() if status == 200 else _error(status)
                self.send_response(status)
                self.send_header("Content-Type", "text/plain" if status == 200 else "text/html")
                self.send_header("Content-Length", str(len(body)))
                for name, value in (more or {}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: Any) -> None:
                """Nothing: the paths are of no interest, and there is no log of the host's for them."""

        return Handler

    # -- requests: (status, text)

    def put(self, path: str, headers: dict[str, str]) -> tuple[int, str]:
        """A token, for as long as asked."""
        given = {name.lower(): value for name, value in headers.items()}
        instance = wanted.instance(self.id)
        if instance is None or path != "/latest/api/token":
            return 404, ""
        if instance.metadata_options.http_endpoint == "disabled" or "x-forwarded-for" in given:
            return 403, ""
        seconds = given.get(TTL.lower(), "")
        if not seconds.isdigit() or not 1 <= int(seconds) <= LIFETIME:
            return 400, ""
        token = secrets.token_urlsafe(40)
        self._tokens[token] = time.monotonic() + int(seconds)
        return 200, token

    def get(self, path: str, headers: dict[str, str]) -> tuple[int, str]:
        """What the instance may know of itself; below a folder's path the names in it."""
        given = {name.lower(): value for name, value in headers.items()}
        instance = wanted.instance(self.id)
        if instance is None:
            return 404, ""
        if instance.metadata_options.http_endpoint == "disabled":
            return 403, ""
        token = given.get("x-aws-ec2-metadata-token")
        if token is None and instance.metadata_options.http_tokens == "required":
            return 401, ""
        if token is not None and self._tokens.get(token, 0) < time.monotonic():
            return 401, ""
        return _find(path, self._tree(instance))

    def _tree(self, instance: Instance) -> dict[str, str]:
        """Path below /latest → text."""
        machine = wanted.read().machines[self.id]
        meta = {
            "ami-id": instance.image_id,
            "instance-id": self.id,
            "instance-type": instance.instance_type,
            "local-hostname": instance.private_dns_name,
            "local-ipv4": machine.private,
            "mac": instance.nics[0].mac_address,
            "placement/availability-zone": str(instance.availability_zone),
            "placement/region": machine.region,
            "security-groups": "\n".join(group.name for group in instance.security_groups),
        }
        if machine.public:
            meta |= {"public-ipv4": machine.public, "public-hostname": _dns_name(machine)}
        if key := wanted.public_key(self.id):
            meta["public-keys/0/openssh-key"] = key
        meta |= self._role(instance, machine.region)
        tree = {f"meta-data/{path}": text for path, text in meta.items()}
        tree["dynamic/instance-identity/document"] = _identity(instance, machine)
        if data := wanted.user_data(self.id):
            tree["user-data"] = data.decode(errors="replace")
        return tree

    def _role(self, instance: Instance, region: str) -> dict[str, str]:
        found = profile_role(instance)
        if found is None:
            return {}
        profile, role = found
        now = datetime.now(UTC).strftime(FORMAT)
        info = {
            "Code": "Success",
            "LastUpdated": now,
            "InstanceProfileArn": profile,
            "InstanceProfileId": self.id,
        }
        name = role.rpartition("/")[2]
        return {
            "iam/info": json.dumps(info, indent=2),
            f"iam/security-credentials/{name}": json.dumps(self._assume(role, region, instance), indent=2),
        }

    def _assume(self, role: str, region: str, instance: Instance) -> dict[str, str]:
        """Credentials of the role for this instance, the same ones until they are about to end."""
        now = datetime.now(UTC)
        if not _trusts_ec2(role, instance.owner_id):
            return {
                "Code": "AssumeRoleUnauthorizedAccess",
                "Message": f"EC2 cannot assume the role {role.rpartition('/')[2]}.",
                "LastUpdated": now.strftime(FORMAT),
            }
        known = self._credentials.get(role)
        if known is None or datetime.strptime(known["Expiration"], FORMAT).replace(tzinfo=UTC) < now:
            assumed = sts_backends[instance.owner_id]["aws"].assume_role(
                region_name=region,
                role_session_name=self.id,
                role_arn=role,
                policy="",
                duration=LIFETIME,
                external_id="",
            )
            known = {
                "Code": "Success",
                "LastUpdated": now.strftime(FORMAT),
                "Type": "AWS-HMAC",
                "AccessKeyId": assumed.access_key_id,
                "SecretAccessKey": assumed.secret_access_key,
                "Token": assumed.session_token,
                "Expiration": (now + timedelta(seconds=LIFETIME)).strftime(FORMAT),
            }
            self._credentials[role] = known
        return known


class _Server(ThreadingHTTPServer):
    def server_bind(self) -> None:
        """Without the look-up of its own name, which takes ten seconds where nobody answers."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]


def _enter(namespace: str) -> None:
    """Have this thread, and what it starts, in a named network namespace: sockets made here belong to it."""
    file = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(file, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"network namespace {namespace}")
    finally:
        os.close(file)


def _find(path: str, tree: dict[str, str]) -> tuple[int, str]:
    version, _, rest = path.strip("/").partition("/")
    if version != "latest":
        return 404, ""
    if rest in tree:
        return 200, tree[rest]
    below = [
        known.removeprefix(f"{rest}/" if rest else "")
        for known in tree
        if known.startswith(f"{rest}/"[not rest :])
    ]
    names = sorted({name.partition("/")[0] + "/" * ("/" in name) for name in below})
    return (
        (200, "\n".join(names).rstrip("/") if len(names) == 1 else "\n".join(names)) if names else (404, "")
    )


def _error(status: int) -> bytes:
    title = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}[status]
    return (
        f'<?xml version="1.0" encoding="iso-8859-1"?>\n<html><head><title>{status} - {title}</title></head>'
        f"<body><h1>{status} - {title}</h1></body></html>\n"
    ).encode()


def _dns_name(machine: wanted.Machine) -> str:
    zone = "compute-1" if machine.region == "us-east-1" else f"{machine.region}.compute"
    return f"ec2-{(machine.public or '').replace('.', '-')}.{zone}.amazonaws.com"


def _identity(instance: Instance, machine: wanted.Machine) -> str:
    document = {
        "accountId": instance.owner_id,
        "architecture": instance.architecture,
        "availabilityZone": instance.availability_zone,
        "imageId": instance.image_id,
        "instanceId": machine.id,
        "instanceType": instance.instance_type,
        "pendingTime": instance.launch_time.strftime(FORMAT),
        "privateIp": machine.private,
        "region": machine.region,
        "version": "2017-09-30",
    }
    return json.dumps(document, indent=2)


def _trusts_ec2(role: str, account: str) -> bool:
    """Whether the role's trust policy lets EC2 assume it."""
    document = iam_backends[account]["aws"].get_role_by_arn(role).assume_role_policy_document
    statements = json.loads(document)["Statement"]
    for statement in statements if isinstance(statements, list) else [statements]:
        principal = statement.get("Principal", {})
        services = principal.get("Service", []) if isinstance(principal, dict) else []
        allowed = statement.get("Effect") == "Allow" and "sts:AssumeRole" in statement.get("Action", "")
        if allowed and "ec2.amazonaws.com" in ([services] if isinstance(services, str) else services):
            return True
    return False
