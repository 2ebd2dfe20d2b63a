"""Run in the lab of three sites: one bucket, read only at Tokyo and Sydney, whose registries must start on any day."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from lab.api import Lab
from lab.host import Host
from lab.layouts import LAYOUTS
from lab.registry import SkopeoError
from lab.sites import Site, host_key
from tests.e2e.stack import OURS, Stack, play

BUCKET = "acme-gitlab-registry"
KEY = "docker/registry/lockfiles/filesystem-in-use"
REGISTRY = "/var/log/gitlab/registry/current"
DIES = "failed to mark filesystem only usage"
RESOURCE = "registry-lock-file"


def of(site: Site) -> dict[str, Any]:
    """A site of the layout, as the configuration has it."""
    return {
        "external_url": site.external_url,
        "registry_url": site.registry_url,
        "nodes": {
            node.name: {"host": node.address, "host_key": host_key(node.name), "roles": list(node.runs)}
            for node in site.nodes
        },
    }


def only_two_sites(config: dict[str, Any]) -> None:
    config["sites"] = {name: of(LAYOUTS["three-sites"].site(name)) for name in ("london", "tokyo")}


def sydney_too(config: dict[str, Any]) -> None:
    config["sites"]["sydney"] = of(LAYOUTS["three-sites"].site("sydney"))


def lock_files(lab: Lab) -> dict[str, str]:
    """Everything below lockfiles/, with its content."""
    s3 = lab.s3()
    found = s3.list_objects_v2(Bucket=BUCKET, Prefix="docker/registry/lockfiles/").get("Contents", [])
    return {o["Key"]: s3.get_object(Bucket=BUCKET, Key=o["Key"])["Body"].read().decode() for o in found}


def marks(host: Host) -> bool:
    """Whether the registry of this GitLab marks its storage, or ends."""
    version = tuple(map(int, host.gitlab_version.split(".")))
    return (18, 6, 0) <= version < (18, 6, 2) or version >= (18, 8, 0)


def registry_alone(host: Host) -> None:
    """What an upgrade, or an administrator, does to one node."""
    host.run("gitlab-ctl restart registry")


def reboot(host: Host) -> None:
    host.stop()
    host.start()


def serves(lab: Lab, *sites: str, tag: str, at: str = "london") -> None:
    """What is pushed to the primary is pulled everywhere, and nobody else takes a push."""
    digest = lab.push(at, f"group/app:{tag}", seed=tag.encode())
    for site in sites:
        assert lab.pull(site, f"group/app:{tag}") == digest
        with pytest.raises(SkopeoError, match="405"):
            lab.push(site, "group/app:no", seed=b"no")


def first(lab: Lab, stack: Stack) -> None:
    """On a bucket that the stack makes, so that nothing is in it: the file is there before anything is pushed."""
    said = stack.up()
    assert f"{KEY} in s3://{BUCKET}: written" in said, said
    assert lock_files(lab) == {KEY: '{"version":1}'}
    proof = stack.outputs()["proof"]
    check = f"lock file {KEY} is in the storage"
    assert proof["tokyo"]["tokyo-1"][check] == "yes"
    assert check not in proof["london"]["london-registry"]
    serves(lab, "tokyo", tag="first")


def any_day(lab: Lab) -> None:
    """With images in the bucket: tokyo's registry is restarted alone, tokyo's host is rebooted."""
    tokyo = lab.host("tokyo-1")
    for number, restart in enumerate((registry_alone, reboot)):
        restart(tokyo)
        tokyo.wait_ready()
        serves(lab, "tokyo", tag=f"day-{number}")
    assert DIES not in tokyo.read(REGISTRY).decode(errors="replace")


def added_later(lab: Lab, stack: Stack) -> None:
    """A third site starts on a bucket full of images. The file is not written again, and nobody is asked for it."""
    sessions = lab.host("london-registry").ssh_sessions()
    stack.configure(sydney_too)
    stack.up()
    assert lab.host("london-registry").ssh_sessions() == sessions
    for host in (lab.host("sydney-1"), lab.host("tokyo-1")):
        registry_alone(host)
        host.wait_ready()
    serves(lab, "tokyo", "sydney", tag="later")


def without_it(lab: Lab, stack: Stack, heal: Callable[[], object]) -> None:
    """The counterpart: the file is gone, and tokyo's registry dies as GitLab's does. Then it is healed."""
    tokyo = lab.host("tokyo-1")
    lab.s3().delete_object(Bucket=BUCKET, Key=KEY)
    logged = len(tokyo.read(REGISTRY))
    registry_alone(tokyo)

    def died() -> bool:
        return tokyo.read(REGISTRY)[logged:].count(DIES.encode()) > 1

    if marks(tokyo):
        lab.wait(died, 30, "tokyo's registry to die again and again")
        assert lab.http_status("https://registry.tokyo.example.com/v2/") == 502
    else:
        print("this registry marks no storage, so that tokyo's starts without the file")
    assert lock_files(lab) == {}, "a push does not write it, nor does a registry that runs"
    heal()
    tokyo.wait_ready()
    assert lock_files(lab) == {KEY: '{"version":1}'}
    serves(lab, "tokyo", "sydney", tag="healed")


def looked_at_again(stack: Stack) -> None:
    """What the pages say for a bucket that was restored."""
    stack.configure(lambda config: config.update(proof="restored"))
    stack.up()


def as_an_earlier_program_left_it(lab: Lab, stack: Stack) -> None:
    """A stack that has never had the file: an `up` with this program heals it."""
    state = json.loads(lab.pulumi("stack", "export", stack=stack.name).stdout)
    resources = state["deployment"]["resources"]
    state["deployment"]["resources"] = [r for r in resources if not r["urn"].endswith(f"Command::{RESOURCE}")]
    for resource in state["deployment"]["resources"]:
        waits = [urn for urn in resource.get("dependencies", []) if not urn.endswith(f"Command::{RESOURCE}")]
        resource["dependencies"] = waits
    assert len(resources) == len(state["deployment"]["resources"]) + 1
    file = lab.dir / "tmp" / "earlier.json"
    file.write_text(json.dumps(state))
    lab.pulumi("stack", "import", "--file", str(file), stack=stack.name)
    said = stack.up()
    assert "1 created" in said and RESOURCE in said, said


def refused(lab: Lab, stack: Stack) -> None:
    """A metadata database's file in the bucket: nobody is touched, the primary neither."""
    other = KEY.replace("filesystem", "database")
    before = {host.name: host.reconfigures() for host in lab.hosts()}
    lab.s3().put_object(Bucket=BUCKET, Key=other, Body=b'{"version":1}')
    stack.configure(lambda config: config.update(proof="database", issuer="acme"))
    said = stack.fails()
    assert "a registry with a metadata database uses this storage" in said, said
    assert "gitlab-ctl reconfigure" not in said
    lab.s3().delete_object(Bucket=BUCKET, Key=other)
    assert before == {host.name: host.reconfigures() for host in lab.hosts() if host.name in before}
    stack.configure(lambda config: config.pop("issuer"))
    stack.up()


def promoted(lab: Lab, stack: Stack) -> None:
    """Tokyo becomes the primary: london's registry may not write from then on, and starts on any day."""
    for host in lab.hosts():
        if host.name.startswith("london"):
            play(host, "secondary")
    play(lab.host("tokyo-1"), "primary")
    stack.configure(lambda config: config.update(primary="tokyo"))
    stack.up()
    serves(lab, "london", "sydney", tag="promoted", at="tokyo")
    for name in ("london-registry", "sydney-1", "tokyo-1"):
        registry_alone(lab.host(name))
        lab.host(name).wait_ready()
    serves(lab, "london", "sydney", tag="promoted-2", at="tokyo")


def main() -> None:
    """In this order."""
    lab = Lab.current()
    stack = Stack(lab, "existing")
    stack.configure(only_two_sites)
    first(lab, stack)
    any_day(lab)
    added_later(lab, stack)
    without_it(lab, stack, lambda: looked_at_again(stack))
    without_it(lab, stack, lambda: as_an_earlier_program_left_it(lab, stack))
    refused(lab, stack)
    promoted(lab, stack)
    stack.destroy()
    assert lock_files(lab) == {KEY: '{"version":1}'}
    assert not any(host.exists(OURS) for host in lab.hosts())


if __name__ == "__main__":
    main()
