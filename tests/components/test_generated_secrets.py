"""Secrets that we make: once, and again only when asked."""

from __future__ import annotations

import base64
import pickletools
import subprocess
from pathlib import Path

import pytest
from pulumi.dynamic import ResourceProvider
from pulumi.dynamic.dynamic import serialize_provider

from components.generated_secrets import _SecretProvider, _SshKeyProvider, generate, public_key


@pytest.mark.parametrize("provider_type", [_SecretProvider, _SshKeyProvider])
def test_only_a_raised_number_asks_for_a_new_secret(provider_type: type[ResourceProvider]) -> None:
    """What else is in the inputs, the serialized program among it, asks for nothing."""
    old = {"length": 32, "rotation": 0, "value": "kept", "__provider": "by Python 3.11"}
    provider = provider_type()
    kept = provider.diff("id", old, {"length": 32, "rotation": 0, "__provider": "by Python 3.14"})
    assert (kept.changes, kept.replaces) == (False, [])
    asked = provider.diff("id", old, {"length": 32, "rotation": 1, "__provider": "by Python 3.11"})
    assert (asked.changes, asked.replaces) == (True, ["rotation"])


def test_the_state_names_the_provider_and_holds_none_of_its_code() -> None:
    """A pickle by reference: another Python, or a changed program, reads it as well."""
    pickled = base64.b64decode(serialize_provider(_SecretProvider()))
    names = [str(argument) for code, argument, _ in pickletools.genops(pickled) if "UNICODE" in code.name]
    assert "components.generated_secrets" in names
    assert "_SecretProvider" in names
    assert len(pickled) < 200


def test_a_secret_is_alphanumeric_and_starts_with_a_letter() -> None:
    """32 letters and digits: nothing that a shell, YAML or Ruby could read as something else."""
    made = {generate(32) for _ in range(200)}
    assert len(made) == 200
    assert all(len(s) == 32 and s.isascii() and s.isalnum() and s[0].isalpha() for s in made)


def test_the_public_half_of_an_ssh_key_is_what_ssh_keygen_says(tmp_path: Path) -> None:
    """A generated key, and the kinds that a user may give."""
    made = _SshKeyProvider().create({"rotation": 0}).outs
    assert made and made["public_key"] == public_key(made["private_key"])
    for kind in (["-t", "ed25519"], ["-t", "rsa", "-m", "PEM"]):
        file = tmp_path / kind[1]
        subprocess.run(["ssh-keygen", "-q", *kind, "-N", "", "-f", str(file)], check=True)
        assert public_key(file.read_text()).split() == file.with_suffix(".pub").read_text().split()[:2]
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", str(tmp_path / "ecdsa")], check=True)
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(tmp_path / "locked")], check=True
    )
    for wrong in ("nonsense", (tmp_path / "ecdsa").read_text(), (tmp_path / "locked").read_text()):
        with pytest.raises(ValueError):  # noqa: PT011 (whatever the text, it is not shown)
            public_key(wrong)
