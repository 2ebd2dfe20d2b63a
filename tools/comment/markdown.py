"""The comment: a `Preview` as Markdown that GitLab and GitHub render the same way. Pure.

Destructive changes come first and are never omitted. If the comment would be too long, other parts are
omitted, the least important first, and the comment says so.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence

from tools.comment import descriptions as words
from tools.comment.changes import Change, NodeSettings, Preview
from tools.comment.sanitize import code, cut, fenced, inline, masked

LIMIT = 65_536
"""Characters. GitHub takes 65,536 in a comment, GitLab 1,000,000 (docs.gitlab.com, "Instance limits")."""
_ROOM = 1_500  # for the lines that list the omitted parts
_LONGEST_ERROR = 4_000
_LONGEST_WARNING = 300


def marker(stack: str) -> str:
    """The comment's hidden first line, which identifies it for the next update."""
    name = re.sub(r"[^\w./-]", "_", stack)
    return f"<!-- gitlab-geo-registry: preview of {name} -->"


def render(preview: Preview, limit: int = LIMIT, commit: str = "") -> str:
    """The whole comment, at most `limit` characters."""
    head = masked(f"{marker(preview.stack)}\n\n{title(preview)}")
    foot = f"{footer(preview, commit)}\n"
    errors = [masked(line) for line in ["\n".join(_errors(preview))] if line]
    limit -= len(foot) + _ROOM
    room = limit - len(head) - sum(map(len, errors))
    text = "\n".join([head, *map(masked, _dangers(preview, room)), *errors])
    omitted: list[str] = []
    for name, section in _sections(preview):
        body = masked("\n".join(section))
        if len(text) + len(body) <= limit:
            text += f"\n{body}"
        else:
            omitted.append(name)
    if omitted:
        more = f" and {len(omitted) - 3} more" if len(omitted) > 3 else ""
        text += (
            f"\n\n**Too long for a comment; omitted here:** {', '.join(omitted[:3])}{more}. "
            "All deletions and replacements are listed. The full text is in the log of the job."
        )
    return f"{text}\n\n{foot}"


def title(preview: Preview) -> str:
    """The heading: the numbers of changes."""
    what = f"`pulumi preview` of {code(preview.stack)}"
    if preview.errors:
        return f"## ❌ {what} failed: `pulumi up` would not work"
    if not preview.changes:
        return f"## ✅ {what}: nothing would change"
    counted = Counter(words.verb(change) for change in preview.changes if not change.component)
    rank = {"DELETED": 0, "REPLACED": 1, words.RETAINED: 2, "created": 3, "updated": 4}
    parts = [f"{counted[verb]} {verb}" for verb in sorted(counted, key=lambda verb: rank.get(verb, 2))]
    sign = "⛔" if preview.dangers else "✏️"
    return f"## {sign} {what}: {', '.join(parts) or 'only outputs change'}"


def footer(preview: Preview, commit: str = "") -> str:
    """Warnings, and what the preview did not access."""
    warned = "".join(f"> {inline(cut(text, _LONGEST_WARNING))}\n" for text in preview.warnings[:5])
    revision = f" Commit {inline(commit)[:10]}." if commit else ""
    return masked(
        f"{warned}<sub>No host was accessed. The comment contains no secrets: settings refer to them as "
        f"`secrets['…']`.{revision} Created by `make preview-comment STACK={inline(preview.stack)}`.</sub>"
    )


def _dangers(preview: Preview, room: int) -> list[str]:
    if not preview.dangers:
        return []
    terminated = {
        change.node for change in preview.dangers if change.type == words.INSTANCE and change.op == "delete"
    }
    ordered = sorted(preview.dangers, key=words.severity)
    for with_place, with_names in ((True, True), (False, True), (False, False)):
        lines = list(_grouped(ordered, terminated, with_place=with_place, with_names=with_names))
        if sum(len(line) + 1 for line in lines) <= room:
            break
    else:
        counted = Counter(words.verb(change) for change in ordered)
        lines = [
            f"- **{verb}** {count} resources (listed in the log of the job)"
            for verb, count in counted.items()
        ]
    return ["", "### ⛔ Deleted or replaced: read this first", "", *lines]


def _grouped(
    changes: Sequence[Change], terminated: Collection[str], *, with_place: bool, with_names: bool
) -> Iterator[str]:
    """One line for all changes with the same consequence at the same site and node."""
    groups: defaultdict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    for change in changes:
        place = _place(change) if with_place else ""
        key = (
            words.verb(change),
            words.noun(change),
            place,
            words.consequence(change, terminated),
        )
        groups[key].append(change.name)
    for (verb, noun, place, consequence), names in groups.items():
        count = f"{len(names)} × " if len(names) > 1 else ""
        which = " " + ", ".join(map(code, names)) if with_names else " (listed in the log of the job)"
        yield f"- **{verb}** {count}{noun}{which}{place}: {consequence}"


def _place(change: Change) -> str:
    place = ", ".join(code(part) for part in (change.site, change.node) if part)
    return f" ({place})" if place else ""


def _errors(preview: Preview) -> Iterator[str]:
    for text in preview.errors[:4]:
        cut = text if len(text) <= _LONGEST_ERROR else text[:_LONGEST_ERROR] + "\n… (cut)"
        yield from ("", *fenced(cut.splitlines(), "text"))


def _sections(preview: Preview) -> Iterator[tuple[str, list[str]]]:
    """(Name, lines) of each section, the most important first."""
    if not preview.changes:
        return
    yield "the table of sites and nodes", _table(preview)
    for settings in sorted(preview.settings, key=lambda s: (s.site, s.node)):
        if settings.changed:
            count = len(settings.changed)
            yield f"{count} settings of {code(settings.node)}", _diff(settings)
    rest = [
        c for c in preview.changes if not c.dangerous and not c.component and c.type != words.NODE_COMMAND
    ]
    if rest:
        yield f"{len(rest)} other changes", _others(rest)


def _table(preview: Preview) -> list[str]:
    rows = [
        "",
        "### Sites and nodes",
        "",
        "| site | node | what would change | on the node |",
        "|---|---|---|---|",
    ]
    settings = {one.node: one for one in preview.settings}
    sessions = [c for c in preview.changes if c.type == words.NODE_COMMAND and c.node]
    commands = {c.node: c for c in sessions if not c.component}
    verified = {c.node for c in sessions if c.component and c.op != "delete"}
    instances = {c.node: c.op for c in preview.changes if c.type == words.INSTANCE and c.op != "update"}
    secrets = [c.name for c in preview.dangers if c.type.startswith(words.GENERATED)]
    places: defaultdict[tuple[str, str], list[Change]] = defaultdict(list)
    for change in preview.changes:
        places[change.site, change.node].append(change)
    for (site, node), changes in sorted(places.items(), key=lambda item: (item[0][0] == "", item[0])):
        what = "; ".join(_summary(changes, settings.get(node) if node else None)) or "–"
        action = words.VERIFIED if node in verified else "–"
        if node in commands:
            instance = instances.get(node, "")
            action = words.node_action(commands[node], settings.get(node), instance=instance, secrets=secrets)
        if any(change.type == words.INSTANCE and _stopped(change) for change in changes):
            action = "**instance stopped and started**" + (f"; {action}" if action != "–" else "")
        site_cell = f"**{code(site)}**" if site else "all sites"
        rows.append(f"| {site_cell} | {code(node) if node else '–'} | {what} | {action} |")
    return rows


def _summary(changes: Sequence[Change], settings: NodeSettings | None) -> Iterator[str]:
    if settings and settings.changed:
        added = sum(name not in settings.old for name in settings.changed)
        removed = sum(name not in settings.new for name in settings.changed)
        parts = [(added, "new"), (len(settings.changed) - added - removed, "changed"), (removed, "removed")]
        yield "settings: " + ", ".join(f"{count} {word}" for count, word in parts if count)
    for change in changes:
        if change.component and change.op == "update":
            yield from (f"{inline(name)}: {_pair(*pair)}" for name, pair in change.values.items())
    counts = Counter(
        (words.verb(c), words.noun(c))
        for c in sorted(changes, key=lambda c: not c.dangerous)
        if not c.component and c.type != words.NODE_COMMAND
    )
    for (verb, noun), count in counts.items():
        shown = f"**{verb}**" if verb.isupper() else verb
        yield f"{noun} {shown}" if count == 1 else f"{count} × {noun} {shown}"


def _diff(settings: NodeSettings) -> list[str]:
    lines = []
    equals = " =" if settings.file == "gitlab.rb" else ":"
    for name in settings.changed:
        lines += [f"-{name}{equals} {settings.old[name]}"] if name in settings.old else []
        lines += [f"+{name}{equals} {settings.new[name]}"] if name in settings.new else []
    return [
        "",
        f"#### {settings.file} of {code(settings.node)} ({code(settings.site)})",
        "",
        *fenced(lines, "diff"),
    ]


def _others(changes: Sequence[Change]) -> list[str]:
    lines = []
    for change in sorted(changes, key=lambda c: (c.site, c.node, c.type, c.name)):
        pairs = [f"{inline(name)} {_pair(*pair)}" for name, pair in change.values.items()]
        named = [inline(name) for name in change.inputs if name not in change.values]
        detail = ", ".join([*pairs, *named])
        stopped = _stopped(change)
        lines.append(
            f"- {words.verb(change)} {words.noun(change)} {code(change.name)}{_place(change)}"
            + (f": {detail}" if detail else "")
            + (". **This stops and starts the instance**" if stopped else "")
        )
    return ["", "<details><summary>Everything else</summary>", "", *lines, "", "</details>"]


def _stopped(change: Change) -> bool:
    return change.op == "update" and "instanceType" in change.inputs


def _pair(old: str | None, new: str | None) -> str:
    return f"{code(old) if old is not None else 'none'} → {code(new) if new is not None else 'none'}"
