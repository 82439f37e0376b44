"""Three shards beside one server, in turn, for the same processes."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from typing import Any

from bench.results import Row, Size
from bench.servers import private_cluster, private_server
from redis_wanpool import WanPortPool

PART = "Shards"
WANS, PORTS = 12, 100
PROCESSES = 4
ROUNDS = 7
START_IN = 0.05


def measure(size: Size) -> Iterator[Row]:
    """Pairs a second, of all processes together, over many WANs."""
    context = multiprocessing.get_context("spawn")
    with private_server() as single, private_cluster(1) as one, private_cluster(3) as three:
        urls = {"server": single.url, "one": one, "three": three}
        for url in urls.values():
            with WanPortPool(url, rest=0) as pool:
                for wan_idx in range(WANS):
                    pool.define_wan(
                        wan_idx, f"{1024 + PORTS * wan_idx}-{1023 + PORTS * (wan_idx + 1)}", cooldown=0, fresh=True
                    )
        links, workers = [], []
        for number in range(PROCESSES):
            here, there = context.Pipe()
            workers.append(context.Process(target=_work, args=(there, urls, number), daemon=True))
            workers[-1].start()
            links.append(here)
        try:
            for link in links:
                link.recv()
            found: dict[str, list[float]] = {}
            for _ in range(min(size.rounds, ROUNDS)):
                for name in urls:
                    found.setdefault(name, []).append(_pairs_a_second(links, name, size.seconds))
        finally:
            for link in links:
                link.close()
            for worker in workers:
                worker.join(10)
                worker.kill()
    what = f"{PROCESSES} processes, {WANS} WANs, {os.cpu_count()} CPUs for all"
    yield Row.of(PART, f"{what}: 3 shards", "pairs/s", found["three"], "a cluster of 1 shard", found["one"])
    yield Row.of(
        PART, f"{what}: a cluster of 1 shard", "pairs/s", found["one"], "a server (unix socket)", found["server"]
    )


def _pairs_a_second(links: list[Any], name: str, seconds: float) -> float:
    begins = time.monotonic() + START_IN
    for link in links:
        link.send((name, begins, begins + seconds))
    return float(sum(link.recv() for link in links)) / seconds


def _work(link: Any, urls: dict[str, str], number: int) -> None:
    pools = {name: WanPortPool(url, rest=0) for name, url in urls.items()}
    for pool in pools.values():
        for wan_idx in range(WANS):
            pool.acquire(wan_idx).release()
    link.send("ready")
    while True:
        try:
            name, begins, ends = link.recv()
        except EOFError:
            break
        while time.monotonic() < begins:
            time.sleep(0.001)
        done = 0
        while time.monotonic() < ends:
            pools[name].acquire((number + done) % WANS).release()
            done += 1
        link.send(done)
    for pool in pools.values():
        pool.close()
