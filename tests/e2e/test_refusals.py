"""What must not be accepted: each makes `pulumi up` fail with site, node, cause, state and remedy."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab.api import Lab
from lab.host import Host
from tests.e2e.stack import GITLAB_RB, OURS, Stack, files, settle

# Each is a different number of attempts.
WAITS = itertools.count(30, 20)


@pytest.fixture(scope="module")
def proven(existing: Stack) -> Stack:
    """Both sites up: the positive control of all refusals below."""
    existing.up()
    return existing


@contextmanager
def by_hand(host: Host, line: str) -> Iterator[None]:
    """A line that an administrator adds below our include, where it wins; removed again afterwards."""
    before = host.read(GITLAB_RB)
    host.write(GITLAB_RB, before + line.encode() + b"\n")
    host.run("gitlab-ctl reconfigure && gitlab-ctl restart registry")
    settle(host)
    try:
        yield
    finally:
        host.write(GITLAB_RB, before)
        host.run("gitlab-ctl reconfigure && gitlab-ctl restart registry")
        settle(host)


@pytest.fixture
def only_tokyo(proven: Stack) -> Stack:
    """A change of tokyo's connection alone: its node is applied and proven, london is left as it is."""
    seconds = next(WAITS)
    proven.configure(lambda c: c["sites"]["tokyo"].update(ssh={"wait_seconds": seconds}))
    return proven


def reported(output: str, *parts: str) -> None:
    """The message names node, site, cause, state and remedy."""
    for part in ("tokyo-1 (site tokyo)", "cause:", "state:", "do:", *parts):
        assert part in output, output


def test_another_key(only_tokyo: Stack, london: Host, tokyo: Host) -> None:
    """london's registry trusts another certificate: tokyo's token is refused, tokyo stays as it was."""
    other = "openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=Registry -keyout /root/k.pem -out /root/c.pem"
    london.run(f"{other} 2>/dev/null")
    line = "registry['internal_certificate'] = File.read('/root/c.pem'); registry['internal_key'] = File.read('/root/k.pem')"
    before = files(tokyo)
    with by_hand(london, line):
        reported(only_tokyo.fails(), "london's registry refuses a token signed with this stack's key", "401")
    assert files(tokyo) == before
    only_tokyo.up()


def test_another_issuer(only_tokyo: Stack, london: Host) -> None:
    """The cause names the issuer that is expected."""
    with by_hand(london, "registry['issuer'] = gitlab_rails['registry_issuer'] = 'somebody-else'"):
        reported(only_tokyo.fails(), "or its issuer is not omnibus-gitlab-issuer")
    only_tokyo.up()


def test_another_notification_secret(proven: Stack, london: Host) -> None:
    """Rails has another secret than the registry sends: verification fails, and the next `up` only verifies."""
    rails = "/var/opt/gitlab/gitlab-rails/etc/gitlab.yml"
    hook = "/opt/gitlab/bin/gitlab-ctl"
    ctl = london.read(hook)
    secret = proven.lab.host("london-1").read(f"{OURS}/secrets.json")
    assert secret
    # A Rails that was started with another secret: what reconfigure writes is right, what runs is not.
    wrapper = f"""#!/bin/sh
/opt/gitlab/bin/gitlab-ctl.real "$@"; code=$?
cp {rails} /root/gitlab.yml
sed -i "s/notification_secret: .*/notification_secret: another/" {rails}
sv restart /opt/gitlab/service/puma >/dev/null
for i in 1 2 3 4 5 6 7 8 9; do curl -s -o /dev/null http://127.0.0.1:8080/-/health && break; sleep 0.3; done
cp /root/gitlab.yml {rails}
exit $code
"""
    london.write(f"{hook}.real", ctl, mode=0o755)
    london.write(hook, wrapper.encode(), mode=0o755)
    proven.configure(lambda c: c.update(rotate={"notification_secret": 7}))
    try:
        output = proven.fails()
    finally:
        london.write(hook, ctl, mode=0o755)
        london.run("gitlab-ctl reconfigure && gitlab-ctl restart puma")
        settle(london)
    assert "london-1 (site london): verification failed: GitLab does not accept" in output
    assert "the settings are in effect on this node, and nothing is rolled back" in output
    before = [(host.reconfigures(), host.ssh_sessions()) for host in proven.lab.hosts()]
    proven.up()
    after = [(host.reconfigures(), host.ssh_sessions()) for host in proven.lab.hosts()]
    assert [done for done, _ in after] == [done for done, _ in before]
    assert sum(n for _, n in after) == sum(n for _, n in before) + 1


def test_a_pull_token_that_may_push(only_tokyo: Stack, london: Host) -> None:
    """A registry without token authentication accepts all, which is not taken for a yes."""
    config = "/var/opt/gitlab/registry/config.yml"
    good = london.read(config)
    text = good.decode()
    start = text.index("auth:")
    end = text.index("validation:", start)
    london.write(config, (text[:start] + text[end:]).encode())
    london.run("gitlab-ctl restart registry")
    try:
        london.run(
            "for i in 1 2 3 4 5 6 7 8 9; do curl -s -o /dev/null http://127.0.0.1:5000/v2/ && break; sleep 0.3; done"
        )
        reported(
            only_tokyo.fails(),
            "accepts a forged token",
            "token authentication is off or bypassed",
        )
    finally:
        london.write(config, good)
        london.run("gitlab-ctl restart registry")
        settle(london)
    only_tokyo.up()


def test_a_wrong_s3_key(proven: Stack, tokyo: Host) -> None:
    """A configured key with a wrong secret is found out before the node is touched."""
    before = (files(tokyo), tokyo.reconfigures())
    keys = {"access_key": "AKIAIOSFODNN7EXAMPLE", "secret_key": "wrong-secret-wrong-secret"}
    proven.configure(lambda c: c["sites"]["tokyo"].update(s3_keys=keys))
    output = proven.fails()
    reported(
        output,
        "the storage refuses this site's key",
        "s3_keys",
        "nothing was changed on this node",
    )
    assert keys["secret_key"] not in output
    assert (files(tokyo), tokyo.reconfigures()) == before
    proven.configure(lambda c: c["sites"]["tokyo"].pop("s3_keys"))
    proven.up()


def test_a_secondary_that_could_write(proven: Stack, fresh: Lab, tokyo: Host) -> None:
    """A key with the right to write is found out by trying, before replication is switched on."""
    iam = fresh.iam()
    iam.create_user(UserName="writer")
    permissions = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}'
    iam.put_user_policy(UserName="writer", PolicyName="all", PolicyDocument=permissions)
    key = iam.create_access_key(UserName="writer")["AccessKey"]
    keys = {"access_key": key["AccessKeyId"], "secret_key": key["SecretAccessKey"]}
    before = (files(tokyo), tokyo.reconfigures())
    proven.configure(lambda c: c["sites"]["tokyo"].update(s3_keys=keys))
    reported(
        proven.fails(),
        "this secondary could change the shared storage",
        "[storage-writable-by-secondary]",
        "nothing was changed on this node",
    )
    assert (files(tokyo), tokyo.reconfigures()) == before
    listed = fresh.s3().list_objects_v2(Bucket="acme-gitlab-registry", Prefix="geo-registry-proof")
    assert listed["KeyCount"] == 0
    proven.configure(lambda c: c["sites"]["tokyo"].pop("s3_keys"))
    proven.up()
