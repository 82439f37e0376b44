"""A cluster whose shards die, one after another, and whose slots move: leases live on, nothing is granted twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clusters import SHARDS, Shards
from crowd import Crowd
from nodes import Place
from waiting import wait_for

from redis_wanpool import WanPortPool
from redis_wanpool.protocol.keys import WanKeys
from redis_wanpool.system.clock import boottime

TTL, MARGIN, NODE_TIMEOUT = 8.0, 2.5, 1.5
assert MARGIN >= NODE_TIMEOUT / 2 + 1.5 and TTL * 2 / 3 >= NODE_TIMEOUT, "what docs/safety.md asks for"
DEATHS, MOVES = 10, 2
PATIENCE = 5.0
"""seconds that a taker may sleep between two questions, on a machine that does other work besides"""


@pytest.fixture(params=["valkey-9.1", "redis-8.2"])
def shards(request: Any, tmp_path: Path) -> Iterator[Shards]:
    shards = Shards(request.param, tmp_path / "cluster", replicas=1, node_timeout=NODE_TIMEOUT)
    yield shards
    shards.close()


def key_of(wan_idx: int) -> str:
    return WanKeys.of("test", wan_idx).declared[0]


@pytest.fixture
def wans(shards: Shards) -> list[int]:
    """One WAN on each shard, and another one that moves."""
    homes: dict[int, int] = {}
    for wan_idx in range(50):
        homes.setdefault(shards.primary_of(key_of(wan_idx)).port, wan_idx)
    moving = next(wan_idx for wan_idx in range(50) if wan_idx not in homes.values())
    return [*homes.values(), moving]


@pytest.fixture
def crowd(shards: Shards, wans: list[int], tmp_path: Path) -> Iterator[Crowd]:
    with WanPortPool(shards.url, namespace="test", network="judge", rest=0) as pool:
        for wan_idx in wans:
            ports = f"{20000 + 100 * wan_idx}-{20009 + 100 * wan_idx}"
            pool.define_wan(wan_idx, ports, cooldown=0.4, lease_ttl=TTL, failover_margin=MARGIN)
    crowd = Crowd(shards.url, tmp_path / "crowd", [Place()] * len(wans), wans)
    yield crowd
    crowd.close()


@pytest.mark.timeout(900)
def test_deaths_of_shards_and_moving_slots_grant_nothing_twice(shards: Shards, wans: list[int], crowd: Crowd) -> None:
    wait_for(lambda: crowd.is_at_work() or crowd.errors(), within=60)
    assert crowd.is_at_work(), crowd.errors()
    *fixed, moving = range(len(wans))
    since: list[tuple[str, int, float, float]] = []
    """what happened, to whose WAN, when, and when it was over"""
    over: dict[int, float] = {}

    def goes_on(taker: int) -> bool:
        return crowd.granted_at(taker) > over.get(taker, 0.0)

    for number in range(DEATHS):
        taker = fixed[number % SHARDS]
        wait_for(lambda taker=taker: goes_on(taker), within=60)
        primary, died = shards.primary_of(key_of(wans[taker])), boottime()
        primary.kill()
        shards.wait_for_another(key_of(wans[taker]), primary)
        over[taker] = boottime()
        since.append(("death", taker, died, over[taker]))
        primary.start()
        shards.is_whole()
    wait_for(lambda: all(map(goes_on, fixed)), within=60)
    for _ in range(MOVES):
        home, begun = shards.primary_of(key_of(wans[moving])), boottime()
        shards.move(key_of(wans[moving]), next(node for node in shards.primaries() if node is not home))
        over[moving] = boottime()
        since.append(("move", moving, begun, over[moving]))
        wait_for(lambda: goes_on(moving), within=60)
    holds = crowd.holds()
    took: dict[str, list[float]] = {"death": [], "move": []}
    for what, taker, begun, ended in since:
        first = min(hold.begun for hold in holds if hold.worker == f"take-{taker}" and hold.begun > ended)
        took[what].append(first - begun)
        assert first - ended < TTL + MARGIN + PATIENCE, (what, wans[taker])
    stays = [hold for hold in holds if hold.worker.startswith("stay")]
    print(
        f"{DEATHS} deaths of shards: a new primary after {max(ended - begun for _, _, begun, ended in since):.1f} s at "
        f"most, new grants after {min(took['death']):.1f} to {max(took['death']):.1f} s (grace {TTL + MARGIN:g} s); "
        f"{MOVES} moves of a slot: new grants after {max(took['move']):.1f} s; {len(holds)} holds, "
        f"{len(stays)} ports held throughout"
    )
    assert crowd.wrongs() == [], crowd.errors()
    assert [stayer.poll() for stayer in crowd.stayers] == [None] * len(wans), crowd.errors()
    assert len(stays) == len(wans) and all(hold.ended > since[-1][2] for hold in stays)
