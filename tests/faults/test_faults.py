"""Real processes on a real server, killed, stopped, cut off: one holder a port, and every port comes back."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chance import LONG, SEED
from history import read, violations
from invariant import check_invariant
from private_server import SERVERS, start_server
from waiting import wait_for
from worker import COOLDOWN, REST, TTL

from redis_wanpool import WanPortPool
from redis_wanpool.system.clock import boottime

SECONDS = max(5.0, 8 * LONG)
WORKERS, PORTS = 9, 8
MARGIN = 0.2
STRIKES = ("kill", "stop", "cut", "flush", "restart")
DURABLE = ("--appendonly", "yes", "--appendfsync", "everysec")


class Storm:
    """Workers, and what happens to them."""

    def __init__(self, server: Any, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.random = random.Random(SEED)
        self.first = self.random.sample(STRIKES, len(STRIKES))
        self.happened: Counter[str] = Counter()
        self.workers: list[subprocess.Popen[bytes]] = []
        self.stopped: dict[int, float] = {}
        """which workers are stopped, and until when"""
        for _ in range(WORKERS):
            self.workers.append(self.new_worker())

    def new_worker(self) -> subprocess.Popen[bytes]:
        self.happened["workers"] += 1
        number = self.happened["workers"]
        arguments = [
            *(self.server.url, f"network-{number % 3}", ("sync", "aio")[number % 2]),
            *(str(self.folder / f"w{number:04}.history"), str(SEED + number)),
        ]
        with (self.folder / "errors").open("ab") as errors:
            return subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("worker.py")), *arguments], stderr=errors
            )

    def go_on(self, now: float) -> None:
        for index, until in list(self.stopped.items()):
            if now > until:
                self.workers[index].send_signal(signal.SIGCONT)
                del self.stopped[index]

    def strike(self, now: float) -> None:
        what = self.first.pop() if self.first else self.random.choices(STRIKES, [5, 5, 3, 2, 2])[0]
        self.happened[what] += 1
        index = self.random.randrange(WORKERS)
        if what == "kill":
            self.stopped.pop(index, None)
            self.workers[index].kill()
            self.workers[index].wait()
            self.workers[index] = self.new_worker()
        elif what == "stop" and index not in self.stopped:
            self.workers[index].send_signal(signal.SIGSTOP)
            self.stopped[index] = now + self.random.uniform(1.1, 1.6) * TTL
        elif what == "cut":
            self.server.cut()
        elif what == "flush":
            self.server.admin.script_flush()
        elif what == "restart":
            self.server.restart(*DURABLE)

    def end(self) -> None:
        for worker in self.workers:
            worker.kill()
        for worker in self.workers:
            worker.wait()


@pytest.fixture(params=SERVERS[:1])
def durable(request: Any, tmp_path: Path) -> Iterator[Any]:
    server = start_server(request.param, tmp_path, *DURABLE)
    yield server
    server.close()


def was_one(folder: Path) -> bool:
    """Whether the ports were used, and went through several hands, so that the storm proves something."""
    holds = read(folder)
    hands = {(hold.port, hold.network) for hold in holds}
    return sum(hold.uses for hold in holds) > 100 and len(hands) > PORTS


@pytest.mark.long
@pytest.mark.timeout(120 + 2 * SECONDS)
def test_in_a_storm_each_port_has_one_holder_and_all_come_back(durable: Any, tmp_path: Path) -> None:
    with WanPortPool(durable.url, namespace="test", network="judge", rest=0) as pool:
        pool.define_wan(0, f"20000-{20000 + PORTS - 1}", cooldown=COOLDOWN, lease_ttl=TTL, failover_margin=MARGIN)
        storm = Storm(durable, tmp_path)
        try:
            wait_for(lambda: len({hold.worker for hold in read(tmp_path)}) >= WORKERS // 2, within=60)
            end, patience = boottime() + SECONDS, boottime() + 60
            strike_at = boottime()
            while (now := boottime()) < end or (now < patience and not was_one(tmp_path)):
                storm.go_on(now)
                if now >= strike_at:
                    storm.strike(now)
                    strike_at = now + storm.random.uniform(0.1, 0.5)
                signal.sigtimedwait([], 0.02)
        finally:
            storm.end()
        back_after = 0.0
        pool.open(0)  # the first use after a restart, of which there may have been none, begins the grace
        died = seen = pool.snapshot(0)
        while seen.leased:
            back_after = (seen.now_ms - died.now_ms) / 1000
            assert back_after < max(TTL, died.grace_ms / 1000) + 1, "by the server's time, which is that of the promise"
            seen = pool.snapshot(0)
        wait_for(lambda: pool.snapshot(0).free == PORTS)
    holds = read(tmp_path)
    uses = sum(hold.uses for hold in holds)
    print(
        f"seed {SEED}: {len(holds)} holds, {uses} uses, {dict(storm.happened)}, ends {Counter(h.how for h in holds)}; "
        f"the last ports were on their way back after {back_after:.2f} s (ttl {TTL:g} s)"
    )
    assert "Traceback" not in (tmp_path / "errors").read_text(), (tmp_path / "errors").read_text()
    assert violations(holds, REST, COOLDOWN) == []
    assert was_one(tmp_path)
    assert all(storm.happened[what] for what in STRIKES)
    check_invariant(durable.admin)
