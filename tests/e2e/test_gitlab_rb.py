"""gitlab.rb is the administrator's: whatever it looks like, it works, and comes back byte for byte."""

from __future__ import annotations

import pytest

from lab.api import Lab
from lab.host import Host
from tests.e2e.stack import GITLAB_RB, Stack, settle

OWN = "/etc/gitlab/own.rb"


def without_final_newline(text: str) -> str:
    return text.rstrip("\n") + "\n# the last line has no newline"


def with_crlf(text: str) -> str:
    return text.replace("\n", "\r\n")


def with_own_registry(text: str) -> str:
    return text + (
        "registry['storage'] = { 'filesystem' => { 'rootdirectory' => '/var/opt/gitlab/gitlab-rails/shared/registry' },\n"
        "  'redirect' => { 'disable' => true } }\n"
        "registry['notifications'] = [{ 'name' => 'theirs', 'url' => 'https://gitlab.london.example.com/-/theirs',\n"
        "  'headers' => { 'Authorization' => ['own-token-of-the-administrator'] } }]\n"
    )


def with_from_file(text: str) -> str:
    return f"# caf\u00e9\nfrom_file '{OWN}'\n" + text


VARIANTS = {
    "no final newline": without_final_newline,
    "CRLF": with_crlf,
    "own registry lines": with_own_registry,
    "own from_file": with_from_file,
}


@pytest.mark.parametrize(
    ("first", "second", "linked"),
    [("no final newline", "CRLF", True), ("own registry lines", "own from_file", False)],
)
def test_any_gitlab_rb_works_and_comes_back(
    first: str, second: str, linked: bool, existing: Stack, fresh: Lab, london: Host, tokyo: Host
) -> None:
    """Up and destroy; owner, mode and link are kept, and what the administrator set for himself stays in force."""
    fresh.reset()
    provided: dict[str, bytes] = {}
    for host, variant in ((london, first), (tokyo, second)):
        host.write(OWN, b"gitlab_rails['time_zone'] = 'Asia/Tokyo'\n")
        text = VARIANTS[variant](host.read(GITLAB_RB).decode())
        host.write(GITLAB_RB, text.encode())
        if linked:
            host.run(
                f"mkdir /srv/config && mv {GITLAB_RB} /srv/config/g.rb && ln -s /srv/config/g.rb {GITLAB_RB}"
            )
        host.run(f"chown ubuntu:git $(readlink -f {GITLAB_RB}) && chmod 640 $(readlink -f {GITLAB_RB})")
        host.run("gitlab-ctl reconfigure")
        settle(host)
        provided[host.name] = host.run(f"cat {GITLAB_RB}").stdout.encode()
    existing.up()
    for host in (london, tokyo):
        lines = host.run(f"cat {GITLAB_RB}").stdout.splitlines()
        assert (
            lines[-1]
            == "from_file '/etc/gitlab/geo-registry/settings.rb' if File.exist?('/etc/gitlab/geo-registry/settings.rb')"
        )
    config = london.read("/var/opt/gitlab/registry/config.yml").decode()
    assert ("own-token-of-the-administrator" in config) == (first == "own registry lines")
    assert ('"redirect":{"disable":true}' in config) == (first == "own registry lines")
    assert "geo_event" in config
    digest = fresh.push("london", "group/app:1", seed=b"1")
    assert fresh.pull("tokyo", "group/app:1") == digest
    existing.destroy()
    for host in (london, tokyo):
        assert host.run(f"cat {GITLAB_RB}").stdout.encode() == provided[host.name]
        stat = host.run(f"stat -L -c '%U %G %a' {GITLAB_RB}; readlink {GITLAB_RB} || true").stdout.split()
        assert stat == ["ubuntu", "git", "640", *(["/srv/config/g.rb"] if linked else [])]
