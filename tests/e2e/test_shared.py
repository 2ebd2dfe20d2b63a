"""Shared storage, from two sites of their own to one registry at both, and back. Tests build on each other."""

from __future__ import annotations

import json
import re
import threading
import time

import boto3
import pytest

from lab.api import Lab
from lab.host import Host
from lab.registry import SkopeoError
from tests.e2e.stack import GITLAB_RB, OURS, Stack, files, secrets, settle

BUCKET = "acme-gitlab-registry"
PAUSE = "/var/opt/gitlab/geo-postgresql/pause-between-listings"
SIDEKIQ = "/var/log/gitlab/sidekiq/current"
STATES = "/var/opt/gitlab/geo-postgresql"


@pytest.fixture(scope="module")
def former(london: Host, tokyo: Host) -> dict[str, dict[str, bytes]]:
    """What the administrators had before the first `up`."""
    secrets_json = "/etc/gitlab/gitlab-secrets.json"
    return {h.name: {**files(h), secrets_json: h.read(secrets_json)} for h in (london, tokyo)}


@pytest.fixture(scope="module")
def seen_while_applying(
    existing: Stack, former: dict[str, dict[str, bytes]], london: Host, tokyo: Host
) -> dict[str, str]:
    """The first `up`, with what `ps` showed on the nodes while it ran, and what it printed."""
    assert former
    for host in (london, tokyo):
        host.write("/opt/gitlab/etc/lab.json", b'{"reconfigure_seconds": 1.5, "registry_key_bits": 2048}')
    seen: list[str] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.extend(line for host in (london, tokyo) for line in host.processes())
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    preview = existing.preview("--diff")
    try:
        output = existing.up()
    finally:
        done.set()
        watcher.join()
    for host in (london, tokyo):
        host.write("/opt/gitlab/etc/lab.json", b'{"reconfigure_seconds": 0.3, "registry_key_bits": 2048}')
    return {"preview": preview, "up": output, "ps": "\n".join(seen)}


def test_up_configures_and_proves_both_sites(seen_while_applying: dict[str, str], existing: Stack) -> None:
    """The outputs say what there is, and what was proven on each node."""
    outputs = existing.outputs()
    assert outputs["sites"]["london"]["role"] == "primary"
    assert outputs["sites"]["tokyo"]["storage"] == f"s3://{BUCKET}"
    assert outputs["sites"]["tokyo"]["read_only"] is True
    assert outputs["sites"]["tokyo"]["nodes"] == {"tokyo-1": "10.20.0.11"}
    prints = {site["key_fingerprint"] for site in outputs["sites"].values()}
    assert len(prints) == 1 and re.fullmatch(r"[0-9a-f]{64}", prints.pop())
    checks = outputs["proof"]["tokyo"]["tokyo-1"]
    assert checks["own registry refuses a push (read-only)"] == "405"
    assert checks[f"storage s3://{BUCKET} refuses a write and a delete with it"] == "403"
    assert checks["london's registry refuses a forged token"] == "401"
    reported = outputs["proof"]["london"]["london-1"]
    assert reported["notification endpoint refuses a wrong one"] == "401"


def test_one_session_and_one_reconfigure_a_node(
    seen_while_applying: dict[str, str], london: Host, tokyo: Host
) -> None:
    """The primary is asked for its key once, and puts the lock file in; each node is changed in one, and verifies in one."""
    assert (london.ssh_sessions(), tokyo.ssh_sessions()) == (4, 2)


def test_an_image_pushed_to_london_is_read_at_tokyo(seen_while_applying: dict[str, str], fresh: Lab) -> None:
    """Through GitLab's token service, with an equal digest; nothing had to be copied."""
    digest = fresh.push("london", "group/app:1", seed=b"one")
    assert fresh.pull("tokyo", "group/app:1") == digest
    second = fresh.push("london", "group/app:2", seed=b"two")
    assert fresh.tags("tokyo", "group/app") == {"1": digest, "2": second}


def test_the_worker_runs_and_copies_nothing(
    seen_while_applying: dict[str, str], fresh: Lab, tokyo: Host
) -> None:
    """Geo's worker is on, finds equal tags, and counts the repository as synced."""
    fresh.wait(lambda: synced(tokyo), 30, "Geo's worker")
    counts = re.findall(r"copied (\d+) of (\d+)", tokyo.run(f"cat {SIDEKIQ}").stdout)
    assert counts
    assert set(counts) == {("0", "0")}


def synced(host: Host) -> bool:
    """Whether Geo counts every repository it knows as synced (state 2)."""
    rows = json.loads(host.run(f"cat {STATES}/tracking.json").stdout)["container_repository_registries"]
    return bool(rows) and all(row["state"] == 2 for row in rows)


def there(host: Host, path: str) -> bool:
    """Whether a file is on the host; the databases are mounted there, and not in the host's tree."""
    return host.run(["test", "-e", path], check=False).returncode == 0


def test_a_push_between_the_workers_two_listings_loses_nothing(
    seen_while_applying: dict[str, str], fresh: Lab, tokyo: Host
) -> None:
    """The race that would delete a live image: the worker's delete is refused by registry and storage."""
    tokyo.run(f"touch {PAUSE}")
    fresh.push("london", "group/app:3", seed=b"three")
    fresh.wait(lambda: there(tokyo, f"{STATES}/paused"), 30, "the worker between its listings")
    late = fresh.push("london", "group/app:late", seed=b"late")
    tokyo.run(f"rm {PAUSE}")
    refused = "Error while removing tag late of group/app: the registry answered 405"
    fresh.wait(lambda: refused in tokyo.run(f"cat {SIDEKIQ}").stdout, 30, "the worker to go on")
    assert fresh.tags("london", "group/app")["late"] == late
    assert fresh.pull("tokyo", "group/app:late") == late


def test_the_bucket_refuses_whoever_comes_without_tls(
    seen_while_applying: dict[str, str], fresh: Lab
) -> None:
    """Also the account's administrator; the same request over TLS is answered."""
    account = boto3.Session(fresh.aws.access_key_id, fresh.aws.secret_access_key, region_name="eu-west-1")
    bundle = str(fresh.dir / "ca/ca-certificates.crt")
    key = fresh.s3().list_objects_v2(Bucket=BUCKET)["Contents"][0]["Key"]
    for scheme, status in (("http", 403), ("https", 200)):
        s3 = account.client("s3", endpoint_url=f"{scheme}://s3.eu-west-1.amazonaws.com", verify=bundle)
        try:
            found = s3.get_object(Bucket=BUCKET, Key=key)["ResponseMetadata"]["HTTPStatusCode"]
        except s3.exceptions.ClientError as error:
            found = error.response["ResponseMetadata"]["HTTPStatusCode"]
        assert found == status, scheme


def test_a_deleted_tag_goes_at_both(seen_while_applying: dict[str, str], fresh: Lab) -> None:
    """What is deleted at the primary is gone at the secondary, and only that."""
    fresh.delete_tag("london", "group/app:late")
    assert "late" not in fresh.tags("tokyo", "group/app")
    assert {"1", "2", "3"} <= set(fresh.tags("tokyo", "group/app"))


def test_a_secondary_refuses_a_push(seen_while_applying: dict[str, str], fresh: Lab) -> None:
    """The same push is taken by the primary."""
    with pytest.raises(SkopeoError, match=r"405|unsupported|not allowed"):
        fresh.push("tokyo", "group/app:no", seed=b"no")
    fresh.push("london", "group/app:yes", seed=b"no")


def test_a_second_up_changes_nothing_and_opens_no_session(
    seen_while_applying: dict[str, str], existing: Stack, london: Host, tokyo: Host
) -> None:
    """No SSH session, no reconfigure."""
    before = [(h.ssh_sessions(), h.reconfigures()) for h in (london, tokyo)]
    assert "unchanged" in existing.up()
    assert [(h.ssh_sessions(), h.reconfigures()) for h in (london, tokyo)] == before


def test_two_reconfigures_by_hand_change_nothing(
    seen_while_applying: dict[str, str], fresh: Lab, london: Host, tokyo: Host
) -> None:
    """The key pair survives them, where a bare copy of the key file would not; replication goes on."""
    before = {h.name: files(h) for h in (london, tokyo)}
    for _ in range(2):
        for host in (london, tokyo):
            host.run("gitlab-ctl reconfigure")
    assert {h.name: files(h) for h in (london, tokyo)} == before
    digest = fresh.push("london", "group/app:after", seed=b"after")
    assert fresh.pull("tokyo", "group/app:after") == digest


def test_no_secret_is_anywhere_it_must_not_be(
    seen_while_applying: dict[str, str], existing: Stack, fresh: Lab, london: Host, tokyo: Host
) -> None:
    """Searched for by value: preview, output, `ps`, plain state, world-readable files. The search finds what is there."""
    # The id of an AWS access key is a name, not a secret: AWS shows it to anyone who may list keys, the state as an id.
    values = {v for h in (london, tokyo) for k, v in secrets(h).items() if k != "s3_access_key"}
    lines = {line for v in values for line in v.splitlines() if len(line) >= 20 and "-----" not in line}
    assert len(lines) > 20
    state = json.dumps(json.loads(fresh.pulumi("stack", "export", stack="existing").stdout))
    for where, text in {**seen_while_applying, "state": state}.items():
        assert [line for line in lines if line in text] == [], where
    shown = fresh.pulumi("stack", "export", "--show-secrets", stack="existing").stdout
    assert any(line in shown for line in lines)
    assert "ruby --disable-gems - apply" in seen_while_applying["ps"]
    patterns = "\n".join(sorted(lines))
    for host in (london, tokyo):
        assert readable_by_others(host, patterns) == []
        assert host.run(f"stat -c '%a %U' {OURS}/secrets.json {OURS}/settings.rb").stdout.split() == [
            "600", "root", "644", "root",
        ]  # fmt: skip
        mine = host.run(["grep", "-F", "-l", "-f", "/dev/stdin", f"{OURS}/secrets.json"], input=patterns)
        assert mine.stdout.split() == [f"{OURS}/secrets.json"]


def readable_by_others(host: Host, patterns: str) -> list[str]:
    """Files with one of these lines that an non-root user of the host can read."""
    host.run("cat > /tmp/patterns", input=patterns)
    search = "find /etc /var /opt /tmp /srv /home -xdev -type f ! -path /tmp/patterns -size -2M -readable"
    found = host.run(
        f"{search} -exec grep -l -F -f /tmp/patterns {{}} + 2>/dev/null", check=False, user="ubuntu"
    )
    host.run("rm /tmp/patterns")
    return found.stdout.split()


def test_a_new_notification_secret_touches_only_its_holders(
    seen_while_applying: dict[str, str], existing: Stack, london: Host, tokyo: Host
) -> None:
    """london holds the token; tokyo does not, and only asks whether london's registry still accepts it."""
    old, elsewhere = secrets(london)["notification_secret"], tokyo.reconfigures()
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9]{31}", old)
    existing.configure(lambda c: c.update(rotate={"notification_secret": 1}))
    assert "tokyo-1-settings" not in existing.preview()
    existing.up()
    assert secrets(london)["notification_secret"] != old
    assert secrets(london)["http_secret"] == secrets(tokyo)["http_secret"]
    assert tokyo.reconfigures() == elsewhere


def test_the_preview_shows_each_line_that_changes(
    seen_while_applying: dict[str, str], existing: Stack, london: Host
) -> None:
    """By name and value, before and after; no host is asked."""
    before = london.ssh_sessions()
    existing.configure(lambda c: c.update(replication=False))
    shown = existing.preview("--diff")
    changing = "\n".join(line for line in shown.splitlines() if line.lstrip().startswith(("~", "+", "-")))
    name = re.escape("gitlab_rails['geo_registry_replication_enabled']")
    assert re.search(name + r'\s*: "true" => "false"', shown)
    assert "registry_external_url" in shown
    assert "registry_external_url" not in changing
    assert "tokyo-1-settings" in shown
    assert "london-1-settings" not in shown
    assert london.ssh_sessions() == before
    existing.configure(lambda c: c.pop("replication"))


def test_a_host_whose_settings_were_changed_by_hand_is_set_right(
    seen_while_applying: dict[str, str], existing: Stack, fresh: Lab, tokyo: Host
) -> None:
    """A new `proof` text has every node looked at: lines below the include lose, and stay in the file."""
    tokyo.run(f"echo \"registry['storage']['maintenance'] = nil\" >> {GITLAB_RB}")
    tokyo.run("gitlab-ctl reconfigure")
    settle(tokyo)
    existing.configure(lambda c: c.update(proof="again"))
    existing.up()
    text = tokyo.read(GITLAB_RB).decode()
    assert "registry['storage']['maintenance'] = nil" in text
    assert text.rstrip().endswith("if File.exist?('/etc/gitlab/geo-registry/settings.rb')")
    with pytest.raises(SkopeoError):
        fresh.push("tokyo", "group/app:no", seed=b"no")
    tokyo.write(GITLAB_RB, tokyo.read(GITLAB_RB).replace(b"registry['storage']['maintenance'] = nil\n", b""))


def test_destroy_gives_everything_back(
    seen_while_applying: dict[str, str],
    former: dict[str, dict[str, bytes]],
    existing: Stack,
    fresh: Lab,
    london: Host,
    tokyo: Host,
) -> None:
    """gitlab.rb byte for byte, each node's own key pair, its own storage; the bucket keeps its images and it says so."""
    output = existing.destroy()
    assert f"the images in s3://{BUCKET} remain" in output
    for host in (london, tokyo):
        settle(host)
        assert files(host) == {k: v for k, v in former[host.name].items() if not k.endswith("secrets.json")}
        was = json.loads(former[host.name]["/etc/gitlab/gitlab-secrets.json"])
        assert json.loads(host.read("/etc/gitlab/gitlab-secrets.json")) == was
        assert not host.exists(OURS)
        assert host.run("ls -A /etc/gitlab | grep geo-registry", check=False).stdout == ""
    objects = fresh.s3().list_objects_v2(Bucket=BUCKET)["KeyCount"]
    assert objects > 0
    users = fresh.iam().list_users()["Users"]
    assert [u["UserName"] for u in users if "registry" in u["UserName"]] == []
    block = fresh.s3().get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"]
    assert all(block.values())
