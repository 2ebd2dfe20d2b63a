"""The measured times as a picture: one small plot a step, time over nodes. Plain SVG, kept as text. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from benchmarks.results import CONTENDERS, STEPS, Run, medians

WIDTH, HEIGHT = 400, 250
"""Of one small plot; they stand two by two."""
LEFT, RIGHT, TOP, BOTTOM = 45, 20, 40, 35
COLORS = {"pulumi": "#6b4fbb", "ansible": "#c0392b", "ssh": "#7f8c8d"}
LEGEND = 30
_FONT = 'font-family="sans-serif" font-size="12" fill="#333"'
_TICKS = 5

Series = Mapping[str, Mapping[int, float]]
"""Contender → nodes → seconds."""


def svg(runs: Sequence[Run]) -> str:
    """The whole picture; the same runs give the same text."""
    found = medians(runs)
    sizes = sorted({run.nodes for run in runs})
    plots = []
    for number, (step, title) in enumerate(STEPS.items()):
        series = {
            contender: {n: found[n, step, contender] for n in sizes if (n, step, contender) in found}
            for contender in CONTENDERS
        }
        at = f"translate({number % 2 * WIDTH},{number // 2 * HEIGHT + LEGEND})"
        plots.append(f'<g transform="{at}">\n{_plot(title.replace("`", ""), sizes, series)}\n</g>')
    width, height = 2 * WIDTH, 2 * HEIGHT + LEGEND
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}">'
    # A background of its own: readers may have dark pages.
    return (
        "\n".join([head, '<rect width="100%" height="100%" fill="#fff"/>', _legend(), *plots, "</svg>"])
        + "\n"
    )


def _legend() -> str:
    parts = []
    for number, (contender, name) in enumerate(CONTENDERS.items()):
        x = LEFT + number * 110
        parts.append(f'<rect x="{x}" y="14" width="12" height="12" fill="{COLORS[contender]}"/>')
        parts.append(f'<text x="{x + 18}" y="24" {_FONT}>{escape(name)}</text>')
    return "\n".join(parts)


def _plot(title: str, sizes: Sequence[int], series: Series) -> str:
    top = _round_up(max((s for line in series.values() for s in line.values()), default=1.0))
    last = max(sizes, default=1)

    def x(nodes: int) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * nodes / last, 1)

    def y(seconds: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * seconds / top, 1)

    parts = [f'<text x="{LEFT}" y="25" {_FONT} font-weight="bold">{escape(title)}, seconds over nodes</text>']
    for tick in range(_TICKS + 1):
        value = top * tick / _TICKS
        parts.append(
            f'<line x1="{LEFT}" y1="{y(value)}" x2="{WIDTH - RIGHT}" y2="{y(value)}" stroke="#ddd"/>'
            f'<text x="{LEFT - 6}" y="{y(value) + 4}" {_FONT} text-anchor="end">{value:g}</text>'
        )
    parts += [
        f'<text x="{x(size)}" y="{HEIGHT - BOTTOM + 18}" {_FONT} text-anchor="middle">{size}</text>'
        for size in sizes
    ]
    for contender, line in series.items():
        points = " ".join(f"{x(nodes)},{y(seconds)}" for nodes, seconds in line.items())
        color = COLORS[contender]
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [
            f'<circle cx="{x(nodes)}" cy="{y(seconds)}" r="3" fill="{color}">'
            f"<title>{escape(CONTENDERS[contender])}, {nodes} nodes: {seconds:.1f} s</title></circle>"
            for nodes, seconds in line.items()
        ]
    return "\n".join(parts)


def _round_up(seconds: float) -> float:
    """The end of the axis: a number whose fifths are easy to read."""
    steps = (1, 2, 5, 10, 20, 25, 30, 40, 50, 75, 100, 150, 200, 300)
    return float(next((step for step in steps if step >= seconds), seconds))
