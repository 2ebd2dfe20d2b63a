"""The credentials of a site's registry for its storage: one class per driver, `SecretStr` for secrets.

Secrets are read from the node's secrets file as `DRIVER_KEY`; all else is in the settings.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, SecretStr, StringConstraints

from config.field_types import FieldHelp, NonEmptySecret, StrictModel, in_yaml, one_of
from config.storage_drivers.base import Text
from omnibus.ruby import Secret, Value

_REFUSED = "the storage would refuse the registry"


def _secret(description: str, key: str) -> FieldHelp:
    example = f"pulumi config set --secret --path 'sites.london.credentials.{key}'"
    return FieldHelp(description, consequence=_REFUSED, example=example)


class Keys(StrictModel):
    """Credentials for one driver."""

    driver: ClassVar[str]
    holder: ClassVar[str]
    """The key that shows whether two sites have the same permissions."""

    def settings(self) -> dict[str, Value]:
        """The keys in gitlab.rb, with the names of secrets instead of their values."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {
            name: Secret(f"{self.driver}_{name}") if isinstance(value, SecretStr) else value
            for name, value in values.items()
            if value is not None
        }

    def secrets(self) -> dict[str, Any]:
        """Secret's name → its value."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {
            f"{self.driver}_{name}": value.get_secret_value()
            for name, value in values.items()
            if isinstance(value, SecretStr)
        }

    def identity(self) -> str | None:
        """The identity that the storage knows; None if it cannot be determined. May be secret."""
        value = getattr(self, self.holder)
        return value.get_secret_value() if isinstance(value, SecretStr) else value


def _no_json(word: str) -> None:
    """Only Python reads NaN and Infinity."""
    raise ValueError(word)


def _service_account(value: SecretStr) -> SecretStr:
    try:
        key_file = json.loads(value.get_secret_value(), parse_constant=_no_json)
    except (ValueError, RecursionError):
        key_file = None
    needed = ("type", "client_email", "private_key")
    usable = isinstance(key_file, dict) and all(isinstance(key_file.get(key), str) for key in needed)
    if not usable or not in_yaml(json.dumps(key_file, ensure_ascii=False)):
        raise ValueError("is not a key file of a service account")
    return value


class GcsKeys(Keys):
    """One of three: the text of a key file, a key file on the nodes, or the identity of the machine."""

    driver = "gcs"
    holder = "credentials"

    credentials: Annotated[
        Annotated[SecretStr, AfterValidator(_service_account)] | None,
        FieldHelp(
            "The text of a service account's key file.",
            expectation="the JSON text of a service account's key file, with type, client_email and "
            "private_key",
            consequence=_REFUSED,
            example="pulumi config set --secret --path 'sites.london.credentials.gcs.credentials' < key.json",
        ),
    ] = None
    keyfile: Annotated[
        str | None,
        StringConstraints(pattern=r"^(/[A-Za-z0-9._-]+)+$"),
        FieldHelp(
            "A service account's key file on the site's registry nodes.",
            expectation="an absolute path of letters, digits, dots, hyphens and underscores, without "
            "trailing slash",
            consequence="the registry would not find its key and would not start",
            example="/etc/gitlab/registry-gcs.json",
        ),
    ] = None
    application_default: Annotated[
        Literal[True] | None,
        FieldHelp(
            "true: the registry uses the identity of the machine that it runs on.",
            expectation="true, without quotes, or left out",
            consequence="the registry has no other value for it: without a key it always uses the machine's "
            "identity",
            example="true",
        ),
    ] = None

    def settings(self) -> dict[str, Value]:
        # The registry uses the default if neither of the others is set; it has no key for it.
        return {name: value for name, value in super().settings().items() if name != "application_default"}

    def secrets(self) -> dict[str, Any]:
        return {name: json.loads(text) for name, text in super().secrets().items()}

    def identity(self) -> str | None:
        account = self.secrets().get("gcs_credentials")
        return account["client_email"] if account else None


CredentialsType = Literal["shared_key", "client_secret", "default_credentials"]


class AzureKeys(Keys):
    """`credentials_type` and what goes with it. An account key has all permissions; the others have roles."""

    driver = "azure"
    holder = "client_id"
    NEEDS: ClassVar[dict[str, tuple[str, ...]]] = {
        "shared_key": ("accountkey",),
        "client_secret": ("tenant_id", "client_id", "secret"),
        "default_credentials": (),
    }

    credentials_type: Annotated[
        CredentialsType,
        FieldHelp(
            "By the account's key, as an application of the directory, or as the identity of the machine.",
            expectation=one_of(CredentialsType),
            consequence="the registry would not know how to sign its requests, and would not start",
            example="client_secret",
        ),
    ] = "shared_key"
    accountkey: Annotated[
        NonEmptySecret | None, _secret("The storage account's key, for shared_key.", "azure.accountkey")
    ] = None
    tenant_id: Annotated[
        Text | None,
        FieldHelp(
            "The id of the application's directory, for client_secret.",
            consequence=_REFUSED,
            example="11111111-2222-3333-4444-555555555555",
        ),
    ] = None
    client_id: Annotated[
        Text | None,
        FieldHelp(
            "The application's id, for client_secret.",
            consequence=_REFUSED,
            example="66666666-7777-8888-9999-000000000000",
        ),
    ] = None
    secret: Annotated[
        NonEmptySecret | None, _secret("The application's secret, for client_secret.", "azure.secret")
    ] = None

    def settings(self) -> dict[str, Value]:
        settings = super().settings()
        if self.credentials_type == "shared_key":
            del settings["credentials_type"]  # the default, and the older driver does not know the key
        return settings

    def identity(self) -> str | None:
        return self.accountkey.get_secret_value() if self.accountkey else self.client_id


class SwiftKeys(Keys):
    """A user of Keystone or TempAuth; `secretkey` and `accesskey` are for temporary URLs."""

    driver = "swift"
    holder = "username"

    username: Annotated[Text, FieldHelp("The user's name.", consequence=_REFUSED, example="registry")]
    password: Annotated[NonEmptySecret, _secret("The user's password.", "swift.password")]
    secretkey: Annotated[
        NonEmptySecret | None, _secret("The key that signs temporary URLs.", "swift.secretkey")
    ] = None
    accesskey: Annotated[
        NonEmptySecret | None,
        _secret(
            "The access key for temporary URLs, where the service needs one beside secretkey.",
            "swift.accesskey",
        ),
    ] = None


class OssKeys(Keys):
    """An access key of a RAM user."""

    driver = "oss"
    holder = "accesskeyid"

    accesskeyid: Annotated[NonEmptySecret, _secret("The access key's id.", "oss.accesskeyid")]
    accesskeysecret: Annotated[NonEmptySecret, _secret("The access key's secret.", "oss.accesskeysecret")]


_CREDENTIALS = "a map of the driver's credentials"


class Credentials(StrictModel):
    """A site's credentials for the driver in use. S3 has `s3_keys`, a filesystem needs none."""

    gcs: Annotated[
        GcsKeys | None,
        FieldHelp(
            "For the driver gcs.",
            expectation=_CREDENTIALS,
            consequence=_REFUSED,
            example="{credentials: …} or {application_default: true}",
        ),
    ] = None
    azure: Annotated[
        AzureKeys | None,
        FieldHelp(
            "For the driver azure.",
            expectation=_CREDENTIALS,
            consequence=_REFUSED,
            example="{credentials_type: client_secret, tenant_id: …, client_id: …, secret: …}",
        ),
    ] = None
    swift: Annotated[
        SwiftKeys | None,
        FieldHelp(
            "For the driver swift.",
            expectation=_CREDENTIALS,
            consequence=_REFUSED,
            example="{username: registry, password: …}",
        ),
    ] = None
    oss: Annotated[
        OssKeys | None,
        FieldHelp(
            "For the driver oss.",
            expectation=_CREDENTIALS,
            consequence=_REFUSED,
            example="{accesskeyid: …, accesskeysecret: …}",
        ),
    ] = None

    def configured(self) -> dict[str, Keys]:
        return {name: keys for name in type(self).model_fields if (keys := getattr(self, name)) is not None}
