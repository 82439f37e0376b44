"""The design before this one: a JSON file of the ports in use on one machine, behind a lock on the file.

Its best case: the file stays open and is small, and nothing is synced to the disk. It knows no other machine, no dead
process and no cool-down.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import time
from pathlib import Path


class JsonFilePool:
    """Ports of one WAN, in a file."""

    def __init__(self, path: Path, ports: range) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self._ports = ports
        self._pid = os.getpid()

    def acquire(self) -> int:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            taken = self._read()
            port = random.choice(self._ports)
            while str(port) in taken:
                port = random.choice(self._ports)
            taken[str(port)] = {"pid": self._pid, "since": time.time()}
            self._write(taken)
            return port
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def release(self, port: int) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            taken = self._read()
            del taken[str(port)]
            self._write(taken)
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._file)

    def _read(self) -> dict[str, dict[str, float]]:
        text = os.pread(self._file, 1 << 20, 0)
        taken: dict[str, dict[str, float]] = json.loads(text) if text else {}
        return taken

    def _write(self, taken: dict[str, dict[str, float]]) -> None:
        text = json.dumps(taken).encode()
        os.pwrite(self._file, text, 0)
        os.ftruncate(self._file, len(text))
