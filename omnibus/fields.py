"""The kinds of values a configuration is made of; what each refusal says is in its `Doc`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

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
class Doc:
    """What a user is told of a field when it is refused. What it says stands below it, for the reference."""

    consequence: str
    example: str

    def __get_pydantic_json_schema__(self, core: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Hands itself on to the field's JSON schema; the nearest to the field wins."""
        return handler(core) | {"x-doc": self}


class Closed(BaseModel):
    """Unknown keys and wrong types are refused: a typo must not become a default."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


_NOT_IN_YAML = r"\x7f-\x9f\u2028\u2029\ufffe\uffff"


def in_yaml(text: str) -> bool:
    """Whether YAML holds it as omnibus writes it: as JSON that escapes quotes and what is below a blank.

    Run with Psych, PyYAML and go-yaml: DEL and most of what is up to U+009F are errors, U+0085 and U+2028
    ends of lines.
    """
    return not re.search(rf"[{_NOT_IN_YAML}\ud800-\udfff]", text)


def _usable(value: SecretStr) -> SecretStr:
    """A variable of a CI job that was not set is an empty text."""
    if not value.get_secret_value().strip():
        raise PydanticCustomError("empty", "is empty")
    if not in_yaml(value.get_secret_value()):
        raise PydanticCustomError("not_in_yaml", "holds a character that YAML has no place for")
    return value


Hidden = Annotated[
    SecretStr,
    AfterValidator(_usable),
    Field(json_schema_extra={"pattern": rf"^(?=[\s\S]*\S)[^{_NOT_IN_YAML}]*$"}),
]
"""A secret that a user gives."""
_Name = StringConstraints(pattern=r"^[a-z]([a-z0-9-]{0,29}[a-z0-9])?$")
Name = Annotated[str, _Name, Doc("names become part of resource names and of files on the node", "london-1")]
Address = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9:.][A-Za-z0-9:.-]*$"),
    Doc("the node could not be reached", "10.10.0.11"),
]
HostKey = Annotated[
    str,
    StringConstraints(
        pattern=r"^(ssh-ed25519|ecdsa-sha2-nistp(256|384|521)) [A-Za-z0-9+/]{40,}={0,3}( .*)?$"
    ),
    Doc(
        "without the host's own key anybody at this address would be given the registry key",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA… (from /etc/ssh/ssh_host_ed25519_key.pub on the node)",
    ),
]
# The engine keeps numbers as floating point: above 2**53 a number that is raised would be the same.
LARGEST = (1 << 31) - 1
Port = Annotated[int, Field(ge=1, le=65535), Doc("no such port", "22")]
User = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z_][a-z0-9_.-]*$"),
    Doc("the SSH login would fail", "ubuntu"),
]
Url = Annotated[
    str,
    StringConstraints(pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?/?$"),
    Doc(
        "omnibus refuses a registry URL with a path, and a wrong URL would only show when images are missing",
        "https://registry.london.example.com",
    ),
]
BucketName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"),
    Doc("S3 would refuse it: 3 to 63 lower-case letters, digits, dots and hyphens", "acme-gitlab-registry"),
]
REGION = r"^[a-z]{2}(-[a-z]+)+-[0-9]$"
Region = Annotated[
    str,
    StringConstraints(pattern=REGION),
    Doc("the registry would look for its bucket in the wrong place", "eu-west-1"),
]
KmsKey = Annotated[
    str,
    # The whole ARN: a right to a key can be given by nothing less.
    StringConstraints(pattern=r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$"),
    Doc(
        "the right to use the key could not be given, and nothing could be written",
        "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    ),
]
Cidr = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}$"),
    Doc("AWS would refuse the range, or a whole network be let in instead of one address", "198.51.100.7/32"),
]
PORT_NUMBER = r"([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
HttpAddress = Annotated[
    str,
    # An address in brackets is right for a registry, and is told why it is not here: template_checks.py.
    StringConstraints(pattern=rf"^([A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])?:{PORT_NUMBER}$"),
    Doc("the registry would not listen there", "10.10.0.14:5000"),
]
Path = Annotated[
    str,
    StringConstraints(pattern=r"^(/[A-Za-z0-9._+@=-]+)+$"),
    Doc("no such file could be written", "/etc/docker/registry/config.yml"),
]
