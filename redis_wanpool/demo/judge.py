"""The judge of the demo: a TCP server that records who connected from which port, and finds errors."""

import asyncio
import json
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from redis_wanpool.errors import InvalidValue


@dataclass(slots=True)
class Visit:
    """One connection: what the worker claims, what the judge saw, and from when to when (its own clock)."""

    wan_idx: int
    port: int
    seen_port: int
    lease_id: str
    fence: int
    network: str
    pid: int
    accepted: float
    ended: float | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The errors that were found, a sentence each."""

    double: list[str]
    fence: list[str]
    wrong_port: list[str]
    shortest_change: float | None
    """the shortest time between one network's connection from a port and the next network's"""

    @property
    def guilty(self) -> bool:
        return bool(self.double or self.fence or self.wrong_port)


def verdict(visits: Iterable[Visit]) -> Verdict:
    """Judges by the connections alone; Redis is not asked."""
    by_port: dict[int, list[Visit]] = {}
    wrong = []
    for visit in visits:
        by_port.setdefault(visit.seen_port, []).append(visit)
        if visit.port != visit.seen_port:
            wrong.append(f"port {visit.port} was leased, and {visit.seen_port} seen (process {visit.pid})")
    double, fence, changes = [], [], []
    for port, visits_of_port in by_port.items():
        visits_of_port.sort(key=lambda visit: visit.accepted)
        longest = visits_of_port[0]
        for before, after in pairwise(visits_of_port):
            if _end(before) > _end(longest):
                longest = before
            if after.accepted < _end(longest) and after.lease_id != longest.lease_id:
                double.append(f"port {port}: processes {longest.pid} and {after.pid} at the same time")
            if after.fence <= before.fence and after.lease_id != before.lease_id:
                fence.append(f"port {port}: fence {before.fence} was followed by {after.fence}")
            if after.network != before.network and before.ended is not None:
                changes.append(after.accepted - before.ended)
    return Verdict(double, fence, wrong, min(changes, default=None))


def _end(visit: Visit) -> float:
    return float("inf") if visit.ended is None else visit.ended


class Judge:
    """The server, in its own thread."""

    def __init__(self) -> None:
        self.visits: list[Visit] = []
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._stopped: asyncio.Event | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)
        self._listening = threading.Event()
        self._thread.start()
        self._listening.wait(10)

    def pids(self) -> set[int]:
        """The processes that have a connection now."""
        return {visit.pid for visit in list(self.visits) if visit.ended is None}

    def close(self) -> None:
        """Ends the server, after every connection has ended."""
        if self._stopped is not None:
            self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self) -> None:
        self._stopped = asyncio.Event()
        server = await asyncio.start_server(self._visit, "127.0.0.1", 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()
        await self._stopped.wait()
        server.close()
        if self._open:
            await asyncio.wait(self._open, timeout=5)

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted = time.monotonic()
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        visit: Visit | None = None
        try:
            seen_port = writer.get_extra_info("peername")[1]
            claim = json.loads(await reader.readline())
            visit = Visit(**claim, seen_port=seen_port, accepted=accepted, ended=None)
            self.visits.append(visit)
            writer.write(json.dumps({"seen_port": seen_port}).encode() + b"\n")
            await reader.read()  # until it closes, or dies
        except (OSError, ValueError):
            pass  # a killed worker's connection may be reset at any point; what was claimed before counts
        finally:
            if visit is not None:
                visit.ended = time.monotonic()
            self._open.discard(task)
            writer.close()


def write_log(path: Path, visits: Iterable[Visit]) -> None:
    """Writes the visits, one JSON object a line."""
    path.write_text("".join(json.dumps(asdict(visit)) + "\n" for visit in visits), encoding="utf-8")


def read_log(path: Path) -> list[Visit]:
    """Reads what `write_log` wrote; raises InvalidValue for another file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [Visit(**_object(line)) for line in lines]
    except (OSError, ValueError, TypeError) as error:
        raise InvalidValue(f"{path}: not a log of the demo: {error}") from None


def _object(line: str) -> dict[str, Any]:
    found = json.loads(line)
    if not isinstance(found, dict):
        raise ValueError(f"not an object: {line[:40]}")
    return found
