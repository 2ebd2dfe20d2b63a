"""What a resource type of a stand-in has to say for itself; `servicer` puts it behind the protocol."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from lab.providers.protocol import UNKNOWN, PropertyMap, is_unknown, plain


class Severity(enum.IntEnum):
    """How a message is shown; the numbers are those of `pulumirpc.LogSeverity`."""

    DEBUG = 0
    INFO = 1
    WARNING = 2
    ERROR = 3


class Log(Protocol):
    """Writes a message for one resource: a *status* replaces the last one, anything else stays in the log."""

    def __call__(self, text: str, severity: Severity = Severity.INFO, *, status: bool = True) -> None: ...


class Invalid(Exception):
    """Inputs that `check` refuses: each a property and the reason, all reported at once."""

    def __init__(self, *failures: tuple[str, str]) -> None:
        super().__init__("; ".join(f"{where}: {why}" for where, why in failures))
        self.failures = failures


class HalfMade(Exception):
    """The thing exists, but a later step of its creation failed: the engine shall remember it.

    The engine keeps it in the state with the outputs, reports the error, and the next `up` updates it instead
    of making a second one (pulumirpc.ErrorResourceInitFailed).
    """

    def __init__(self, id: str, outputs: PropertyMap, reason: str) -> None:
        super().__init__(reason)
        self.id, self.outputs = id, outputs


@dataclass(frozen=True)
class Call:
    """The circumstances of one request of the engine for one resource."""

    urn: str
    log: Log
    seed: bytes = b""
    """The engine's random seed: makes a generated name the same in preview and update."""
    cancelled: threading.Event = field(default_factory=threading.Event)
    """Set when the user has pressed Ctrl-C."""

    @property
    def name(self) -> str:
        return self.urn.split("::")[-1]


class Resource:
    """One resource type.  Values are plain; secrets among the outputs are marked with `protocol.secret`."""

    replace_on: tuple[str, ...] = ()
    """Inputs whose change makes a new resource: top-level names, or "disk.encrypted" for a part of one."""
    computed: tuple[str, ...] = ()
    """Outputs that only the provider knows: unknown in the preview of a creation."""
    keeps_outputs = False
    """Whether computed outputs stay as they are in the preview of an update, or become unknown."""

    def check(self, call: Call, inputs: PropertyMap, old: PropertyMap) -> PropertyMap:
        """The inputs as they will be stored: defaults added, secrets still wrapped; `old` is {} at first.

        Raises Invalid.
        """
        return inputs

    def comparable(self, inputs: PropertyMap) -> PropertyMap:
        """Plain inputs in a form in which those that mean the same are equal."""
        return inputs

    def implied(self, inputs: PropertyMap, state: PropertyMap) -> tuple[PropertyMap, PropertyMap]:
        """(former, new) parts of the state that are compared like inputs, though the program states none."""
        return {}, {}

    def ignoring(self, inputs: PropertyMap, state: PropertyMap, ignored: tuple[str, ...]) -> PropertyMap:
        """The inputs of an update of which the program ignores changes at these paths."""
        return inputs

    def replaced_by(self, old: PropertyMap, new: PropertyMap) -> tuple[str, ...]:
        """`replace_on` for this very change, where it depends on the values."""
        return self.replace_on

    def deleted_first(self, name: str, old: PropertyMap, new: PropertyMap) -> bool:
        """Must a replaced one go before the new one is made?  `name` is that of the resource."""
        return False

    def create(self, call: Call, inputs: PropertyMap) -> tuple[str, PropertyMap]:
        """Make it; returns its id and its outputs.

        HalfMade keeps what there is; any other exception is a failed creation: nothing is kept.
        """
        raise NotImplementedError

    def update(self, call: Call, id: str, old: PropertyMap, inputs: PropertyMap) -> PropertyMap:
        """Change it from the `old` state to the new inputs; returns the new outputs."""
        raise NotImplementedError

    def delete(self, call: Call, id: str, state: PropertyMap) -> None:
        """Remove it; a resource that is gone already is no error."""

    def read(
        self, call: Call, id: str, state: PropertyMap, inputs: PropertyMap
    ) -> tuple[str, PropertyMap, PropertyMap] | None:
        """Look at the real thing: (id, outputs, inputs), or None when it is gone.

        With an empty state it is an import: everything has to be found from the id alone.
        """
        return id, state, inputs

    def preview(self, inputs: PropertyMap, old: PropertyMap) -> PropertyMap:
        """The outputs a preview shows: the wrapped inputs and what is not known yet; `old` is {} at first."""
        kept = {key: old[key] for key in self.computed if self.keeps_outputs and key in old}
        unknown = {key: UNKNOWN for key in self.computed if key not in kept}
        stated = {
            key: value for key, value in inputs.items() if not is_unknown(plain(value)) or key not in kept
        }
        return {**unknown, **kept, **stated}


Function = Callable[[PropertyMap], PropertyMap]
"""An invoke: plain arguments to plain results."""
Configure = Callable[[PropertyMap], None]
"""Takes the provider's plain configuration; raises on a refusal."""
