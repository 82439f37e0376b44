"""`wanpool`, and Python programs, as processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

WANPOOL = (sys.executable, "-m", "redis_wanpool.cli")


def wanpool(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """What came of a command."""
    there = {**os.environ, **env}
    return subprocess.run([*WANPOOL, *words], capture_output=True, text=True, timeout=60, env=there, check=False)


def python(*words: str, **options: Any) -> subprocess.Popen[str]:
    """A Python process with pipes."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen([sys.executable, *words], text=True, **{**pipes, **options})
