"""Google Cloud Storage for tests: the emulator fake-gcs-server, behind a front with authorization.

The emulator is a real object store. The lab implements the authentication with a service account's key, the
machine's own identity, the key that signs for it, and each account's permissions per bucket.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, unquote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from lab.cloud_proxy import READS, Answer, Request, forward
from lab.distribution import program

PORT = 8087
TOKEN_URI = "https://oauth2.googleapis.com/token"
JSON = (("Content-Type", "application/json"), ("Metadata-Flavor", "Google"))
BUCKET = re.compile(r"(?:/upload|/download)?/storage/v1/b/([^/?]+)|/([^/?]+)/")


@dataclass(frozen=True)
class Account:
    """A service account. `roles`: bucket → "objectAdmin" or "objectViewer"."""

    email: str
    roles: Mapping[str, str]
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))

    def key_file(self) -> str:
        """The text of its key file, in Google's format."""
        pem = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        found = {"type": "service_account", "project_id": "acme", "private_key_id": "k1", "private_key": pem}
        return json.dumps(found | {"client_email": self.email, "token_uri": TOKEN_URI})

    def sign(self, data: bytes) -> bytes:
        return self.key.sign(data, padding.PKCS1v15(), hashes.SHA256())

    def signed(self, data: bytes, signature: bytes) -> bool:
        try:
            self.key.public_key().verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True


@dataclass
class Google:
    """The services that a registry calls. `server`: the account of the machine itself, if any."""

    accounts: dict[str, Account] = field(default_factory=dict)
    server: Account | None = None
    _tokens: dict[str, Account] = field(default_factory=dict)

    def account(self, name: str, **roles: str) -> Account:
        """A new account with a role on each of these buckets; `_` for `-` in their names."""
        found = Account(
            f"{name}@acme.iam.gserviceaccount.com",
            {bucket.replace("_", "-"): role for bucket, role in roles.items()},
        )
        self.accounts[found.email] = found
        return found

    def answer(self, request: Request) -> Answer:
        if request.host == "oauth2.googleapis.com":
            return self._sign_in(request)
        if request.target.startswith("/computeMetadata/"):
            return self._metadata(request)
        if request.host == "iamcredentials.googleapis.com":
            return self._sign_for(request)
        account = self._tokens.get(request.bearer or "") or self._signer(request)
        if account is None:
            return _refused(401, "Invalid Credentials")
        found = BUCKET.match(request.target)
        role = account.roles.get((found[1] or found[2]) if found else "")
        if role is None or (role == "objectViewer" and request.method not in READS):
            return _refused(403, f"{account.email} does not have access")
        return forward(request, PORT)

    def _token(self, account: Account) -> Answer:
        token = secrets.token_urlsafe()
        self._tokens[token] = account
        return _json({"access_token": token, "token_type": "Bearer", "expires_in": 3600})

    def _sign_in(self, request: Request) -> Answer:
        assertion = parse_qs(request.body.decode())["assertion"][0]
        signed, _, signature = assertion.rpartition(".")
        account = self.accounts.get(json.loads(_decoded(signed.split(".")[1]))["iss"])
        if account is None or not account.signed(signed.encode(), _decoded(signature)):
            return _json({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, 400)
        return self._token(account)

    def _metadata(self, request: Request) -> Answer:
        if self.server and request.parts.path.endswith("/service-accounts/default/token"):
            return self._token(self.server)
        if self.server and request.parts.path.endswith("/service-accounts/default/email"):
            return Answer(200, self.server.email.encode(), JSON)
        return Answer(404, b"", JSON)

    def _sign_for(self, request: Request) -> Answer:
        """signBlob, for the account itself: it needs the role Service Account Token Creator on itself."""
        account = self._tokens.get(request.bearer or "")
        if account is None or f"/{account.email}:signBlob" not in unquote(request.target):
            return _refused(403, "iam.serviceAccounts.signBlob denied")
        signature = account.sign(base64.b64decode(json.loads(request.body)["payload"]))
        return _json({"keyId": "k1", "signedBlob": base64.b64encode(signature).decode()})

    def _signer(self, request: Request) -> Account | None:
        """The account that signed the URL to which a registry redirects a pull.

        Distribution signs in version 2, GitLab's registry in version 4
        (cloud.google.com/storage/docs/authentication/signatures).
        """
        query = request.query
        if query.get("X-Goog-Algorithm") == "GOOG4-RSA-SHA256":
            return self._signer_4(request)
        account = self.accounts.get(query.get("GoogleAccessId", ""))
        text = f"{request.method}\n\n\n{query.get('Expires')}\n{request.parts.path}"
        right = account and account.signed(text.encode(), base64.b64decode(query.get("Signature", "")))
        return account if right else None

    def _signer_4(self, request: Request) -> Account | None:
        query = request.query
        email, _, scope = query.get("X-Goog-Credential", "").partition("/")
        account = self.accounts.get(email)
        pairs = sorted(
            one for one in request.parts.query.split("&") if not one.startswith("X-Goog-Signature=")
        )
        names = query.get("X-Goog-SignedHeaders", "").split(";")
        headers = [f"{name}:{(request.headers.get(name) or '').strip()}\n" for name in names]
        parts = [request.method, request.parts.path, "&".join(pairs), "".join(headers), ";".join(names)]
        canonical = hashlib.sha256("\n".join([*parts, "UNSIGNED-PAYLOAD"]).encode()).hexdigest()
        text = "\n".join(["GOOG4-RSA-SHA256", query.get("X-Goog-Date", ""), scope, canonical])
        try:
            signature = bytes.fromhex(query.get("X-Goog-Signature", ""))
        except ValueError:
            return None
        return account if account and account.signed(text.encode(), signature) else None


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "==")


def _json(value: object, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode(), JSON)


def _refused(status: int, message: str) -> Answer:
    return _json({"error": {"code": status, "message": message}}, status)


@contextmanager
def emulator(directory: Path, buckets: list[str]) -> Iterator[None]:
    """fake-gcs-server with these buckets, empty, while the block runs; it does not authenticate."""
    # Late, because the lab's services need more than the standard library.
    from lab.services import CLEAN, http_status, wait_for_service

    log = directory / "gcs.log"
    with log.open("wb") as output:
        command = [str(program("gcs")), str(PORT), *buckets]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=CLEAN)
    try:
        up = f"http://127.0.0.1:{PORT}/_internal/healthcheck"
        wait_for_service(process, lambda: http_status(up) == 200, "fake-gcs-server", log)
        yield
    finally:
        process.terminate()
        process.wait(10)
