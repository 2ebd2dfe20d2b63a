"""Numbers in `rotate` that cannot follow those of the last `pulumi up`, which only the stack's state has."""

from __future__ import annotations

from config.errors import ConfigError
from plan.key_rotation import KeyRotation, State, refusal


def refused(state: State, wanted: KeyRotation) -> ConfigError:
    """Why the engine kept this state."""
    number, former = wanted.number, wanted.number - 1
    match refusal(state, wanted, ""):
        case "unfinished":
            earlier = state["numbers"][0]
            return ConfigError(
                "rotation-unfinished",
                "rotate.registry_key",
                f"{number} while rotation {earlier} is not finished",
                expectation=f"{earlier} until registry_key_finished: {earlier} is applied",
                consequence="tokens that are signed with the key before the former one would be refused",
                example=f"{earlier}, with registry_key_finished: {earlier}, and `pulumi up`; then {number}",
            )
        case "without-overlap":
            return ConfigError(
                "rotation-without-overlap",
                "rotate.registry_key_finished",
                f"{wanted.finished} in the first `pulumi up` with registry_key: {number}",
                expectation=f"{former} in this `pulumi up`, and {number} in a later one",
                consequence="valid tokens that are signed with the former key would be refused",
                example=f"{former}; after a leak, raise registry_key_now instead",
            )
        case _:
            return ConfigError(
                "rotation-incomplete",
                "rotate.registry_key_finished",
                f"{wanted.finished} while not every node has the new key pair",
                expectation=f"{former} until a `pulumi up` has applied the new pair to every node",
                consequence="registries would refuse the tokens of nodes that sign with the former key",
                example=f"{former}, then `pulumi up`; after a leak, or without a node, registry_key_now",
            )
