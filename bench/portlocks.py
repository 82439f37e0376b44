"""A general lock for each port, tried at random until one is free, beside the pool."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import redis

from bench.results import Row, Size
from bench.servers import private_server
from redis_wanpool import WanPortPool

PART = "A lock for each port instead"
PORTS = range(20_000, 20_200)
TTL = 60


def measure(size: Size) -> Iterator[Row]:
    """One client, with none and with nine in ten of 200 ports taken; nobody renews a lock, which is its best case."""
    logging.getLogger("redis_lock").setLevel(logging.ERROR)
    for share in (0.0, 0.9):
        with private_server() as server, WanPortPool(server.url, rest=0) as pool:
            pool.define_wan(0, f"{PORTS[0]}-{PORTS[-1]}", cooldown=0, fresh=True)
            client = redis.Redis.from_url(server.url)
            taken = round(share * len(PORTS))
            designs = _designs(client)
            if taken:
                pool.acquire_many(0, taken)
            for lock in designs.values():
                for port in PORTS[:taken]:
                    if not lock(port).acquire(blocking=False):
                        raise RuntimeError(f"port {port} is locked already")
            yield from _in_turn(pool, designs, size, f"one client, {share * 100:.0f} % of 200 ports taken")
            client.close()


def _designs(client: Any) -> dict[str, Callable[[int], Any]]:
    """What makes a lock for a port, by the name of the library."""
    designs: dict[str, Callable[[int], Any]] = {
        "redis-py Lock": lambda port: client.lock(f"redis-py:{port}", timeout=TTL, thread_local=False)
    }
    if other_version() is not None:
        other = import_module("redis_lock")
        designs["python-redis-lock"] = lambda port: other.Lock(client, f"other:{port}", expire=TTL)
    return designs


def other_version() -> str | None:
    """The version of python-redis-lock; None where the extra `bench` is not installed."""
    try:
        return version("python-redis-lock")
    except PackageNotFoundError:
        return None


def _in_turn(pool: WanPortPool, designs: dict[str, Callable[[int], Any]], size: Size, named: str) -> Iterator[Row]:
    works: dict[str, Callable[[], object]] = {"pool": lambda: pool.acquire(0).release()}
    works |= {name: partial(_pair, lock) for name, lock in designs.items()}
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(size.rounds):
        for name, work in works.items():
            begun = time.perf_counter()
            for _ in range(size.pairs // 2):
                work()
            found[name].append(size.pairs // 2 / (time.perf_counter() - begun))
    for name in designs:
        yield Row.of(PART, named, "pairs/s", found["pool"], name, found[name])


def _pair(lock: Callable[[int], Any]) -> None:
    for port in random.sample(PORTS, len(PORTS)):
        one = lock(port)
        if one.acquire(blocking=False):
            one.release()
            return
    raise RuntimeError("no port was free")
