"""Run in a lab of its own: London's registry is Debian's docker-registry, on a host without GitLab."""

from __future__ import annotations

import difflib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from lab.administrator import common_secrets
from lab.api import Lab
from lab.external_registry import AUDIT_LOG, CERTIFICATE, CONFIG, RESTART
from lab.host import Host
from lab.registry import SkopeoError
from lab.sites import host_key
from tests.docs import commands
from tests.e2e.docs_reader import Reader
from tests.e2e.refused import Refusals
from tests.e2e.stack import GITLAB_RB, MEASURED, OURS, Running, Stack, secrets

ROOT = Path(__file__).parents[3]
STATE = "/etc/gitlab-geo-registry"
REPOSITORY = "group/app"
SHARED = "acme-gitlab-registry"


def configure(config: dict[str, Any]) -> None:
    """London's registry is outside its GitLab, and keeps its storage where that is its own."""
    london = config["sites"]["london"]
    london["nodes"]["london-1"]["roles"] = ["rails", "sidekiq"]
    london["external_registry"] = {"hosts": {"london-images": HOST}}
    if config["storage"]["mode"] == "per_site":
        london["storage"] = "keep"


HOST: dict[str, Any] = {
    "host": "10.10.0.21",
    "host_key": host_key("london-images"),
    "config": CONFIG,
    "certificate": CERTIFICATE,
    "restart": RESTART,
}


class World:
    """The lab, a stack in it, and what the administrators had before."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.stack = lab, Stack(lab, "replicated")
        self.london, self.images = lab.host("london-1"), lab.host("london-images")
        self.before = {path: self.images.read(path) for path in (CONFIG, CERTIFICATE)}
        self.gitlab_before = {host.name: host.read(GITLAB_RB) for host in (self.london, lab.host("tokyo-1"))}

    @property
    def says(self) -> Any:
        """What the registry's configuration says now."""
        return yaml.safe_load(self.images.read(CONFIG))

    @property
    def geo_event(self) -> Any:
        endpoints = self.says["notifications"]["endpoints"]
        return next((endpoint for endpoint in endpoints if endpoint["name"] == "geo_event"), None)

    def arrives(self, tag: str) -> None:
        """GitLab is notified of a push to London, and copied to Tokyo; the administrator's own endpoint is notified as well."""
        digest = self.lab.push("london", f"{REPOSITORY}:{tag}", seed=tag.encode())
        self.lab.wait(lambda: self.lab.tags("tokyo", REPOSITORY).get(tag) == digest, 60, f"{tag} at tokyo")
        line = f"push {REPOSITORY} {tag}".encode()
        self.lab.wait(lambda: line in self.images.read(AUDIT_LOG), 10, "the auditors' line")

    def sessions(self) -> list[int]:
        return [host.ssh_sessions() for host in self.lab.hosts()]

    def given_back(self) -> None:
        """Nothing of this program is left, and every byte is as it was."""
        assert {path: self.images.read(path) for path in self.before} == self.before
        assert not self.images.exists(STATE)
        left = self.images.run("ls -A /etc/docker/registry | grep geo-registry", check=False).stdout
        assert left == "", left
        for name, text in self.gitlab_before.items():
            assert self.lab.host(name).read(GITLAB_RB) == text
            assert not self.lab.host(name).exists(OURS)


def watched(host: Host, act: Callable[[], str]) -> tuple[str, str]:
    """What was done printed, and every command line with its environment that the host had meanwhile."""
    seen: list[str] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.extend(host.processes(environ=True))
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        return act(), "\n".join(seen)
    finally:
        done.set()
        watcher.join()


def first(world: World) -> None:
    """Previewed by its paths, edited in its places, proven; everything else in the file stays byte for byte."""
    shown = world.stack.preview("--diff")
    assert "auth.token.issuer" in shown and "secrets['notification_secret']" in shown
    assert world.images.ssh_sessions() == 0
    said, ps = watched(world.images, world.stack.up)
    assert world.images.ssh_sessions() == 3, "one look at the storage it keeps, one change, one verification"
    old, new = world.before[CONFIG].decode(), world.images.read(CONFIG).decode()
    changed = [line for line in difflib.ndiff(old.splitlines(), new.splitlines()) if line[0] in "+-"]
    secret = secrets(world.london)["notification_secret"]
    assert changed == [
        '+   - name: "geo_event"',
        '+     url: "https://gitlab.london.example.com/api/v4/container_registry_event/events"',
        '+     timeout: "5s"',
        "+     threshold: 5",
        "+     maxretries: 40",
        '+     backoff: "1s"',
        "+     ignore:",
        '+       mediatypes: ["application/octet-stream"]',
        '+       actions: ["pull"]',
        "+     headers:",
        f'+       Authorization: ["{secret}"]',
    ], changed
    assert (
        world.images.read(CERTIFICATE).decode().strip()
        == secrets(world.london)["registry_certificate"].strip()
    )
    proof = world.stack.outputs()["proof"]["london"]
    assert proof["london-images"]["notification endpoint accepts the secret"] == "yes"
    assert proof["london-images"]["registry asks for GitLab's tokens"] == "401"
    assert proof["london-1"]["own registry accepts a token signed with the key"] == "yes"
    no_secret_leaks(world, {"preview": shown, "up": said, "ps": ps})
    world.arrives("1")


def no_secret_leaks(world: World, places: dict[str, str]) -> None:
    """By value; the search finds them where they belong. The registry key is not on the registry's host at all."""
    known = secrets(world.london)
    values = [known["notification_secret"], *known["registry_key"].splitlines()[1:-1]]
    state = json.dumps(json.loads(world.lab.pulumi("stack", "export", stack="replicated").stdout))
    for where, text in {**places, "state": state}.items():
        assert [value for value in values if value in text] == [], where
    assert "python3 -I - apply" in places["ps"]
    assert known["notification_secret"].encode() in world.images.read(CONFIG)
    assert with_lines(world.images, known["registry_key"].splitlines()[1:-1]) == []
    found = with_lines(world.images, [known["notification_secret"]])
    assert found == [CONFIG, f"{STATE}/state.json"], found
    assert world.images.run(f"stat -c %a:%U {STATE} {STATE}/state.json").stdout.split() == [
        "700:root",
        "600:root",
    ]


def with_lines(host: Host, lines: list[str]) -> list[str]:
    """Files on the host in which one of these stands."""
    host.run("cat > /dev/shm/patterns", input="\n".join(lines))
    places = "/etc /var /tmp /srv /home /root /run /usr/local"
    found = host.run(f"grep -r -l -s -F -D skip -f /dev/shm/patterns {places}", check=False).stdout.split()
    host.run("rm /dev/shm/patterns")
    return sorted(path for path in found if "/log/" not in path)


def nothing_to_do(world: World) -> None:
    """The second `up` opens no session."""
    before = world.sessions()
    assert "unchanged" in world.stack.up()
    assert world.sessions() == before


def rotated(world: World) -> None:
    """A new notification secret reaches the file and Rails; an edit that was made meanwhile stays."""
    text = world.images.read(CONFIG).decode()
    world.images.write(CONFIG, text.replace("level:     info", "level:     debug   # looking into something"))
    former = world.geo_event["headers"]["Authorization"]
    world.stack.configure(lambda c: c.update(rotate={"notification_secret": 1}))
    world.stack.up()
    new = [secrets(world.london)["notification_secret"]]
    assert world.geo_event["headers"]["Authorization"] == new != former
    assert new[0] in world.london.read("/var/opt/gitlab/gitlab-rails/etc/gitlab.yml").decode()
    assert b"level:     debug   # looking into something" in world.images.read(CONFIG)
    world.arrives("2")


def a_restart_that_fails(world: World) -> None:
    """The former file is back and the registry serves; cause, state and remedy are reported. Fixed, `up` goes through."""
    restart, former = world.images.read(RESTART), world.images.read(CONFIG)
    world.images.write(RESTART, "#!/bin/sh\necho 'Unit docker-registry.service not found.' >&2\nexit 5\n")
    world.stack.configure(lambda c: c.update(rotate={"notification_secret": 2}))
    said = world.stack.fails()
    assert "london-images (site london): the restart failed" in said
    assert (
        f"cause: {RESTART} ended with status 5" in said and "Unit docker-registry.service not found." in said
    )
    assert "state: the former files are restored, but a restart with them failed as well" in said
    assert world.images.read(CONFIG) == former
    world.lab.wait_ready()
    assert world.lab.pull("london", f"{REPOSITORY}:2")
    world.images.write(RESTART, restart)
    world.stack.up()
    assert world.geo_event["headers"]["Authorization"] == [secrets(world.london)["notification_secret"]]
    world.arrives("3")


def the_engine_killed(world: World) -> None:
    """In the middle of the restart: the host comes to its own end, and the next `up` finds it done."""
    restart = world.images.read(RESTART)
    world.images.write(RESTART, restart.replace(b"exec", b"sleep 3\nexec"))
    world.stack.configure(lambda c: c.update(rotate={"notification_secret": 3}))
    running = Running(world.lab, "up", "--yes", "--skip-preview", stack="replicated")

    def at(what: str) -> bool:
        return any(what in process for process in world.images.processes())

    world.lab.wait(lambda: at("sleep 3"), 60, "the restart")
    running.kill()
    world.lab.wait(lambda: not at("python3 -I - apply"), 200, "the host's own end")
    world.images.write(RESTART, restart)
    world.lab.pulumi("cancel", "--yes", "replicated", stack=None)
    world.stack.up()
    assert world.geo_event["headers"]["Authorization"] == [secrets(world.london)["notification_secret"]]
    world.arrives("4")


def another_key(world: World) -> None:
    """The host trusts both certificates before London's GitLab signs with the new key; then the former one goes."""
    former = world.images.read(CERTIFICATE)
    seen = {}
    for number in ("registry_key", "registry_key_finished"):

        def raised(config: dict[str, Any], key: str = number) -> None:
            config.setdefault("rotate", {})[key] = 1

        world.stack.configure(raised)
        with Refusals("london", "tokyo") as seen[number]:
            world.stack.up()
        print(f"{number}: {seen[number].refused} refused of {seen[number].asked}")
        if number == "registry_key":
            both = world.images.read(CERTIFICATE)
    assert [one.refused for one in seen.values()] == [{"london": 0, "tokyo": 0}] * 2
    assert both.endswith(former) and both != former
    assert both == world.images.read(CERTIFICATE) + former
    world.arrives("key")


def a_registry_that_does_not_start(world: World) -> None:
    """Distribution cannot read a certificate in root's home: the former files come back, and it serves again."""
    former = world.images.read(CONFIG)

    def certificate(path: str) -> None:
        world.stack.configure(
            lambda c: c["sites"]["london"]["external_registry"]["hosts"]["london-images"].update(
                certificate=path
            )
        )

    certificate("/root/gitlab-registry.crt")
    said = world.stack.fails()
    assert "london-images (site london): " in said
    assert "state: the former files are restored, and the registry answers with them" in said
    assert world.images.read(CONFIG) == former and not world.images.exists("/root/gitlab-registry.crt")
    world.images.wait_ready()
    certificate(CERTIFICATE)
    world.stack.up()
    world.arrives("5")


def by_hand(world: World) -> None:
    """Without hosts the file is restored, and the lines come as an output; put in, the registry is proven."""
    text = world.images.read(CONFIG).decode().replace("debug   # looking into something", "info")
    world.images.write(CONFIG, text)
    world.stack.configure(lambda c: c["sites"]["london"].update(external_registry={}))
    world.stack.up()
    assert world.says == yaml.safe_load(world.before[CONFIG]) and not world.images.exists(STATE)
    restart(world, certificate=common_secrets()["registry"]["internal_certificate"])
    world.stack.configure(lambda c: c.update(proof="with a strange certificate"))
    world.stack.up()
    proof = world.stack.outputs()["proof"]
    check = "own registry accepts a token signed with the key"
    assert proof["london"]["london-1"][check].startswith(
        "not yet: https://registry.london.example.com answers 401"
    )
    hidden = world.lab.pulumi("stack", "output", "registry_config", stack="replicated").stdout
    assert "[secret]" in hidden and "geo_event" not in hidden
    typed = Reader(world.lab, "replicated")
    asked = commands("external-registry.md", "The configuration as an output")
    lines, certificate = (typed.types([command]) for command in asked)
    merged = world.says
    for key, its in yaml.safe_load(lines).items():
        if key == "notifications":
            merged[key]["endpoints"] += its["endpoints"]
        else:
            merged[key].update(its)
    restart(world, config=yaml.safe_dump(merged), certificate=certificate)
    world.stack.configure(lambda c: c.update(proof="with the lines"))
    world.stack.up()
    proof = world.stack.outputs()["proof"]
    assert proof["london"]["london-1"][check] == "yes"
    assert (
        proof["tokyo"]["tokyo-1"]["london's registry accepts a pull-only token signed by this node"] == "yes"
    )
    world.arrives("6")
    world.stack.destroy()
    restart(world, config=world.before[CONFIG], certificate=world.before[CERTIFICATE])


def restart(world: World, **written: bytes | str) -> None:
    """As the administrator does it, with what is written to these files first."""
    for name, text in written.items():
        world.images.write({"config": CONFIG, "certificate": CERTIFICATE}[name], text)
    world.images.run(RESTART)
    world.images.wait_ready()


def shared(world: World) -> None:
    """One bucket: London's registry writes it and Tokyo's only reads; for a while London is the secondary.

    Images of before must have been copied.
    """
    stack = Stack(world.lab, "existing")
    stack.configure(configure)
    said = stack.fails()
    assert (
        "refused: its registry would move from filesystem var/lib/docker-registry to s3://acme-gitlab-registry"
        in said
    )
    assert "the registry holds images" in said
    assert world.images.read(CONFIG) == world.before[CONFIG]
    stack.configure(lambda c: c["storage"].update(data_moved=True))
    stack.up()
    assert list(world.says["storage"]) == ["delete", "cache", "maintenance", "s3"]
    assert b"#   s3:                                  # next year?\n" in world.images.read(CONFIG)
    digest = world.lab.push("london", "group/shared:1", seed=b"shared")
    assert world.lab.pull("tokyo", "group/shared:1") == digest
    assert refused(world, "tokyo"), "a secondary took a push"
    written = world.images.read(CONFIG)
    stack.configure(lambda c: c.update(primary="tokyo"))
    # The lab's GitLab sites keep their own roles: Tokyo's cannot take notifications.
    assert "tokyo-1 (site tokyo): verification failed" in stack.fails()
    assert world.says["storage"]["maintenance"]["uploadpurging"]["age"] == "168h"
    assert world.geo_event is None
    assert refused(world, "london"), "a secondary took a push"
    assert world.lab.pull("london", "group/shared:1") == digest
    compared(stack)
    stack.configure(lambda c: c.update(primary="london"))
    stack.up()
    assert world.images.read(CONFIG) == written
    assert not refused(world, "london")
    assert world.lab.s3().list_objects_v2(Bucket=SHARED)["KeyCount"] > 0
    said = stack.destroy()
    assert f"the images in s3://{SHARED} remain there" in said
    world.given_back()


def compared(stack: Stack) -> None:
    """London's images, of which no node has the registry, are compared, too."""
    options = ["--stack", stack.name, "--project", str(stack.lab.dir / "project"), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "operations.status", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    (found,) = json.loads(done.stdout)["comparisons"]
    assert (found["site"], found["failure"]) == ("london", None) and found["tags"] > 0
    assert not any(found["counts"].values()), found


def refused(world: World, site: str) -> bool:
    try:
        world.lab.push(site, "group/shared:2", seed=b"another")
    except SkopeoError:
        return True
    return False


def main() -> None:
    """From the administrators' own to storage per site, manually, and shared, and all of it back."""
    world = World(Lab.current())
    world.stack.configure(configure)
    only = sys.argv[1:]
    for part in [part for part in PARTS if not only or part.__name__ in only]:
        began = time.monotonic()
        part(world)
        print(f"{part.__name__}: {time.monotonic() - began:.1f} s ({', '.join(MEASURED)})", flush=True)
        MEASURED.clear()


PARTS = (
    first,
    nothing_to_do,
    rotated,
    a_restart_that_fails,
    the_engine_killed,
    another_key,
    a_registry_that_does_not_start,
    by_hand,
    shared,
)

if __name__ == "__main__":
    main()
