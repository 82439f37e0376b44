"""Networks that are cut between clients, primary, replicas and Sentinels: on both sides somebody goes on."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from crowd import Crowd
from namespaces import inside, ip
from nodes import Place
from private_server import SERVERS
from sentinels import DETECTION, LAG, Watch
from waiting import wait_for

from redis_wanpool import WanPortPool
from redis_wanpool.system.clock import boottime

CUTS, PORTS, TTL, MARGIN = 3, 20, 15.0, 4.0
assert MARGIN >= LAG + 2 - DETECTION + 1 and TTL * 2 / 3 >= LAG + 2, "what docs/safety.md asks for"


class Net:
    """Three places joined by a bridge."""

    def __init__(self) -> None:
        self.places: list[Place] = []
        self._made: list[str] = []
        self.switch = self._namespace("switch")
        ip(self.switch, "link add br0 type bridge\n link set br0 up")
        for number in range(3):
            name = self._namespace(f"place{number}")
            host = f"10.78.0.{number + 1}"
            ip(self.switch, f"link add to{number} type veth peer name eth0 netns {name}")
            ip(self.switch, f"link set to{number} master br0 up")
            ip(name, f"addr add {host}/24 dev eth0\n link set eth0 up")
            self.places.append(Place(host, ("ip", "netns", "exec", name)))

    def _namespace(self, what: str) -> str:
        name = f"wanpool-cut-{what}-{id(self) % 100_000}"
        subprocess.run(["ip", "netns", "add", name], check=True)
        self._made.append(name)
        ip(name, "link set lo up")
        return name

    def cut(self, place: Place) -> None:
        """From now on nothing of it reaches the others."""
        inside(self.switch, "ip", "link", "set", f"to{self.places.index(place)}", "down")

    def join(self, place: Place) -> None:
        inside(self.switch, "ip", "link", "set", f"to{self.places.index(place)}", "up")

    def close(self) -> None:
        for name in self._made:
            subprocess.run(["ip", "netns", "del", name], check=False)


@pytest.fixture
def net() -> Iterator[Net]:
    net = Net()
    yield net
    net.close()


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
