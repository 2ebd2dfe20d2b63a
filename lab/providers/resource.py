"""The interface of a stand-in's resource types; `servicer` exposes it over the protocol."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from lab.providers.protocol import UNKNOWN, PropertyMap, is_unknown, plain


class Severity(enum.IntEnum):
    """The severity of a message; the numbers are those of `pulumirpc.LogSeverity`."""

    DEBUG = 0
    INFO = 1
    WARNING = 2
    ERROR = 3


class Log(Protocol):
    """Writes a message for one resource: a *status* replaces the last one, others stay in the log."""

    def __call__(self, text: str, severity: Severity = Severity.INFO, *, status: bool = True) -> None: ...


class Invalid(Exception):
    """Inputs that `check` rejects: each a property and the reason, all reported together."""

    def __init__(self, *failures: tuple[str, str]) -> None:
        super().__init__("; ".join(f"{where}: {why}" for where, why in failures))
        self.failures = failures


class HalfMade(Exception):
    """The resource exists, but a later step of its creation failed: the engine must store it.

    The engine keeps it in the state with the outputs, reports the error, and the next `up` updates it instead
    of creating a second one (pulumirpc.ErrorResourceInitFailed).
    """

    def __init__(self, id: str, outputs: PropertyMap, reason: str) -> None:
        super().__init__(reason)
        self.id, self.outputs = id, outputs


@dataclass(frozen=True)
class Call:
    """The context of one request of the engine for one resource."""

    urn: str
    log: Log
    seed: bytes = b""
    """The engine's random seed: keeps a generated name the same in preview and update."""
    canceled: threading.Event = field(default_factory=threading.Event)
    """Set when the user has pressed Ctrl-C."""

    @property
    def name(self) -> str:
        return self.urn.split("::")[-1]


class Resource:
    """One resource type.  Values are plain; secrets among the outputs are marked with `protocol.secret`."""

    replace_on: tuple[str, ...] = ()
    """Inputs whose change replaces the resource: top-level names, or "disk.encrypted" for a part of one."""
    computed: tuple[str, ...] = ()
    """Outputs that only the provider computes: unknown in the preview of a creation."""
    keeps_outputs = False
    """Whether computed outputs keep their values in the preview of an update, or become unknown."""

    def check(self, call: Call, inputs: PropertyMap, old: PropertyMap) -> PropertyMap:
        """The inputs as they will be stored: defaults added, secrets still wrapped; `old` is {} at first.

        Raises Invalid.
        """
        return inputs

    def comparable(self, inputs: PropertyMap) -> PropertyMap:
        """Plain inputs in a normalized form, in which inputs with the same meaning are equal."""
        return inputs

    def implied(self, inputs: PropertyMap, state: PropertyMap) -> tuple[PropertyMap, PropertyMap]:
        """(former, new) parts of the state that are compared like inputs, although the program does not set
        them.
        """
        return {}, {}

    def ignoring(self, inputs: PropertyMap, state: PropertyMap, ignored: tuple[str, ...]) -> PropertyMap:
        """The inputs of an update, in which the program ignores changes at these paths."""
        return inputs

    def replaced_by(self, old: PropertyMap, new: PropertyMap) -> tuple[str, ...]:
        """`replace_on` for this change, if it depends on the values."""
        return self.replace_on

    def deleted_first(self, name: str, old: PropertyMap, new: PropertyMap) -> bool:
        """Whether to delete a replaced resource before the new one is created.  `name` is the resource's."""
        return False

    def create(self, call: Call, inputs: PropertyMap) -> tuple[str, PropertyMap]:
        """Create it; returns its id and its outputs.

        HalfMade keeps the incomplete resource; any other exception is a failed creation without a resource.
        """
        raise NotImplementedError

    def update(self, call: Call, id: str, old: PropertyMap, inputs: PropertyMap) -> PropertyMap:
        """Update it from the `old` state to the new inputs; returns the new outputs."""
        raise NotImplementedError

    def delete(self, call: Call, id: str, state: PropertyMap) -> None:
        """Delete it; a missing resource is not an error."""

    def read(
        self, call: Call, id: str, state: PropertyMap, inputs: PropertyMap
    ) -> tuple[str, PropertyMap, PropertyMap] | None:
        """Read the real resource: (id, outputs, inputs), or None if it no longer exists.

        An empty state means an import: everything must be found from the id alone.
        """
        return id, state, inputs

    def preview(self, inputs: PropertyMap, old: PropertyMap) -> PropertyMap:
        """The outputs in a preview: the wrapped inputs and unknown values; `old` is {} at creation."""
        kept = {key: old[key] for key in self.computed if self.keeps_outputs and key in old}
        unknown = {key: UNKNOWN for key in self.computed if key not in kept}
        stated = {
            key: value for key, value in inputs.items() if not is_unknown(plain(value)) or key not in kept
        }
        return {**unknown, **kept, **stated}


Function = Callable[[PropertyMap], PropertyMap]
"""An invoke: plain arguments to plain results."""
Configure = Callable[[PropertyMap], None]
"""Takes the provider's plain configuration; raises an exception if it is invalid."""
