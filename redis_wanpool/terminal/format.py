"""How facts read on a terminal: tables, spans of time, moments."""

import re
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime

from redis_wanpool.errors import InvalidValue
from redis_wanpool.system.logs import plain
from redis_wanpool.terminal.language import said

_SPAN = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|min|h|d|)\s*")
_SECONDS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
MOST_SECONDS = 30 * 86400.0  #: seconds that every operating system can wait; Windows cannot wait 50 days


def width(text: str) -> int:
    """How many columns a text takes: characters of East Asia take two."""
    return sum(0 if unicodedata.combining(sign) else 1 + (unicodedata.east_asian_width(sign) in "WF") for sign in text)


def clipped(text: str, columns: int) -> str:
    """As much of a text as fits into this many columns."""
    while width(text) > columns:
        text = text[:-1]
    return text


def wrapped(text: str, columns: int) -> list[str]:
    """A text in lines of at most this many columns."""
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and width(lines[-1]) + 1 + width(word) > columns:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return lines


def padded(text: str, columns: int, *, right: bool = False) -> str:
    """A text padded to this many columns, at its right or its left."""
    space = " " * max(0, columns - width(text))
    return space + text if right else text + space


def one_line(text: str) -> str:
    """A text made safe for a terminal: nothing in it moves the cursor or breaks the line."""
    return plain(text)


def table(rows: Sequence[Sequence[str]], right: Sequence[int]) -> list[str]:
    """Rows as lines, headings first; the columns with these numbers are aligned to the right."""
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(padded(cell, widths[i], right=i in right) for i, cell in enumerate(row)).rstrip() for row in rows]


def counted(number: int, noun: str) -> str:
    """A number of things: 0 leases, 1 lease, 2 processes."""
    return f"{number} {noun}{'' if number == 1 else 'es' if noun.endswith('s') else 's'}"


def seconds_of(option: str, text: str) -> float:
    """A span of time as an operator writes it: 90, 90s, 1.5m, 2h; raises InvalidValue for other text."""
    match = _SPAN.fullmatch(text)
    if match is None:
        raise InvalidValue(f"{option} {text!r}: write a number of seconds, or like 90s, 5m, 2h")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds > MOST_SECONDS:
        raise InvalidValue(f"{option} {text!r}: at most 30d")
    return seconds


def span(seconds: float) -> str:
    """A span of time, to two places: 0.4 s, 43 s, 5 min 3 s, 2 h 10 min, 3 d 4 h."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    for size, unit, below, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def iso(ms: int) -> str:
    """A moment of the server's clock, as Redis has it for people."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def until(ms: int, now_ms: int, *, absolute: bool = False) -> str:
    """How far off a moment is."""
    if absolute:
        return iso(ms)
    text = span(abs(ms - now_ms) / 1000)
    return said("in {text}", text=text) if ms >= now_ms else said("{text} ago", text=text)


def moment(text: str) -> int | None:
    """The moment that an ISO time in Redis means, in ms; None if it is none."""
    try:
        return round(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)
    except ValueError:
        return None
