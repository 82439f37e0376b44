"""How much of a client's speed the pool keeps: acquire + release against two bare round trips, in turn, in one run."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import redis
import redis.asyncio

from redis_wanpool import AsyncWanPortPool, WanPortPool, server

ROUNDS, CYCLES = 15, 300
NOTHING = "return 1"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        import os

        os.environ["WANPOOL_HOME"] = str(Path(folder) / "home")
        url = server.ensure()
        try:
            print(f"one client, {ROUNDS} rounds in turn of {CYCLES} cycles each, embedded server, unix socket")
            blocking(url)
            asyncio.run(awaiting(url))
        finally:
            server.stop()


def blocking(url: str) -> None:
    bare = redis.Redis.from_url(url)
    sha = bare.script_load(NOTHING)
    with WanPortPool(url, rest=0) as pool:
        pool.define_wan(0, "20000-21999", cooldown=0)

        def two_trips() -> None:
            bare.execute_command("EVALSHA", sha, 0)
            bare.execute_command("EVALSHA", sha, 0)

        def cycle() -> None:
            pool.acquire(0).release()

        ratios, speeds = [], []
        for _ in range(ROUNDS):
            floor, ours = _seconds(two_trips), _seconds(cycle)
            ratios.append(floor / ours)
            speeds.append(CYCLES / ours)
    _report("blocking", ratios, speeds)


def _seconds(function: object) -> float:
    begun = time.perf_counter()
    for _ in range(CYCLES):
        function()  # type: ignore[operator]
    return time.perf_counter() - begun


async def awaiting(url: str) -> None:
    bare = redis.asyncio.Redis.from_url(url)
    sha = await bare.script_load(NOTHING)
    ratios, speeds = [], []
    async with AsyncWanPortPool(url, rest=0) as pool:
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            for _ in range(CYCLES):
                await bare.execute_command("EVALSHA", sha, 0)
                await bare.execute_command("EVALSHA", sha, 0)
            between = time.perf_counter()
            for _ in range(CYCLES):
                await (await pool.acquire(0)).release()
            ended = time.perf_counter()
            ratios.append((between - begun) / (ended - between))
            speeds.append(CYCLES / (ended - between))
    await bare.aclose()
    _report("asyncio", ratios, speeds)


def _report(face: str, ratios: list[float], speeds: list[float]) -> None:
    print(
        f"{face:9} {statistics.median(speeds):6.0f} cycles/s; of two bare round trips: median "
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
