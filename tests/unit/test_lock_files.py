"""Lock files, as the program on the node looks for them and puts them in: asked of no storage but a list of names."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from email.message import Message
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from hosts.programs import GITLAB_NODE
from lab.azurite import _signature
from lab.cloud_proxy import Request
from tests.ruby import LOAD, Ruby

FILESYSTEM = "docker/registry/lockfiles/filesystem-in-use"
DATABASE = "docker/registry/lockfiles/database-in-use"
# Http.call answers from `names`: what is asked for is there (200) or not (404), `status` says otherwise; and is noted.
DRIVER = (
    LOAD
    + """
$stdout.sync = true
ServerBlocks.define_singleton_method(:version) { $version }
Http.define_singleton_method(:call) do |method, url, headers: {}, body: nil, **_|
  $asked << { method: method.upcase, url: url, headers: headers, body: body }
  at = URI.decode_www_form_component(url)
  next [200, JSON.generate(access_token: 'the-token-of-it'), {}] if at.include?('/oauth2/') || at.end_with?('/token')

  status = $status[method.upcase]
  if %w[PUT POST].include?(method.upcase)
    $names << at
    next [status || 200, '', {}]
  end
  [status || ($names.any? { |name| at.end_with?(name) } ? 200 : 404), '<Code>AccessDenied</Code>', {}]
end
while (line = $stdin.gets)
  verb, order, $names, $status = JSON.parse(line)
  $version = order['version']
  $asked = []
  $stderr = StringIO.new
  found = begin; LockFiles.new(order).send(verb); rescue Failure => e; { failed: e.message, cause: e.cause_text, do: e.remedy }; end
  $stderr = STDERR
  puts JSON.generate([found, $asked])
end
"""
)


class Node(Ruby):
    """The program's part about lock files."""

    def run(
        self, verb: str, order: dict[str, Any], *names: str, **status: int
    ) -> tuple[dict[str, str], list[dict[str, Any]]]:
        """What is found where these names are in the storage, and what was asked for it."""
        found, asked = self.ask([verb, order, names, status])
        return found, asked


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with Node("-rjson", "-rstringio", "-e", DRIVER, str(GITLAB_NODE)) as loaded:
        yield loaded


def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def pem(key: rsa.RSAPrivateKey) -> str:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


KEY = rsa_key()
TOKEN_URI = "https://oauth2.googleapis.com/token"
ACCOUNT = {
    "client_email": "l@acme.iam.gserviceaccount.com",
    "private_key": pem(KEY),
    "token_uri": TOKEN_URI,
}
S3 = {
    "driver": "s3", "place": [None, "acme", "images"], "shown": "s3://acme", "bucket": "acme", "region": "eu-west-1",
    "root": "/images/", "access_key": "AKIAEXAMPLE", "secret_key": "s3cr3t", "patience": 0,
    "headers": {"x-amz-server-side-encryption": "AES256", "x-amz-acl": "private"},
}  # fmt: skip
GCS = {
    "driver": "gcs", "place": ["acme", "images", "goog.example.com"], "shown": "gcs acme images", "bucket": "acme",
    "universe": "goog.example.com", "keyfile": None,
}  # fmt: skip
AZURE = {
    "driver": "azure", "place": ["acme.blob.core.windows.net", "registry", "images"], "shown": "azure acme",
    "url": "https://acme.blob.core.windows.net", "account": "acme", "container": "registry",
    "credentials_type": "shared_key", "tenant_id": "t-1", "client_id": "c-1",
}  # fmt: skip
SECRETS = {"gcs_credentials": ACCOUNT, "azure_accountkey": "a2V5", "azure_secret": "s3cr3t-of-azure"}


def order(storage: dict[str, Any] | None, *, write: bool, **more: Any) -> dict[str, Any]:
    site = "london" if write else "tokyo"
    known = {
        "node": f"{site}-1",
        "site": site,
        "roles": ["registry"],
        "registry_kind": "omnibus",
        "files": {},
    }
    place = storage and {**storage, "write": write}
    return {**known, "storage": place, "secrets": SECRETS, "database": None, **more}


DRIVERS = pytest.mark.parametrize("storage", [S3, GCS, AZURE], ids=["s3", "gcs", "azure"])


@DRIVERS
def test_it_is_put_in_where_it_is_missing_and_left_alone_where_it_is_there(
    node: Node, storage: dict[str, Any]
) -> None:
    """Below the root directory, with the body that GitLab's registry gives it; there, nothing is written."""
    found, asked = node.run("write", order(storage, write=True))
    assert found == {"lock_file": "written"}
    [written] = [a for a in asked if a["method"] in {"PUT", "POST"} and a["url"] != TOKEN_URI]
    assert f"images/{FILESYSTEM}" in unquote(written["url"])
    assert written["body"] == '{"version":1}'
    found, asked = node.run("write", order(storage, write=True), f"images/{FILESYSTEM}")
    assert found == {"lock_file": "already exists"}
    assert [a for a in asked if a["method"] in {"PUT", "POST"} and a["url"] != TOKEN_URI] == []


@DRIVERS
def test_it_is_never_put_beside_a_databases(node: Node, storage: dict[str, Any]) -> None:
    """With both files no registry starts, with the database or without."""
    found, asked = node.run("write", order(storage, write=True), f"images/{DATABASE}")
    assert found["failed"] == "refused: a registry with a metadata database uses this storage"
    assert not [a for a in asked if a["body"] == '{"version":1}']


@DRIVERS
def test_a_registry_that_may_not_write_needs_it_there(node: Node, storage: dict[str, Any]) -> None:
    """Missing: refused, with object, body and how to put it in. There: recorded. The answer is not an answer: said."""
    found, _ = node.run("prove", order(storage, write=False))
    assert found["failed"] == "refused: its registry would not start again"
    assert f"images/{FILESYSTEM} is missing" in found["cause"]
    assert "printf '{\"version\":1}' | " in found["do"] and f"images/{FILESYSTEM}" in found["do"]
    check = f"lock file {FILESYSTEM} is in the storage"
    found, asked = node.run("prove", order(storage, write=False), f"images/{FILESYSTEM}")
    assert found == {check: "yes"}
    assert not [a for a in asked if a["body"] == '{"version":1}']
    method = "GET" if storage is GCS else "HEAD"
    found, _ = node.run("prove", order(storage, write=False), **{method: 503})
    assert found[check].startswith("not checked (503")
    assert "if it is missing, write it" in found[check] and f"images/{FILESYSTEM}" in found[check]


@pytest.mark.parametrize(
    ("version", "upgrade"),
    [
        ([16, 11, 0], "18.6"),
        ([18, 5, 9], "18.6"),
        ([18, 6, 1], None),
        ([18, 6, 2], "18.8"),
        ([18, 7, 0], "18.8"),
        ([18, 8, 0], None),
        (None, None),
    ],
)
def test_a_version_that_does_not_look_for_it_is_not_refused(
    node: Node, version: list[int] | None, upgrade: str | None
) -> None:
    """It starts without; who upgrades it later reads why to do it first. A version that cannot be seen is none."""
    found, _ = node.run("prove", order(S3, write=False, version=version))
    if not upgrade:
        assert found["failed"] == "refused: its registry would not start again"
    else:
        said = found[f"lock file {FILESYSTEM} is in the storage"]
        assert said.startswith(f"no: GitLab {'.'.join(map(str, version or []))} does not look for it")
        assert f"before the upgrade to {upgrade} or later" in said


@DRIVERS
def test_a_registry_that_may_write_needs_nothing(node: Node, storage: dict[str, Any]) -> None:
    """It writes the file itself; but it does not start beside a database's, either."""
    assert node.run("prove", order(storage, write=True))[0] == {}
    found, _ = node.run("prove", order(storage, write=True), f"images/{DATABASE}")
    assert found["failed"] == "refused: a registry with a metadata database uses this storage"


def test_with_the_metadata_database_the_files_change_places(node: Node) -> None:
    """A registry with it needs its own file where it may not write, and stops before the other one."""
    database = {"host": "db", "name": "registry"}
    for write in (True, False):
        found, _ = node.run("prove", order(S3, write=write, database=database), f"images/{FILESYSTEM}")
        assert found["failed"] == "refused: the metadata of the images is not in the metadata database"
    found, _ = node.run("prove", order(S3, write=False, database=database))
    assert f"{DATABASE} is missing" in found["cause"]
    found, _ = node.run("prove", order(S3, write=False, database=database), f"images/{DATABASE}")
    assert found == {f"lock file {DATABASE} is in the storage": "yes"}


@pytest.mark.parametrize(
    ("place", "more"),
    [
        (None, {}),
        ({"driver": "swift", "place": ["k", "c", ""], "shown": "swift"}, {}),
        ({"driver": "oss", "place": [None, "b", ""], "shown": "oss"}, {}),
        (S3, {"registry_kind": "external"}),
        (GCS, {"roles": ["rails"]}),
    ],
)
def test_what_has_no_lock_files_is_not_asked_for_them(
    node: Node, place: dict[str, Any] | None, more: dict[str, Any]
) -> None:
    """Kept storage, drivers of Distribution, Distribution itself, a node without a registry's credentials."""
    assert node.run("prove", order(place, write=False, **more)) == ({}, [])


def test_a_web_node_refuses_with_the_registrys_node(node: Node) -> None:
    """It has the keys to S3: it need not wait for a registry that will not come. The other file is not its own."""
    web = order(S3, write=False, roles=["rails"])
    assert node.run("prove", web)[0] == {}
    assert "failed" in node.run("prove", web, f"images/{DATABASE}")[0]


def test_a_directory_of_its_own_is_looked_at_and_may_be_written(node: Node, tmp_path: Any) -> None:
    """Read-only mode keeps nobody from writing the lock file; a database's file is found."""
    disk = {"driver": "filesystem", "place": [str(tmp_path)[1:]], "shown": "filesystem"}
    assert node.run("prove", order(disk, write=False)) == ({}, [])
    file = tmp_path / DATABASE
    file.parent.mkdir(parents=True)
    file.write_text('{"version":1}')
    found, _ = node.run("prove", order(disk, write=True))
    assert found["cause"].startswith(f"{file} exists")


def test_s3_must_answer_the_primary_and_others_need_not(node: Node) -> None:
    """A primary that may not write is a failure; where the program cannot come in, the secondary finds out itself."""
    found, _ = node.run("write", order(S3, write=True), PUT=403)
    assert found["failed"] == "the proof failed: the storage refuses this site's key"
    assert f"put images/{FILESYSTEM} in s3://acme" in found["cause"]
    found, _ = node.run("write", order(S3, write=True, registry_kind="external"), HEAD=403)
    assert found["lock_file"].startswith("not written: a request to look for")
    found, _ = node.run("write", order(GCS, write=True), GET=403)
    assert found["lock_file"].startswith("not written: a request to look for")
    for storage, status in ((GCS, {"POST": 412}), (AZURE, {"PUT": 409})):
        assert node.run("write", order(storage, write=True), **status)[0] == {"lock_file": "written"}


def test_a_file_that_is_there_meanwhile_is_not_overwritten(node: Node) -> None:
    """Google and Azure are asked for that by the condition of the request."""
    _, asked = node.run("write", order(GCS, write=True))
    assert parse_qs(urlsplit(asked[-1]["url"]).query)["ifGenerationMatch"] == ["0"]
    assert urlsplit(asked[-1]["url"]).netloc == "storage.goog.example.com"
    _, asked = node.run("write", order(AZURE, write=True))
    assert asked[-1]["headers"]["If-None-Match"] == "*"


def test_s3_is_told_what_the_registry_says_of_its_objects(node: Node) -> None:
    """All of it signed, in the order that signatures want."""
    _, asked = node.run("write", order(S3, write=True))
    headers = asked[-1]["headers"]
    assert headers["x-amz-server-side-encryption"] == "AES256"
    signed = headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    assert signed == sorted(signed)
    assert {"x-amz-acl", "x-amz-server-side-encryption"} <= set(signed)


def test_googles_key_signs_the_request_for_a_token(node: Node) -> None:
    """As Google asks for it (OAuth 2.0 for service accounts); the storage is asked with the token."""
    _, asked = node.run("prove", order(GCS, write=False), FILESYSTEM)
    assert asked[0]["url"] == TOKEN_URI
    form = parse_qs(asked[0]["body"])
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    signed, _, signature = form["assertion"][0].rpartition(".")
    KEY.public_key().verify(
        base64.urlsafe_b64decode(signature + "=="), signed.encode(), padding.PKCS1v15(), hashes.SHA256()
    )
    claims = json.loads(base64.urlsafe_b64decode(signed.split(".")[1] + "=="))
    assert (claims["iss"], claims["aud"]) == (ACCOUNT["client_email"], TOKEN_URI)
    assert {a["headers"]["Authorization"] for a in asked[1:]} == {"Bearer the-token-of-it"}
    assert len(asked) == 3


def test_a_key_of_google_that_names_no_server_is_used_at_googles(node: Node) -> None:
    """As the registry's library does (golang.org/x/oauth2/google)."""
    bare = {key: value for key, value in ACCOUNT.items() if key != "token_uri"}
    _, asked = node.run(
        "prove", order(GCS, write=False, secrets={**SECRETS, "gcs_credentials": bare}), FILESYSTEM
    )
    assert asked[0]["url"] == TOKEN_URI
    assert {a["headers"]["Authorization"] for a in asked[1:]} == {"Bearer the-token-of-it"}


def test_a_key_file_that_is_not_there_is_said(node: Node) -> None:
    """It is on the node, or should be."""
    secrets = {**SECRETS, "gcs_credentials": None}
    found, _ = node.run("write", order({**GCS, "keyfile": "/nowhere.json"}, write=True, secrets=secrets))
    assert "no token: Errno::ENOENT (/nowhere.json)" in found["lock_file"]


@pytest.mark.parametrize(("verb", "method"), [("prove", "HEAD"), ("write", "PUT")])
def test_azure_is_asked_with_the_signature_of_the_accounts_key(node: Node, verb: str, method: str) -> None:
    """The same as another hand makes of the same request."""
    _, asked = node.run(
        verb, order({**AZURE, "place": ["a", "registry", "/"]}, write=verb == "write"), FILESYSTEM
    )
    if verb == "write":
        _, asked = node.run(verb, order({**AZURE, "place": ["a", "registry", "/"]}, write=True))
    sent = asked[-1]
    assert sent["method"] == method
    url = urlsplit(sent["url"])
    assert url.path == f"/registry/%2F{FILESYSTEM.replace('/', '%2F')}"
    headers = Message()
    for name, value in sent["headers"].items():
        headers[name] = value
    if sent["body"]:
        headers["Content-Length"] = str(len(sent["body"]))
    request = Request(method, url.netloc, url.path, headers, b"")
    assert sent["headers"]["Authorization"] == _signature(request, "acme", "a2V5")


@pytest.mark.parametrize(("kind", "url"), [
    ("client_secret", "https://login.microsoftonline.com/t-1/oauth2/v2.0/token"),
    ("default_credentials", "http://169.254.169.254/metadata/identity/oauth2/token"),
])  # fmt: skip
def test_azure_is_asked_with_the_token_of_an_application_or_instance_credentials(
    node: Node, kind: str, url: str
) -> None:
    """Signed in once for all requests."""
    _, asked = node.run("prove", order({**AZURE, "credentials_type": kind}, write=False), FILESYSTEM)
    assert asked[0]["url"].partition("?")[0] == url
    if kind == "client_secret":
        form = {name: values[0] for name, values in parse_qs(asked[0]["body"]).items()}
        assert form["client_secret"] == "s3cr3t-of-azure"
        assert form["scope"] == "https://storage.azure.com/.default"
    assert {a["headers"]["Authorization"] for a in asked[1:]} == {"Bearer the-token-of-it"}
    assert len(asked) == 3
