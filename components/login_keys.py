"""The keys that log in to created hosts: those provided, or one generated for the deployment."""

from __future__ import annotations

import pulumi

from components.generated_secrets import GeneratedSshKey, public_key
from components.ssh_target import private_key
from config.ssh import ResolvedSsh


class LoginKeys:
    """`of(ssh)`: the key pair of a site's hosts; `generated`: the private key, where one was generated."""

    generated: pulumi.Output[str] | None

    def __init__(self, name: str, *, protect: bool, parent: pulumi.Resource) -> None:
        self._name, self._protect, self._parent = name, protect, parent
        self._key: GeneratedSshKey | None = None
        self.generated = None

    def of(self, ssh: ResolvedSsh) -> tuple[pulumi.Output[str], pulumi.Input[str]]:
        """Private and public half. Raises pulumi.RunError for a key that EC2 does not accept."""
        provided = private_key(ssh)
        if provided:
            try:
                return pulumi.Output.secret(provided), public_key(provided)
            except ValueError:
                raise pulumi.RunError(
                    "ssh.private_key or ssh.private_key_file: [secret] cannot be used as an EC2 key pair; "
                    "logging in to the created nodes would be impossible [login-key-unusable]\n"
                    "Provide an ed25519 or RSA private key without passphrase, or leave it out: the program "
                    "then generates one."
                ) from None
        if self._key is None:
            protected = pulumi.ResourceOptions(parent=self._parent, protect=self._protect)
            self._key = GeneratedSshKey(f"{self._name}-login-key", protected)
            self.generated = self._key.private_key
        return self._key.private_key, self._key.public_key
