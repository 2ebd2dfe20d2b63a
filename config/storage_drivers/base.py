"""What all storage drivers have in common, and the types of their keys."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, StringConstraints

from config import field_types
from config.field_types import MAX_INT32, PORT_NUMBER, FieldHelp, StrictModel
from omnibus import storage_place

MIB = 1 << 20

WRONG_PLACE = "the registry would look for its images in the wrong place"
NO_START = "the registry would not start"

Text = Annotated[
    str,
    StringConstraints(pattern=r"^[!-~]([ -~]*[!-~])?$"),
    FieldHelp(
        expectation="printable ASCII characters, without a space at either end",
        consequence=NO_START,
    ),
]
Host = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9.-]+$"),
    FieldHelp(
        expectation="a host name without scheme, port or path",
        consequence=WRONG_PLACE,
        example="core.chinacloudapi.cn",
    ),
]
HttpUrl = Annotated[
    str,
    StringConstraints(pattern=rf"^https?://[A-Za-z0-9.-]+(:{PORT_NUMBER})?(/[A-Za-z0-9._~/-]*)?$"),
    FieldHelp(
        expectation="http:// or https://, a host name and, if need be, a port from 1 to 65535 and a path",
        consequence=WRONG_PLACE,
        example="https://keystone.example.com:5000/v3",
    ),
]
Root = Annotated[
    str,
    StringConstraints(pattern=r"^/?[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$"),
    FieldHelp(
        expectation="a path of letters, digits, dots, hyphens and underscores, without trailing or double "
        "slash",
        consequence=WRONG_PLACE,
        example="registry",
    ),
]
Count = Annotated[
    int,
    Field(ge=1, le=MAX_INT32),
    FieldHelp(expectation="a whole number from 1 to 2147483647", consequence=NO_START, example="50"),
]
Chunk = Annotated[
    int,
    Field(ge=5 * MIB, le=5 << 30),
    FieldHelp(
        expectation="a number of bytes from 5242880 (5 MiB) to 5368709120 (5 GiB)",
        consequence="the storage service refuses parts of another size, and the registry would not start",
        example="26214400",
    ),
]
Duration = Annotated[
    str,
    StringConstraints(pattern=r"^([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+$"),
    FieldHelp(
        expectation="numbers, each with its unit: ns, us, ms, s, m or h, as in 1m30s",
        consequence=NO_START,
        example="500ms",
    ),
]
Flag = Annotated[field_types.Flag, FieldHelp(consequence=NO_START)]


class Driver(StrictModel):
    """Where images are. `driver`: its name in the configuration and in the identity that a node reports."""

    driver: ClassVar[str]

    def settings(self) -> dict[str, Any]:
        """The driver's keys in gitlab.rb, only those that are configured."""
        return self.model_dump(exclude_none=True)

    def place(self) -> list[str | None]:
        """What two registries on one storage have in common."""
        return storage_place.place(self.driver, self.settings())
