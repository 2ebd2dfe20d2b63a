"""A registry's config.yml is edited by its places in the text: what is meant is said, all else stays byte for byte."""

from __future__ import annotations

import copy
from difflib import ndiff
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hosts.external_registry.document import Scalar, Unreadable, read, tree
from hosts.external_registry.edits import applied, reverted
from hosts.external_registry.rewrite import Refused, rewrite
from tests.examples import examples
from tests.yaml_cases import DOCUMENTS, ENDPOINTS, NAMES, VALUES, texts

MANY = examples(100)
TEMPLATE = (Path(__file__).parents[2] / "lab/templates/docker-registry.yml").read_text()


def load(text: str) -> Any:
    """What the text says, by PyYAML's own loader."""
    return yaml.safe_load(text.removeprefix("\ufeff"))


def plain(of: Any) -> Any:
    """What a tree says, as PyYAML says it."""
    if isinstance(of, dict):
        return {plain(key): plain(its) for key, its in of.items()}
    if isinstance(of, list):
        return [plain(its) for its in of]
    return yaml.safe_load(of.text) if isinstance(of, Scalar) else of


def said(node: yaml.Node) -> Any:
    """PyYAML's own node as a tree, made apart from the program under test."""
    if isinstance(node, yaml.MappingNode):
        return {said(key): said(its) for key, its in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [said(its) for its in node.value]
    tag = node.tag.rpartition(":")[2]
    return node.value if tag == "str" else Scalar(tag, "null" if tag == "null" else node.value)


@st.composite
def changed(draw: st.DrawFn, value: Any) -> Any:
    """The tree with a few places in it changed, taken away or added."""
    new = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 4))):
        at = new
        while inner := [v for v in at.values() if isinstance(v, dict) and v]:
            if draw(st.booleans()):
                break
            at = draw(st.sampled_from(inner))
        if draw(st.booleans()) and len(at) > 1:
            del at[draw(st.sampled_from(list(at)))]
        else:
            name = draw(st.one_of(NAMES, st.sampled_from(list(at))) if at else NAMES)
            at[name] = tree(draw(VALUES))
    return new


def touched(node: yaml.Node, new: Any) -> set[int]:
    """The lines of a text that a change may touch."""
    if said(node) == new:
        return set()
    if not (isinstance(node, yaml.MappingNode) and not node.flow_style and isinstance(new, dict) and new):
        return set(range(node.start_mark.line, last(node) + 1))
    found: set[int] = set()
    for key, value in node.value:
        if said(key) not in new:
            found |= set(range(key.start_mark.line, last(value) + 1))
        elif inner := touched(value, new[said(key)]):
            found |= inner | {key.start_mark.line}
    return found


def last(node: yaml.Node) -> int:
    """The last line with something of the node on it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        parts = (
            node.value if isinstance(node, yaml.SequenceNode) else [p for pair in node.value for p in pair]
        )
        return max(last(part) for part in parts)
    end = node.end_mark
    # Behind a literal block the mark stands on the line after it.
    beyond = isinstance(node, yaml.ScalarNode) and node.style == "|" and end.column == 0
    return max(node.start_mark.line, end.line - 1 if beyond else end.line)


def lines(text: str) -> list[str]:
    """Without what stands at the ends of a text and of its last line."""
    return [line.rstrip("\r") for line in text.removeprefix("\ufeff").split("\n")]


def in_order(some: list[str], of: list[str]) -> bool:
    rest = iter(of)
    return all(line in rest for line in some)


@MANY
@given(st.data())
def test_the_new_text_says_what_was_meant_and_the_rest_stays(data: st.DataObject) -> None:
    """Whatever form the file is in. A second edit changes nothing; what is the same already is left as it is."""
    text = data.draw(texts())
    new = data.draw(changed(read(text)))
    made = rewrite(text, new)
    assert load(made) == plain(new)
    assert rewrite(made, new) == made
    assert rewrite(text, read(text)) == text
    root = yaml.compose(text.removeprefix("\ufeff"))
    assert root
    may_change = touched(root, new)
    kept = [line for number, line in enumerate(lines(text)) if number not in may_change]
    assert in_order(kept, lines(made))
    if "\r\n" in text:
        assert "\n" not in made.replace("\r\n", "")


@MANY
@given(texts(), DOCUMENTS)
def test_any_text_can_be_made_to_say_anything(text: str, new: dict[str, Any]) -> None:
    """Also where hardly anything of it stays."""
    assert load(rewrite(text, tree(new))) == new


@MANY
@given(
    DOCUMENTS,
    st.sampled_from([None, False, True]),
    st.integers(2, 6),
    st.sampled_from([20, 80, 999]),
    st.data(),
)
def test_what_programs_write_can_be_edited_too(
    value: dict[str, Any], flow: bool | None, indent: int, width: int, data: st.DataObject
) -> None:
    """YAML as PyYAML dumps it, with its long values over several lines."""
    text = yaml.safe_dump(value, default_flow_style=flow, indent=indent, width=width, allow_unicode=True)
    new = data.draw(changed(read(text)))
    assert load(rewrite(text, new)) == plain(new)


EDITS: list[dict[str, Any]] = [
    {"path": ["auth"], "only": ["token"]},
    {"path": ["auth", "token", "realm"], "value": "https://gitlab.example.com/jwt/auth"},
    {"path": ["auth", "token", "issuer"], "value": "omnibus-gitlab-issuer"},
    {
        "path": ["notifications", "endpoints", {"name": "geo_event"}],
        "value": {"name": "geo_event", "threshold": 5},
    },
    {"path": ["storage"], "only": ["s3", "cache", "delete", "maintenance"]},
    {"path": ["storage", "s3"], "value": {"bucket": "acme", "secure": True}},
    {"path": ["http", "secret"], "value": "new"},
]


@MANY
@given(
    texts(), st.lists(st.sampled_from(EDITS), unique_by=str), st.lists(st.sampled_from(EDITS), unique_by=str)
)
def test_edits_are_taken_back_from_a_file_that_was_edited_since(
    text: str, some: list[dict[str, Any]], others: list[dict[str, Any]]
) -> None:
    """Where nothing else was changed, the file says again just what it said; other edits can follow."""
    before = read(text)
    edited = applied(before, some)
    assert applied(edited, some) == edited
    assert reverted(edited, before, some) == before
    assert applied(reverted(edited, before, some), others) == applied(before, others)
    assert read(rewrite(rewrite(text, edited), before)) == before


@MANY
@given(ENDPOINTS, ENDPOINTS)
def test_others_endpoints_stay_where_they_are(old: list[dict[str, str]], now: list[dict[str, str]]) -> None:
    """Only geo_event comes, changes and goes; what the administrator has done to the others since stays."""
    path: list[Any] = ["notifications", "endpoints", {"name": "geo_event"}]
    own: dict[str, Any] = {"path": path, "value": {"name": "geo_event", "url": "https://gitlab/events"}}
    there: Any = {"notifications": {"endpoints": tree(now)}}
    made: Any = applied(there, [own])
    found = made["notifications"]["endpoints"]
    assert [e for e in found if e["name"] != "geo_event"] == [e for e in now if e["name"] != "geo_event"]
    assert [e for e in found if e["name"] == "geo_event"] == [own["value"]]
    gone = applied(made, [{"path": path, "absent": True}])
    assert gone == {"notifications": {"endpoints": [e for e in now if e["name"] != "geo_event"]}}
    back: Any = reverted(made, {"notifications": {"endpoints": tree(old)}}, [own])
    mine = [e for e in old if e["name"] == "geo_event"]
    assert [e for e in back["notifications"]["endpoints"] if e["name"] == "geo_event"] == mine


def test_what_cannot_be_taken_out_in_its_place_is_written_anew() -> None:
    """A key in YAML's long form, after another change beside it."""
    text = "x: # mine\n  a: 1\n  keep: 2\n  ? b\n  : 3\ny: 1 # mine\n"
    said = {"x": {"keep": tree(2)}, "y": tree(1)}
    assert rewrite(text, said) == "x: # mine\n  keep: 2\ny: 1 # mine\n"
    assert rewrite("\ufeffa: 1\n", {"b": tree(2)}) == "\ufeffb: 2\n"
    assert rewrite("a: 1\n", {"a": tree(1), "on": "x"}) == 'a: 1\n"on": "x"\n'


def test_an_administrators_file_keeps_its_looks() -> None:
    """The lab's: comments, quotes, columns and another endpoint stay; only lines with our values differ."""
    made = rewrite(TEMPLATE, applied(read(TEMPLATE), EDITS))
    changes = [line for line in ndiff(TEMPLATE.splitlines(), made.splitlines()) if line[:2] in ("- ", "+ ")]
    assert changes == [
        "-     filesystem:",
        '-         rootdirectory: "/var/lib/docker-registry"   # a disk of its own',
        "-         maxthreads: 100",
        "+     s3:",
        '+       bucket: "acme"',
        "+       secure: true",
        '-   secret: "$http_secret"',
        '+   secret: "new"',
        "-       realm:   https://gitlab.$place.example.com/jwt/auth",
        '+       realm:   "https://gitlab.example.com/jwt/auth"',
        '+   - name: "geo_event"',
        "+     threshold: 5",
    ]


REALM = [{"path": ["auth", "token", "realm"], "value": "new"}]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("auth: {token: {realm: a}\nhttp: {}\n", "expected ',' or '}', but got '<scalar>' in line 2"),
        ("auth:\n  token: {realm: a}\nauth: {}\n", "auth is a duplicate key, the second time in line 3"),
        ("a: &t {realm: a}\nauth: {token: *t, x: &t 5}\nb: *t\nauth: {}\n", "auth is a duplicate key"),
        ("a: &t {realm: a}\nauth:\n  token:\n    <<: *t\n", "merged from another place"),
        ("auth: &a\n  token: {realm: a}\nother: *a\n", "referenced elsewhere in it (&a)"),
        ("auth:\n  token: {realm: &r a}\nother: *r\n", "referenced elsewhere in it (&r)"),
        ("auth: {token: {realm: a}}\n---\nauth: {}\n", "several documents"),
        ("auth: {token: *none}\n", "line 1 refers to an unknown anchor"),
        ("a: &t 1\nauth: &t {token: *t}\n", "line 2 refers to an unknown anchor"),
        ("? [a]\n: b\nauth: {token: {realm: a}}\n", "line 1 has a map or a list as a key"),
        ("", "it is empty"),
        ("- a\n", "not a map"),
        ("auth: {token: {realm: \x01}}\n", "characters that YAML does not allow"),
        ("a: " + "[" * 5000, "nested too deeply"),
    ],
)  # fmt: skip
def test_what_cannot_be_edited_safely_is_refused(text: str, why: str) -> None:
    """Said with the line, and with nothing of the values."""
    with pytest.raises((Refused, Unreadable)) as refused:
        rewrite(text, applied(read(text), REALM))
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        # Anchors that are not this program's concern.
        ("x: &x {a: 1}\nauth: {token: {realm: a}}\ny: *x\n", 'x: &x {a: 1}\nauth: {token: {realm: "new"}}\ny: *x\n'),
        # A value that refers to another is replaced, and the other stays.
        ("r: &r a\nauth:\n  token:\n    realm: *r\n    x: *r\n", 'r: &r a\nauth:\n  token:\n    realm: "new"\n    x: *r\n'),
        ("auth:\n  token:\n    realm: # soon\n", 'auth:\n  token:\n    realm: "new" # soon\n'),
        ("auth:\n  token:   # none yet\n# end", 'auth:\n  token:   # none yet\n    realm: "new"\n# end'),
        ("auth:\r\n  silly: 1", 'auth:\r\n  silly: 1\r\n  token:\r\n    realm: "new"'),
        ("auth: {}\n", 'auth:\n  token:\n    realm: "new"\n'),
        ("auth: {silly: {}, }\n", 'auth: {silly: {}, "token": {"realm": "new"}, }\n'),
        ("{auth: {token: {realm}}}", '{auth: {token: {realm: "new"}}}'),
        ('{"auth":{"token":{"realm":"a"}}}', '{"auth":{"token":{"realm":"new"}}}'),
        ("auth:\n- just\n- wrong\nb: 1\n", 'auth:\n  token:\n    realm: "new"\nb: 1\n'),
        ("? auth\n: token:\n    realm: |\n      a\n      b\n\n# end\n", '? auth\n: token:\n    realm: "new"\n\n# end\n'),
        ("auth:\n  token:\n    realm: >+\n      a\n\n\nhttp: {}\n", 'auth:\n  token:\n    realm: "new"\n\n\nhttp: {}\n'),
        ("auth:\n  token:\n    other: |+\n      a\n\n# end\n", 'auth:\n  token:\n    other: |+\n      a\n\n    realm: "new"\n# end\n'),
        ("auth: !!map {token: !!map {realm: !!str a}}\n", 'auth: !!map {token: !!map {realm: "new"}}\n'),
        ("version: 0.1\n...\n", 'version: 0.1\nauth:\n  token:\n    realm: "new"\n...\n'),
    ],
)  # fmt: skip
def test_forms_that_are_seldom(text: str, made: str) -> None:
    """Each comes out as a person would have written it."""
    assert rewrite(text, applied(read(text), REALM)) == made
