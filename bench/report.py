"""Tables for people, from the rows of a run."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from bench.results import Row
from bench.spread import Spread


def line(row: Row) -> str:
    """A row for the terminal."""
    text = f"{row.part}: {row.what}: {number(row.ours.median)} {row.unit}"
    if row.theirs is not None:
        text += f"; {row.against}: {number(row.theirs.median)}; ratio {_ratio(row)}{_goal(row)}"
    return text


def markdown(rows: list[Row], facts: dict[str, Any]) -> str:
    """All rows, a table a part."""
    parts = [table(part, list(of_it)) for part, of_it in groupby(rows, key=lambda row: row.part)]
    return "\n".join([*parts, _footer(facts)])


def table(part: str, rows: list[Row]) -> str:
    """Rows as a table with a heading."""
    if all(row.theirs is None for row in rows):
        lines = [f"| {part} | |", "|---|---|"]
        lines += [f"| {row.what} | {number(row.ours.median)} {row.unit} |" for row in rows]
    else:
        lines = [f"| {part} | redis-wanpool | beside it | ratio |", "|---|---|---|---|"]
        lines += [f"| {row.what} | {_ours(row)} | {_theirs(row)} | {_ratio(row)}{_goal(row)} |" for row in rows]
    return "\n".join([*lines, ""])


def _ours(row: Row) -> str:
    return f"{number(row.ours.median)} {row.unit}"


def _theirs(row: Row) -> str:
    return "" if row.theirs is None else f"{number(row.theirs.median)} {row.unit}: {row.against}"


def _ratio(row: Row) -> str:
    if row.ratio is None:
        return ""
    return f"{number(row.ratio.median)}{_range(row.ratio)}"


def _range(spread: Spread) -> str:
    return "" if spread.count == 1 else f" ({number(spread.p10)} to {number(spread.p90)})"


def _goal(row: Row) -> str:
    if row.goal is None:
        return ""
    sign, value = row.goal
    named = f"at {'most' if sign == '<=' else 'least'} {value:g}"
    return f", goal: {named}{'' if row.met else ', missed'}"


def _footer(facts: dict[str, Any]) -> str:
    quick = " **A quick run: these figures say little.**" if facts["quick"] else ""
    version = facts["python_redis_lock"]
    lock = f"python-redis-lock {version}" if version else "python-redis-lock not installed"
    return (
        "A pair is an acquire and a release. Medians, and in brackets the 10th to the 90th percentile of the rounds; "
        f"the two of a line ran in turn, in one run of {facts['seconds']} s on {facts['system']}, "
        f"{facts['server']} (append-only file, synced every second, unix socket), "
        f"redis-py {facts['redis_py']}, {lock}, Python {facts['python']}, {facts['date']}.{quick}\n"
    )


def number(value: float) -> str:
    """Three digits that count."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
