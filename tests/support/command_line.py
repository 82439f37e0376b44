"""`wanpool` in this process or in one of its own, and Python programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, TextIOWrapper
from typing import Any
from unittest.mock import patch

from redis_wanpool.cli.main import main

WANPOOL = (sys.executable, "-m", "redis_wanpool.cli")


def wanpool(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """What came of a command: in this process, as a new one takes half a second of CPU to start."""
    out, err = (TextIOWrapper(BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err), patch.dict(os.environ, env):
        try:
            code = main(words)
        except SystemExit as ended:  # of what argparse does not understand, or explains
            code = ended.code  # type: ignore[assignment]
    return subprocess.CompletedProcess(words, code, *(text.buffer.getvalue().decode() for text in (out, err)))  # type: ignore[attr-defined]


def says(*words: str, code: int = 0) -> str:
    """What a command says, with its exit code as expected; of a failure, the error."""
    done = wanpool(*words)
    assert done.returncode == code and "Traceback" not in done.stdout + done.stderr, done
    return done.stderr or done.stdout


def tells(*words: str, code: int = 0) -> Any:
    """The document that a command prints."""
    done = wanpool(words[0], "--json", *words[1:])
    assert done.returncode == code, done
    document = json.loads(done.stdout)
    assert document.pop("schema") == 1
    return document


def spawned(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """What came of a command in a process of its own."""
    there = {**os.environ, **env}
    return subprocess.run([*WANPOOL, *words], capture_output=True, text=True, timeout=60, env=there, check=False)


def python(*words: str, **options: Any) -> subprocess.Popen[str]:
    """A Python process with pipes."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen([sys.executable, *words], text=True, **{**pipes, **options})
