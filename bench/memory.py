"""What a port takes of the server's memory."""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench import talk
from bench.results import Row, Size
from bench.servers import Server, private_server
from redis_wanpool import WanPortPool

PART = "Memory of the server"
STEADY = 1_000


def measure(size: Size) -> Iterator[Row]:
    """Bytes a port: never leased, leased, and free after it was leased once."""
    with private_server() as server, WanPortPool(server.url, rest=0) as pool:
        pool.define_wan(1, "1000", cooldown=0, fresh=True)
        pool.acquire(1).release()
        empty = _used(server)
        pool.define_wan(0, f"10000-{9_999 + size.ports}", cooldown=0, fresh=True)
        yield _row("free, never leased", _used(server) - empty, size)
        leases = talk.acquire(server.client, pool, 0, size.ports // 1_000, busy=False, count=1_000)
        yield _row("leased", _used(server) - empty, size)
        talk.lead(server.client, [pool._engine.protocol.release(leases)], busy=False)
        yield _row("free, leased before", _used(server) - empty, size)


def _used(server: Server) -> int:
    """The memory in use, once it is the same twice: hash tables grow in the background."""
    before, now = -1, _use(server)
    while abs(now - before) > STEADY:
        time.sleep(0.3)
        before, now = now, _use(server)
    return now


def _use(server: Server) -> int:
    """Without what connections and the log's buffer take, which is not the ports'."""
    seen = server.client.info("memory")
    return int(seen["used_memory"]) - int(seen["mem_clients_normal"]) - int(seen.get("mem_aof_buffer", 0))


def _row(what: str, used: int, size: Size) -> Row:
    return Row.of(PART, f"{what} ({size.ports:,} ports)", "bytes a port", [used / size.ports])
