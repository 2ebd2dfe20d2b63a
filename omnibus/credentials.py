"""As whom a site's registry comes to its storage: a class a driver, `SecretStr` for what is secret.

Secrets are read from the node's secrets file as `DRIVER_KEY`; the rest stands in the settings.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, SecretStr, StringConstraints

from omnibus.driver import Text
from omnibus.fields import Closed, Doc, Hidden, in_yaml
from omnibus.ruby import Secret, Value

_REFUSED = "the storage would refuse the registry"


def _doc(key: str) -> Doc:
    return Doc(_REFUSED, f"pulumi config set --secret --path 'sites.london.credentials.{key}'")


class Keys(Closed):
    """Credentials for one driver."""

    driver: ClassVar[str]
    holder: ClassVar[str]
    """The key by which two sites are seen to have the same rights."""

    def settings(self) -> dict[str, Value]:
        """The keys in gitlab.rb, with each secret named only."""
        given = {name: getattr(self, name) for name in type(self).model_fields}
        return {
            name: Secret(f"{self.driver}_{name}") if isinstance(value, SecretStr) else value
            for name, value in given.items()
            if value is not None
        }

    def secrets(self) -> dict[str, Any]:
        """Secret's name → its value."""
        given = {name: getattr(self, name) for name in type(self).model_fields}
        return {
            f"{self.driver}_{name}": value.get_secret_value()
            for name, value in given.items()
            if isinstance(value, SecretStr)
        }

    def identity(self) -> str | None:
        """Who this is to the storage; None where that cannot be seen. May be secret."""
        value = getattr(self, self.holder)
        return value.get_secret_value() if isinstance(value, SecretStr) else value


def _no_json(word: str) -> None:
    """Python alone reads NaN and Infinity."""
    raise ValueError(word)


def _service_account(value: SecretStr) -> SecretStr:
    try:
        found = json.loads(value.get_secret_value(), parse_constant=_no_json)
    except (ValueError, RecursionError):
        found = None
    needed = ("type", "client_email", "private_key")
    usable = isinstance(found, dict) and all(isinstance(found.get(key), str) for key in needed)
    if not usable or not in_yaml(json.dumps(found, ensure_ascii=False)):
        raise ValueError("is no key file of a service account")
    return value


class GcsKeys(Keys):
    """One of three: a key's text, a key file that is on the nodes, or the servers' own identity."""

    driver = "gcs"
    holder = "credentials"

    credentials: (
        Annotated[
            SecretStr,
            AfterValidator(_service_account),
            Doc(
                _REFUSED,
                "pulumi config set --secret --path 'sites.london.credentials.gcs.credentials' < key.json",
            ),
        ]
        | None
    ) = None
    """The text of a service account's key file."""
    keyfile: (
        Annotated[
            str,
            StringConstraints(pattern=r"^(/[A-Za-z0-9._-]+)+$"),
            Doc("the whole path of a key file on the site's nodes", "/etc/gitlab/registry-gcs.json"),
        ]
        | None
    ) = None
    application_default: Annotated[Literal[True], Doc("true: the servers' own identity", "true")] | None = (
        None
    )

    def settings(self) -> dict[str, Value]:
        # The registry takes the default where neither of the others is there; it knows no key for it.
        return {name: value for name, value in super().settings().items() if name != "application_default"}

    def secrets(self) -> dict[str, Any]:
        return {name: json.loads(text) for name, text in super().secrets().items()}

    def identity(self) -> str | None:
        account = self.secrets().get("gcs_credentials")
        return account["client_email"] if account else None


class AzureKeys(Keys):
    """`credentials_type` and what goes with it. An account key may do everything; the others have roles."""

    driver = "azure"
    holder = "client_id"
    NEEDS: ClassVar[dict[str, tuple[str, ...]]] = {
        "shared_key": ("accountkey",),
        "client_secret": ("tenant_id", "client_id", "secret"),
        "default_credentials": (),
    }

    credentials_type: Annotated[
        Literal["shared_key", "client_secret", "default_credentials"],
        Doc("the registry would not know how to sign", "client_secret"),
    ] = "shared_key"
    """By the account's key, as an application in the directory, or as what the server itself is."""
    accountkey: Annotated[Hidden, _doc("azure.accountkey")] | None = None
    """The storage account's key, for shared_key."""
    tenant_id: Annotated[Text, Doc(_REFUSED, "11111111-2222-3333-4444-555555555555")] | None = None
    """The application's directory, for client_secret."""
    client_id: Annotated[Text, Doc(_REFUSED, "66666666-7777-8888-9999-000000000000")] | None = None
    """The application's id, for client_secret."""
    secret: Annotated[Hidden, _doc("azure.secret")] | None = None
    """The application's secret, for client_secret."""

    def settings(self) -> dict[str, Value]:
        found = super().settings()
        if self.credentials_type == "shared_key":
            del found["credentials_type"]  # the default, and the older driver does not know the key
        return found

    def identity(self) -> str | None:
        return self.accountkey.get_secret_value() if self.accountkey else self.client_id


class SwiftKeys(Keys):
    """A user of Keystone or TempAuth; `secretkey` and `accesskey` are for temporary URLs."""

    driver = "swift"
    holder = "username"

    username: Annotated[Text, Doc(_REFUSED, "registry")]
    """The user's name."""
    password: Annotated[Hidden, _doc("swift.password")]
    """The user's password."""
    secretkey: Annotated[Hidden, _doc("swift.secretkey")] | None = None
    """The key that temporary URLs are signed with."""
    accesskey: Annotated[Hidden, _doc("swift.accesskey")] | None = None
    """The access key for temporary URLs, where the service wants one beside secretkey."""


class OssKeys(Keys):
    """An access key of a RAM user."""

    driver = "oss"
    holder = "accesskeyid"

    accesskeyid: Annotated[Hidden, _doc("oss.accesskeyid")]
    """The access key's id."""
    accesskeysecret: Annotated[Hidden, _doc("oss.accesskeysecret")]
    """The access key's secret."""


class Credentials(Closed):
    """A site's credentials for the driver in use. S3 has `s3_keys`, a filesystem needs none."""

    gcs: Annotated[GcsKeys | None, Doc(_REFUSED, "{credentials: …} or {application_default: true}")] = None
    """For the driver gcs."""
    azure: Annotated[
        AzureKeys | None,
        Doc(_REFUSED, "{credentials_type: client_secret, tenant_id: …, client_id: …, secret: …}"),
    ] = None
    """For the driver azure."""
    swift: Annotated[SwiftKeys | None, Doc(_REFUSED, "{username: registry, password: …}")] = None
    """For the driver swift."""
    oss: Annotated[OssKeys | None, Doc(_REFUSED, "{accesskeyid: …, accesskeysecret: …}")] = None
    """For the driver oss."""

    def given(self) -> dict[str, Keys]:
        return {name: keys for name in type(self).model_fields if (keys := getattr(self, name)) is not None}


def secret_names() -> Iterator[str]:
    """Every secret that any driver's settings may read."""
    for kind in (GcsKeys, AzureKeys, SwiftKeys, OssKeys):
        for name, field in kind.model_fields.items():
            if "SecretStr" in str(field.annotation):
                yield f"{kind.driver}_{name}"
