"""The registry key pair in the stack's state, and the record of the one that all nodes have.

Dynamic resources, as in generated_secrets.py: their diff considers only what is documented.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pulumi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pulumi import dynamic

from plan import key_rotation
from plan.key_rotation import KeyRotation, Pair, State


def generate_pair() -> Pair:
    """As the Linux package generates it (registry/libraries/registry.rb): RSA-4096, ten years."""
    key = rsa.generate_private_key(65537, 4096)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Registry")])
    # This machine's clock may be ahead of a node's.
    begins = datetime.now(UTC) - timedelta(hours=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return {
        "registry_key": private.decode(),
        "registry_certificate": certificate.public_bytes(pem).decode(),
        "fingerprint": certificate.fingerprint(hashes.SHA256()).hex(),
    }


_FIRST = (
    "the registry key pair in use stays: the first `pulumi up` of a stack only records the numbers in "
    "rotate. To replace the pair, raise them again"
)


class _KeyPairProvider(dynamic.ResourceProvider):
    def create(self, props: dict[str, Any]) -> dynamic.CreateResult:
        wanted = KeyRotation(*props["wanted"])
        if any(wanted.numbers):
            print(_FIRST, flush=True)
        return dynamic.CreateResult("key-pair", {"pair": key_rotation.first(wanted, props["adopted"])})

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> dynamic.DiffResult:
        state, wanted, adopted = olds["pair"], KeyRotation(*news["wanted"]), news["adopted"]
        # In a preview, it is unknown if the primary's pair will be read again.
        read_again = not isinstance(adopted, dict) or adopted["fingerprint"] != state["adopted"]
        # Numbers that are refused change nothing; the component reports them.
        refused = key_rotation.refusal(state, wanted, news["in_use"])
        changed = state["numbers"] != wanted.numbers and not refused
        return dynamic.DiffResult(changes=changed or read_again)

    def update(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> dynamic.UpdateResult:
        wanted = KeyRotation(*news["wanted"])
        return dynamic.UpdateResult(
            {"pair": key_rotation.following(olds["pair"], wanted, news["adopted"], generate_pair)}
        )


class _KeyInUseProvider(dynamic.ResourceProvider):
    def create(self, props: dict[str, Any]) -> dynamic.CreateResult:
        return dynamic.CreateResult("key-in-use", {"fingerprint": props["applied"]})

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> dynamic.DiffResult:
        return dynamic.DiffResult(changes=news["applied"] not in ("", olds["fingerprint"]))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> dynamic.UpdateResult:
        return dynamic.UpdateResult({"fingerprint": news["applied"]})


class KeyPair(dynamic.Resource, module="gitlabgeo", name="KeyPair"):
    """`pair`: a `key_rotation.State`; its numbers are not `wanted` if those are refused.

    `adopted`: the pair that was read from the primary; `in_use`: the fingerprint of `KeyInUse`.
    """

    pair: pulumi.Output[State]

    def __init__(
        self,
        name: str,
        wanted: KeyRotation,
        adopted: pulumi.Input[Pair],
        in_use: pulumi.Input[str],
        opts: pulumi.ResourceOptions,
    ) -> None:
        always = pulumi.ResourceOptions(additional_secret_outputs=["pair"], retain_on_delete=True)
        props = {"pair": None, "wanted": wanted.numbers, "adopted": adopted, "in_use": in_use}
        super().__init__(_KeyPairProvider(), name, props, pulumi.ResourceOptions.merge(opts, always))


class KeyInUse(dynamic.Resource, module="gitlabgeo", name="KeyInUse"):
    """`fingerprint`: of the last pair that was applied to all nodes. `applied`: "" leaves it as it is."""

    fingerprint: pulumi.Output[str]

    def __init__(self, name: str, applied: pulumi.Input[str], opts: pulumi.ResourceOptions) -> None:
        always = pulumi.ResourceOptions(retain_on_delete=True)
        props = {"fingerprint": None, "applied": applied}
        super().__init__(_KeyInUseProvider(), name, props, pulumi.ResourceOptions.merge(opts, always))
