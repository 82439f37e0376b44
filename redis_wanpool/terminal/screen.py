"""A live view: repainted in place on a terminal, a plain line now and then in a pipe."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any

from redis_wanpool.terminal.format import clipped, padded
from redis_wanpool.terminal.keyboard import Keyboard
from redis_wanpool.terminal.language import said

BAR = {"leased": "█", "cooling": "▒", "free": "·", "withheld": "x"}
SPARKS = "▁▂▃▄▅▆▇█"
COLOURS = {"red": 31, "yellow": 33, "dim": 2, "bold": 1}


class Screen:
    """Shows the newest state of something, below what was printed before."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._height = 0

    def show(self, lines: list[str], plain: str | None) -> None:
        """Paints `lines` over the last ones; in a pipe prints `plain` instead, if there is something to say."""
        if not self._terminal:
            if plain is not None:
                print(plain, flush=True)
            return
        width = shutil.get_terminal_size().columns
        up = f"\x1b[{self._height}A" if self._height else ""
        sys.stdout.write(up + "".join(f"\r{line[: width - 1]}\x1b[K\n" for line in lines) + "\x1b[J")
        sys.stdout.flush()
        self._height = len(lines)


class FullScreen:
    """The whole terminal while it is entered; at any end it shows again what was there before."""

    def __init__(self) -> None:
        self._woken: SimpleQueue[None] = SimpleQueue()
        self._keyboard = Keyboard()

    @contextmanager
    def entered(self) -> Iterator[None]:
        handlers: dict[int, Any] = {signal.SIGTERM: signal.default_int_handler}
        if hasattr(signal, "SIGWINCH"):
            handlers[signal.SIGWINCH] = lambda *_: self._wake()
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            _write("\x1b[?1049h\x1b[?25l")
            with self._keyboard.listening():
                yield
        finally:
            with suppress(OSError):  # the terminal may be gone
                _write("\x1b[?25h\x1b[?1049l")
            for number, handler in before.items():
                signal.signal(number, handler)

    def show(self, lines: list[tuple[str, str]]) -> None:
        """Paints the lines that fit, each with its colour or "", and says how many do not."""
        columns, rows = size()
        most = max(1, rows - 1)
        if len(lines) > most > 1:
            left = len(lines) - most + 1
            more = said("{left} more lines: a higher terminal shows them", left=left)
            lines = [*lines[: most - 1], (more, "dim")]
        painted = (coloured(clipped(text, columns), colour) + "\x1b[K" for text, colour in lines[:most])
        _write("\x1b[H" + "\n".join(painted) + "\x1b[J")

    def _wake(self) -> None:
        self._woken.put(None)
        self._keyboard.wake()

    def sleep(self, seconds: float) -> None:
        """Waits this many seconds, or until the terminal has another size."""
        with suppress(Empty):
            self._woken.get(timeout=seconds)

    def keys(self, seconds: float) -> list[str]:
        """The keys that are pressed within this time, as soon as there is one; none if the terminal's size changes."""
        if self._keyboard.hears:
            return self._keyboard.read(seconds)
        self.sleep(seconds)
        return []


def size() -> tuple[int, int]:
    """The columns and rows of the terminal now, whatever its shell noted earlier."""
    try:
        return os.get_terminal_size(sys.stdout.fileno())
    except (OSError, ValueError):
        return os.terminal_size((80, 24))


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def coloured(text: str, colour: str) -> str:
    """A text in a colour, where there are colours: on a terminal, unless NO_COLOR is set (https://no-color.org)."""
    if not colour or not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m"


def bar(parts: dict[str, int], width: int = 48) -> str:
    """Counts as a bar of letters; what is there has one at least."""
    total = max(1, sum(parts.values()))
    cells = {name: max(round(width * count / total), 1 if count else 0) for name, count in parts.items()}
    while sum(cells.values()) > width and max(cells.values()) > 1:
        cells[max(cells, key=lambda name: cells[name])] -= 1
    text = "".join(BAR[name] * count for name, count in cells.items())
    return padded(text[:width], width).replace(" ", BAR["free"])


def sparks(values: list[float]) -> str:
    """Numbers as small columns, one beside the other."""
    most = max([*values, 1e-9])
    return "".join(SPARKS[round(value / most * (len(SPARKS) - 1))] for value in values)
