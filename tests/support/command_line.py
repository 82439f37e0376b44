"""`wanpool` as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys


def wanpool(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "redis_wanpool.cli", *words],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **env},
        check=False,
    )
