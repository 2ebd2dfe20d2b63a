"""What stands in the administrator's gitlab.rb already: this program's is in effect, theirs is found, or it is refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from lab.api import Lab
from lab.host import Host
from lab.registry import SkopeoError
from tests.docs import DOCS
from tests.e2e.stack import GITLAB_RB, OURS, Stack, settle

RAILS = "/var/opt/gitlab/gitlab-rails/etc/gitlab.yml"
FORMER = b"""
registry['enable'] = false
gitlab_rails['registry_port'] = '5050'
gitlab_rails['registry_api_url'] = 'http://gitlab:5050'
registry['token_realm'] = 'https://old.example.com'
gitlab_rails['extra_sign_in_text'] = <<~TEXT
  Welcome.
__END__
  That ends nothing.
TEXT
"""
READ_ONLY = b"\nregistry['storage'] = { 'maintenance' => { 'readonly' => { 'enabled' => true } } }\n"
PORT = b"\nregistry_nginx['listen_port'] = 5050\nregistry_external_url 'https://old.example.com:5050'\n"
BUNDLE = b"\nregistry['rootcertbundle'] = '/etc/gitlab/own.crt'\n"
ELSEWHERE = b"""
registry['dir'] = '/srv/gitlab/registry'
gitlab_rails['registry_path'] = '/srv/gitlab/images'
gitlab_rails['registry_key_path'] = '/etc/gitlab/signing.key'
"""


@pytest.fixture
def sites(fresh: Lab) -> Iterator[Lab]:
    """Both sites as they started, also where the test before has failed."""
    fresh.reset()
    yield fresh
    fresh.heal()


def rails(host: Host) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(host.read(RAILS))["production"]["registry"]
    return found


def add(host: Host, lines: bytes) -> bytes:
    """These lines in the host's gitlab.rb, in force; what it has then."""
    text = host.read(GITLAB_RB) + lines
    host.write(GITLAB_RB, text)
    host.run("gitlab-ctl reconfigure")
    return text


def answers(lab: Lab, registry: str) -> bool:
    try:
        return lab.tags(registry, "no/image") == {}
    except SkopeoError:
        return False


def replicates(lab: Lab, tag: str) -> None:
    digest = lab.push("london", f"group/app:{tag}", seed=tag.encode())
    assert lab.pull("tokyo", f"group/app:{tag}") == digest


def test_what_an_earlier_set_up_left_has_no_effect(
    sites: Lab, existing: Stack, london: Host, tokyo: Host
) -> None:
    """Registry off, another port, another realm, a dead address, and a text with __END__ in it; at both sites."""
    provided = {host.name: add(host, FORMER) for host in (london, tokyo)}
    existing.up()
    replicates(sites, "1")
    for host in (london, tokyo):
        said = rails(host)
        assert (said["enabled"], said["port"], said["api_url"]) == (True, None, "http://127.0.0.1:5000")
        assert said["host"] == f"registry.{host.name.removesuffix('-1')}.example.com"
    existing.destroy()
    for host in (london, tokyo):
        assert host.read(GITLAB_RB) == provided[host.name]


def test_what_only_the_administrator_can_judge_is_refused_by_name(
    sites: Lab, existing: Stack, london: Host, tokyo: Host
) -> None:
    """Each with its line, before anything is touched on any site; with the line removed it goes through."""
    good = london.read(GITLAB_RB)
    done = london.reconfigures()
    for lines, says in (
        (READ_ONLY, "refused: registry['storage']['maintenance']['readonly'] is enabled at london"),
        (PORT, "refused: registry_nginx['listen_port'] is not the port of registry_url"),
        (
            BUNDLE,
            "refused: registry['rootcertbundle'] names a file without this stack's registry certificate",
        ),
    ):
        london.write(GITLAB_RB, good + lines)
        said = existing.fails()
        assert says in said
        assert f"line {good.count(10) + 2} of {GITLAB_RB}" in said
        assert london.read(GITLAB_RB) == good + lines
        assert london.reconfigures() == done
        assert not tokyo.exists(OURS)
    london.write(GITLAB_RB, good)
    existing.up()
    replicates(sites, "2")
    existing.destroy()


def test_images_of_a_registry_in_another_directory_are_not_hidden(
    sites: Lab, existing: Stack, replicated: Stack, london: Host, tokyo: Host
) -> None:
    """Its config.yml, its certificate and its key are found where they are; `keep` goes on with its images."""
    add(london, ELSEWHERE)
    settle(london)
    digest = sites.push("london", "old/image:1", seed=b"old")
    said = existing.fails()
    assert "refused: its registry would move from filesystem srv/gitlab/images" in said
    assert not tokyo.exists(OURS)

    def keep(config: dict[str, dict[str, dict[str, object]]]) -> None:
        for site in ("london", "tokyo"):
            config["sites"][site]["storage"] = "keep"

    replicated.configure(keep)
    replicated.up()
    assert sites.pull("london", "old/image:1") == digest
    sites.wait(lambda: sites.tags("tokyo", "old/image").get("1") == digest, 60, "the old image at tokyo")
    assert rails(london)["key"] == "/etc/gitlab/signing.key"
    assert london.read("/etc/gitlab/signing.key").decode().startswith("-----BEGIN")
    replicated.destroy()


def test_an_address_that_changes_is_confirmed_first(
    sites: Lab, existing: Stack, london: Host, tokyo: Host
) -> None:
    """As of a registry that omnibus turned on by itself at port 5050 of GitLab's own name."""
    by_itself = b"\nregistry_external_url 'https://gitlab.london.example.com:5050'\n"
    add(london, by_itself)
    sites.wait(lambda: answers(sites, "gitlab.london.example.com:5050"), 30, "the registry at :5050")
    sites.push("gitlab.london.example.com:5050", "old/image:1", seed=b"old")
    existing.configure(lambda c: c["storage"].update(data_moved=True))
    said = existing.fails()
    assert (
        "refused: its registry would be at registry.london.example.com instead of gitlab.london.example.com:5050"
        in said
    )
    assert "the Linux package enables it there by default, together with Let's Encrypt" in said
    assert not tokyo.exists(OURS)
    key = "sites.london.registry_url_changes"
    assert f"pulumi config set --path {key} true" in said
    sites.pulumi("config", "set", "--path", key, "true", stack=existing.name)
    existing.up()
    replicates(sites, "3")
    existing.destroy()


def test_a_mounted_gitlab_rb_is_written_in_place(
    sites: Lab, existing: Stack, london: Host, tokyo: Host
) -> None:
    """A bind mount, as containers have: up, a failed change, the next up and destroy; byte for byte, the same file."""
    provided = {}
    for host in (london, tokyo):
        host.run(f"mkdir -p /srv/config && cp -a {GITLAB_RB} /srv/config/gitlab.rb")
        host.run(f"mount --bind /srv/config/gitlab.rb {GITLAB_RB}")
        assert (
            "busy"
            in host.run(f"touch /etc/gitlab/x && mv /etc/gitlab/x {GITLAB_RB} 2>&1", check=False).stdout
        )
        host.run("rm -f /etc/gitlab/x")
        provided[host.name] = host.read("/srv/config/gitlab.rb")
    existing.up()
    replicates(sites, "4")
    included = london.read("/srv/config/gitlab.rb")
    assert included.startswith(provided["london-1"]) and b"geo-registry" in included
    # What fails is rolled back, in place as well, and blocks nobody.
    london.run("mv /opt/gitlab/bin/gitlab-ctl /opt/gitlab/bin/real && touch /root/fail")
    wrapper = b'#!/bin/sh\n[ $1 != reconfigure ] || [ ! -e /root/fail ] || { rm /root/fail; exit 1; }\nexec /opt/gitlab/bin/real "$@"\n'
    london.write("/opt/gitlab/bin/gitlab-ctl", wrapper, mode=0o755)
    london.write("/srv/config/gitlab.rb", provided["london-1"])
    existing.configure(lambda c: c.update(proof="again"))
    assert "the former settings are restored, and a reconfigure with them succeeded" in existing.fails()
    assert london.read("/srv/config/gitlab.rb") == provided["london-1"]
    london.run("mv /opt/gitlab/bin/real /opt/gitlab/bin/gitlab-ctl")
    existing.up()
    replicates(sites, "5")
    existing.destroy()
    for host in (london, tokyo):
        assert host.read("/srv/config/gitlab.rb") == provided[host.name]
        assert host.run("ls -A /etc/gitlab | grep geo-registry", check=False).stdout == ""
        host.run(f"umount {GITLAB_RB}")


def test_a_tool_that_rewrites_gitlab_rb_is_noticed_at_the_next_look(
    sites: Lab, existing: Stack, london: Host
) -> None:
    """`up` alone asks no node. With the page's line in the tool's template nothing is left to notice."""
    template = london.read(GITLAB_RB)
    existing.up()
    london.write(GITLAB_RB, template)
    london.run("gitlab-ctl reconfigure")
    assert "rewritten" not in existing.up()
    existing.configure(lambda c: c.update(proof="look"))
    said = existing.up()
    assert "was rewritten without the line that includes the settings; the line is added again" in said
    replicates(sites, "6")
    page = (DOCS / "your-own-sites.md").read_text()
    (line,) = [text for text in page.splitlines() if text.startswith("from_file ")]
    london.write(GITLAB_RB, template + line.encode() + b"\n")
    london.run("gitlab-ctl reconfigure")
    done = london.reconfigures()
    existing.configure(lambda c: c.update(proof="look again"))
    assert "rewritten" not in existing.up()
    assert london.reconfigures() == done
    existing.destroy()
