"""A live view: repainted in place on a terminal, a plain line now and then in a pipe."""

from __future__ import annotations

import shutil
import sys

BAR = {"leased": "█", "cooling": "▒", "free": "·"}


class Screen:
    """Shows the newest state of something."""

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


def bar(parts: dict[str, int], width: int = 48) -> str:
    """Counts as a bar of letters."""
    total = max(1, sum(parts.values()))
    text = "".join(BAR[name] * round(width * count / total) for name, count in parts.items())
    return text[:width].ljust(width, BAR["free"])
