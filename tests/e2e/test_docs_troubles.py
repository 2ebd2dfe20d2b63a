"""What docs/troubleshooting.md says is seen, brought about and cured as it says. Tests build on each other."""

from __future__ import annotations

import pytest

from lab.api import Lab
from lab.host import Host
from lab.registry import PASSWORD, USER, SkopeoError
from tests.docs import commands
from tests.e2e.docs_reader import Reader
from tests.e2e.refused import ask
from tests.e2e.stack import GITLAB_RB, Stack

PAGE = "troubleshooting.md"
KEY = "/var/opt/gitlab/gitlab-rails/etc/gitlab-registry.key"
REGISTRY = "/var/log/gitlab/registry/current"
SIDEKIQ = "/var/log/gitlab/sidekiq/current"


@pytest.fixture(scope="module")
def reader(existing: Stack, fresh: Lab) -> Reader:
    existing.up()
    fresh.push("london", "group/app:1.0", seed=b"1.0")
    return Reader(fresh, stack="existing", USER=USER, TOKEN=PASSWORD)


def by_hand(host: Host, line: str) -> None:
    """A line below our include, where it wins."""
    host.write(GITLAB_RB, host.read(GITLAB_RB) + f"{line}\n".encode())
    host.run("gitlab-ctl reconfigure")
    host.wait_ready()


def logged(lab: Lab, host: Host, path: str, *words: str) -> None:
    """One line of a log has all of these."""

    def there() -> bool:
        lines = host.run(f"cat {path}").stdout.splitlines()
        return any(all(word in line for word in words) for line in lines)

    lab.wait(there, 30, f"{words} in {path} of {host.name}")


def test_what_refuses_a_token_is_in_the_logs(reader: Reader, fresh: Lab, london: Host, tokyo: Host) -> None:
    """Another key, issuer and notification secret, each manually; the page's two commands cure all three."""
    tokyo.run(f"openssl genrsa 2048 > {KEY} 2>/dev/null")
    assert ask("tokyo") == "refused"
    logged(fresh, tokyo, REGISTRY, "token signed by untrusted key with ID")
    by_hand(tokyo, "gitlab_rails['registry_issuer'] = 'somebody-else'")
    fresh.push("london", "group/app:1.1", seed=b"1.1")
    logged(fresh, london, REGISTRY, "token from untrusted issuer")
    logged(fresh, tokyo, SIDEKIQ, "No valid connection to primary registry")
    by_hand(london, "gitlab_rails['registry_notification_secret'] = 'another'")
    fresh.push("london", "group/app:1.2", seed=b"1.2")
    logged(fresh, london, REGISTRY, "error writing event", "response status 401")
    reader.types(commands(PAGE)[:2])
    assert (ask("london"), ask("tokyo")) == ("taken", "taken")
    seen = len(london.read(REGISTRY))
    assert fresh.pull("tokyo", "group/app:1.2") == fresh.push("london", "group/app:1.3", seed=b"1.2")
    assert b"response status 401" not in london.read(REGISTRY)[seen:]


def test_two_registries_are_compared(reader: Reader, fresh: Lab) -> None:
    """Tags and digests; a tag that is not there has a message of its own."""
    said = reader.does(PAGE, "Synced but missing")
    assert said.count('"1.0"') == 2
    digests = [line.split()[0] for line in said.splitlines() if line.endswith("  -")]
    assert len(digests) == 2 and len({*digests}) == 1
    with pytest.raises(SkopeoError, match="manifest unknown"):
        fresh.pull("tokyo", "group/app:absent")


def test_sudo_that_asks_for_a_password(reader: Reader, tokyo: Host) -> None:
    """Nobody is there to type it: it is reported, and nothing hangs."""
    sudoers = "/etc/sudoers"
    before = tokyo.read(sudoers)
    tokyo.write(sudoers, before.replace(b"NOPASSWD:", b""))
    said = reader.types(commands(PAGE)[:2], fails=True)
    tokyo.write(sudoers, before)
    assert "cause: sudo: a password is required" in said and "tokyo-1 (site tokyo)" in said
    reader.types(commands(PAGE)[1:2])
