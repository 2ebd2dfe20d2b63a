"""What docs/ says is done and seen on sites that exist, command by command. Tests build on each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from lab.api import Lab
from lab.host import Host
from lab.registry import SkopeoError
from tests import installed
from tests.docs import DOCS, commands
from tests.e2e.docs_reader import Reader, example
from tests.e2e.refused import ask, fetch, use
from tests.e2e.stack import GITLAB_RB, OURS, Stack, play, secrets

PAGE = "operations.md"
KEY = "/var/opt/gitlab/gitlab-rails/etc/gitlab-registry.key"
CONFIG = "/var/opt/gitlab/registry/config.yml"
# tests/e2e/test_docs_created.py and layouts/two_nodes.py do these.
ELSEWHERE = ("Replace a created node", "Add or remove a node", "Prepare a failover")
UPGRADE = "Upgrade GitLab"


@pytest.fixture(scope="module")
def stack(fresh: Lab) -> Stack:
    return Stack(fresh, "prod")


@pytest.fixture(scope="module")
def reader(fresh: Lab) -> Iterator[Reader]:
    yield Reader(fresh)
    fresh.pulumi("stack", "select", "dev", stack=None)


@pytest.fixture(scope="module")
def up(reader: Reader, stack: Stack) -> str:
    """All steps of the page; what they said."""
    said = reader.does("your-own-sites.md", "Existing sites")
    # A node that is off is reported at once, and there is something to upgrade.
    stack.configure(lambda c: c.update(ssh={**c["ssh"], "wait_seconds": 1}, gitlab_version="17.0"))
    return said


def fingerprint(stack: Stack) -> str:
    """The registry certificate's, which all sites must have."""
    (found,) = {site["key_fingerprint"] for site in stack.outputs()["sites"].values()}
    return str(found)


def everywhere(lab: Lab, tag: str) -> None:
    """An image pushed to london is read at tokyo, with an equal digest."""
    digest = lab.push("london", f"group/app:{tag}", seed=tag.encode())
    assert lab.pull("tokyo", f"group/app:{tag}") == digest


def test_your_own_sites_step_by_step(up: str, reader: Reader, fresh: Lab) -> None:
    """And each step shows what the page says is shown."""
    reader.sees("your-own-sites.md", "Existing sites", up)
    everywhere(fresh, "first")


def test_a_change_is_seen_and_done(up: str, reader: Reader) -> None:
    """Once; the second time there is nothing to do."""
    look, do = commands(PAGE, "Operations")[:2]
    reader.types([look, do])
    assert "43 unchanged" in reader.types([do])


def test_the_comment_of_a_merge_request_is_made_by_hand(up: str, fresh: Lab) -> None:
    """In the checkout, where make is; of the lab's stack."""
    reader = Reader(fresh)
    reader.where = DOCS.parent
    # Setup is done: a .venv that it found stale it would create again, below all who use it.
    reader.env |= {"PROJECT": str(fresh.dir / "project"), "SETUP": "platform"}
    assert reader.does("ci.md").count("Created by `make preview-comment STACK=prod`") == 2


def test_everything_is_there(up: str, reader: Reader, fresh: Lab) -> None:
    """`make status`, in the checkout. It names the page's gitlab_version, which is not that of the lab."""
    make = Reader(fresh)
    make.where, make.env = (
        DOCS.parent,
        reader.env | {"PROJECT": str(fresh.dir / "project"), "SETUP": "platform"},
    )
    for command in commands(PAGE, "Check whether everything is there"):
        said = make.types([command], fails=True)
        assert "0 missing, 0 different, 0 surplus" in said and ", and gitlab_version " in said
    reader.typed |= make.typed


def test_what_was_changed_by_hand_is_set_right(
    up: str, reader: Reader, fresh: Lab, london: Host, tokyo: Host
) -> None:
    """On a node, and in AWS: the former is found by asking again, the latter by a refresh."""
    tokyo.run(f"openssl genrsa 2048 > {KEY} 2>/dev/null")
    assert ask("tokyo") == "refused"
    iam = fresh.iam()
    (user,) = [u["UserName"] for u in iam.list_users()["Users"] if "tokyo" in u["UserName"]]
    (policy,) = iam.list_user_policies(UserName=user)["PolicyNames"]
    before = iam.get_user_policy(UserName=user, PolicyName=policy)["PolicyDocument"]
    wide = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}'
    nodes, aws = (
        commands(PAGE, "Check every node again")[:2],
        commands(PAGE, "Check every node again")[2:],
    )
    reader.types(nodes)
    assert tokyo.read(KEY) == london.read(KEY)
    assert ask("tokyo") == "taken"
    iam.put_user_policy(UserName=user, PolicyName=policy, PolicyDocument=wide)
    assert "s3:*" in reader.types(aws)
    assert iam.get_user_policy(UserName=user, PolicyName=policy)["PolicyDocument"] == before


def test_a_site_is_removed_and_added(
    up: str, reader: Reader, stack: Stack, fresh: Lab, london: Host, tokyo: Host
) -> None:
    """It gets its own key back, then the stack's again; the other site is not even connected to."""
    own, sessions = tokyo.read(KEY), london.ssh_sessions()
    reader.types(commands(PAGE, "Remove a site")[:2])
    assert not tokyo.exists(OURS) and b"geo-registry" not in tokyo.read(GITLAB_RB)
    assert tokyo.read(KEY) != own
    assert "tokyo" not in stack.outputs()["sites"]
    provided: dict[str, Any] = yaml.safe_load(example(PAGE, "Add a site"))
    stack.configure(lambda c: c["sites"].update(provided))
    reader.does(PAGE, "Add a site")
    assert tokyo.read(KEY) == own
    assert london.ssh_sessions() == sessions
    everywhere(fresh, "added")


def test_each_secret_is_changed(up: str, reader: Reader, fresh: Lab, london: Host) -> None:
    """The two that are counted, and the key for the bucket; the former key is gone from AWS."""
    old = secrets(london)
    *counted, key = commands(PAGE, "Change a secret")
    reader.types(counted)
    new = secrets(london)
    assert {name for name in old if old[name] != new[name]} == {"notification_secret", "http_secret"}
    reader.types([key])
    assert secrets(london)["s3_access_key"] != old["s3_access_key"]
    iam = fresh.iam()
    keys = [
        key["AccessKeyId"]
        for user in iam.list_users()["Users"]
        for key in iam.list_access_keys(UserName=user["UserName"])["AccessKeyMetadata"]
    ]
    assert secrets(london)["s3_access_key"] in keys and old["s3_access_key"] not in keys
    everywhere(fresh, "rotated")


def test_the_registry_key_is_changed(
    up: str, reader: Reader, stack: Stack, fresh: Lab, london: Host, tokyo: Host
) -> None:
    """Both are trusted until the former certificate is removed; after a leak, tokens of before are worth nothing."""
    begin, apply, finish, again, leaked, at_once = commands(PAGE, "Change the registry key")
    seen, tokens = [fingerprint(stack)], [fetch("tokyo")]
    for steps in ((begin, apply), (finish, again), (leaked, at_once)):
        said = reader.types([*steps])
        assert ("registry-tokyo-1-trust-1" in said) is (steps[0] is not leaked)
        seen.append(fingerprint(stack))
        tokens.append(fetch("tokyo"))
        assert london.read(KEY) == tokyo.read(KEY)
        assert (ask("london"), ask("tokyo")) == ("taken", "taken")
        if steps[0] is begin:
            assert use("tokyo", str(tokens[0])) == "taken"
    assert len({*seen}) == 3 and seen[1] == seen[2]
    assert [use("tokyo", str(token)) for token in tokens] == ["refused", "refused", "refused", "taken"]
    everywhere(fresh, "key")


@pytest.mark.skipif(
    not installed.HAS_S3_V2,
    reason="needs a registry with the driver s3_v2, GitLab 17.9 or newer: the page upgrades to 19.0",
)
def test_gitlab_is_upgraded(up: str, reader: Reader, fresh: Lab, london: Host, tokyo: Host) -> None:
    """The preview names what is renamed, and nothing else of the settings changes."""
    own = f"{OURS}/settings.rb"
    assert b"'threshold'" in london.read(own)
    say, look, do = commands(PAGE, UPGRADE)
    changing = {
        line.split()[1]
        for line in reader.types([say, look]).splitlines()
        if line.lstrip().startswith(("- registry[", "+ registry[", "~ registry["))
    }
    assert {"registry['storage']['s3']['bucket']", "registry['storage']['s3_v2']['bucket']"} <= changing
    notified = "registry['notifications']['geo_event']"
    assert {f"{notified}['threshold']", f"{notified}['maxretries']"} <= changing
    assert {c for c in changing if "['s3" not in c and notified not in c} == set()
    reader.types([do])
    assert b'"s3_v2"' in tokyo.read(CONFIG)
    assert b"'maxretries'" in london.read(own) and b"'threshold'" not in london.read(own)
    everywhere(fresh, "upgraded")


def test_the_primary_moves_when_planned(
    up: str, reader: Reader, stack: Stack, fresh: Lab, london: Host, tokyo: Host
) -> None:
    """No key is read or made, no server or key replaced; the right to push goes along."""
    before = fingerprint(stack)
    play(tokyo, "primary")
    play(london, "secondary")
    say, look, do = commands(PAGE, "Move the primary")
    preview = reader.types([say, look])
    assert "replace" not in preview and "registry-key" not in preview
    reader.types([do])
    assert fingerprint(stack) == before
    digest = fresh.push("tokyo", "group/app:moved", seed=b"moved")
    assert fresh.pull("london", "group/app:moved") == digest
    with pytest.raises(SkopeoError, match="405"):
        fresh.push("london", "group/app:no", seed=b"no")


def test_the_primary_is_lost(
    up: str, reader: Reader, stack: Stack, fresh: Lab, london: Host, tokyo: Host
) -> None:
    """`up` fails there and does the rest: people can push. When it is back, as a secondary, `up` ends it."""
    tokyo.stop()
    play(london, "primary")
    stack.configure(lambda c: c.update(primary="london"))
    many = next(line for line in commands(PAGE, "Operations") if "--continue-on-error" in line)
    said = reader.types([many], fails=True)
    assert "tokyo-1-settings **" in said and "london-1-settings **" not in said
    assert "after " in said and " failed attempts" in said
    assert "failed to register" in said, "the page speaks of this traceback"
    digest = fresh.push("london", "group/app:lost", seed=b"lost")
    tokyo.start()
    play(tokyo, "secondary")
    reader.types([many])
    assert fresh.pull("tokyo", "group/app:lost") == digest


def test_a_primary_that_gitlab_did_not_promote(
    up: str, reader: Reader, stack: Stack, fresh: Lab, london: Host, tokyo: Host
) -> None:
    """Verification fails, both have their new settings, and the way back is open."""
    said = reader.does(PAGE, "Move the primary", fails=True)
    assert "GitLab does not accept the registry's notifications" in said and "403" in said
    for host, role in ((london, "secondary"), (tokyo, "primary")):
        assert f"the {role} site" in host.read(f"{OURS}/settings.rb").decode()
    stack.configure(lambda c: c.update(primary="london"))
    reader.types(commands(PAGE, "Move the primary")[2:])
    everywhere(fresh, "back")


def test_a_lost_node_is_restored(
    up: str, reader: Reader, stack: Stack, fresh: Lab, london: Host, tokyo: Host
) -> None:
    """A server as it was before this program: an `up` does not see it, asking again does; the key is the old one."""
    key = tokyo.read(KEY)
    london.reset()
    reader.types(commands(PAGE, "Operations")[1:2])
    assert not london.exists(OURS) and london.read(KEY) != key
    reader.does(PAGE, "Restore a node")
    assert london.exists(OURS) and london.read(KEY) == key
    everywhere(fresh, "restored")


def test_a_state_that_is_lost(
    up: str, reader: Reader, stack: Stack, fresh: Lab, london: Host, tokyo: Host
) -> None:
    """The stack created again has the same key pair; bucket and images are as they were."""
    before = fingerprint(stack)
    fresh.pulumi("stack", "rm", "--force", "--yes", "--preserve-config", "prod", stack=None)
    reader.does(PAGE, "Restore the stack's state")
    assert fingerprint(stack) == before
    assert "first" in fresh.tags("tokyo", "group/app")
    everywhere(fresh, "state")
    users = [u["UserName"] for u in fresh.iam().list_users()["Users"]]
    assert len([u for u in users if u.startswith("registry-london-storage-user")]) == 2


def test_a_site_whose_servers_are_gone_is_forgotten(
    up: str, reader: Reader, stack: Stack, tokyo: Host
) -> None:
    """Its settings cannot be removed; the URN that is shown is what the stack is to forget."""
    tokyo.stop()
    remove, do, find, forget, again = commands(PAGE, "Remove a site")
    assert " failed attempts" in reader.types([remove, do], fails=True)
    reader.values["URN"] = reader.types([find]).partition("URN: ")[2].strip()
    reader.types([forget, again])
    assert set(stack.outputs()["sites"]) == {"london"}
    tokyo.start()


def test_destroy_leaves_the_bucket(up: str, reader: Reader, fresh: Lab, london: Host) -> None:
    """With its images; the node is provided back."""
    reader.does(PAGE, "Destroy")
    assert not london.exists(OURS)
    assert fresh.s3().list_objects_v2(Bucket="acme-gitlab-registry")["KeyCount"] > 0


def test_every_command_of_the_page_was_typed(up: str, reader: Reader) -> None:
    """Save those that need a real account, those for created sites, and those that the lab's registry is too old for."""
    sections = ELSEWHERE if installed.HAS_S3_V2 else (*ELSEWHERE, UPGRADE)
    others = {line for section in sections for line in commands(PAGE, section)}
    assert set(commands(PAGE)) - reader.typed - others == set()
