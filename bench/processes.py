"""Many processes of one machine: the pool beside a file with a lock, in turn."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.filelock import JsonFilePool
from bench.results import Row, Size
from bench.servers import private_server
from redis_wanpool import WanPortPool

PART = "Processes of one machine"
PORTS = range(20_000, 22_000)
ROUNDS_OF_FULL = 7
START_IN = 0.05


def measure(size: Size) -> Iterator[Row]:
    """Pairs a second of all processes together."""
    context = multiprocessing.get_context("spawn")
    with private_server() as server, tempfile.TemporaryDirectory(prefix="wanpool-bench-") as folder:
        with WanPortPool(server.url, rest=0) as pool:
            pool.define_wan(0, f"{PORTS[0]}-{PORTS[-1]}", cooldown=0, fresh=True)
        workers = []
        for _ in range(max(size.processes)):
            here, there = context.Pipe()
            process = context.Process(target=_work, args=(there, server.url, Path(folder) / "ports.json"), daemon=True)
            process.start()
            workers.append((process, here))
        try:
            for _, link in workers:
                link.recv()
            yield from _in_turn([link for _, link in workers], size)
        finally:
            for _, link in workers:
                link.close()
            for process, _ in workers:
                process.join(10)
                process.kill()


def _in_turn(links: Sequence[Any], size: Size) -> Iterator[Row]:
    found: dict[tuple[str, int], list[float]] = {}
    for _ in range(min(size.rounds, ROUNDS_OF_FULL)):
        for count in size.processes:
            for design in ("pool", "file"):
                found.setdefault((design, count), []).append(_pairs_a_second(links[:count], design, size.seconds))
    for count in size.processes:
        yield Row.of(
            PART,
            f"{count} process{'es' if count > 1 else ''}, all together",
            "pairs/s",
            found["pool", count],
            "a JSON file and a file lock, never synced",
            found["file", count],
        )


def _pairs_a_second(links: Sequence[Any], design: str, seconds: float) -> float:
    begins = time.monotonic() + START_IN
    for link in links:
        link.send((design, begins, begins + seconds))
    done: list[int] = [link.recv() for link in links]
    return sum(done) / seconds


def _work(link: Any, url: str, path: Path) -> None:
    """A process: does pairs from one moment to another, as often as it is told."""
    file = JsonFilePool(path, PORTS)
    with WanPortPool(url, rest=0) as pool:
        pool.acquire(0).release()
        pairs: dict[str, Callable[[], object]] = {
            "pool": lambda: pool.acquire(0).release(),
            "file": lambda: file.release(file.acquire()),
        }
        link.send("ready")
        while True:
            try:
                design, begins, ends = link.recv()
            except EOFError:
                return
            link.send(_count(pairs[design], begins, ends))


def _count(pair: Callable[[], object], begins: float, ends: float) -> int:
    while time.monotonic() < begins:
        time.sleep(0.001)
    done = 0
    while time.monotonic() < ends:
        pair()
        done += 1
    return done
