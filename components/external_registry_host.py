"""The host of a registry that the Linux package does not manage: its config.yml is edited and proven."""

from __future__ import annotations

import pulumi

from components.node import ConfiguredHost, HostArgs


class ExternalRegistryHost(ConfiguredHost):
    """Inputs shown in a preview: site and every value that is set in its config.yml."""

    def __init__(self, name: str, args: HostArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gitlabgeo:index:ExternalRegistryHost", name, args, {}, opts)
