"""The shape of the program: what is declared, under whom, after what, and what of it is secret."""

from __future__ import annotations

import json
from typing import Any

import pulumi
import pytest

from hosts.programs import VERIFY, gitlab_node
from plan.node import SETTINGS
from tests.components.recording import ADOPTED, CALLS, HOOKS, KEPT, Registration, record
from tests.configurations import CREATED, HOST_KEY, SHARED, changed, per_site
from tools.comment.changes import Change
from tools.comment.descriptions import NODE_COMMAND
from tools.comment.resource_index import ResourceIndex


@pytest.fixture(scope="module")
def shared() -> dict[str, Registration]:
    return record(SHARED)


@pytest.fixture(scope="module")
def replicated() -> dict[str, Registration]:
    return record(per_site())


def order(node: Registration) -> dict[str, Any]:
    """The payload of the program on the node, from behind its __END__ mark."""
    text = node.plain("stdin")
    sent = gitlab_node(VERIFY if node.name.endswith("-verification") else ())
    assert text.startswith(sent)
    reported: dict[str, Any] = json.loads(text.removeprefix(sent))
    return reported


def test_each_node_is_one_command_below_its_site(shared: dict[str, Registration]) -> None:
    """One SSH session a node: site → node → its command. Beside them: the key, and the lock file on shared storage."""
    command = shared["london-1-settings"]
    assert (command.type, command.parent) == ("command:remote:Command", "london-1")
    assert (shared["london-1"].type, shared["london-1"].parent) == ("gitlabgeo:index:Node", "london")
    assert shared["london"].type == "gitlabgeo:index:PrimarySite"
    assert shared["tokyo"].type == "gitlabgeo:index:SecondarySite"
    commands = {r.name for r in shared.values() if r.type == "command:remote:Command"}
    assert commands == {
        "key",
        "lock-file",
        *(f"{node}-{what}" for node in ("london-1", "tokyo-1") for what in ("settings", "verification")),
    }


def test_sites_that_exist_go_at_once_and_wait_for_the_storage(shared: dict[str, Registration]) -> None:
    """One wave of reconfigures. The permissions for the bucket come first."""
    for one, other in (("london", "tokyo"), ("tokyo", "london")):
        assert f"{other}-1-settings" not in shared[f"{one}-1-settings"].depends_on
        assert f"{one}-storage-key" in shared[f"{one}-1-settings"].depends_on


def test_a_node_waits_for_what_its_registry_needs_of_the_storage_and_no_more(
    replicated: dict[str, Registration],
) -> None:
    """All that protects the first image, and the key to it; neither the rule for abandoned uploads nor another site's."""
    waits = replicated["tokyo-1-settings"].depends_on
    needed = ("public-access", "ownership", "versioning", "encryption", "tls-only")
    assert {f"acme-tokyo-{part}" for part in needed} | {"tokyo-storage-key"} <= waits
    assert "acme-tokyo-lifecycle" in replicated
    assert not [
        name for name in waits if "lifecycle" in name or name.startswith(("acme-london", "london-reg"))
    ]


def test_no_created_server_waits_for_the_lifecycle_rule() -> None:
    """With a role in place of a key, too: AWS takes a minute to confirm the rule."""
    made = record(CREATED)
    for name in ("london-1-settings", "tokyo-1-settings", "london-1-instance", "lock-file"):
        waits = made[name].depends_on
        assert not [other for other in waits if "lifecycle" in other], name
    assert "acme-registry-tls-only" in made["london-1-settings"].depends_on


def test_all_nodes_of_all_sites_go_side_by_side() -> None:
    """Also where the primary's are created, where nodes have parts, and where a registry may only read."""
    raw = changed(SHARED, lambda _: None)
    for site in ("london", "tokyo"):
        more = {"host": f"10.{site == 'tokyo':d}.0.9", "host_key": HOST_KEY, "roles": ["rails", "sidekiq"]}
        raw["sites"][site]["nodes"][f"{site}-2"] = more
    for recorded in (record(CREATED), record(raw)):
        nodes = [name for name in recorded if name.endswith("-settings")]
        waiting = {(name, other) for name in nodes for other in nodes if other in recorded[name].depends_on}
        # Replication deletes what the primary does not have, so the registry is read-only before it is switched on.
        assert waiting <= {("tokyo-2-settings", "tokyo-1-settings")}, waiting
    assert waiting
    replicated = per_site()
    replicated["sites"]["tokyo"]["nodes"]["tokyo-2"] = raw["sites"]["tokyo"]["nodes"]["tokyo-2"]
    assert "tokyo-1-settings" not in record(replicated)["tokyo-2-settings"].depends_on


def test_verification_comes_after_what_answers_and_nothing_else() -> None:
    """A third site that is dead, or a Sidekiq node, keeps no other from being verified."""
    raw = changed(SHARED, lambda _: None)
    sydney = json.loads(
        json.dumps(raw["sites"]["tokyo"]).replace("tokyo", "sydney").replace("10.20", "10.30")
    )
    raw["sites"]["sydney"] = sydney
    raw["sites"]["london"]["nodes"] = {
        name: {"host": f"10.10.0.{n}", "host_key": HOST_KEY, "roles": [role]}
        for n, (name, role) in enumerate(
            {"web-1": "rails", "web-2": "rails", "jobs": "sidekiq", "images": "registry"}.items(), 11
        )
    }
    recorded = record(raw)

    def waits(name: str) -> set[str]:
        ends = "-settings"
        names = recorded[f"{name}-verification"].depends_on
        return {one.removesuffix(ends) for one in names if one.endswith(ends)}

    assert waits("images") == {"images", "web-1", "web-2"}, "of which any may answer a notification"
    assert waits("web-1") == {"web-1", "images"}
    assert waits("jobs") == {"jobs", "images"}
    assert waits("tokyo-1") == {"tokyo-1", "images"}
    assert waits("sydney-1") == {"sydney-1", "images"}


def test_verification_changes_nothing_and_runs_again_when_a_node_changes() -> None:
    """Nothing is undone there when it goes; it holds a digest of each node's payload, and no storage key."""
    raw = changed(SHARED, lambda _: None)
    before = record(raw)["tokyo-1-verification"]
    assert before.plain("create").endswith("ruby --disable-gems - verify")
    assert before.secret("stdin") and "delete" not in before.inputs and "triggers" not in before.inputs
    provided = order(before)
    assert provided["secrets"] == {key: ADOPTED[key] for key in ("registry_key", "registry_certificate")}
    after = order(
        record(changed(raw, lambda r: r["sites"]["london"].update(registry_url="https://r.example.com")))[
            "tokyo-1-verification"
        ]
    )
    assert set(provided["triggers"]["applied"]) == {"london-1", "tokyo-1"}
    more = {"host": "10.20.0.9", "host_key": HOST_KEY, "roles": ["sidekiq"]}
    grown = record(changed(raw, lambda r: r["sites"]["tokyo"]["nodes"].update({"tokyo-2": more})))
    assert order(grown["tokyo-1-verification"]) == provided, "nobody asks Sidekiq"
    assert after["triggers"]["applied"]["london-1"] != provided["triggers"]["applied"]["london-1"]
    assert order(record(raw)["tokyo-1-verification"]) == provided
    moved = changed(raw, lambda r: r["sites"]["london"]["nodes"]["london-1"].update(host="10.10.0.99"))
    assert (
        order(record(moved)["tokyo-1-verification"])["triggers"]["applied"] != provided["triggers"]["applied"]
    )


def test_a_node_that_asks_nobody_has_no_verification() -> None:
    """A registry of a secondary; beside it Rails and Sidekiq ask the primary's."""
    raw = changed(SHARED, lambda _: None)
    for site, host in (("london", "10.10.0.9"), ("tokyo", "10.20.0.9")):
        raw["sites"][site]["nodes"][f"{site}-1"]["roles"] = ["rails", "sidekiq"]
        raw["sites"][site]["nodes"][f"{site}-images"] = {
            "host": host,
            "host_key": HOST_KEY,
            "roles": ["registry"],
        }
    asking = {
        name
        for name, made in record(raw).items()
        if made.type == "command:remote:Command" and name.endswith("-verification")
    }
    assert asking == {f"{name}-verification" for name in ("london-1", "london-images", "tokyo-1")}


def test_program_and_secrets_go_over_stdin_as_a_secret(shared: dict[str, Registration]) -> None:
    """Neither the command lines nor anything plain holds a secret; host keys are pinned; stdout is not logged."""
    command = shared["tokyo-1-settings"]
    assert command.secret("stdin")
    assert command.plain("create") == "exec sudo -n /opt/gitlab/embedded/bin/ruby --disable-gems - apply"
    assert command.plain("delete") == "exec sudo -n /opt/gitlab/embedded/bin/ruby --disable-gems - undo"
    assert command.plain("logging") == "stderr"
    assert command.plain("addPreviousOutputInEnv") is False
    assert command.plain("connection")["hostKey"] == HOST_KEY
    assert command.request.deleteBeforeReplace
    reported = order(command)
    assert reported["secrets"] == {
        "registry_key": ADOPTED["registry_key"],
        "registry_certificate": ADOPTED["registry_certificate"],
        "http_secret": "generated-shared-http-secret",
        "s3_access_key": "id-of-tokyo-storage-key",
        "s3_secret_key": "secret-of-tokyo-storage-key",
    }


def test_every_session_that_fails_is_explained(shared: dict[str, Registration]) -> None:
    """By one hook, so that a node which is no longer in the program has it too when it is restored."""
    commands = [made for made in shared.values() if made.type == "command:remote:Command"]
    assert len(commands) == 6
    assert all(list(made.request.hooks.on_error) == ["registry-sessions"] for made in commands)
    assert "registry-sessions" in HOOKS


def test_a_node_at_another_address_is_another_server(shared: dict[str, Registration]) -> None:
    """The former server is released before the new one is configured; another user or port changes nothing there."""
    assert shared["london-1-settings"].plain("triggers") == ["10.10.0.11"]
    assert "triggers" in shared["london-1-settings"].inputs
    assert "triggers" not in shared["key"].inputs


def test_nothing_plain_holds_a_secret(shared: dict[str, Registration]) -> None:
    """Searched for by value in every input of every resource; the same search finds what is not secret."""
    secrets = ["PRIVATE-KEY", "generated-", "secret-of-", "id-of-tokyo-storage-key"]
    plain = "".join(
        json.dumps({k: v for k, v in r.inputs.items() if not r.secret(k)}) for r in shared.values()
    )
    assert [s for s in secrets if s in plain] == []
    assert "acme-registry" in plain


def test_the_key_is_read_from_the_primary_once(shared: dict[str, Registration]) -> None:
    """A later change of program, address or primary does not read it again; its output is a secret."""
    read = shared["key"]
    assert read.plain("create").endswith("ruby --disable-gems - adopt")
    assert read.plain("logging") == "none"
    assert {"connection", "create", "stdin"} <= set(read.request.ignoreChanges)
    assert "stdout" in read.request.additionalSecretOutputs
    assert read.plain("connection")["host"] == "10.10.0.11"


def test_generated_secrets_are_never_made_anew_or_deleted_by_an_upgrade(
    shared: dict[str, Registration],
) -> None:
    """Kept out of Python's pickles: nothing is called when they go, and their value is secret."""
    made = [r for r in shared.values() if r.type.startswith("pulumi-python:dynamic")]
    assert {r.name for r in made} == {"key-pair", "notification-secret", "shared-http-secret"}
    for secret in made:
        assert secret.request.retainOnDelete
        value = "pair" if secret.name == "key-pair" else "value"
        assert list(secret.request.additionalSecretOutputs) == [value]


def test_the_bucket_and_all_that_protects_it_stay_when_the_stack_goes(
    shared: dict[str, Registration],
) -> None:
    """Encrypted, versioned, private, owned, over TLS only, cleaned of abandoned uploads; kept on destroy."""
    parts = [r for r in shared.values() if r.parent == "acme-registry"]
    assert {r.type.split(":")[-1] for r in parts} == {
        "Bucket",
        "BucketPublicAccessBlock",
        "BucketOwnershipControls",
        "BucketVersioning",
        "BucketServerSideEncryptionConfiguration",
        "BucketLifecycleConfiguration",
        "BucketPolicy",
    }
    assert all(r.request.retainOnDelete for r in parts)
    assert shared["acme-registry-bucket"].plain("forceDestroy") is False
    policy = json.loads(shared["acme-registry-tls-only"].plain("policy"))
    assert policy["Statement"][0]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_a_secondary_can_only_read_the_shared_bucket(shared: dict[str, Registration]) -> None:
    """The primary's policy is the positive control: it may write."""

    def policies(site: str) -> str:
        return str(shared[f"{site}-policy-acme-registry"].plain("policy"))

    assert "s3:PutObject" in policies("london")
    assert "s3:PutObject" not in policies("tokyo")
    assert "s3:DeleteObject" not in policies("tokyo")
    assert order(shared["tokyo-1-settings"])["storage"]["write"] is False
    assert order(shared["london-1-settings"])["storage"]["write"] is True


def test_storage_per_site_is_a_bucket_in_each_region(replicated: dict[str, Registration]) -> None:
    """Each site writes its own, in its own region, with its own http_secret."""
    for site, region in (("london", "eu-west-1"), ("tokyo", "ap-northeast-1")):
        assert replicated[f"acme-{site}-bucket"].provider == f"storage-{region}"
        assert replicated[f"storage-{region}"].plain("region") == region
    reported = {site: order(replicated[f"{site}-1-settings"]) for site in ("london", "tokyo")}
    assert reported["tokyo"]["storage"]["write"] is True
    assert reported["london"]["secrets"]["http_secret"] != reported["tokyo"]["secrets"]["http_secret"]


def test_a_kept_storage_is_read_and_nothing_is_made_for_it() -> None:
    """`keep`: no bucket, no user; one look at where the images are."""
    raw = per_site()
    raw["sites"]["tokyo"]["storage"] = "keep"
    recorded = record(raw)
    assert "acme-tokyo-bucket" not in recorded
    assert "tokyo-storage-user" not in recorded and "london-storage-user" in recorded
    assert (
        recorded["tokyo-existing-storage"].plain("create").endswith("ruby --disable-gems - inspect_storage")
    )
    assert order(recorded["tokyo-1-settings"])["storage"] is None


def test_the_preview_comment_knows_sessions_by_their_names() -> None:
    """tools/ cannot import components/: it has its own words for the ends of the names that it sets."""
    raw = per_site()
    raw["sites"]["tokyo"]["storage"] = "keep"
    recorded = record(raw) | record(CREATED)
    sessions = {name for name, one in recorded.items() if one.type == NODE_COMMAND}
    looks = {name for name in sessions if Change("create", NODE_COMMAND, name).component}
    assert looks == {"tokyo-existing-storage", "london-1-verification", "tokyo-1-verification"}
    assert {name for name in sessions if name.endswith(SETTINGS)} == {"london-1-settings", "tokyo-1-settings"}
    for suffix in ResourceIndex.SUFFIXES:
        assert f"tokyo-1{suffix}" in recorded


def test_two_kept_storages_that_are_one_stop_the_update(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each site is looked at, whichever is primary, and the program fails before any node is touched."""
    raw = per_site()
    for site in ("london", "tokyo"):
        raw["sites"][site]["storage"] = "keep"
    monkeypatch.setitem(KEPT, "london-existing-storage", ["london-machine", "registry"])
    assert "tokyo-1-settings" in record(raw)
    assert "london-1-settings" in record(changed(raw, lambda r: r.update(primary="tokyo")))
    monkeypatch.setitem(KEPT, "tokyo-existing-storage", ["london-machine", "registry"])
    with pytest.raises(pulumi.RunError, match="existing-storage-not-unique"):
        record(raw)


def test_a_bucket_that_exists_is_used_and_left_alone() -> None:
    """`create: false`: users and permissions, no bucket."""
    raw = changed(SHARED, lambda r: r["storage"]["s3"].update(create=False))
    recorded = record(raw)
    assert "acme-registry-bucket" not in recorded
    assert any(r.type.endswith("AccessKey") for r in recorded.values())


def test_where_nothing_is_made_on_aws_no_provider_is_asked_for() -> None:
    """Its plugin would start, and ask for credentials that nobody needs; with one key to make it is there."""

    def provided(raw: dict[str, Any]) -> None:
        raw["storage"]["s3"]["create"] = False
        for name, site in raw["sites"].items():
            site["s3_keys"] = {"access_key": f"AKIA-{name}", "secret_key": f"secret-{name}"}

    def providers(raw: dict[str, Any]) -> list[str]:
        return [name for name, made in record(raw).items() if made.type == "pulumi:providers:aws"]

    raw = changed(SHARED, provided)
    assert providers(raw) == []
    del raw["sites"]["tokyo"]["s3_keys"]
    assert providers(raw) == ["storage-eu-west-1"]


def test_a_preview_does_without_the_file_of_a_key() -> None:
    """A job in CI has no such file: the connection stays as it was, the rest is shown."""
    raw = changed(SHARED, lambda r: r.update(ssh={"private_key_file": "/nonexistent/key"}))
    seen = record(raw, preview=True)["tokyo-1-settings"]
    assert "privateKey" not in seen.plain("connection")
    assert list(seen.request.ignoreChanges) == ["connection.privateKey"]
    assert list(record(SHARED, preview=True)["tokyo-1-settings"].request.ignoreChanges) == []


def test_root_needs_no_sudo_and_a_bastion_is_passed_through() -> None:
    """User, port, bastion and its pinned key reach the connection."""
    raw = changed(SHARED, lambda r: r.update(ssh={"user": "root", "port": 2222, "wait_seconds": 5}))
    raw["ssh"]["bastion"] = {"host": "192.0.2.10", "host_key": HOST_KEY, "user": "jump"}
    command = record(raw)["london-1-settings"]
    assert command.plain("create") == "exec /opt/gitlab/embedded/bin/ruby --disable-gems - apply"
    connection = command.plain("connection")
    assert (connection["user"], connection["port"]) == ("root", 2222)
    assert connection["proxy"]["host"] == "192.0.2.10"
    assert connection["proxy"]["user"] == "jump"
    assert connection["proxy"]["hostKey"] == HOST_KEY


def test_a_preview_needs_neither_hosts_nor_cloud(shared: dict[str, Registration]) -> None:
    """No function is called, and the settings are known before anything exists."""
    CALLS.clear()
    recorded = record(SHARED, preview=True)
    assert recorded["tokyo-1"].inputs["settings"] == shared["tokyo-1"].inputs["settings"]
    assert CALLS == []


def test_a_moved_primary_keeps_its_resources() -> None:
    """Each site is known to the engine by its former part too, so its nodes are updated in place."""
    moved = record(changed(SHARED, lambda r: r.update(primary="tokyo")))
    assert moved["tokyo"].type == "gitlabgeo:index:PrimarySite"
    assert [a.spec.type for a in moved["tokyo"].request.aliases] == ["gitlabgeo:index:SecondarySite"]
