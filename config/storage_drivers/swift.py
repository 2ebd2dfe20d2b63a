"""The registry's driver for OpenStack Swift.

Source: Distribution 2.8, registry/storage/driver/swift/swift.go.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field

from config.field_types import FieldHelp, one_of
from config.storage_drivers.base import (
    MIB,
    WRONG_PLACE,
    Driver,
    Flag,
    HttpUrl,
    Root,
    Text,
)

_SIGN_IN = "Keystone would refuse the registry"
TempUrlMethod = Literal["GET", "PUT", "HEAD", "POST", "DELETE"]


class Swift(Driver):
    """A container of OpenStack Swift, which the registry creates if it has the permission."""

    driver = "swift"

    authurl: Annotated[
        HttpUrl,
        FieldHelp("Where the registry signs in: the URL of Keystone or TempAuth.", consequence=_SIGN_IN),
    ]
    container: Annotated[
        Text, FieldHelp("The container's name.", consequence=WRONG_PLACE, example="registry")
    ]
    region: Annotated[
        Text | None, FieldHelp("The container's region.", consequence=WRONG_PLACE, example="RegionOne")
    ] = None
    tenant: Annotated[
        Text | None, FieldHelp("The name of the project.", consequence=_SIGN_IN, example="acme")
    ] = None
    tenantid: Annotated[
        Text | None, FieldHelp("The id of the project.", consequence=_SIGN_IN, example="5f2c1d7e8a9b4c3d")
    ] = None
    tenantdomain: Annotated[
        Text | None, FieldHelp("The name of the project's domain.", consequence=_SIGN_IN, example="Default")
    ] = None
    tenantdomainid: Annotated[
        Text | None, FieldHelp("The id of the project's domain.", consequence=_SIGN_IN, example="default")
    ] = None
    domain: Annotated[
        Text | None, FieldHelp("The name of the user's domain.", consequence=_SIGN_IN, example="Default")
    ] = None
    domainid: Annotated[
        Text | None, FieldHelp("The id of the user's domain.", consequence=_SIGN_IN, example="default")
    ] = None
    trustid: Annotated[
        Text | None,
        FieldHelp(
            "The Keystone trust under which the user acts.", consequence=_SIGN_IN, example="7c0b3f4e2d1a4b5c"
        ),
    ] = None
    authversion: Annotated[
        Literal[1, 2, 3] | None,
        FieldHelp(
            "The version of Keystone's API, or 1 for TempAuth; by default what `authurl` shows.",
            expectation="1, 2 or 3, without quotes",
            consequence="the registry would sign in by a method that the service does not know",
            example="3",
        ),
    ] = None
    endpointtype: Annotated[
        Literal["public", "internal", "admin"] | None,
        FieldHelp(
            "Which of Swift's URLs in Keystone's catalog the registry uses.",
            expectation="public, internal or admin",
            consequence=WRONG_PLACE,
            example="internal",
        ),
    ] = None
    insecureskipverify: Annotated[
        Flag | None, FieldHelp("Does not verify the certificates of Keystone and Swift.")
    ] = None
    prefix: Annotated[
        Root | None, FieldHelp("The directory in the container; the top of the container by default.")
    ] = None
    chunksize: Annotated[
        int | None,
        Field(ge=MIB, le=5 << 30),
        FieldHelp(
            "Bytes of each segment of an upload.",
            expectation="a number of bytes from 1048576 (1 MiB) to 5368709120 (5 GiB)",
            consequence="the registry does not start with less, and Swift refuses larger objects",
            example="20971520",
        ),
    ] = None
    # Both are read only if the service does not answer /info (Distribution 2.8, registry 3.86: swift.go).
    tempurlcontainerkey: Annotated[
        Flag | None,
        FieldHelp(
            "For a service without `/info`: signs URLs with the key of the container, not of the account."
        ),
    ] = None
    tempurlmethods: Annotated[
        list[TempUrlMethod] | None,
        Field(min_length=1),
        FieldHelp(
            "For a service without `/info`: the methods that it accepts in temporary URLs.",
            expectation=f"a list of at least {one_of(TempUrlMethod)}",
            consequence="Swift refuses a temporary URL that is signed for another method",
            example="[GET, HEAD]",
        ),
    ] = None

    def other_project(self, other: Swift) -> bool:
        """Whether the projects differ, so that equal names are two containers. Regions can share one."""
        pairs = ((self.tenant, other.tenant), (self.tenantid, other.tenantid))
        differ = any(one and another and one != another for one, another in pairs)
        return differ and self._in_its_tenant() and other._in_its_tenant()

    def _in_its_tenant(self) -> bool:
        """TempAuth has no projects, and a trust implies one (Distribution 2.8, github.com/ncw/swift)."""
        keystone = self.authversion in (2, 3) or re.search(r"/v[23](\.0)?/?$", self.authurl)
        return self.authversion != 1 and bool(keystone) and not self.trustid
