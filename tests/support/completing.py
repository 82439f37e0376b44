"""Shells that complete what is typed at a terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import time
from pathlib import Path

from command_line import says

TYPED = {
    "wanpool sta": "status",
    "wanpool --url x expl": "explain",
    "wanpool status --wat": "--watch",
    "wanpool tune pl": "plan",
    "wanpool router --format nft": "nftables",
    "wanpool help rele": "release",
}
"""what is typed, and the last word after a tab"""


def completed(shell: str, *options: str, prepare: str = ":") -> dict[str, str]:
    """Types into a shell at a terminal, each with a tab; answers with what became the expected word."""
    Path("script").write_text(says("completion", shell), encoding="utf-8")
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(TERM="dumb", HISTFILE="/dev/null")
        os.execvp(shell, [shell, *options])
    done = {}
    try:
        os.write(terminal, f"{prepare}; . ./script; echo rea''dy\n".encode())
        if _reads(terminal, "ready"):
            for typed, meant in TYPED.items():
                os.write(terminal, f"{typed}\t".encode())
                if not _reads(terminal, typed.rpartition(" ")[0] + " " + meant):
                    break
                done[typed] = meant
                os.write(terminal, b"\x15")  # Ctrl-U: an empty line again
        return done
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(terminal)


def _reads(terminal: int, wanted: str) -> bool:
    """Whether the terminal shows it; what moves its cursor is left out."""
    seen, deadline = "", time.monotonic() + 30
    while wanted not in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x08|\r", "", seen):
        if not select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return False
        seen += os.read(terminal, 1000).decode(errors="replace")
    return True
