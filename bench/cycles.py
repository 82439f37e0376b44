"""How much of a client's speed the pool keeps: acquire + release against two bare round trips, in turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import redis
import redis.asyncio

from bench.results import Row, Size
from bench.servers import private_server
from redis_wanpool import AsyncWanPortPool, WanPortPool

PART = "One client"
UNIT = "pairs/s"
BARE = "two bare EVALSHA of `return 1`"
GOAL = (">=", 0.85)


def measure(size: Size) -> Iterator[Row]:
    """Both faces."""
    with private_server() as server:
        with WanPortPool(server.url, rest=0) as pool:
            pool.define_wan(0, "20000-21999", cooldown=0, fresh=True)
        yield _blocking(server.url, size)
        yield asyncio.run(_awaiting(server.url, size))


def _blocking(url: str, size: Size) -> Row:
    bare: Any = redis.Redis.from_url(url)
    sha = bare.script_load("return 1")

    def two_trips() -> None:
        bare.execute_command("EVALSHA", sha, 0)
        bare.execute_command("EVALSHA", sha, 0)

    ours, theirs = [], []
    with WanPortPool(url, rest=0) as pool:
        pool.acquire(0).release()
        for _ in range(size.rounds):
            theirs.append(_a_second(two_trips, size.pairs))
            ours.append(_a_second(lambda: pool.acquire(0).release(), size.pairs))
    bare.close()
    return Row.of(PART, "pairs of one client, blocking face", UNIT, ours, BARE, theirs, GOAL)


def _a_second(work: Callable[[], object], times: int) -> float:
    begun = time.perf_counter()
    for _ in range(times):
        work()
    return times / (time.perf_counter() - begun)


async def _awaiting(url: str, size: Size) -> Row:
    bare: Any = redis.asyncio.Redis.from_url(url)
    sha = await bare.script_load("return 1")
    ours, theirs = [], []
    async with AsyncWanPortPool(url, rest=0) as pool:
        await (await pool.acquire(0)).release()
        for _ in range(size.rounds):
            begun = time.perf_counter()
            for _ in range(size.pairs):
                await bare.execute_command("EVALSHA", sha, 0)
                await bare.execute_command("EVALSHA", sha, 0)
            between = time.perf_counter()
            for _ in range(size.pairs):
                await (await pool.acquire(0)).release()
            theirs.append(size.pairs / (between - begun))
            ours.append(size.pairs / (time.perf_counter() - between))
    await bare.aclose()
    return Row.of(PART, "pairs of one client, asyncio face", UNIT, ours, BARE, theirs, GOAL)
