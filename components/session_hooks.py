"""Makes the engine report what to do when an SSH session failed."""

from __future__ import annotations

import pulumi

from components.session_errors import Hop, Session
from plan.node import SETTINGS, HostPlan


class SessionHooks:
    """One error hook for all sessions of a deployment, also those with nodes no longer configured."""

    def __init__(self, name: str) -> None:
        self._prefix = f"{name}-"
        self._hosts: dict[str, HostPlan] = {}
        hook = pulumi.ErrorHook(f"{name}-sessions", self._explain)
        self._binding = pulumi.ResourceHookBinding(on_error=[hook])

    def of(self, resource: str, host: HostPlan) -> pulumi.ResourceHookBinding:
        """Makes the engine report what to do if the session of this resource fails. Nothing is retried."""
        self._hosts[resource] = host
        return self._binding

    async def _explain(self, failed: pulumi.ErrorHookArgs) -> bool:
        # A delete uses the former address, which may differ from that of the configuration.
        inputs = failed.old_inputs if failed.failed_operation == "delete" else failed.new_inputs
        connection = await pulumi.Output.from_input((inputs or {}).get("connection")).future() or {}
        host, proxy = self._hosts.get(failed.name), connection.get("proxy")
        session = Session(
            host,
            host.name if host else failed.name.removeprefix(self._prefix).removesuffix(SETTINGS),
            failed.urn,
            failed.failed_operation,
            Hop.of(connection),
            Hop.of(proxy) if proxy else None,
        )
        text = session.message(failed.errors[0]) if failed.errors else None
        if text:
            pulumi.log.error(text)
        return False
