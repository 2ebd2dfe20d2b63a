"""The rotation of the registry key: who waits for whom, what is sent where, and what the state keeps."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from components import key_pair
from components.key_pair import _KeyInUseProvider, _KeyPairProvider, generate_pair
from hosts.programs import gitlab_node
from plan.key_rotation import Pair
from tests.components.recording import ADOPTED, GENERATED, Registration, record
from tests.configurations import CREATED, SHARED, changed, put
from tests.invalid_configs.topologies import BY_ROLE, EXTERNAL

NODES = ("london-web-1", "london-web-2", "london-sidekiq", "london-registry", "tokyo-1")
BUNDLE = "NEW-CERTIFICATE\nCERTIFICATE"


def rotated(raw: dict[str, Any], **numbers: int) -> dict[str, Registration]:
    return record(changed(raw, put("rotate", to=numbers)))


@pytest.fixture(scope="module")
def begun() -> dict[str, Registration]:
    return rotated(BY_ROLE, registry_key=1)


@pytest.fixture(scope="module")
def finished() -> dict[str, Registration]:
    return rotated(BY_ROLE, registry_key=1, registry_key_finished=1)


def order(node: Registration) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(node.plain("stdin").removeprefix(gitlab_node()))
    return found


def trusts(recorded: dict[str, Registration]) -> set[str]:
    return {name for name in recorded if "-trust-" in name}


def test_no_node_signs_with_the_new_key_before_every_registry_trusts_it(
    begun: dict[str, Registration],
) -> None:
    """Of all sites, also where a node is both; and nothing else waits for another node."""
    assert trusts(begun) == {"london-registry-trust-1", "tokyo-1-trust-1"}
    for node in NODES:
        assert trusts(begun) <= begun[f"{node}-settings"].depends_on
    for trust in trusts(begun):
        waits = begun[trust].depends_on
        assert not [name for name in waits if name.endswith(("-settings", "-verification", "-trust-1"))]


def test_a_registry_takes_the_step_once_and_nothing_undoes_it(begun: dict[str, Registration]) -> None:
    """A later failover must not wait for a node that is lost."""
    trust = begun["tokyo-1-trust-1"]
    assert trust.plain("create").endswith("ruby --disable-gems - trust")
    assert trust.secret("stdin") and "delete" not in trust.inputs
    assert {"connection", "create", "stdin"} <= set(trust.request.ignoreChanges)
    sent = order(trust)
    assert sent["secrets"] == {"registry_key": "NEW-PRIVATE-KEY", "registry_certificate": BUNDLE}
    assert "settings" not in sent


def test_both_certificates_are_trusted_until_the_rotation_is_finished(
    begun: dict[str, Registration], finished: dict[str, Registration]
) -> None:
    """Nothing is ordered in the second step: a node that signs with the former key keeps it from beginning."""
    secrets = order(begun["tokyo-1-settings"])["secrets"]
    assert (secrets["registry_key"], secrets["registry_certificate"]) == ("NEW-PRIVATE-KEY", BUNDLE)
    assert trusts(finished) == set()
    assert {f"{node}-settings" for node in NODES} <= begun["key-in-use"].depends_on
    assert begun["key-in-use"].plain("applied") == GENERATED["fingerprint"]
    assert "key-in-use" in finished["key-pair"].depends_on
    assert not finished["key-in-use"].depends_on
    assert finished["key-in-use"].parent == begun["key-in-use"].parent


def test_without_a_rotation_nothing_of_it_is_declared() -> None:
    """But the key pair, which the state keeps from the first `up` on."""
    recorded = record(SHARED)
    assert trusts(recorded) == set() and "key-in-use" not in recorded
    assert recorded["key-pair"].secret("adopted") and not recorded["key-pair"].request.protect
    assert order(recorded["tokyo-1-settings"])["secrets"]["registry_key"] == ADOPTED["registry_key"]


def test_a_destroy_that_is_refused_keeps_the_pair() -> None:
    """Without its state the next `up` would apply the pair that was adopted first."""
    raw = changed(CREATED, put("sites", "tokyo", "aws", "termination_protection", to=True))
    recorded = record(raw)
    assert recorded["key-pair"].request.protect and recorded["key"].request.protect


def test_after_a_leak_all_nodes_change_at_once(begun: dict[str, Registration]) -> None:
    """With the fingerprints of what must not come back."""
    leaked = rotated(BY_ROLE, registry_key_now=1)
    assert trusts(leaked) == set()
    sent = order(leaked["london-registry-settings"])
    assert sent["secrets"]["registry_certificate"] == "NEW-CERTIFICATE"
    assert sent["revoked"] == [ADOPTED["fingerprint"]]
    assert order(begun["tokyo-1-settings"])["revoked"] == []


def test_the_host_of_an_external_registry_takes_the_step_without_a_key() -> None:
    """It gets the certificates alone."""
    step = rotated(EXTERNAL, registry_key=1)["london-images-trust-1"]
    assert step.plain("create") == "exec sudo -n python3 -I - trust"
    sent = step.plain("stdin")
    assert "NEW-CERTIFICATE" in sent and "PRIVATE-KEY" not in sent and "generated-" not in sent


def test_a_preview_of_a_rotation_holds_no_secret() -> None:
    """The same search as in test_program.py."""
    recorded = record(changed(BY_ROLE, put("rotate", to={"registry_key": 1})), preview=True)
    plain = "".join(
        json.dumps({key: value for key, value in r.inputs.items() if not r.secret(key)})
        for r in recorded.values()
    )
    assert "PRIVATE-KEY" not in plain and "acme-registry" in plain


def test_a_generated_pair_is_one_that_the_linux_package_could_have_made() -> None:
    """RSA-4096 in PKCS #1, self-signed for ten years; the fingerprint is the certificate's."""
    pair = generate_pair()
    key = serialization.load_pem_private_key(pair["registry_key"].encode(), None)
    made = x509.load_pem_x509_certificate(pair["registry_certificate"].encode())
    assert pair["registry_key"].startswith("-----BEGIN RSA PRIVATE KEY-----\n")
    assert key.public_key() == made.public_key()
    assert made.subject.rfc4514_string() == made.issuer.rfc4514_string() == "CN=Registry"
    assert (made.not_valid_after_utc - made.not_valid_before_utc).days == 3650
    assert pair["fingerprint"] == made.fingerprint(hashes.SHA256()).hex()


def inputs(adopted: Pair, *wanted: int, in_use: str = "") -> dict[str, Any]:
    return {"adopted": adopted, "wanted": [*wanted], "in_use": in_use}


def test_the_first_up_only_records_the_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    """And says so; without numbers there is nothing to say."""
    for numbers, said in (((0, 0, 0), False), ((1, 0, 1), True)):
        outs = _KeyPairProvider().create(inputs(ADOPTED, *numbers)).outs or {}
        assert outs["pair"]["registry_key"] == ADOPTED["registry_key"]
        assert ("only records the numbers in rotate" in capsys.readouterr().out) is said


def test_only_numbers_that_can_follow_change_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else in the inputs does; refused numbers leave it, for the program to report."""
    monkeypatch.setattr(key_pair, "generate_pair", lambda: GENERATED)
    provider = _KeyPairProvider()
    first = provider.create(inputs(ADOPTED, 0, 0, 0)).outs or {}

    def changes(state: dict[str, Any], *wanted: int, in_use: str = "", adopted: Pair = ADOPTED) -> bool:
        return bool(provider.diff("id", state, inputs(adopted, *wanted, in_use=in_use)).changes)

    assert not changes(first, 0, 0, 0)
    assert not changes(first, 1, 1, 0), "refused: without an overlap"
    assert changes(first, 1, 0, 0) and changes(first, 0, 0, 1)
    assert changes(first, 0, 0, 0, adopted=GENERATED) and changes(first, 1, 1, 0, adopted=GENERATED)
    second = provider.update("id", first, inputs(ADOPTED, 1, 0, 0)).outs or {}
    assert second["pair"]["registry_key"] == GENERATED["registry_key"]
    assert not changes(second, 1, 0, 0)
    assert not changes(second, 1, 1, 0, in_use="ab12"), "refused: incomplete"
    assert changes(second, 1, 1, 0, in_use=GENERATED["fingerprint"])


def test_the_pair_in_use_is_recorded_and_kept() -> None:
    """In the second step of a rotation it is only read."""
    provider = _KeyInUseProvider()
    outs = provider.create({"applied": "cd34"}).outs or {}
    assert not provider.diff("id", outs, {"applied": ""}).changes
    assert not provider.diff("id", outs, {"applied": "cd34"}).changes
    assert provider.diff("id", outs, {"applied": "ef56"}).changes
    assert (provider.update("id", outs, {"applied": "ef56"}).outs or {})["fingerprint"] == "ef56"
