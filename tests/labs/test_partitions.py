"""Networks that are cut between clients, primary, replicas and Sentinels: on both sides somebody goes on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import SEED, SERVERS, wait_for
from namespaces import inside, ip
from sentinels import DETECTION, LAG, Place, Watch

from redis_wanpool import WanPortPool
from redis_wanpool.clock import boottime

FAULTS = Path(__file__).parents[1] / "faults"
sys.path.append(str(FAULTS))
from history import read, violations  # noqa: E402
from test_sentinel import STAY  # noqa: E402

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


class Crowd:
    """In each place one that holds a port as long as it can, and one that comes and goes."""

    def __init__(self, url: str, folder: Path, places: list[Place]) -> None:
        self.folder, self.url = folder, url
        self._errors = (folder / "errors").open("wb")
        self._processes: list[subprocess.Popen[bytes]] = []
        self._count = 0
        for number, place in enumerate(places):
            self.stay(place)
            history = str(folder / f"take-{number}.history")
            face = ("sync", "aio")[number % 2]
            self._start(place, str(FAULTS / "worker.py"), url, f"taker-{number}", face, history, str(SEED + number))

    def stay(self, place: Place) -> None:
        """Has another one hold a port there."""
        self._count += 1
        history = self.folder / f"stay-{place.host}-{self._count}.history"
        self._start(place, "-c", STAY, str(FAULTS), self.url, str(history))

    def _start(self, place: Place, *arguments: str) -> None:
        self._processes.append(subprocess.Popen([*place.prefix, sys.executable, *arguments], stderr=self._errors))

    def written(self, what: str) -> int:
        return sum(path.stat().st_size for path in self.folder.glob(f"{what}.history"))

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self._errors.close()


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
    folder = tmp_path / "crowd"
    folder.mkdir()
    crowd = Crowd(watch.url, folder, net.places)
    yield crowd
    crowd.close()


@pytest.mark.timeout(600)
def test_a_primary_that_is_cut_off_with_its_clients_grants_nothing_twice(net: Net, watch: Watch, crowd: Crowd) -> None:
    wait_for(lambda: all(crowd.written(f"stay-{place.host}-*") for place in net.places), within=60)
    split, took = [], []
    for _ in range(CUTS):
        old = watch.primary()
        cut_off = net.places.index(old.place)
        others = next(number for number in range(3) if number != cut_off)
        net.cut(old.place)
        cut_at = boottime()
        before = crowd.written(f"take-{cut_off}")
        watch.wait_for_another(old, others)
        assert crowd.written(f"take-{cut_off}") > before, "the old primary goes on granting to those beside it"
        split.append(boottime() - cut_at)
        taken = crowd.written(f"take-{others}")
        wait_for(lambda others=others, taken=taken: crowd.written(f"take-{others}") > taken, within=120)
        took.append(boottime() - cut_at)
        net.join(old.place)
        watch.is_whole()
        crowd.stay(old.place)
    holds = read(crowd.folder)
    print(
        f"{CUTS} cuts: {len(holds)} holds, another primary after {max(split):.1f} s, new grants after "
        f"{max(took):.1f} s at most (grace {TTL + MARGIN:g} s)"
    )
    errors = (crowd.folder / "errors").read_text()
    wrong = [line for line in violations(holds, 0, 0) if "two holders" in line or "fence" in line]
    assert wrong == [], errors
    assert len(holds) > 100
