"""The parts of the program on the node that need no node: what it does to files, tokens and texts."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from config.storage_drivers import identity
from hosts.programs import GITLAB_NODE, VERIFY, gitlab_node, lean, source
from omnibus import node_files
from omnibus.created_site import TLS_CERTIFICATE, TLS_KEY
from omnibus.settings import SECRETS_FILE
from tests.configurations import certificate, deployment
from tests.docs import commands
from tests.examples import examples
from tests.ruby import Program
from tests.storages import Case, cases

RSA = (
    rsa.generate_private_key(65537, 2048)
    .private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    .decode()
)

NO_LOCALE = {"LC_ALL": "C", "PATH": os.environ["PATH"]}
LINES = st.sampled_from(
    [
        "external_url 'https://gitlab.example.com'",
        "registry['storage'] = { 's3' => { 'bucket' => 'old' } }",
        "from_file '/etc/gitlab/own.rb'",
        "# a comment about from_file '/etc/gitlab/geo-registry/settings.rb'",
        "",
        "   ",
        "gitlab_rails['x'] = 'ümläut'",
    ]
)
GITLAB_RB = st.builds(
    lambda lines, eol, end: eol.join(lines) + (eol if end else ""),
    st.lists(LINES, max_size=8),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
ADD = "->(text, added) { bytes, new = Include.add(text.b, added); [bytes.force_encoding('UTF-8'), new] }"
REMOVE = "->(text, added) { Include.remove(text.b, added).force_encoding('UTF-8') }"


@examples(300)
@given(text=GITLAB_RB)
def test_gitlab_rb_comes_back_byte_for_byte(ruby: Program, text: str) -> None:
    """Whatever its line ends and its last line, the include can be put in, put in again, and removed."""
    included, added = ruby.call(ADD, text, None)
    assert included.rstrip("\r\n").endswith("if File.exist?('/etc/gitlab/geo-registry/settings.rb')")
    assert included.startswith(text)
    assert ruby.call(ADD, included, added) == [included, added]
    assert ruby.call(REMOVE, included, added) == text


@examples(100)
@given(text=GITLAB_RB, more=st.lists(LINES, min_size=1, max_size=3).map("\n".join))
def test_lines_added_below_the_include_stay_and_it_moves_to_the_end(
    ruby: Program, text: str, more: str
) -> None:
    """An administrator who appends a line keeps it; the program's becomes the last one again."""
    included, added = ruby.call(ADD, text, None)
    moved, again = ruby.call(ADD, included + more + "\n", added)
    assert moved.count("from_file '/etc/gitlab/geo-registry/settings.rb' if") == 1
    assert moved.rstrip("\r\n").endswith("if File.exist?('/etc/gitlab/geo-registry/settings.rb')")
    assert more in ruby.call(REMOVE, moved, again)


@pytest.fixture
def change(ruby: Program, tmp_path: Path) -> Path:
    """A folder for the journal of changes, instead of the node's."""
    redirect = (
        "FileTransaction.send(:remove_const, :DIRECTORY); FileTransaction.send(:remove_const, :JOURNAL); "
    )
    set_up = f"->(d) {{ {redirect} FileTransaction::DIRECTORY = d; FileTransaction::JOURNAL = d + '/journal.json'; true }}"
    ruby.call(set_up, str(tmp_path / "own"))
    return tmp_path


MAKE = "->(a, bytes, b) { FileTransaction.write({ a => bytes, b => 'new' }, { b => 0o600 }, { 'x' => 'y' }, { 'since' => 7.0 }); true }"


def test_several_files_change_together_or_not_at_all(ruby: Program, change: Path) -> None:
    """What a cut-off change left is rolled back by the next run: contents, modes, links and absence."""
    old, new = change / "gitlab.rb", change / "settings.rb"
    old.write_text("before")
    old.chmod(0o640)
    link = change / "link.rb"
    link.symlink_to(old)
    ruby.call(MAKE, str(link), "after", str(new))
    assert (old.read_text(), new.read_text()) == ("after", "new")
    assert link.is_symlink()
    assert (old.stat().st_mode & 0o777, new.stat().st_mode & 0o777) == (0o640, 0o600)
    assert ruby.call("-> { FileTransaction.recover }") is True
    assert old.read_text() == "before"
    assert old.stat().st_mode & 0o777 == 0o640
    assert not new.exists()
    assert sorted(p.name for p in change.iterdir()) == ["gitlab.rb", "link.rb", "own"]
    # Until a change has come to its end everybody who follows must know of it.
    assert ruby.call("-> { FileTransaction.recover }") is True
    journal = json.loads((change / "own/journal.json").read_text())
    assert journal == {"files": [], "section": {"x": "y"}, "since": 7.0}


def test_a_change_that_cannot_be_written_leaves_the_journal_of_the_run_before(
    ruby: Program, change: Path
) -> None:
    """A disk that fills up must not make anybody forget what a cut-off run left; where there was none there is none."""
    old, new = change / "gitlab.rb", change / "settings.rb"
    old.write_text("before")
    journal = change / "own/journal.json"
    full = """->(a, b) {
      replace = Files.method(:replace)
      Files.define_singleton_method(:replace) { |*_, **_| raise Errno::ENOSPC }
      begin FileTransaction.write({ a => 'x', b => 'new' }, {}, {}, { 'since' => 9.0 })
      rescue Errno::ENOSPC then 'full'
      ensure Files.define_singleton_method(:replace, replace) end
    }"""
    assert ruby.call(full, str(old), str(new)) == "full"
    assert not journal.exists()
    ruby.call(MAKE, str(old), "after", str(new))
    ruby.call(RECOVER)
    assert ruby.call(full, str(old), str(new)) == "full"
    assert journal.exists()
    assert (old.read_text(), new.exists()) == ("before", False)
    assert ruby.call(RECOVER) is True
    assert old.read_text() == "before"


def test_what_an_administrator_writes_after_a_cut_off_run_is_theirs(ruby: Program, change: Path) -> None:
    """Only our line is removed of a gitlab.rb that was edited since."""
    gitlab_rb = change / "gitlab.rb"
    gitlab_rb.write_text("external_url 'x'\n")
    included, _ = ruby.call(ADD, "external_url 'x'\n", None)
    ruby.call(MAKE, str(gitlab_rb), included, str(change / "settings.rb"))
    gitlab_rb.write_text("# edited\n" + gitlab_rb.read_text())
    assert ruby.call("-> { FileTransaction.recover }") is True
    assert gitlab_rb.read_text() == "# edited\nexternal_url 'x'\n"


MOUNTED = """->(mounted, code, *args) {
  rename = File.method(:rename)
  File.define_singleton_method(:rename) { |from, to| to == mounted ? raise(Errno::EBUSY, to) : rename.call(from, to) }
  begin eval(code).call(*args) ensure File.define_singleton_method(:rename, rename) end
}"""
"""A lambda with a file that is mounted by itself, as a container has its gitlab.rb."""
RECOVER = "-> { FileTransaction.recover }"


def test_a_mounted_gitlab_rb_is_written_in_place_and_comes_back(ruby: Program, change: Path) -> None:
    """Inode, owner and mode stay, and nothing is left beside it; so too after a run that was cut off."""
    gitlab_rb, new = change / "gitlab.rb", change / "settings.rb"
    gitlab_rb.write_text("before\n")
    gitlab_rb.chmod(0o640)
    inode = gitlab_rb.stat().st_ino
    end = (
        MAKE.replace("true }", "File.read(a) }")
        .replace("FileTransaction.write(", "c = FileTransaction.write(")
        .replace("; File", "; c.commit; File")
    )
    assert (
        ruby.call(MOUNTED, str(gitlab_rb), end, str(gitlab_rb), "before\nours\n", str(new))
        == "before\nours\n"
    )
    assert (gitlab_rb.stat().st_ino, gitlab_rb.stat().st_mode & 0o777) == (inode, 0o640)
    assert sorted(p.name for p in change.iterdir()) == ["gitlab.rb", "own", "settings.rb"]
    ruby.call(MOUNTED, str(gitlab_rb), MAKE, str(gitlab_rb), "before\nours, too\n", str(new))
    assert ruby.call(MOUNTED, str(gitlab_rb), RECOVER) is True
    assert (gitlab_rb.read_text(), gitlab_rb.stat().st_ino) == ("before\nours\n", inode)
    assert sorted(p.name for p in change.iterdir()) == ["gitlab.rb", "own", "settings.rb"]


def test_a_journal_of_a_file_that_is_mounted_since_is_ended(ruby: Program, change: Path) -> None:
    """A file that could be renamed onto when the change began, and that only its content can restore now."""
    gitlab_rb = change / "gitlab.rb"
    gitlab_rb.write_text("before\n")
    former = change / ".gitlab.rb.geo-registry-former"
    former.write_text("before\n")
    (change / "own").mkdir()
    entry = {"path": str(gitlab_rb), "former": str(former), "written": "0" * 64}
    (change / "own/journal.json").write_text(json.dumps({"files": [entry], "section": {}}))
    assert ruby.call(MOUNTED, str(gitlab_rb), RECOVER) is True
    assert gitlab_rb.read_text() == "before\n"
    assert not former.exists()


@pytest.mark.parametrize(
    ("found", "left"),
    [
        ("before\nours\n", "before\n"),  # Cut off after the write,
        ("before\nou", "before\n"),  # in the middle of it,
        ("before\n\0\0\0\0\0", "before\n"),  # before the disk had the last block,
        ("before\n", "before\n"),  # before the write.
        ("theirs\n", "theirs\n"),
    ],
)
def test_a_write_in_place_that_was_cut_off_is_taken_back(
    ruby: Program, change: Path, found: str, left: str
) -> None:
    """Whatever stands in the file then, unless somebody has written it since."""
    gitlab_rb = change / "gitlab.rb"
    gitlab_rb.write_text("before\n")
    ruby.call(MOUNTED, str(gitlab_rb), MAKE, str(gitlab_rb), "before\nours\n", str(change / "settings.rb"))
    gitlab_rb.write_text(found)
    assert ruby.call(MOUNTED, str(gitlab_rb), RECOVER) is True
    assert gitlab_rb.read_text() == left
    assert sorted(p.name for p in change.iterdir()) == ["gitlab.rb", "own"]


def test_a_failed_write_in_place_leaves_what_was_there(ruby: Program, change: Path) -> None:
    """A full disk in the middle of it."""
    gitlab_rb = change / "gitlab.rb"
    gitlab_rb.write_text("before\n")
    full = """->(path, bytes, other) {
      write = InPlace.method(:overwrite)
      InPlace.define_singleton_method(:overwrite) { |at, text|
        if text == bytes then write.call(at, text[0, 9]); raise Errno::ENOSPC, at end
        write.call(at, text)
      }
      begin FileTransaction.write({ path => bytes, other => 'new' }, {}, {})
      rescue Errno::ENOSPC then 'full'
      ensure InPlace.define_singleton_method(:overwrite, write); InPlace.send(:private_class_method, :overwrite) end
    }"""
    arguments = (str(gitlab_rb), "before\nours\n", str(change / "settings.rb"))
    assert ruby.call(MOUNTED, str(gitlab_rb), full, *arguments) == "full"
    assert gitlab_rb.read_text() == "before\n"
    assert sorted(p.name for p in change.iterdir()) == ["gitlab.rb"]


def test_a_secrets_json_that_is_mounted_is_completed_by_the_next_run(ruby: Program, tmp_path: Path) -> None:
    """It has all of GitLab's secrets in it, and no journal knows of it."""
    file = tmp_path / "gitlab-secrets.json"
    file.write_text('{"a": 1}')
    write = "->(path, bytes) { Files.write(path, bytes, mode: 0o600); Dir.children(File.dirname(path)) }"
    assert ruby.call(MOUNTED, str(file), write, str(file), '{"a": 2}') == ["gitlab-secrets.json"]
    assert file.read_text() == '{"a": 2}'
    cut = """->(path, bytes) { InPlace.send(:keep, path, File.binread(path), bytes); InPlace.send(:overwrite, path, bytes[0, 6]); true }"""
    ruby.call(cut, str(file), '{"b": "much longer"}')
    complete = "->(path) { InPlace.complete(path); Dir.children(File.dirname(path)) }"
    assert ruby.call(complete, str(file)) == ["gitlab-secrets.json"]
    assert file.read_text() == '{"b": "much longer"}'


HEREDOC = "gitlab_rails['x'] = <<~TEXT\n  Welcome.\n__END__\n  Of this.\nTEXT\n"


@pytest.mark.parametrize(
    ("text", "end"),
    [
        (HEREDOC, None),
        ("x = %q(\n__END__\n)\n", None),
        ("=begin\n__END__\n=end\nx = 1\n", None),
        (" __END__ = 1\n", None),
        ("__END__ # not alone\n", None),
        ("x = 1\n__END__\nregistry['x']\n", "line 2, __END__"),
        ("x = 1\r\n__END__\r\n", "line 2, __END__"),
        (f"{HEREDOC}__END__\n", "line 6, __END__"),
        ("__END__", "line 1, __END__"),
        ("# caf\u00e9\nx = 1\x1a\ny = 2\n", "line 2, which contains a control character"),
        ("x = 1\0\n", "line 1, which contains a control character"),
        ("x = (\n", None),  # No Ruby at all, which is said elsewhere.
    ],
)
def test_what_ends_a_gitlab_rb_early_is_what_ruby_takes_for_its_end(
    ruby: Program, text: str, end: str | None
) -> None:
    """__END__ within a text, a comment or a name ends nothing."""
    assert ruby.call("->(text) { Omnibus.early_end(text.b) }", text) == end


def test_a_token_is_signed_as_rails_signs_it(ruby: Program) -> None:
    """RS256, the kid of libtrust, and only the permissions asked for."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()
    der = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    kid = base64.b32encode(hashlib.sha256(der).digest()[:30]).decode()
    token = ruby.call("->(pem) { Token.new(pem, 'omnibus-gitlab-issuer').for('a/b', %w[pull]) }", pem)
    head, claims = (json.loads(base64.urlsafe_b64decode(p + "==")) for p in token.split()[1].split(".")[:2])
    assert head == {"alg": "RS256", "typ": "JWT", "kid": ":".join(kid[i : i + 4] for i in range(0, 48, 4))}
    assert claims["access"] == [{"type": "repository", "name": "a/b", "actions": ["pull"]}]
    assert (claims["iss"], claims["aud"]) == ("omnibus-gitlab-issuer", "container_registry")
    assert claims["exp"] - claims["iat"] == 300


class Metadata(BaseHTTPRequestHandler):
    """An instance metadata service, version 2: what shows no token is refused."""

    def do_PUT(self) -> None:
        self.answer(200 if self.headers.get("X-aws-ec2-metadata-token-ttl-seconds") else 400, "a-token")

    def do_GET(self) -> None:
        known = {"": "tokyo-instances", "tokyo-instances": json.dumps(CREDENTIALS)}
        name = self.path.removeprefix("/latest/meta-data/iam/security-credentials/")
        allowed = self.headers.get("X-aws-ec2-metadata-token") == "a-token"
        self.answer(200 if allowed and name in known else 401, known.get(name, ""))

    def answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing in the output."""


CREDENTIALS = {
    "AccessKeyId": "ASIAEXAMPLE",
    "SecretAccessKey": "s3cr3t-of-the-instance",
    "Token": "t0ken-of-the-instance",
}


def test_a_servers_own_credentials_are_fetched_with_a_token_and_hidden(ruby: Program) -> None:
    """From where the AWS SDKs look; what is fetched is blotted out of whatever is shown."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    at = f"http://127.0.0.1:{server.server_port}"
    ask = "->(at) { ENV['AWS_EC2_METADATA_SERVICE_ENDPOINT'] = at; InstanceProfile.credentials }"
    found = {
        "access_key": "ASIAEXAMPLE",
        "secret_key": "s3cr3t-of-the-instance",
        "token": "t0ken-of-the-instance",
    }
    assert ruby.call(ask, at) == [200, found]
    assert ruby.call("->(t) { Report.hide(t) }", "token t0ken-of-the-instance") == "token [secret]"
    server.shutdown()
    server.server_close()
    assert ruby.call(ask, at)[0] == 0


def test_a_new_server_is_given_a_pair_as_omnibus_makes_it(ruby: Program) -> None:
    """RSA-4096, self-signed, CN=Registry, ten years; both halves belong together."""
    key, pem = ruby.call("-> { Omnibus.generate_key_pair }")
    certificate = x509.load_pem_x509_certificate(pem.encode())
    assert certificate.subject == certificate.issuer
    assert "CN=Registry" in certificate.subject.rfc4514_string()
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days == 3650
    public = certificate.public_key()
    assert isinstance(public, rsa.RSAPublicKey) and public.key_size == 4096
    assert ruby.call("->(k, c) { Omnibus.pair?(k, c) }", key, pem) is True


def test_secrets_are_blotted_out_of_whatever_is_shown(ruby: Program) -> None:
    """Whole values, and each line of a key: chef's output shows changed files line by line."""
    hide = "->(data, text) { Report.redact(data); Report.hide(text) }"
    pem = "-----BEGIN X-----\nMIIEpAIBAAKCAQEA0123456789\n-----END X-----\n"
    shown = ruby.call(
        hide, {"a": ["s3cr3t-value"], "b": {"key": pem}}, f"+ token s3cr3t-value\n+ {pem.splitlines()[1]}"
    )
    assert shown == "+ token [secret]\n+ [secret]"


@pytest.mark.parametrize(
    ("config", "driver", "place"),
    [
        (
            {"s3_v2": {"bucket": "b", "region": "r", "rootdirectory": "/x/"}, "delete": {}},
            "s3",
            [None, "b", "x"],
        ),
        ({"s3": {"bucket": "b", "regionendpoint": "https://m"}, "cache": {}}, "s3", ["m", "b", ""]),
        (
            {"s3": {"bucket": "b", "regionendpoint": "https://S3.eu-west-1.amazonaws.com/"}},
            "s3",
            [None, "b", ""],
        ),
        ({"gcs": {"bucket": "g"}}, "gcs", ["g", ""]),
        (
            {"azure_v2": {"container": "c", "accountname": "a"}},
            "azure",
            ["a.blob.core.windows.net", "c", ""],
        ),
        (
            {"azure": {"container": "c", "accountname": "a", "realm": "R.cn", "legacyrootprefix": True}},
            "azure",
            ["a.blob.r.cn", "c", "/"],
        ),
        (
            {"azure_v2": {"container": "c", "serviceurl": "https://A.b.net:1/", "rootdirectory": "/x"}},
            "azure",
            ["a.b.net:1", "c", "x"],
        ),
        (
            {"swift": {"container": "c", "authurl": "https://K/v3/", "prefix": "p/"}},
            "swift",
            ["k", "c", "p"],
        ),
        (
            {"oss": {"bucket": "b", "endpoint": "oss-cn-a-internal.aliyuncs.com"}},
            "oss",
            [None, "b", ""],
        ),
        ({"oss": {"bucket": "b", "endpoint": "o.example.com"}}, "oss", ["o.example.com", "b", ""]),
        ({"s3": {"bucket": "b", "regionendpoint": "http://M.:80/"}}, "s3", ["m", "b", ""]),
        ({"s3": {"bucket": "b", "regionendpoint": "https://m:9000"}}, "s3", ["m:9000", "b", ""]),
        ({"s3": {"bucket": "b", "regionendpoint": "http://[FD00:0::1]:80/"}}, "s3", ["[fd00::1]", "b", ""]),
        (
            {"s3_v2": {"bucket": "b", "regionendpoint": "https://s3.mx-central-1.amazonaws.com"}},
            "s3",
            [None, "b", ""],
        ),
        ({"gcs": {"bucket": "g", "universe_domain": "U.goog"}}, "gcs", ["g", "", "u.goog"]),
        ({"gcs": {"bucket": "g", "universe_domain": "googleapis.com"}}, "gcs", ["g", ""]),
        (
            {"s3": {"bucket": "b", "regionendpoint": "https://vpce-1.s3.eu-west-1.vpce.amazonaws.com"}},
            "s3",
            [None, "b", ""],
        ),
    ],
)
def test_where_images_are_is_told_the_same_for_one_storage(
    ruby: Program, config: dict[str, Any], driver: str, place: list[Any]
) -> None:
    """Old and new names of a driver and slashes around a path make no difference."""
    found = ruby.call("->(s) { Storage.identity({ 'storage' => s }) }", config)
    assert found == {"driver": driver, "place": place}


@examples(200)
@given(case=cases())
def test_the_node_finds_images_where_the_configuration_says(ruby: Program, case: Case) -> None:
    """For every driver: what is rendered and then read back on the node is the place that was meant, so the same
    settings again are no move; another bucket, container or directory is one, reported from where and to where.
    """
    d = deployment(case.raw)
    for site, keys in case.meant.items():
        driver = d.driver_of(site)
        assert driver
        order = {"storage": {**identity.identity(driver), "shown": identity.shown(driver)}}
        move = "->(o, c) { Storage.move(o, Storage.identity({ 'storage' => c })) }"
        assert ruby.call(move, order, {case.driver[site]: keys, "cache": {}}) is None
        name = next(n for n in ("bucket", "container", "rootdirectory") if n in keys)
        reported = ruby.call(move, order, {case.driver[site]: {**keys, name: "/elsewhere"}})
        assert reported == f"from {driver.driver} {reported.split(' ')[2]} to {identity.shown(driver)}"


def test_storage_rights_are_tried_for_s3_and_otherwise_said_not_to_have_been(ruby: Program) -> None:
    """Nothing is reported as proven that was not."""
    order = {
        "site": "tokyo",
        "storage": {"driver": "gcs", "shown": "gcs acme", "place": ["acme", ""], "write": False},
    }
    [(check, answer)] = ruby.call("->(o) { Storage.permissions(o) }", order).items()
    assert "gcs acme" in check and answer.startswith("not tested")


def test_a_stated_directory_must_be_on_the_servers_own_disk(ruby: Program, tmp_path: Path) -> None:
    """One that another site could mount as well is refused."""
    order = {
        "site": "tokyo",
        "storage": {"driver": "filesystem", "place": [str(tmp_path)[1:]], "write": True},
    }
    prove = "->(o) { Storage.permissions(o) }"
    assert ruby.call(prove, order) == {f"directory {tmp_path} is on this node's local disk": "yes"}
    mounted = (
        "->(o) { own = Storage.method(:directory); "
        "Storage.define_singleton_method(:directory) { |at| ['nfs:/export', at] }; "
        "begin; Storage.permissions(o); rescue Failure => e; e.cause_text; "
        "ensure; Storage.define_singleton_method(:directory, own); end }"
    )
    assert "it is on nfs:/export, and another site may" in ruby.call(mounted, order)


def test_one_export_mounted_at_two_places_is_one_storage(ruby: Program) -> None:
    """What counts is the path on the network file system, not where a host has mounted it."""
    place = "->(source, target, path) { Storage.on_network(source, target, path) }"
    here = ruby.call(place, "nfs:/export", "/var/opt/registry", "/var/opt/registry/images")
    assert here == ruby.call(place, "nfs:/export", "/mnt", "/mnt/images") == ["nfs:/export", "images"]
    assert ruby.call(place, "nfs:/export", "/mnt", "/mnt/others") != here


@pytest.mark.parametrize(
    ("answers", "last", "least", "most"),
    [
        ([404], 404, 0, 0),
        # A refusal may be for a moment, and a service that starts is waited for.
        ([401, 404], 404, 0, 3),
        ([401], 401, 3, 5),
        ([403], 403, 3, 5),
        ([0, 502, 404], 404, 0, 5),
        ([0], 0, 60, 62),
        ([502], 502, 300, 302),
        ([405], 405, 0, 0),
    ],
)
def test_an_answer_is_waited_for_as_long_as_it_may_change(
    ruby: Program, answers: list[int], last: int, least: float, most: float
) -> None:
    """The last answer stays; half a second passes between two of them, by a clock of the test's."""
    order = {"node": "tokyo-1", "issuer": "x", "secrets": {"registry_key": RSA}}
    code = """->(order, answers) {
      now = 0.0
      Omnibus.define_singleton_method(:now) { now }
      Http.define_singleton_method(:sleep) { |seconds| now += seconds }
      begin
        $stderr = StringIO.new
        ask = -> { [answers.size > 1 ? answers.shift : answers.first, 'x'] }
        code, = Verification.new(order).send(:settled, 'https://registry.london.example.com', starting: 300, &ask)
        [code, now, $stderr.string]
      ensure
        $stderr = STDERR
        Omnibus.define_singleton_method(:now) { Process.clock_gettime(Process::CLOCK_MONOTONIC) }
        Http.singleton_class.remove_method(:sleep)
      end
    }"""
    status, seconds, reported = ruby.call(code, order, answers)
    assert status == last
    assert least <= seconds <= most
    assert ("tokyo-1: waiting for https://registry.london" in reported) is (seconds > 5.5)


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (405, None),
        (202, "the registry of this secondary accepts pushes"),
        (502, "the registry of tokyo does not accept its own token"),
    ],
)
def test_replication_is_not_switched_on_beside_a_registry_that_may_write(
    ruby: Program, answer: int, what: str | None
) -> None:
    """On a node whose registry is elsewhere, before anything is written there; without replication nobody asks."""
    order = {
        "node": "tokyo-2", "site": "tokyo", "kind": "secondary", "roles": ["rails", "sidekiq"], "issuer": "x",
        "registry_url": "https://registry.tokyo.example.com", "registry_kind": "omnibus", "read_only": True,
        "replication": True, "files": {}, "secrets": {"registry_key": RSA},
    }  # fmt: skip
    code = """->(order, answer) {
      now = 0.0
      Omnibus.define_singleton_method(:now) { now }
      Http.define_singleton_method(:sleep) { |seconds| now += seconds }
      asked = []
      own = Http.method(:call)
      Http.define_singleton_method(:call) do |method, url, headers: {}, **_|
        asked << method
        forged = asked.size == 2
        status = method == 'post' ? answer : (forged ? 401 : 404)
        status = 502 if answer == 502
        [status, 'NAME_UNKNOWN', {}]
      end
      begin
        Proof.new(order).refuse_writable_registry
        [nil, asked]
      rescue Failure => e
        [e.message, asked]
      ensure
        Http.define_singleton_method(:call, own)
        Http.singleton_class.remove_method(:sleep)
        Omnibus.define_singleton_method(:now) { Process.clock_gettime(Process::CLOCK_MONOTONIC) }
      end
    }"""
    said, asked = ruby.call(code, order, answer)
    assert said == (what and f"the proof failed: {what}")
    assert ("post" in asked) is (answer != 502)
    for other in (
        {"replication": False},
        {"read_only": False},
        {"registry_kind": "manual"},
        {"roles": ["rails", "registry"]},
    ):
        assert ruby.call(code, {**order, **other}, 202) == [None, []]


def test_a_forged_token_differs_from_the_right_one_in_its_signature_only(ruby: Program) -> None:
    """Its header names the right key: a registry that only looks for that would take it."""
    made = "->(key) { [Token, ForgedToken].map { |kind| kind.new(key, 'x').for('a/b', %w[pull]) } }"
    right, forged = (token.removeprefix("Bearer ").split(".") for token in ruby.call(made, RSA))
    key = serialization.load_pem_private_key(RSA.encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    assert right[0] == forged[0]

    def check(token: list[str]) -> None:
        signature = base64.urlsafe_b64decode(token[2] + "==")
        signed = f"{token[0]}.{token[1]}".encode()
        key.public_key().verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())

    check(right)
    with pytest.raises(InvalidSignature):
        check(forged)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        (b"external_url 'https://a'\n", True),
        (b"# Z\xfcrich\nexternal_url 'https://a'\n", True),
        (b"\xef\xbb\xbfexternal_url 'https://a'\n", True),
        (b"# encoding: iso-8859-1\r\na = 'Z\xfcrich'\r\n", True),
        (b"a = 'Z\xfcrich'\n", False),
        (b"# encoding: none-such\na = 1\n", False),
        (b"a = { 'x' => 1, 'x' => 2 }\nb = 1 if a == nil\n", True),
        (b"=begin\n(\n=end\na = <<E\n(\nE\n", True),
        (b"a = 1\nb = (\n", False),
        (b"return\n", True),
        (b"", True),
    ],
)
def test_gitlab_rb_is_judged_as_ruby_judges_it(
    ruby: Program, tmp_path: Path, text: bytes, valid: bool
) -> None:
    """Without a Ruby process for it; the lines that are shown are its lines."""
    file = tmp_path / "gitlab.rb"
    file.write_bytes(text)
    checked = subprocess.run(["ruby", "-c", file], capture_output=True, check=False, env=NO_LOCALE)
    assert (checked.returncode == 0) is valid
    why = ruby.call("->(path) { Omnibus.syntax_error(File.binread(path)) }", str(file))
    assert (why is None) is valid
    assert valid or "line " in why or "none-such" in why


def test_a_line_of_gitlab_rb_is_not_shown_with_its_error(ruby: Program) -> None:
    text = "gitlab_rails['db_password'] = 'hunter2hunter2\na = (\n"
    why = ruby.call("->(text) { Omnibus.syntax_error(text) }", text)
    assert why
    assert "hunter2" not in why


def test_the_program_is_valid_ruby_without_warnings() -> None:
    """sshd hands over no locale."""
    checked = subprocess.run(
        ["ruby", "-wc", "-"], input=lean(source()), capture_output=True, text=True, check=False, env=NO_LOCALE
    )
    assert (checked.stdout.strip(), checked.stderr) == ("Syntax OK", "")


SAME = """
one, other = $stdin.read.split("\\0").map { |text| RubyVM::InstructionSequence.compile(text).to_a }
puts one == other
"""


def test_the_program_without_comments_is_the_same_to_ruby() -> None:
    """Every instruction is the same and reports the same line number."""

    def same(one: str, other: str) -> str:
        both = f"{one}\0{other}"
        return subprocess.run(
            ["ruby", "-e", SAME], input=both, capture_output=True, text=True, check=True, env=NO_LOCALE
        ).stdout.strip()

    sent = lean(source())
    assert len(sent) < len(source())
    assert same(source(), sent) == "true"
    assert same(source(), sent.replace("EX_LOCK", "").replace("0o600", "0o644", 1)) == "false"


def test_the_program_runs_as_it_is_sent() -> None:
    """It reads its payload behind its own text, and an error names the line of the source."""
    done = subprocess.run(
        ["ruby", "--disable-gems", "-"],
        input=f'{gitlab_node()}{{"node": "london-1", "site": "london"}}',
        capture_output=True,
        text=True,
        check=False,
        env=NO_LOCALE,
    )
    line = source().splitlines().index("  Report.result(Main.new(order).run(ARGV.fetch(0)))") + 1
    assert (done.returncode, done.stdout) == (1, "")
    assert "london-1 (site london): the program stopped" in done.stderr
    assert f"gitlab_node:{line}:" in done.stderr


def test_both_programs_know_one_directory() -> None:
    """The settings read their secrets where the program on the node keeps its journal."""
    said = re.findall(r"^  DIRECTORY = '(.+)'$", source(("files",)), re.MULTILINE)
    assert said == [node_files.DIRECTORY]
    for path in (SECRETS_FILE, TLS_CERTIFICATE, TLS_KEY):
        assert path.rpartition("/")[0] == node_files.DIRECTORY


def test_what_nodes_run_can_be_read() -> None:
    """It is sent compressed: the command of the decision prints what is in it."""
    (command,) = commands("adr/0011-program-sent-compressed.md")
    printed = subprocess.run(
        ["sh", "-c", command], cwd=GITLAB_NODE.parents[1], capture_output=True, text=True, check=True
    )
    assert printed.stdout == f"{lean(source())}\n"
    packed = re.search(r"Zlib\.inflate\('([^']+)'", gitlab_node())
    assert packed and zlib.decompress(base64.b64decode(packed[1])).decode() == lean(source())


def test_the_files_of_verification_are_enough_for_it() -> None:
    """It succeeds, fails with each cause, and notifies GitLab of what is left; a constant of another file would end it."""
    code = r"""
      Warning[:experimental] = false
      program, payload = $stdin.read.split("\0")
      eval(program.sub(/^%w\[HUP.*/m, ''), TOPLEVEL_BINDING)
      results = JSON.parse(payload).map do |order, answers, down|
        now = 0.0
        Omnibus.define_singleton_method(:now) { now }
        Http.define_singleton_method(:sleep) { |seconds| now += seconds }
        Events.define_singleton_method(:endpoint) { { 'url' => 'https://gitlab/api/events', 'headers' => {} } }
        Files.define_singleton_method(:read) { |path| path == Events::PENDING ? '{"images":[["a/b","1","push"]]}' : nil }
        FileUtils.define_singleton_method(:rm_f) { |_| nil }
        asked = Hash.new(0)
        Http.define_singleton_method(:call) do |method, url, **_|
          if down
            why = Unreached.of(SocketError.new('getaddrinfo'), URI(url), 15)
            next [0, why.text, why]
          end
          kind = url.include?('/api/') ? 'events' : method
          [answers[kind][asked[kind]] || answers[kind].last, 'NAME_UNKNOWN', {}].tap { asked[kind] += 1 }
        end
        main = Main.new(order)
        main.instance_variable_set(:@state, {})
        $stderr = StringIO.new
        begin
          main.send(:verify)
        rescue StandardError => e
          Failure.from(e).message
        ensure
          $stderr = STDERR
        end
      end
      puts JSON.generate(results)
    """
    order = {
        "node": "london-1", "site": "london", "kind": "primary", "roles": ["rails", "registry"], "issuer": "x",
        "registry_url": "https://registry.london.example.com", "registry_kind": "omnibus", "read_only": False,
        "primary": {
            "site": "london", "external_url": "https://gitlab.london.example.com",
            "events_url": "https://gitlab.london.example.com/api/v4/container_registry_event/events",
            "registry_url": "https://registry.london.example.com", "registry_kind": "omnibus",
        },
        "secrets": {"registry_key": RSA, "registry_certificate": certificate("registry")["certificate"], "notification_secret": "x" * 32},
    }  # fmt: skip
    apart = order | {"roles": ["rails"]}
    away = apart | {"kind": "secondary", "site": "tokyo"}
    fine = {"get": [404, 401, 404, 401], "post": [401], "events": [200, 401, 200]}
    cases = [
        (order, fine, False), (apart, fine, False), (away, fine, False),
        (order, fine, True), (apart, fine, True), (away, fine, True),
        (away, fine | {"get": [404, 401, 401]}, False),
    ]  # fmt: skip
    done = subprocess.run(
        ["ruby", "-rjson", "-rstringio", "-e", code],
        input=f"{lean(source(VERIFY))}\0{json.dumps(cases)}",
        capture_output=True,
        text=True,
        check=True,
        env=NO_LOCALE,
    )
    works, beside, elsewhere, *failed = json.loads(done.stdout)
    assert works["events"] == {"notified_again": 1, "not_notified": []}
    assert "own registry accepts a token signed with the key" in beside["proof"]
    assert "london's registry refuses a push with it" in elsewhere["proof"]
    assert failed == [
        "verification failed: GitLab does not accept the registry's notifications",
        "verification failed: the registry of london does not accept its own token",
        "verification failed: the registry of tokyo does not accept its own token",
        "verification failed: london's registry refuses a token signed with this stack's key",
    ]


SAYS = r"""
ARGV.each { |file| require file }
latin = "caf\xE9".b + " \u2026".b
Report.redact('password' => "g\u00fcltig-secret")
error = Failure.new('a-code', "a \xFF", cause: latin + " g\u00fcltig-secret".b, remedy: 'x')
Report.say(latin)
Report.failure({ 'node' => 'tokyo-1', 'site' => 'tokyo' }, error.with_state("\xE9".encode('UTF-8', 'ISO-8859-1')))
Report.result('proof' => { latin => [latin, 1, nil, true] }, :sym => :bol)
"""


def test_whatever_is_shown_is_utf_8() -> None:
    """What is not cannot be passed on by the provider, which fails the run after it has ended well."""
    files = [str(GITLAB_NODE / name) for name in ("report.rb", "failure.rb")]
    environment = {**NO_LOCALE, "LC_ALL": "de_DE.ISO-8859-1"}
    for env in (NO_LOCALE, environment):
        done = subprocess.run(
            ["ruby", "-", *files], input=SAYS.encode(), env=env, capture_output=True, check=True
        )
        said = done.stderr.decode()
        assert (
            "caf\ufffd \u2026" in said
            and "cause: caf\ufffd \u2026 [secret]" in said
            and "state: \u00e9" in said
        )
        shown = json.loads(done.stdout.decode())
        assert shown == {"proof": {"caf\ufffd \u2026": ["caf\ufffd \u2026", 1, None, True]}, "sym": "bol"}
