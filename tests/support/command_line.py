"""`wanpool` in this process or in one of its own, and Python programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, TextIOWrapper
from pathlib import Path
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


class Program:
    """A Python program in a process of its own, which a test talks to."""

    said = ""

    def __init__(self, path: Path, text: str, *args: str) -> None:
        path.write_text(text, encoding="utf-8")
        self.process = python("-W", "ignore::DeprecationWarning", str(path), *args)

    def line(self) -> str:
        """The next line that it says."""
        return str(self.process.stdout.readline().strip())

    def tell(self, line: str) -> None:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self) -> tuple[int, str, str]:
        """Its exit code, and what it said."""
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err

    def kill(self, *, wait: bool = True) -> None:
        self.process.kill()
        if wait:
            self.process.wait()

    def close(self) -> None:
        self.kill()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()


def python(*words: str, **options: Any) -> Any:
    """A Python process with pipes."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen([sys.executable, *words], text=True, **{**pipes, **options})
