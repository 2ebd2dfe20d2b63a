"""Any JSON, with the words that this configuration's keys, pydantic and YAML trip over."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st

from config.field_types import StrictModel
from config.model import Deployment
from tests.corpus.valid import TAPES, configuration
from tests.corpus.values import Raw, Tape

WORDS = (
    "keep", "S3", "Drivers", "literal['keep']", "[key]", "s3", "london", "sites", "roles", "true", "1e5", "", "a.b", "é\n",
)  # fmt: skip
# Half of a character is in no configuration that comes from Pulumi, which keeps UTF-8; it must not be a traceback.
HALF = "\ud800"
SINGLE = (None, True, False, 0, -1, 22, 1 << 70, 0.5, math.nan, math.inf, *WORDS)
TOP = st.sampled_from([*Deployment.model_fields])
_KEY = (
    st.sampled_from([name for kind in StrictModel.__subclasses__() for name in kind.model_fields])
    | st.sampled_from([*WORDS, HALF])
    | st.text(max_size=4)
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([*SINGLE, HALF]) | st.text(max_size=8) | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEY, inner, max_size=4),
    max_leaves=12,
)


def json_of(tape: Tape, depth: int = 2) -> Any:
    """A little JSON, of a tape."""
    kind = tape.pick(("single", "single", "list", "mapping")) if depth else "single"
    inner = range(tape.pick((0, 1, 2)))
    match kind:
        case "list":
            return [json_of(tape, depth - 1) for _ in inner]
        case "mapping":
            return {tape.pick(WORDS): json_of(tape, depth - 1) for _ in inner}
    return tape.pick(SINGLE)


@st.composite
def wild(draw: st.DrawFn) -> Raw:
    """Any JSON as the whole configuration, or as some of a right one's parts."""
    right = configuration(draw(TAPES)) if draw(st.booleans()) else {}
    return right | draw(st.dictionaries(TOP | _KEY, JSON, max_size=5))
