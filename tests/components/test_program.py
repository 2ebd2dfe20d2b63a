"""The shape of the program: what is declared, under whom, after what, and what of it is secret."""

from __future__ import annotations

import json
from typing import Any

import pulumi
import pytest

from components.node_program import program
from tests.components.recording import ADOPTED, CALLS, HOOKS, KEPT, Registration, record
from tests.configurations import CREATED, HOST_KEY, SHARED, changed, per_site

pytestmark = pytest.mark.components


@pytest.fixture(scope="module")
def shared() -> dict[str, Registration]:
    return record(SHARED)


@pytest.fixture(scope="module")
def replicated() -> dict[str, Registration]:
    return record(per_site())


def order(node: Registration) -> dict[str, Any]:
    """What the program on the node is told, from behind its __END__ mark."""
    text = node.plain("stdin")
    assert text.startswith(program())
    told: dict[str, Any] = json.loads(text.removeprefix(program()))
    return told


def depends_on(resource: Registration) -> set[str]:
    return {urn.split("::")[-1] for urn in resource.request.dependencies}


def test_each_node_is_one_command_below_its_site(shared: dict[str, Registration]) -> None:
    """One SSH session a node: site → node → its command. Beside them: the key, and the lock file on shared storage."""
    command = shared["london-1-settings"]
    assert (command.type, command.parent) == ("command:remote:Command", "london-1")
    assert (shared["london-1"].type, shared["london-1"].parent) == ("gitlabgeo:index:Node", "london")
    assert shared["london"].type == "gitlabgeo:index:PrimarySite"
    assert shared["tokyo"].type == "gitlabgeo:index:SecondarySite"
    commands = {r.name for r in shared.values() if r.type == "command:remote:Command"}
    assert commands == {"registry-key", "registry-lock-file", "london-1-settings", "tokyo-1-settings"}


def test_sites_that_exist_go_at_once_and_wait_for_the_storage(shared: dict[str, Registration]) -> None:
    """One wave of reconfigures: each proof waits for the others. The rights to the bucket come first."""
    for one, other in (("london", "tokyo"), ("tokyo", "london")):
        assert f"{other}-1-settings" not in depends_on(shared[f"{one}-1-settings"])
        assert f"{one}-registry-key" in depends_on(shared[f"{one}-1-settings"])


def test_a_node_waits_for_what_its_registry_needs_of_the_storage_and_no_more(
    replicated: dict[str, Registration],
) -> None:
    """All that protects the first image, and the key to it; neither the rule for abandoned uploads nor another site's."""
    waits = depends_on(replicated["tokyo-1-settings"])
    needed = ("public-access", "ownership", "versioning", "encryption", "tls-only")
    assert {f"acme-tokyo-{part}" for part in needed} | {"tokyo-registry-key"} <= waits
    assert "acme-tokyo-lifecycle" in replicated
    assert not [
        name for name in waits if "lifecycle" in name or name.startswith(("acme-london", "london-reg"))
    ]


def test_no_created_server_waits_for_the_lifecycle_rule() -> None:
    """With a role in place of a key, too: AWS takes a minute to confirm the rule."""
    made = record(CREATED)
    for name in ("london-1-settings", "tokyo-1-settings", "london-1-server", "registry-lock-file"):
        waits = depends_on(made[name])
        assert not [other for other in waits if "lifecycle" in other], name
    assert "acme-registry-tls-only" in depends_on(made["london-1-settings"])


def test_a_primary_that_is_made_here_comes_first() -> None:
    """Before it is there nothing can be proven against it; the primary needs no secondary."""
    made = record(CREATED)
    assert "london-1-settings" in depends_on(made["tokyo-1-settings"])
    assert "tokyo-1-settings" not in depends_on(made["london-1-settings"])


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
    told = order(command)
    assert told["secrets"] == {
        "registry_key": ADOPTED["registry_key"],
        "registry_certificate": ADOPTED["registry_certificate"],
        "http_secret": "generated-shared-http-secret",
        "s3_access_key": "id-of-tokyo-registry-key",
        "s3_secret_key": "secret-of-tokyo-registry-key",
    }


def test_every_session_that_fails_is_explained(shared: dict[str, Registration]) -> None:
    """By one hook, so that a node which is no longer in the program has it too when it is given back."""
    commands = [made for made in shared.values() if made.type == "command:remote:Command"]
    assert len(commands) == 4
    assert all(list(made.request.hooks.on_error) == ["hosts-sessions"] for made in commands)
    assert "hosts-sessions" in HOOKS


def test_a_node_at_another_address_is_another_server(shared: dict[str, Registration]) -> None:
    """The former server is given back before the new one is configured; another user or port changes nothing there."""
    assert shared["london-1-settings"].plain("triggers") == ["10.10.0.11"]
    assert "triggers" in shared["london-1-settings"].inputs
    assert "triggers" not in shared["registry-key"].inputs


def test_nodes_that_may_answer_for_each_other_are_told_so(shared: dict[str, Registration]) -> None:
    """Two Rails nodes in the primary site: the proof waits for both; alone it takes a refusal at once."""
    raw = changed(SHARED, lambda _: None)
    raw["sites"]["london"]["nodes"]["london-2"] = {"host": "10.10.0.12", "host_key": HOST_KEY}
    assert order(record(raw)["london-1-settings"])["siblings"] is True
    assert order(shared["london-1-settings"])["siblings"] is False


def test_nothing_plain_holds_a_secret(shared: dict[str, Registration]) -> None:
    """Searched for by value in every input of every resource; the same search finds what is not secret."""
    secrets = ["PRIVATE-KEY", "generated-", "secret-of-", "id-of-tokyo-registry-key"]
    plain = "".join(
        json.dumps({k: v for k, v in r.inputs.items() if not r.secret(k)}) for r in shared.values()
    )
    assert [s for s in secrets if s in plain] == []
    assert "acme-registry" in plain


def test_the_key_is_read_from_the_primary_once(shared: dict[str, Registration]) -> None:
    """A later change of program, address or primary does not read it again; its output is a secret."""
    read = shared["registry-key"]
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
    assert {r.name for r in made} == {"notification-secret", "shared-http-secret"}
    for secret in made:
        assert secret.request.retainOnDelete
        assert list(secret.request.additionalSecretOutputs) == ["value"]


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
        return str(shared[f"{site}-registry-rights-acme-registry"].plain("policy"))

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
    told = {site: order(replicated[f"{site}-1-settings"]) for site in ("london", "tokyo")}
    assert told["tokyo"]["storage"]["write"] is True
    assert told["london"]["secrets"]["http_secret"] != told["tokyo"]["secrets"]["http_secret"]


def test_a_kept_storage_is_read_and_nothing_is_made_for_it() -> None:
    """`keep`: no bucket, no user; one look at where the images are."""
    raw = per_site()
    raw["sites"]["tokyo"]["storage"] = "keep"
    recorded = record(raw)
    assert "acme-tokyo-bucket" not in recorded
    assert "tokyo-registry" not in recorded
    assert recorded["tokyo-kept-storage"].plain("create").endswith("ruby --disable-gems - inspect_storage")
    assert order(recorded["tokyo-1-settings"])["storage"] is None


def test_two_kept_storages_that_are_one_stop_the_update(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each site is looked at, whichever is primary, and the program fails before any node is touched."""
    raw = per_site()
    for site in ("london", "tokyo"):
        raw["sites"][site]["storage"] = "keep"
    monkeypatch.setitem(KEPT, "london-kept-storage", ["london-machine", "registry"])
    assert "tokyo-1-settings" in record(raw)
    assert "london-1-settings" in record(changed(raw, lambda r: r.update(primary="tokyo")))
    monkeypatch.setitem(KEPT, "tokyo-kept-storage", ["london-machine", "registry"])
    with pytest.raises(pulumi.RunError, match="london and tokyo keep their images in one place"):
        record(raw)


def test_the_nodes_of_a_site_go_side_by_side() -> None:
    """A key is new on all of them within one reconfigure; a proof that needs another node waits for it."""
    raw = changed(SHARED, lambda _: None)
    for site in ("london", "tokyo"):
        more = {"host": f"10.{site == 'tokyo':d}.0.9", "host_key": HOST_KEY, "roles": ["rails", "sidekiq"]}
        raw["sites"][site]["nodes"][f"{site}-2"] = more
    recorded = record(raw)
    for site in ("london", "tokyo"):
        assert f"{site}-2-settings" not in depends_on(recorded[f"{site}-1-settings"])
        assert f"{site}-1-settings" not in depends_on(recorded[f"{site}-2-settings"])


def test_with_fewer_operations_than_nodes_each_waits_only_for_what_has_begun() -> None:
    """A web node and a registry, which prove each other; then the site's others; then the next site."""
    raw = changed(SHARED, lambda _: None)
    places = {"web-1": ["rails"], "web-2": ["rails"], "images": ["registry"]}
    raw["sites"]["london"]["nodes"] = {
        name: {"host": f"10.10.0.{n}", "host_key": HOST_KEY, "roles": roles}
        for n, (name, roles) in enumerate(places.items(), 11)
    }
    recorded = record(raw, parallel=2)
    after = {name: depends_on(recorded[f"{name}-settings"]) for name in (*places, "tokyo-1")}
    pair = {"web-1-settings", "images-settings"}
    assert not (after["web-1"] | after["images"]) & {f"{name}-settings" for name in places}
    assert pair <= after["web-2"]
    assert {*pair, "web-2-settings"} <= after["tokyo-1"]
    assert not depends_on(record(raw, parallel=4)["tokyo-1-settings"]) & pair


def test_a_bucket_that_exists_is_used_and_left_alone() -> None:
    """`create: false`: users and rights, no bucket."""
    raw = changed(SHARED, lambda r: r["storage"]["s3"].update(create=False))
    recorded = record(raw)
    assert "acme-registry-bucket" not in recorded
    assert any(r.type.endswith("AccessKey") for r in recorded.values())


def test_where_nothing_is_made_on_aws_no_provider_is_asked_for() -> None:
    """Its plugin would start, and ask for credentials that nobody needs; with one key to make it is there."""

    def given(raw: dict[str, Any]) -> None:
        raw["storage"]["s3"]["create"] = False
        for name, site in raw["sites"].items():
            site["s3_keys"] = {"access_key": f"AKIA-{name}", "secret_key": f"secret-{name}"}

    def providers(raw: dict[str, Any]) -> list[str]:
        return [name for name, made in record(raw).items() if made.type == "pulumi:providers:aws"]

    raw = changed(SHARED, given)
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
