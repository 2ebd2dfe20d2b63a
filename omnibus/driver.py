"""What all storage drivers have in common, and the kinds of values that their keys have."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar

from pydantic import Field, StringConstraints

from omnibus import spelling
from omnibus.fields import LARGEST, PORT_NUMBER, Closed, Doc

MIB = 1 << 20

WRONG_PLACE = "the registry would look for its images in the wrong place"
NO_START = "the registry would not start"

Text = Annotated[str, StringConstraints(pattern=r"^[!-~]([ -~]*[!-~])?$"), Doc(NO_START, "text")]
Host = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9.-]+$"), Doc(WRONG_PLACE, "core.chinacloudapi.cn")
]
HttpUrl = Annotated[
    str,
    StringConstraints(pattern=rf"^https?://[A-Za-z0-9.-]+(:{PORT_NUMBER})?(/[A-Za-z0-9._~/-]*)?$"),
    Doc(WRONG_PLACE, "https://keystone.example.com:5000/v3"),
]
Root = Annotated[
    str,
    StringConstraints(pattern=r"^/?[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$"),
    Doc(WRONG_PLACE, "registry"),
]
Count = Annotated[int, Field(ge=1, le=LARGEST), Doc(NO_START, "50")]
Chunk = Annotated[
    int,
    Field(ge=5 * MIB, le=5 << 30),
    Doc("a part of an upload may be 5 MiB to 5 GiB, and the registry would not start", "26214400"),
]
Duration = Annotated[
    str,
    StringConstraints(pattern=r"^([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+$"),
    Doc(f"needs a number and its unit (ms, s, m, h), else {NO_START}", "500ms"),
]
Flag = Annotated[bool, Doc("must be true or false, else the registry does not start", "true")]


class Driver(Closed):
    """Where images are. `driver` is its name here and in the identity that the node gives."""

    driver: ClassVar[str]

    def settings(self) -> dict[str, Any]:
        """The driver's keys in gitlab.rb, those alone that were given."""
        return self.model_dump(exclude_none=True)

    def place(self) -> list[str | None]:
        """What two registries on one storage have in common, in the form of 5_storage.rb on the node."""
        raise NotImplementedError


def address(url: str) -> str:
    """Where a URL leads, however it is written: `https://S3.example.com.:443/` → `s3.example.com`."""
    host, slash, path = re.sub(r"^[a-z]+://", "", url.lower()).partition("/")
    host = re.sub(r":(80|443)$", "", re.sub(r"\.+(?=:|$)", "", host))
    host = re.sub(r"^\[(.*)\]", lambda its: f"[{spelling.host(its[1])}]", host)
    return f"{host}{slash}{path}".rstrip("/")


def server(endpoint: str | None) -> str | None:
    """A server's name; None for AWS and Alibaba Cloud themselves, where a bucket's name says it all."""
    plain = address(endpoint or "")
    known = r"([a-z0-9-]+\.)*(s3[a-z0-9.-]*\.amazonaws\.com(\.cn)?|oss-[a-z0-9-]+\.aliyuncs\.com)"
    return None if not plain or re.fullmatch(known, plain) else plain
