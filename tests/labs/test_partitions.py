"""Networks that are cut between clients, primary, replicas and Sentinels: on both sides somebody goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from crowd import Crowd
from namespaces import inside, lan
from nodes import Place
from private_server import SERVERS
from sentinels import DETECTION, LAG, Watch
from waiting import wait_for

from redis_wanpool import WanPortPool
from redis_wanpool.system.clock import boottime

CUTS, PORTS, TTL, MARGIN = 3, 20, 15.0, 4.0
assert MARGIN >= LAG + 2 - DETECTION + 1 and TTL * 2 / 3 >= LAG + 2, "what docs/safety.md asks for"


class Net:
    """Three places joined by a switch."""

    def __init__(self, switch: str, places: list[Place]) -> None:
        self.switch, self.places = switch, places

    def cut(self, place: Place, state: str = "down") -> None:
        """From now on nothing of it reaches the others."""
        inside(self.switch, "ip", "link", "set", f"to{self.places.index(place)}", state)

    def join(self, place: Place) -> None:
        self.cut(place, "up")


@pytest.fixture
def net() -> Iterator[Net]:
    with lan(3) as made:
        yield Net(*made)


@pytest.fixture
def watch(net: Net, tmp_path: Path) -> Iterator[Watch]:
    watch = Watch(SERVERS[0], tmp_path, places=net.places)
    yield watch
    watch.close()


@pytest.fixture
def crowd(net: Net, watch: Watch, tmp_path: Path) -> Iterator[Crowd]:
    with WanPortPool(client=watch.primary().admin, namespace="test", network="judge", rest=0) as pool:
        pool.define_wan(0, f"20000-{20000 + PORTS - 1}", cooldown=0.4, lease_ttl=TTL, failover_margin=MARGIN)
    crowd = Crowd(watch.url, tmp_path / "crowd", net.places)
    yield crowd
    crowd.close()


@pytest.mark.timeout(600)
def test_a_primary_that_is_cut_off_with_its_clients_grants_nothing_twice(net: Net, watch: Watch, crowd: Crowd) -> None:
    wait_for(lambda: crowd.is_at_work() or crowd.errors(), within=60)
    assert crowd.is_at_work(), crowd.errors()
    split, took = [], []
    for _ in range(CUTS):
        old = watch.primary()
        cut_off = net.places.index(old.place)
        others = next(number for number in range(3) if number != cut_off)
        net.cut(old.place)
        cut_at = boottime()
        before = crowd.written(cut_off)
        watch.wait_for_another(old, others)
        assert crowd.written(cut_off) > before, "the old primary goes on granting to those beside it"
        split.append(boottime() - cut_at)
        taken = crowd.written(others)
        wait_for(lambda others=others, taken=taken: crowd.written(others) > taken, within=120)
        took.append(boottime() - cut_at)
        net.join(old.place)
        watch.is_whole()
        crowd.stay(old.place)
    holds = crowd.holds()
    print(
        f"{CUTS} cuts: {len(holds)} holds, another primary after {max(split):.1f} s, new grants after "
        f"{max(took):.1f} s at most (grace {TTL + MARGIN:g} s)"
    )
    assert crowd.wrongs() == [], crowd.errors()
    assert len(holds) > 100
