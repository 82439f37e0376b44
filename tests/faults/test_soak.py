"""A soak: many programs that lease in all ways, through everything that happens to them and to their server."""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from chance import LONG, SEED
from history import read, violations
from invariant import check_invariant
from listening import listening
from private_server import SERVERS, start_server
from soaker import COOLDOWN, MARGIN, REST, TTL, WANS, define
from waiting import wait_for

from redis_wanpool import WanpoolError, WanPortPool
from redis_wanpool.system.clock import boottime

SECONDS = 60.0 if LONG < 10 else 600.0
PROCESSES, STEADY = 6, 2
"""how many there are, and how many of them are never killed, so that what they use can be compared over time"""
QUIET = TTL + MARGIN
"""seconds after which something may be granted again that a server may have forgotten"""
SERVERS_OF_OTHERS = 8
DURABLE = ("--appendonly", "yes", "--appendfsync", "everysec")
SPIN = "for i = 1, 30000000 do end"
"""a script that keeps a server busy for a few tenths of a second"""


def answer_and_close(visitor: socket.socket) -> None:
    """Reads a line, or to the end, and closes first."""
    visitor.settimeout(60)
    while (data := visitor.recv(1000)) and b"\n" not in data:
        pass


def used_by(process: subprocess.Popen[bytes]) -> tuple[int, int]:
    """How many descriptors a process has, and MiB of memory."""
    folder = Path(f"/proc/{process.pid}")
    fields = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    return len(list((folder / "fd").iterdir())), int(fields["VmRSS"].split()[0]) // 1024


def goes_wrong(what: Callable[..., object], *arguments: Any) -> bool:
    try:
        what(*arguments)
    except WanpoolError:
        return True
    return False


def left(admin: Any) -> list[str]:
    """What is there of leases."""
    return [
        name for name in admin.scan_iter("wanpool:{test:*") if name.rpartition("}:")[2].startswith(("lease:", "held:"))
    ]


class Soak:
    """The processes, and what happens to them and to their server."""

    def __init__(self, server: Any, folder: Path, ports: list[int]) -> None:
        self.server, self.folder = server, folder
        self.ports = ",".join(map(str, ports))
        self.random = random.Random(SEED)
        self.happened: Counter[str] = Counter()
        self.processes = [self.new_process(index) for index in range(PROCESSES)]
        self.strikes: dict[str, Callable[[], object]] = {
            "kill": self.kill,
            "pause": self.pause,
            "cut": server.cut,
            "restart": lambda: server.restart(*DURABLE),
            "freeze": self.freeze,
            "flush": server.admin.flushall,
            "empty": self.empty,
            "busy": self.busy,
        }

    def new_process(self, index: int) -> subprocess.Popen[bytes]:
        self.happened["processes"] += 1
        number = self.happened["processes"]
        words = [
            *(self.server.url, f"network-{index % 3}", ("sync", "aio")[index % 2], str(self.folder)),
            *(f"p{number:04}", str(SEED + number), self.ports, *(["defines"] if index == 0 else [])),
        ]
        with (self.folder / "errors").open("ab") as errors:
            command = [sys.executable, str(Path(__file__).with_name("soaker.py")), *words]
            return subprocess.Popen(command, stderr=errors)

    def strike(self) -> None:
        """Does what was not done yet, or anything."""
        new = [name for name in self.strikes if not self.happened[name]]
        name = self.random.choice(new or [*self.strikes, "kill", "pause", "cut"])
        self.happened[name] += 1
        self.strikes[name]()

    def kill(self) -> None:
        index = self.random.randrange(STEADY, PROCESSES)
        self.processes[index].kill()
        self.processes[index].wait()
        self.processes[index] = self.new_process(index)

    def pause(self) -> None:
        self._stopped(self.random.choice(self.processes), self.random.uniform(0.5, 2) * TTL)

    def freeze(self) -> None:
        self._stopped(self.server.process, self.random.uniform(0.2, 1.2) * TTL)

    def _stopped(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        process.send_signal(signal.SIGSTOP)
        threading.Timer(seconds, lambda: process.send_signal(signal.SIGCONT)).start()

    def empty(self) -> None:
        """The server dies, and its disk with it."""
        self.server.stop()
        shutil.rmtree(self.server.folder / "appendonlydir", ignore_errors=True)
        (self.server.folder / "appendonly.aof").unlink(missing_ok=True)
        self.server.start(*DURABLE)

    def busy(self) -> None:
        def spin() -> None:
            with contextlib.suppress(redis.RedisError):
                self.server.admin.eval(SPIN, 0)

        threading.Thread(target=spin).start()

    def end(self) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()


@pytest.fixture
def ports() -> Iterator[list[int]]:
    """Where servers of others listen."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(listening(answer_and_close))[1] for _ in range(SERVERS_OF_OTHERS)]


@pytest.fixture(params=SERVERS[:1])
def durable(request: Any, tmp_path: Path) -> Iterator[Any]:
    server = start_server(request.param, tmp_path, *DURABLE, "--lua-time-limit", "50")
    yield server
    server.close()


@pytest.mark.long
@pytest.mark.timeout(240 + 2 * SECONDS)
def test_nothing_is_held_twice_and_nothing_is_left(durable: Any, tmp_path: Path, ports: list[int]) -> None:
    soak = Soak(durable, tmp_path, ports)
    measured: list[list[tuple[int, int]]] = []
    try:
        wait_for(lambda: len({hold.worker[:5] for hold in read(tmp_path)}) == PROCESSES, within=60)
        end = strike_at = boottime()
        end += SECONDS
        while (now := boottime()) < end:
            if now >= strike_at:
                soak.strike()
                strike_at = now + soak.random.uniform(0.3, 3) * (QUIET if soak.random.random() < 0.3 else 0.5)
            if now > end - SECONDS * (2 / 3) and len(measured) < SECONDS / 3:
                measured.append([used_by(process) for process in soak.processes[:STEADY]])
            signal.sigtimedwait([], 0.2)
    finally:
        soak.end()
    durable.process.send_signal(signal.SIGCONT)
    wait_for(lambda: not goes_wrong(define, durable.url), within=60)
    with WanPortPool(durable.url, namespace="test", network="judge", rest=0) as pool:

        def is_settled() -> bool:
            for wan_idx in WANS:  # the next call settles what is due
                pool.acquire(wan_idx, wait=60).release(used=False)
            return not left(durable.admin) and all(seen.free == seen.total for seen in map(pool.snapshot, WANS))

        wait_for(is_settled, within=60)
    holds = read(tmp_path)
    print(
        f"seed {SEED}: {len(holds)} holds, {sum(hold.uses for hold in holds)} uses, {dict(soak.happened)}, "
        f"ends {Counter(hold.how for hold in holds)}, descriptors and MiB {measured[0]} to {measured[-1]}"
    )
    assert "Traceback" not in (tmp_path / "errors").read_text(), (tmp_path / "errors").read_text()
    assert violations(holds, REST, COOLDOWN) == []
    assert sum(hold.uses for hold in holds) > 20 * SECONDS and all(soak.happened[name] for name in soak.strikes)
    for early, late in zip(measured[0], measured[-1], strict=True):
        assert late[0] <= early[0] + 20 and late[1] <= 1.25 * early[1] + 8, measured
    check_invariant(durable.admin)
