"""Programs of others, each in its own process; the packages are those of the extra `clients`."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_for

from redis_wanpool import WanPortPool

PROGRAMS = Path(__file__).parent / "programs"
DEADLINE = 90
FIRST_PORT = 25500 + 4 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
"""Each worker has its own ports: whatever lingers on them, these tests bind them with SO_REUSEADDR."""
MISSING = [
    name for name in ("celery", "gevent", "gunicorn", "rq", "trio", "uvicorn") if not importlib.util.find_spec(name)
]


@pytest.fixture(autouse=True)
def packages() -> None:
    assert not MISSING, f"install what these tests run: pip install -e '.[clients]' ({', '.join(MISSING)})"


class Site:
    """A Redis with one WAN of four ports, and programs that use it."""

    programs = PROGRAMS
    ports = range(FIRST_PORT, FIRST_PORT + 4)

    def __init__(self, server: Any, stack: ExitStack) -> None:
        self.server = server
        self._stack = stack
        self.environment = {
            **os.environ,
            "WANPOOL_URL": server.url,
            "WANPOOL_NAMESPACE": "test",
            "PYTHONPATH": str(PROGRAMS),
            "PYTHONWARNINGS": "error::DeprecationWarning:redis_wanpool,ignore:Monkey-patching ssl",
        }
        with WanPortPool(server.url, namespace="test", rest=0) as pool:
            pool.define_wan(0, f"{self.ports[0]}-{self.ports[-1]}", cooldown=0)

    def start(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *command],
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._stack.callback(self._end, process)
        return process

    @staticmethod
    def _end(process: subprocess.Popen[str]) -> None:
        if process.poll() is None:
            process.kill()
        process.communicate()

    def run(self, *command: str, **environment: str) -> str:
        """What a program says, which ends by itself, and well."""
        return self.ended(self.start(*command, **environment))

    def run_loose(self, *command: str, **environment: str) -> None:
        """Runs a program that ends well, whatever others hold meanwhile."""
        process = self.start(*command, **environment)
        said = process.communicate(timeout=DEADLINE)
        assert process.returncode == 0, said

    def ended(self, process: subprocess.Popen[str], code: int = 0) -> str:
        """What it has said: it ended, well and without complaint, and left nothing leased."""
        said, complaint = process.communicate(timeout=DEADLINE)
        assert (complaint, process.returncode) == ("", code), said
        assert self.leased() == 0
        return said

    def leased(self) -> int:
        count: int = self.server.admin.zcard("wanpool:{test:0}:leased")
        return count

    def wait_until_nothing_is_leased(self) -> None:
        wait_for(lambda: self.leased() == 0, DEADLINE)


@pytest.fixture
def site(server: Any) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(server, stack)
