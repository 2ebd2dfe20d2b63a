"""Azure storage for tests: Azurite, behind a front with what it lacks: the directory and its roles.

Azurite is a real blob store, which checks account keys and shared access signatures itself. The lab
implements the authentication of applications (Microsoft Entra ID), managed identities, and what a role
allows.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email.message import Message
from pathlib import Path
from urllib.parse import parse_qs

from lab.cloud_proxy import READS, Answer, Request, forward
from lab.distribution import azurite_command

PORT = 8086
LOGIN = "login.microsoftonline.com"
METADATA = "169.254.169.254"
CONTRIBUTOR, READER = "Storage Blob Data Contributor", "Storage Blob Data Reader"
DELEGATOR = "Storage Blob Delegator"
JSON = (("Content-Type", "application/json"),)


@dataclass(frozen=True)
class Principal:
    """An application or a managed identity. `roles`: container → role; "" is the whole account."""

    roles: Mapping[str, str]
    tenant: str = "tenant-1"
    client_id: str = "client-1"
    secret: str = "s3cr3t-of-1"

    def may(self, request: Request) -> bool:
        """Whether its roles allow this."""
        query, account = request.query, self.roles.get("")
        if query.get("comp") == "userdelegationkey":
            # A permission on the account: a role on a container is not sufficient.
            return account is not None
        role = self.roles.get(request.parts.path.split("/")[1])
        if request.method in READS:
            return CONTRIBUTOR in {role, account} or READER in {role, account}
        # A role on blobs alone does not allow creating containers.
        return query.get("restype") != "container" and CONTRIBUTOR in {role, account}


@dataclass
class Azure:
    """The services that a registry calls. `keys`: account → key; `server`: the managed identity, if any."""

    context: ssl.SSLContext
    keys: Mapping[str, str]
    principals: list[Principal] = field(default_factory=list)
    server: Principal | None = None
    _tokens: dict[str, Principal] = field(default_factory=dict)

    def answer(self, request: Request) -> Answer:
        if request.host == LOGIN:
            return self._login(request)
        if request.host == METADATA:
            return self._metadata(request)
        if request.bearer is None:
            return forward(self._appended(request), PORT, self.context)
        principal = self._tokens.get(request.bearer)
        if principal is None:
            return _refused(401, "InvalidAuthenticationInfo")
        if not principal.may(request):
            return _refused(403, "AuthorizationPermissionMismatch")
        return forward(request, PORT, self.context)

    def _login(self, request: Request) -> Answer:
        base = f"https://{LOGIN}/{request.parts.path.split('/')[1]}"
        if request.parts.path.endswith("/discovery/instance"):
            known = {"preferred_network": LOGIN, "preferred_cache": LOGIN, "aliases": [LOGIN]}
            where = f"https://{LOGIN}/{self.principals[0].tenant}/v2.0/.well-known/openid-configuration"
            return _json({"tenant_discovery_endpoint": where, "metadata": [known]})
        if request.parts.path.endswith("/openid-configuration"):
            names = {"authorization_endpoint": "oauth2/v2.0/authorize", "token_endpoint": "oauth2/v2.0/token"}
            return _json(
                {name: f"{base}/{path}" for name, path in names.items()} | {"issuer": f"{base}/v2.0"}
            )
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        for principal in self.principals:
            keys = (principal.tenant, principal.client_id, principal.secret)
            if keys == (base.rpartition("/")[2], form.get("client_id"), form.get("client_secret")):
                return self._token(principal)
        description = "AADSTS7000215: Invalid client secret provided."
        return _json({"error": "invalid_client", "error_description": description}, 401)

    def _metadata(self, request: Request) -> Answer:
        if self.server is None or request.headers.get("Metadata") != "true":
            return _json({"error": "invalid_request"}, 400)
        return self._token(self.server)

    def _token(self, principal: Principal) -> Answer:
        """A token as Azurite requires it; nobody signs it, so only `answer` can tell whether it is valid."""
        now = int(time.time())
        claims = {"iss": f"https://sts.windows.net/{principal.tenant}/", "aud": "https://storage.azure.com"}
        claims |= {"appid": principal.client_id, "oid": principal.client_id, "tid": principal.tenant}
        times = {"iat": now, "nbf": now - 5, "exp": now + 3600}
        parts = [{"alg": "RS256", "typ": "JWT"}, claims | times, secrets.token_urlsafe()]
        token = ".".join(
            base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts
        )
        self._tokens[token] = principal
        found = {"access_token": token, "token_type": "Bearer", "expires_in": 3600}
        return _json(found | {"expires_on": str(now + 3600), "resource": "https://storage.azure.com"})

    def _appended(self, request: Request) -> Request:
        """An appended block without the blob's type, signed again if its signature was valid.

        Older clients name the type, and Azurite then treats the request as one to create a blob.
        """
        account = request.host.partition(".")[0]
        if request.query.get("comp") != "appendblock" or account not in self.keys:
            return request
        if request.headers.get("Authorization") != _signature(request, account, self.keys[account]):
            return request
        headers = Message()
        for name, value in request.headers.items():
            if name.lower() not in {"x-ms-blob-type", "authorization"}:
                headers[name] = value
        plain = replace(request, headers=headers)
        headers["Authorization"] = _signature(plain, account, self.keys[account])
        return plain

    def make(self, account: str, container: str) -> None:
        """A new container, as the account's owner creates it."""
        token = json.loads(self._token(Principal({})).body)["access_token"]
        headers = Message()
        for name, value in (("Authorization", f"Bearer {token}"), ("x-ms-version", "2021-12-02")):
            headers[name] = value
        host = f"{account}.blob.core.windows.net"
        made = forward(
            Request("PUT", host, f"/{container}?restype=container", headers, b""), PORT, self.context
        )
        if made.status != 201:
            raise RuntimeError(made.body.decode())


SIGNED = (
    *("Content-Encoding", "Content-Language", "Content-Length", "Content-MD5", "Content-Type", "Date"),
    *("If-Modified-Since", "If-Match", "If-None-Match", "If-Unmodified-Since", "Range"),
)


def _signature(request: Request, account: str, key: str) -> str:
    """`Authorization` with an account key (Azure Storage reference, "Authorize with Shared Key")."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    named = sorted(f"{name}:{value}" for name, value in headers.items() if name.startswith("x-ms-"))
    query = sorted(f"{name.lower()}:{value}" for name, value in request.query.items())
    first = [request.method, *(headers.get(name.lower(), "") for name in SIGNED)]
    text = "\n".join([*first, *named, f"/{account}{request.parts.path}", *query])
    mac = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
    return f"SharedKey {account}:{base64.b64encode(mac).decode()}"


def _json(value: object, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode(), JSON)


def _refused(status: int, code: str) -> Answer:
    body = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code></Error>'
    return Answer(status, body.encode(), (("Content-Type", "application/xml"), ("x-ms-error-code", code)))


@contextmanager
def azurite(directory: Path, accounts: Mapping[str, str]) -> Iterator[Azure]:
    """Azurite with these accounts (name → key in Base64) while the block runs; after `certify`."""
    # Late, because the lab's services need more than the standard library.
    from lab.services import CLEAN, listening, wait_for_service

    log, pem = directory / "azurite.log", str(directory / "server.pem")
    command = [*azurite_command(), "--blobPort", str(PORT), "--inMemoryPersistence"]
    # It accepts tokens over TLS only.
    # Newer clients request a version of the service that it does not know yet.
    command += ["--skipApiVersionCheck"]
    command += ["--silent", "--disableTelemetry", "--cert", pem, "--key", pem, "--oauth", "basic"]
    command += ["--debug", str(directory / "azurite-debug.log")]
    env = CLEAN | {"AZURITE_ACCOUNTS": ";".join(f"{name}:{key}" for name, key in accounts.items())}
    context = ssl.create_default_context(cafile=directory / "ca.pem")
    context.check_hostname = False  # addressed by IP
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, cwd=directory
        )
    try:
        wait_for_service(process, lambda: listening("127.0.0.1", PORT), "Azurite", log)
        yield Azure(context, accounts)
    finally:
        process.terminate()
        process.wait(10)
