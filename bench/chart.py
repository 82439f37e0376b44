"""The run as a picture: pairs a second, and the ratios that have a goal, as dots on logarithmic scales."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from bench.report import number
from bench.results import Row

WIDTH, LEFT, RIGHT, LINE = 900, 370, 860, 38
SPEED_UNIT = "pairs a second, more is better; blue is redis-wanpool"
RATIO_UNIT = "redis-wanpool / the other, 10th to 90th percentile; green is the goal"
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 } .faint { fill: #59636e; font-size: 12px }
.head { font-weight: 600; font-size: 15px } .ours { fill: #0969da } .theirs { fill: #818b98 }
line { stroke-width: 2 } .grid { stroke: #d1d9e0; stroke-width: 1 } .goal { stroke: #1a7f37; stroke-width: 4 }
.span { stroke: #0969da } .between { stroke: #d1d9e0 }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc } .faint { fill: #9198a1 } .ours { fill: #4493f8 } .theirs { fill: #818b98 }
.grid, .between { stroke: #3d444d } .goal { stroke: #3fb950 } .span { stroke: #4493f8 } }
"""


def svg(rows: Sequence[Row], facts: dict[str, Any]) -> str:
    """The whole picture."""
    speeds = [row for row in rows if row.unit == "pairs/s" and row.goal is None]
    goals = [row for row in rows if row.goal is not None]
    below, first = _panel(20, "Ports taken and given back", SPEED_UNIT, speeds, _speed)
    end, second = _panel(
        below + 24,
        "Ratios that have a goal",
        RATIO_UNIT,
        goals,
        _ratio,
    )
    told = f"{facts['server']}, redis-py {facts['redis_py']}, {facts['system']}, {facts['date']}"
    body = "\n".join([*first, *second, _text(12, end + 10, told, "faint")])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {end + 22:.0f}" role="img" '
        f'aria-label="Speed of redis-wanpool beside other designs">\n<style>{STYLE}</style>\n{body}\n</svg>\n'
    )


Scale = Callable[[float], float]


def _panel(
    top: float, head: str, unit: str, rows: Sequence[Row], draw: Callable[[Row, float, Scale], list[str]]
) -> tuple[float, list[str]]:
    """A panel with its axis: where it ends, and its elements."""
    bottom = top + 34 + LINE * len(rows)
    scale, ticks = _axis([value for row in rows for value in _values(row)])
    elements = [_text(12, top, head, "head"), _text(LEFT, top, unit, "faint")]
    for tick in ticks:
        x = scale(tick)
        elements += [_line(x, top + 12, x, bottom, "grid"), _text(x, bottom + 14, f"{tick:,g}", "faint", "middle")]
    for at, row in enumerate(rows):
        y = top + 34 + LINE * at
        elements += [_text(12, y, row.what), _text(12, y + 15, f"beside {row.against}", "faint"), *draw(row, y, scale)]
    return bottom + 26, elements


def _values(row: Row) -> list[float]:
    if row.goal is not None and row.ratio is not None:
        return [row.ratio.p10, row.ratio.p90, row.goal[1]]
    return [row.ours.median] + ([row.theirs.median] if row.theirs else [])


def _axis(values: Sequence[float]) -> tuple[Scale, list[float]]:
    """A logarithmic scale over whole steps of 1, 2, 5, 10, and its ticks."""
    decades = range(math.floor(math.log10(min(values))), math.ceil(math.log10(max(values))) + 1)
    steps = (1, 2, 5) if len(decades) <= 3 else (1,)
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    low = max((tick for tick in ticks if tick <= min(values)), default=ticks[0])
    high = min((tick for tick in ticks if tick >= max(values)), default=ticks[-1])
    width = max(math.log(high / low), 0.1)

    def scale(value: float) -> float:
        return LEFT + (RIGHT - LEFT) * math.log(value / low) / width

    return scale, [tick for tick in ticks if low <= tick <= high]


def _speed(row: Row, y: float, scale: Scale) -> list[str]:
    if row.theirs is None:
        return []
    ours, theirs = scale(row.ours.median), scale(row.theirs.median)
    right = 1 if ours >= theirs else -1
    return [
        _line(ours, y, theirs, y, "between"),
        _dot(theirs, y, "theirs"),
        _dot(ours, y, "ours"),
        _text(ours, y + 19, f"{number(row.ours.median)}", "", "start" if right > 0 else "end"),
        _text(theirs, y + 19, f"{number(row.theirs.median)}", "faint", "end" if right > 0 else "start"),
    ]


def _ratio(row: Row, y: float, scale: Scale) -> list[str]:
    if row.ratio is None or row.goal is None:
        return []
    x, goal = scale(row.ratio.median), scale(row.goal[1])
    words = f"{number(row.ratio.median)} (goal: {row.goal[0].replace('<=', '≤').replace('>=', '≥')} {row.goal[1]:g})"
    anchor = "end" if x > (LEFT + RIGHT) / 2 else "start"
    return [
        _line(goal, y - 9, goal, y + 9, "goal"),
        _line(scale(row.ratio.p10), y, scale(row.ratio.p90), y, "span"),
        _dot(x, y, "ours"),
        _text(x, y + 21, words, "", anchor),
    ]


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def _dot(x: float, y: float, kind: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" class="{kind}"/>'
