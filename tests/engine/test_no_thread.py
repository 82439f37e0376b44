"""No new thread to be had: nothing is leased that nobody would keep."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from redis_wanpool import AsyncWanPortPool, WanpoolError, WanPortPool

PROGRAM = """
import asyncio, ctypes, os, resource, socket, sys
from redis_wanpool import AsyncWanPortPool, WanPortPool, WanpoolError

url, face, call = sys.argv[1:]
server = socket.create_server(("127.0.0.1", 0))

def without_threads():
    # The limit is for each user, and none for root; files are root's as before.
    if os.getuid() == 0:
        os.setresuid(54_321, 54_321, 0)
        ctypes.CDLL(None).setfsuid(0)
    resource.setrlimit(resource.RLIMIT_NPROC, (0, resource.getrlimit(resource.RLIMIT_NPROC)[1]))

def blocking():
    with WanPortPool(url, namespace="test", rest=0) as pool:
        return pool.acquire(0) if call == "acquire" else pool.connect(0, server.getsockname(), timeout=5)

async def with_asyncio():
    async with AsyncWanPortPool(url, namespace="test", rest=0) as pool:
        if call == "acquire":
            await pool.acquire(0)
        else:
            await pool.connect(0, server.getsockname(), timeout=5)

without_threads()
refused = 0
for _ in range(30):
    try:
        blocking() if face == "sync" else asyncio.run(with_asyncio())
    except WanpoolError as error:
        assert "RLIMIT_NPROC" in str(error), error
        refused += 1
print(refused)
"""


@pytest.mark.slow
@pytest.mark.parametrize("call", ["acquire", "connect"])
def test_without_a_thread_nothing_is_leased(server: Any, face: str, call: str) -> None:
    with WanPortPool(server.url, namespace="test", rest=0) as pool:
        pool.define_wan(0, "25570-25609", cooldown=0)
        command = [sys.executable, "-c", PROGRAM, server.url, face, call]
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
        assert (done.stdout, done.stderr) == ("30\n", "")
        assert pool.snapshot(0).leased == 0


def test_trio_is_told_what_is_supported(server: Any) -> None:
    """Any other driver of coroutines, too: there is no asyncio loop."""
    pool = AsyncWanPortPool(server.url, namespace="test")
    with pytest.raises(WanpoolError, match=r"no asyncio loop is running here.*trio"):
        pool.wans().send(None)
    pool._engine.close()
