"""What is generated once and kept in the stack's state: random secrets, SSH key pairs; and notices.

All are dynamic resources, which need no additional plugin. Their code is one of their inputs, and changes
with an upgrade of Python or of the program: so their diff considers only the rotation, or the text.
"""

from __future__ import annotations

import secrets as entropy
import string
from typing import Any

import pulumi
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from pulumi import dynamic

ALPHANUMERIC = string.ascii_letters + string.digits


def generate(length: int) -> str:
    """`length` letters and digits from the system's entropy, a letter first."""
    return entropy.choice(string.ascii_letters) + "".join(
        entropy.choice(ALPHANUMERIC) for _ in range(length - 1)
    )


def generate_ssh_key() -> tuple[str, str]:
    """An ed25519 key pair: the private half in OpenSSH's file format, the public `ssh-ed25519 AAAA…`."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private.decode(), public.decode()


def public_key(private_key: str) -> str:
    """The public half of an ed25519 or RSA key in PEM or OpenSSH's format. ValueError for anything else."""
    load = (
        serialization.load_ssh_private_key
        if "OPENSSH" in private_key.split("\n", maxsplit=1)[0]
        else serialization.load_pem_private_key
    )
    try:
        key = load(private_key.encode(), None)
    except (TypeError, UnsupportedAlgorithm) as error:
        raise ValueError(str(error)) from None
    if not isinstance(key, Ed25519PrivateKey | RSAPrivateKey):
        raise ValueError("EC2 accepts ed25519 and RSA keys only")  # noqa: TRY004 (a value of the user's)
    public = key.public_key()
    return public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


class _Provider(dynamic.ResourceProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> dynamic.DiffResult:
        changed = _olds.get("rotation") != _news.get("rotation")
        return dynamic.DiffResult(changes=changed, replaces=["rotation"] if changed else [])


class _SecretProvider(_Provider):
    def create(self, props: dict[str, Any]) -> dynamic.CreateResult:
        generated = {"value": generate(int(props["length"])), "length": props["length"]}
        return dynamic.CreateResult("secret", {**generated, "rotation": props["rotation"]})


class _SshKeyProvider(_Provider):
    def create(self, props: dict[str, Any]) -> dynamic.CreateResult:
        private, public = generate_ssh_key()
        generated = {"private_key": private, "public_key": public}
        return dynamic.CreateResult("ssh-key", {**generated, "rotation": props["rotation"]})


class _NoticeProvider(dynamic.ResourceProvider):
    def create(self, props: dict[str, Any]) -> dynamic.CreateResult:
        return dynamic.CreateResult("notice", {"text": props["text"]})

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> dynamic.DiffResult:
        return dynamic.DiffResult(changes=_olds.get("text") != _news.get("text"))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> dynamic.UpdateResult:
        return dynamic.UpdateResult({"text": _news["text"]})

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        print(_props["text"], flush=True)


class Notice(dynamic.Resource, module="gitlabgeo", name="Notice"):
    """Prints `text` when it is deleted: `pulumi destroy` does not run the program, which could say it."""

    def __init__(self, name: str, text: pulumi.Input[str], opts: pulumi.ResourceOptions) -> None:
        super().__init__(_NoticeProvider(), name, {"text": text}, opts)


class GeneratedSecret(dynamic.Resource, module="gitlabgeo", name="GeneratedSecret"):
    """`value`: generated at the first `up`, and again only when `rotation` changes."""

    value: pulumi.Output[str]

    def __init__(self, name: str, length: int, rotation: int, opts: pulumi.ResourceOptions) -> None:
        always = pulumi.ResourceOptions(additional_secret_outputs=["value"], retain_on_delete=True)
        props = {"value": None, "length": length, "rotation": rotation}
        super().__init__(_SecretProvider(), name, props, pulumi.ResourceOptions.merge(opts, always))


class GeneratedSshKey(dynamic.Resource, module="gitlabgeo", name="GeneratedSshKey"):
    """`private_key` (OpenSSH's file format, secret) and `public_key`: generated once."""

    private_key: pulumi.Output[str]
    public_key: pulumi.Output[str]

    def __init__(self, name: str, opts: pulumi.ResourceOptions) -> None:
        always = pulumi.ResourceOptions(additional_secret_outputs=["private_key"], retain_on_delete=True)
        props = {"private_key": None, "public_key": None, "rotation": 0}
        super().__init__(_SshKeyProvider(), name, props, pulumi.ResourceOptions.merge(opts, always))
