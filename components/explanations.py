"""Has the engine say what to do where an SSH session failed."""

from __future__ import annotations

import pulumi

from components.session_errors import Hop, Session
from omnibus.model import Deployment


class Explanations:
    """One error hook for all sessions of the stack, also those with nodes that are no longer configured."""

    def __init__(self, name: str, deployment: Deployment) -> None:
        self._deployment = deployment
        self._nodes: dict[str, tuple[str, str]] = {}
        self._binding = pulumi.ResourceHookBinding(on_error=[pulumi.ErrorHook(name, self._explain)])

    def of(self, resource: str, site: str, node: str) -> pulumi.ResourceHookBinding:
        """Has the engine say what to do where the session of this resource fails. Nothing is tried again."""
        self._nodes[resource] = (site, node)
        return self._binding

    async def _explain(self, failed: pulumi.ErrorHookArgs) -> bool:
        # What is deleted went to where it was, which may be another address than that of the configuration.
        inputs = failed.old_inputs if failed.failed_operation == "delete" else failed.new_inputs
        connection = await pulumi.Output.from_input((inputs or {}).get("connection")).future() or {}
        site, node = self._nodes.get(failed.name, (None, failed.name.removesuffix("-settings")))
        proxy = connection.get("proxy")
        session = Session(
            self._deployment,
            site,
            node,
            failed.urn,
            failed.failed_operation,
            Hop.of(connection),
            Hop.of(proxy) if proxy else None,
        )
        text = session.message(failed.errors[0]) if failed.errors else None
        if text:
            pulumi.log.error(text)
        return False
