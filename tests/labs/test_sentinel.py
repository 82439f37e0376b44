"""Failovers of a primary that Sentinels watch: leases live on, and nothing is granted twice."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import SEED, wait_for
from faces import Loop, make
from sentinels import DETECTION, SERVICE, Watch, watch  # noqa: F401  # a fixture

from redis_wanpool import BackendUnavailable, InGrace, WanPortPool
from redis_wanpool.clock import boottime

sys.path.append(str(Path(__file__).parents[1] / "faults"))
from history import read, violations

TTL, MARGIN = 15.0, 2.0
DEATHS, STAYERS = 10, 4
TAKES_OVER = 12.0
"""seconds within which Sentinels agree on a new primary, on a machine that does other work besides"""
STAY = """
import sys, time
from pathlib import Path
sys.path[:0] = sys.argv[1:2]
from worker import Diary
from redis_wanpool import WanPortPool
_, _, url, path = sys.argv
diary = Diary(Path(path))
pool = WanPortPool(url, namespace="test", network=Path(path).stem, rest=0)
lease = pool.acquire(0, wait=60)
diary.note("hold", lease.port, lease.fence, pool.network)
while True:
    diary.use(lease)
    time.sleep(0.02)
"""
"""holds one port as long as it lives; an error ends it"""


def test_a_lease_outlives_the_death_of_the_primary(watch: Watch, face: str, loop: Loop) -> None:  # noqa: F811
    holder: Any = make(face, loop, watch.url, namespace="test", rest=0, network="here")
    other: Any = make(face, loop, watch.url, namespace="test", rest=0, network="there")
    holder.define_wan(0, "20000-20001", cooldown=0, lease_ttl=TTL, failover_margin=MARGIN)
    lease = holder.acquire(0)
    before = lease.expires_at
    died = boottime()
    watch.kill_primary()
    wait_for(lambda: lease.expires_at > before, within=30)
    with pytest.raises(InGrace):
        other.acquire(0)
    taken = other.acquire(0, wait=30)
    assert taken.port != lease.port and not lease.lost
    assert boottime() - died < TTL + MARGIN + 15
    lease.check()
    for pool in (holder, other):
        pool.close()


def test_who_waits_and_who_asks_follow_a_failover_by_command(watch: Watch, face: str, loop: Loop) -> None:  # noqa: F811
    pool: Any = make(face, loop, watch.url, namespace="test", rest=0)
    pool.define_wan(0, "20000", cooldown=0, on_failover="continue")
    lease = pool.acquire(0)
    before = watch.primary()
    watch.sentinels[0].admin.execute_command("SENTINEL", "FAILOVER", SERVICE)
    watch.wait_for_another(before)

    def renewed() -> bool:
        try:
            lease.renew()
        except BackendUnavailable:  # the Sentinels have not all heard of it
            return False
        return True

    wait_for(renewed, within=30)
    assert lease.release()
    assert pool.acquire(0, wait=10).port == 20000
    pool.close()


class Crowd:
    """Processes that hold a port across everything, and some that take and give back all the time."""

    def __init__(self, url: str, folder: Path) -> None:
        faults = Path(__file__).parents[1] / "faults"
        self.folder = folder
        self._errors = (folder / "errors").open("wb")
        self.stayers = [
            self._start("-c", STAY, str(faults), url, str(folder / f"stay-{number}.history"))
            for number in range(STAYERS)
        ]
        worker, faces = str(faults / "worker.py"), ("sync", "aio", "sync", "aio")
        self.takers = [
            self._start(
                worker, url, f"taker-{number}", face, str(folder / f"take-{number}.history"), str(SEED + number)
            )
            for number, face in enumerate(faces)
        ]

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, *arguments], stderr=self._errors, env=dict(os.environ))

    def is_at_work(self) -> bool:
        workers = {hold.worker for hold in read(self.folder) if hold.uses}
        return len(workers) == len(self.stayers) + len(self.takers)

    def errors(self) -> str:
        return (self.folder / "errors").read_text()

    def written(self) -> int:
        """How much the takers wrote down: if it grows a while after a death, they were granted something."""
        return sum(path.stat().st_size for path in self.folder.glob("take-*"))

    def close(self) -> None:
        for process in [*self.stayers, *self.takers]:
            process.kill()
            process.wait()
        self._errors.close()


@pytest.fixture
def crowd(watch: Watch, tmp_path: Path) -> Iterator[Crowd]:  # noqa: F811
    with WanPortPool(watch.url, namespace="test", network="judge", rest=0) as pool:
        pool.define_wan(0, "20000-20019", cooldown=0.4, lease_ttl=TTL, failover_margin=MARGIN)
    folder = tmp_path / "crowd"
    folder.mkdir()
    crowd = Crowd(watch.url, folder)
    yield crowd
    crowd.close()


@pytest.mark.timeout(900)
def test_ten_deaths_of_the_primary_grant_nothing_twice(watch: Watch, crowd: Crowd) -> None:  # noqa: F811
    wait_for(lambda: crowd.is_at_work() or crowd.errors(), within=60)
    assert crowd.is_at_work(), crowd.errors()
    took: list[float] = []
    for _ in range(DEATHS):
        primary, died = watch.primary(), boottime()
        primary.kill()
        watch.wait_for_another(primary)
        before = crowd.written()
        wait_for(lambda before=before: crowd.written() > before, within=120)
        took.append(boottime() - died)
        watch.revive(primary)
    holds = read(crowd.folder)
    assert [stayer.poll() for stayer in crowd.stayers] == [None] * STAYERS, crowd.errors()
    stays = [hold for hold in holds if hold.worker.startswith("stay")]
    print(
        f"{DEATHS} deaths: {len(holds)} holds, new grants after {min(took):.1f} to {max(took):.1f} s (grace "
        f"{TTL + MARGIN:g} s, detection {DETECTION:g} s), {len({hold.port for hold in stays})} ports held throughout"
    )
    assert [line for line in violations(holds, 0, 0) if "two holders" in line or "fence" in line] == []
    assert len(stays) == STAYERS and all(hold.ended > died for hold in stays)
    assert max(took) < TAKES_OVER + TTL + MARGIN
