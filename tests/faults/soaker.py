"""One process of the soak: `soaker.py URL NETWORK FACE FOLDER NAME SEED PORTS [defines]`. It ends when it is killed.

Several of its threads, or tasks that are cancelled, take ports in all ways that there are, use them and give them back,
and write down what they know. At PORTS of this machine servers listen that close when they have read a line.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from worker import Diary

from redis_wanpool import ANY, AsyncWanPortPool, LeaseLost, WanpoolError, WanPortPool

REST, COOLDOWN, TTL, MARGIN = 0.05, 0.4, 2.0, 0.3
WANS = {0: "23950-23957", 1: "23958-23965"}
RULES: dict[str, Any] = dict(cooldown=COOLDOWN, quarantine=1.0, lease_ttl=TTL, failover_margin=MARGIN)
SIDE_BY_SIDE = 4
MOST_AT_ONCE = 3
KINDS = ("one", "any", "many", "plain", "connect")
BETWEEN = 0.01  #: seconds
PORTS: list[int] = []


class Shelf:
    """The diaries of one thread or task: one for each lease that it holds at once."""

    def __init__(self, folder: Path, name: str) -> None:
        self._all = [Diary(folder / f"{name}-{index}.history") for index in range(MOST_AT_ONCE)]

    def begin(self, leases: list[Any], network: str) -> list[tuple[Any, Diary]]:
        held = list(zip(leases, self._all, strict=False))
        for lease, diary in held:
            diary.note("hold", lease.port, lease.fence, network)
        return held


def choices(chance: random.Random) -> dict[str, Any]:
    """What to ask for next."""
    kind = chance.choice(KINDS)
    return {
        "kind": kind,
        "wan": ANY if kind == "any" else chance.randrange(len(WANS)),
        "count": chance.randrange(1, MOST_AT_ONCE + 1) if kind == "many" else 1,
        "uses": chance.randrange(1, 25),
        "to": ("127.0.0.1", chance.choice(PORTS)),
    }


def use(held: list[tuple[Any, Diary]]) -> None:
    for lease, diary in held:
        diary.use(lease)


@contextlib.contextmanager
def noted(held: list[tuple[Any, Diary]]) -> Iterator[None]:
    """Notes how a use of leases ended."""
    how = "ended"
    try:
        yield
    except LeaseLost:
        how = "lost"
    except OSError:
        how = "disconnected"
    finally:
        for _, diary in held:
            diary.note(how)


def lease_and_use(pool: WanPortPool, shelf: Shelf, wanted: dict[str, Any]) -> None:
    wan, kind = wanted["wan"], wanted["kind"]
    if kind == "connect":
        with pool.connect(wan, wanted["to"], wait=0.5, timeout=2, close_on_loss=True) as sock:
            held = shelf.begin([sock.lease], pool.network)
            with noted(held):
                for _ in range(wanted["uses"]):
                    use(held)
                    time.sleep(BETWEEN)
                sock.sendall(b"good-bye\n")
                while sock.recv(100):
                    pass
        return
    if kind == "many":
        leases = pool.acquire_many(wan, wanted["count"], at_least=1, wait=0.5, reuse_address=True)
    else:
        leases = [pool.acquire(wan, wait=0.5, reuse_address=kind != "plain")]
    held = shelf.begin(leases, pool.network)
    with contextlib.ExitStack() as ends, noted(held):
        for lease in leases:
            ends.callback(lease.release)
        for _ in range(wanted["uses"]):
            use(held)
            time.sleep(BETWEEN)


def in_threads(pool: WanPortPool, folder: Path, name: str, chance: random.Random) -> None:
    def work(index: int, own: random.Random) -> None:
        shelf = Shelf(folder, f"{name}.{index}")
        while True:
            try:
                lease_and_use(pool, shelf, choices(own))
            except (WanpoolError, OSError):
                time.sleep(2 * BETWEEN)

    for index in range(SIDE_BY_SIDE):
        threading.Thread(target=work, args=(index, random.Random(chance.random())), daemon=True).start()


@contextlib.asynccontextmanager
async def connected(pool: AsyncWanPortPool, wanted: dict[str, Any]) -> AsyncIterator[Any]:
    reader, writer = await pool.connect(wanted["wan"], wanted["to"], wait=0.5, timeout=2, close_on_loss=True)
    try:
        yield reader, writer
    finally:
        writer.close()


async def lease_and_use_async(pool: AsyncWanPortPool, shelf: Shelf, wanted: dict[str, Any]) -> None:
    wan, kind = wanted["wan"], wanted["kind"]
    if kind == "connect":
        async with connected(pool, wanted) as (reader, writer):
            held = shelf.begin([writer.lease], pool.network)
            with noted(held):
                for _ in range(wanted["uses"]):
                    use(held)
                    await asyncio.sleep(BETWEEN)
                writer.write(b"good-bye\n")
                await reader.read()
        return
    if kind == "many":
        leases = await pool.acquire_many(wan, wanted["count"], at_least=1, wait=0.5, reuse_address=True)
    else:
        leases = [await pool.acquire(wan, wait=0.5, reuse_address=kind != "plain")]
    held = shelf.begin(leases, pool.network)
    async with contextlib.AsyncExitStack() as ends:
        for lease in leases:
            ends.push_async_callback(lease.release)
        with noted(held):
            for _ in range(wanted["uses"]):
                use(held)
                await asyncio.sleep(BETWEEN)


async def in_tasks(pool: AsyncWanPortPool, folder: Path, name: str, chance: random.Random) -> None:
    async def work(index: int) -> None:
        shelf = Shelf(folder, f"{name}.{index}")
        while True:
            task = asyncio.create_task(lease_and_use_async(pool, shelf, choices(chance)))
            await asyncio.wait([task], timeout=chance.choice([0.002, 0.05, None, None, None]))
            task.cancel()  # in the middle of it, unless it has ended
            try:
                await task
            except asyncio.CancelledError:
                pass
            except (WanpoolError, OSError):
                await asyncio.sleep(2 * BETWEEN)

    async with asyncio.TaskGroup() as group:
        for index in range(SIDE_BY_SIDE):
            group.create_task(work(index))


def define(url: str) -> None:
    """As a program whose wanpool.toml has the WANs does when it starts."""
    with WanPortPool(url, namespace="test", network="definer", connect_timeout=0.5, reap=False) as pool:
        for wan_idx, ports in WANS.items():
            pool.define_wan(wan_idx, ports, **RULES)


def define_again_and_again(url: str) -> None:
    while True:
        with contextlib.suppress(WanpoolError):
            define(url)
        time.sleep(0.2)


def main() -> None:
    url, network, face, folder, name, seed, ports, *defines = sys.argv[1:]
    PORTS.extend(map(int, ports.split(",")))
    settings: dict[str, Any] = dict(namespace="test", network=network, rest=REST, connect_timeout=0.5)
    chance = random.Random(int(seed))
    if defines:
        threading.Thread(target=define_again_and_again, args=(url,), daemon=True).start()
    if face == "aio":
        asyncio.run(in_tasks(AsyncWanPortPool(url, **settings), Path(folder), name, chance))
    else:
        in_threads(WanPortPool(url, **settings), Path(folder), name, chance)
        threading.Event().wait()


if __name__ == "__main__":
    main()
