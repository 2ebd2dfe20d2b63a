"""The types of values in a configuration, each with what a user reads about it (`FieldHelp`)."""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, dataclass, fields
from typing import Annotated, Any, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    SecretStr,
    StringConstraints,
)
from pydantic_core import PydanticCustomError


@dataclass(frozen=True)
class FieldHelp:
    """What a user reads about a field: in the reference, and when its value is refused.

    A type has one for all fields of that type; a field's own one states only what differs for the field.
    """

    description: str = ""
    """What the field does, its default, advice. Markdown."""
    _: KW_ONLY
    expectation: str = ""
    """The form of a valid value in words: `a path without leading or trailing slash`."""
    consequence: str = ""
    """What a wrong value breaks."""
    example: str = ""
    """A valid value as YAML, or the command that sets a secret."""

    def over(self, general: FieldHelp | None) -> FieldHelp:
        """This help, with the parts that it leaves out taken from a more general one."""
        return FieldHelp(
            **{
                part.name: getattr(self, part.name) or getattr(general, part.name, "")
                for part in fields(self)
            }
        )

    def __get_pydantic_json_schema__(self, core: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Adds the help to the field's JSON schema, for the reference."""
        schema = handler(core)
        return schema | {"x-help": self.over(schema.get("x-help"))}


class StrictModel(BaseModel):
    """Unknown keys and wrong types are refused: a typo must not become a default."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def one_of(literal: Any) -> str:
    """The values of a `Literal` as an expectation: `one of a, b, c`."""
    return f"one of {', '.join(map(str, get_args(literal)))}"


_NOT_IN_YAML = r"\x7f-\x9f\u2028\u2029\ufffe\uffff"


def in_yaml(text: str) -> bool:
    """Whether YAML can hold it as the Linux package writes it: JSON with escaped quotes and controls.

    Run with Psych, PyYAML and go-yaml: DEL and most characters up to U+009F are errors, U+0085 and U+2028
    are line breaks.
    """
    return not re.search(rf"[{_NOT_IN_YAML}\ud800-\udfff]", text)


def _usable(value: SecretStr) -> SecretStr:
    """Refuses an empty string: that is what an unset variable of a CI job gives."""
    if not value.get_secret_value().strip():
        raise PydanticCustomError("empty", "is empty")
    if not in_yaml(value.get_secret_value()):
        raise PydanticCustomError("not_in_yaml", "contains a character that YAML does not allow")
    return value


NonEmptySecret = Annotated[
    SecretStr,
    AfterValidator(_usable),
    Field(json_schema_extra={"pattern": rf"^(?=[\s\S]*\S)[^{_NOT_IN_YAML}]*$"}),
    FieldHelp(expectation="a non-empty string of characters that YAML allows"),
]
Flag = Annotated[bool, FieldHelp(expectation="true or false, without quotes", example="true")]
Name = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z]([a-z0-9-]{0,29}[a-z0-9])?$"),
    FieldHelp(
        expectation="a name of 1 to 31 lowercase letters, digits and hyphens, with a letter first and no "
        "hyphen last",
        consequence="the name is part of resource names and of file names on the nodes, which would be "
        "invalid",
        example="london-1",
    ),
]
Address = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9:.][A-Za-z0-9:.-]*$"),
    FieldHelp(
        expectation="a host name, or an IPv4 or IPv6 address without brackets; no scheme, port or path",
        consequence="the program could not connect to the host",
        example="10.10.0.11",
    ),
]
HostKey = Annotated[
    str,
    StringConstraints(
        pattern=r"^(ssh-ed25519|ecdsa-sha2-nistp(256|384|521)) [A-Za-z0-9+/]{40,}={0,3}( .*)?$"
    ),
    FieldHelp(
        expectation="the host's public key on one line: ssh-ed25519 or ecdsa-sha2-nistp256, -384 or -521, a "
        "space, the key in base64; not its fingerprint, not an RSA key",
        consequence="without the right key, any host that answers at this address would get the registry's "
        "secrets",
        example="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA… (from /etc/ssh/ssh_host_ed25519_key.pub on the node)",
    ),
]
# The engine stores numbers as floating point: above 2**53, a raised number could be equal to the former.
MAX_INT32 = (1 << 31) - 1
Port = Annotated[
    int,
    Field(ge=1, le=65535),
    FieldHelp(
        expectation="a whole number from 1 to 65535, without quotes",
        consequence="nothing could connect to that port",
        example="22",
    ),
]
User = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z_][a-z0-9_.-]*$"),
    FieldHelp(
        expectation="a Linux user name: lowercase letters, digits, dots, hyphens and underscores, with a "
        "letter or an underscore first",
        consequence="the SSH login would fail",
        example="ubuntu",
    ),
]
Url = Annotated[
    str,
    StringConstraints(pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?/?$"),
    FieldHelp(
        expectation="http:// or https://, a host name or IPv4 address and, if need be, a port; no path, user "
        "or password",
        consequence="GitLab and its registry would be configured with a URL at which they do not answer",
        example="https://registry.london.example.com",
    ),
]
BucketName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"),
    FieldHelp(
        expectation="3 to 63 lowercase letters, digits, dots and hyphens, with a letter or digit first and "
        "last",
        consequence="the storage service refuses such a bucket name",
        example="acme-gitlab-registry",
    ),
]
REGION = r"^[a-z]{2}(-[a-z]+)+-[0-9]$"
Region = Annotated[
    str,
    StringConstraints(pattern=REGION),
    FieldHelp(
        expectation="an AWS region such as eu-west-1",
        consequence="AWS has no endpoint for such a region, and the update would fail",
        example="eu-west-1",
    ),
]
KmsKey = Annotated[
    str,
    # The whole ARN: permission to use a key cannot be granted by less.
    StringConstraints(pattern=r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$"),
    FieldHelp(
        expectation="the ARN of a KMS key, arn:aws:kms:REGION:ACCOUNT:key/ID; not an alias, not the id alone",
        consequence="the permission to use the key could not be granted, and every write would fail",
        example="arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    ),
]
Cidr = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}$"),
    FieldHelp(
        expectation="an IPv4 address, a slash and the number of network bits; /32 for one address",
        consequence="AWS refuses a firewall rule or a network without a valid range",
        example="198.51.100.7/32",
    ),
]
PORT_NUMBER = r"([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
HttpAddress = Annotated[
    str,
    # An IPv6 address in brackets is valid for a registry; checks/templates.py says why it is refused here.
    StringConstraints(pattern=rf"^([A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])?:{PORT_NUMBER}$"),
    FieldHelp(
        expectation="a host name or IPv4 address, a colon and a port from 1 to 65535; :5000 for all "
        "addresses",
        consequence="the registry could not listen there and would not start",
        example="10.10.0.14:5000",
    ),
]
Path = Annotated[
    str,
    StringConstraints(pattern=r"^(/[A-Za-z0-9._+@=-]+)+$"),
    FieldHelp(
        expectation="an absolute path of letters, digits and . _ + @ = -, without a slash at its end",
        consequence="no such file could be read or written",
        example="/etc/docker/registry/config.yml",
    ),
]
