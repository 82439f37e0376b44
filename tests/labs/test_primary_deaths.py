"""Failovers of a primary that Sentinels watch: leases live on, and nothing is granted twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from crowd import Crowd
from faces import Loop, make
from nodes import Place
from sentinels import DETECTION, SERVICE, Watch
from waiting import wait_for

from redis_wanpool import BackendUnavailable, InGrace, WanPortPool
from redis_wanpool.system.clock import boottime

TTL, MARGIN = 15.0, 2.0
DEATHS, STAYERS = 10, 4
TAKES_OVER = 12.0
"""seconds within which Sentinels agree on a new primary, on a machine that does other work besides"""


def test_a_lease_outlives_the_death_of_the_primary(watch: Watch, face: str, loop: Loop) -> None:
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


def test_who_waits_and_who_asks_follow_a_failover_by_command(watch: Watch, face: str, loop: Loop) -> None:
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


@pytest.fixture
def crowd(watch: Watch, tmp_path: Path) -> Iterator[Crowd]:
    with WanPortPool(watch.url, namespace="test", network="judge", rest=0) as pool:
        pool.define_wan(0, "20000-20019", cooldown=0.4, lease_ttl=TTL, failover_margin=MARGIN)
    crowd = Crowd(watch.url, tmp_path / "crowd", [Place()] * STAYERS)
    yield crowd
    crowd.close()


@pytest.mark.timeout(900)
def test_ten_deaths_of_the_primary_grant_nothing_twice(watch: Watch, crowd: Crowd) -> None:
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
    holds = crowd.holds()
    assert [stayer.poll() for stayer in crowd.stayers] == [None] * STAYERS, crowd.errors()
    stays = [hold for hold in holds if hold.worker.startswith("stay")]
    print(
        f"{DEATHS} deaths: {len(holds)} holds, new grants after {min(took):.1f} to {max(took):.1f} s (grace "
        f"{TTL + MARGIN:g} s, detection {DETECTION:g} s), {len({hold.port for hold in stays})} ports held throughout"
    )
    assert crowd.wrongs() == []
    assert len(stays) == STAYERS and all(hold.ended > died for hold in stays)
    assert max(took) < TAKES_OVER + TTL + MARGIN
