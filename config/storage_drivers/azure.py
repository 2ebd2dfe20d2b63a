"""The registry's driver for Azure Blob Storage.

Source: GitLab container registry, docs/configuration.md and docs/storage-drivers.
"""

from __future__ import annotations

from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints

from config.field_types import FieldHelp
from config.storage_drivers.base import (
    NO_START,
    Driver,
    Duration,
    Flag,
    Host,
    HttpUrl,
    Root,
)

_EVENTS = ("Request", "Response", "ResponseError", "Retry", "LongRunningOperation")
_EVENT = f"({'|'.join(_EVENTS)})"


class Azure(Driver):
    """An existing container of an Azure storage account, by the account's name or its service's URL."""

    driver = "azure"
    NEWER: ClassVar[tuple[str, ...]] = (
        "serviceurl", "max_retries", "retry_try_timeout", "retry_delay", "max_retry_delay",
        "api_pool_initial_interval", "api_pool_max_interval", "api_pool_max_elapsed_time", "debug_log",
        "debug_log_events",
    )  # fmt: skip
    """Keys that only azure_v2 reads: with one of them the registry gets that driver."""

    container: Annotated[
        str,
        StringConstraints(pattern=r"^(\$root|[a-z0-9](-?[a-z0-9]){2,62})$"),
        FieldHelp(
            "The container's name.",
            expectation="3 to 63 lowercase letters, digits and single hyphens, with a letter or digit first "
            "and last; or $root",
            consequence="Azure refuses such a container name",
            example="registry",
        ),
    ]
    accountname: Annotated[
        str | None,
        StringConstraints(pattern=r"^[a-z0-9]{3,24}$"),
        FieldHelp(
            "The storage account's name.",
            expectation="3 to 24 lowercase letters and digits",
            consequence="Azure has no account of such a name",
            example="acmeregistry",
        ),
    ] = None
    serviceurl: Annotated[
        HttpUrl | None,
        FieldHelp(
            "The URL of the account's blob service, instead of `accountname` and `realm`.",
            example="https://acmeregistry.blob.core.windows.net",
        ),
    ] = None
    realm: Annotated[
        Host | None, FieldHelp("The domain of the blob service; the public cloud's by default.")
    ] = None
    rootdirectory: Annotated[
        Root | None, FieldHelp("The directory in the container; the top of the container by default.")
    ] = None
    trimlegacyrootprefix: Annotated[
        Flag | None,
        FieldHelp("false: images are below `//`, where older registries put them. true: they are not."),
    ] = None
    legacyrootprefix: Annotated[
        Flag | None, FieldHelp("true: images are below `//`, where older registries put them.")
    ] = None
    # 0 stands for the default, in Azure's SDK (azcore, policy.RetryOptions).
    max_retries: Annotated[
        int | None,
        Field(ge=1, le=1000),
        FieldHelp(
            "How often a failed request is repeated; 3 by default.",
            expectation="a whole number from 1 to 1000",
            consequence="0 means 3, and with more than 1000 the registry would not start",
            example="5",
        ),
    ] = None
    retry_try_timeout: Annotated[
        Duration | None, FieldHelp("How long one attempt may take; unlimited by default.")
    ] = None
    retry_delay: Annotated[
        Duration | None,
        FieldHelp(
            "How long the registry waits before it repeats a request, longer each time; 4s by default."
        ),
    ] = None
    max_retry_delay: Annotated[
        Duration | None, FieldHelp("The longest wait before a repetition; 60s by default.", example="60s")
    ] = None
    api_pool_initial_interval: Annotated[
        Duration | None,
        FieldHelp("How long the registry first waits while Azure copies or deletes; 100ms by default."),
    ] = None
    api_pool_max_interval: Annotated[
        Duration | None,
        FieldHelp("The longest wait before the registry asks Azure again; 1s by default.", example="15s"),
    ] = None
    api_pool_max_elapsed_time: Annotated[
        Duration | None,
        FieldHelp("How long the registry waits for Azure in total; 5s by default.", example="5m"),
    ] = None
    debug_log: Annotated[Flag | None, FieldHelp("Logs what Azure's SDK does.")] = None
    debug_log_events: Annotated[
        str | None,
        StringConstraints(pattern=rf"^{_EVENT}(,{_EVENT})*$"),
        FieldHelp(
            "What `debug_log` logs; everything by default.",
            expectation=f"one or more of {', '.join(_EVENTS)}, with commas and no spaces between",
            consequence=NO_START,
            example=",".join(_EVENTS),
        ),
    ] = None

    @property
    def url(self) -> str:
        """Where the account's blob service answers."""
        return self.serviceurl or f"https://{self._host()}"

    @property
    def account(self) -> str:
        """The account's name, as far as it is known: a URL's host begins with it."""
        return self.accountname or urlsplit(self.url).netloc.partition(".")[0]

    def _host(self) -> str:
        return f"{self.accountname}.blob.{self.realm or 'core.windows.net'}"
