"""The findings of `make status` as one page for a browser: it loads nothing, and works without JavaScript."""

from __future__ import annotations

from datetime import datetime
from html import escape
from pathlib import Path
from string import Template

from operations.findings import DIFFERENT, KINDS, SAME, UNKNOWN, Comparison, NodeStatus, Status
from operations.status_table import differences, geo, registry

PAGE = Template(Path(__file__).with_suffix(".html").read_text(encoding="utf-8"))
STATES = {
    SAME: ("good", "Everything is as it should be"),
    DIFFERENT: ("bad", "Something differs"),
    UNKNOWN: ("unknown", "Something could not be determined"),
}


def page(found: Status, now: datetime) -> str:
    """HTML, in which everything that comes from a node or a registry is text."""
    style, state = STATES[found.code]
    sites = dict.fromkeys(node.site for node in found.nodes)
    return PAGE.substitute(
        title=escape(f"Registries of {found.stack}"),
        style=style,
        state=state,
        time=f"{now:%d %B %Y, %H:%M} UTC",
        sites="\n".join(_site(found, site) for site in sites),
    )


def _site(found: Status, site: str) -> str:
    role = "primary" if site == found.primary else "secondary"
    images = [_images(one, found.primary) for one in found.comparisons if one.site == site]
    known = found.geo(site)
    numbers = [f"<p>Geo: {escape(geo(known))}</p>"] if known else []
    head = "".join(
        f"<th>{name}</th>" for name in ("node", "roles", "GitLab", "registry", "certificate until", "state")
    )
    rows = "\n".join(_node(node) for node in found.nodes if node.site == site)
    table = f"<table>\n<tr>{head}</tr>\n{rows}\n</table>"
    return "\n".join(
        ["<section>", f"<h2>{escape(site)}, {role}</h2>", *images, *numbers, table, "</section>"]
    )


def _images(one: Comparison, primary: str) -> str:
    if one.failure:
        return f'<p class="state unknown">Not compared</p>\n<pre>{escape(one.failure)}</pre>'
    differ = sum(one.counts.values())
    equal = max(0, one.tags - one.counts["missing"] - one.counts["different"])
    counts = ", ".join(f"{one.counts[kind]} {kind}" for kind in KINDS)
    compared = escape(f"{one.tags} tags in {one.repositories} repositories of {primary}")
    value = f'max="{one.tags}" value="{equal}"' if one.tags else 'value="1"'
    style = "bad" if differ else "good"
    lists = [_list(kind, one.images[kind], one.counts[kind]) for kind in KINDS if one.images[kind]]
    return "\n".join(
        [
            f'<p>{compared}: <span class="state {style}">{counts}</span></p>',
            f'<progress {value} aria-label="equal tags"></progress>',
            *lists,
        ]
    )


def _list(kind: str, images: list[str], count: int) -> str:
    items = "".join(f"<li><code>{escape(image)}</code></li>" for image in images)
    more = f"<p>and {count - len(images)} more</p>" if count > len(images) else ""
    return f"<details open><summary>{count} {kind}</summary><ul>{items}</ul>{more}</details>"


def _node(node: NodeStatus) -> str:
    style = "unknown" if node.failure else "bad" if node.differences else "good"
    state = "could not be asked" if node.failure else differences(node)
    ends = min(node.certificates.values(), default="")
    cells = (node.name, ", ".join(node.roles), node.gitlab or "", registry(node.registry), ends[:10])
    texts = "".join(f"<li>{escape(text)}</li>" for text in [*node.differences, *node.warnings])
    notes = (f"<ul>{texts}</ul>" if texts else "") + (
        f"<pre>{escape(node.failure)}</pre>" if node.failure else ""
    )
    plain = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    return f'<tr>{plain}<td><span class="state {style}">{state}</span>{notes}</td></tr>'
