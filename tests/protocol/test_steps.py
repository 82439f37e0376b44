"""A server whose clock is stepped: no lease and no cool-down is shorter or longer for it, and service goes on."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from faces import maker
from holds import Hold, check_no_overlap, hold, shifted, use
from invariant import check_invariant
from private_server import SERVERS, Server
from waiting import wait_for

from redis_wanpool import LeaseLost, PoolExhausted, WanpoolError, WanPortPool
from redis_wanpool.system.clock import boottime

PREFIX = "wanpool:{test:0}:"
HOUR = 3600.0
STEPS = [HOUR, 10.0, -10.0, -HOUR]


class Stepped(Server):
    """A server whose wall clock jumps when told to."""

    def __init__(self, name: str, folder: Path) -> None:
        self._offset, self._offset_file = 0.0, folder / "offset"
        self._write()
        super().__init__(name, folder)

    def start(self, *options: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            settings = {"FAKETIME_TIMESTAMP_FILE": str(self._offset_file), "FAKETIME_NO_CACHE": "1"}
            for name, value in shifted(**settings).items():
                patch.setenv(name, value)
            super().start(*options)

    def step(self, seconds: float) -> None:
        before = self.admin.time()[0] - time.time()
        self._offset += seconds
        self._write()
        wait_for(lambda: abs(self.admin.time()[0] - time.time() - before - seconds) < 5)

    def _write(self) -> None:
        part = self._offset_file.with_suffix(".part")
        part.write_text(f"{self._offset:+.0f}\n", encoding="ascii")
        part.replace(self._offset_file)


@pytest.fixture(params=SERVERS[:1])
def stepped(request: Any, tmp_path: Path) -> Iterator[Stepped]:
    server = Stepped(request.param, tmp_path)
    yield server
    check_invariant(server.admin)
    server.stop(signal.SIGTERM)  # the shim clears up behind itself
    server.close()


@pytest.fixture
def pool_of(stepped: Stepped, loop: Any) -> Iterator[Callable[..., WanPortPool]]:
    """Makes a pool object of a network."""
    with maker("sync", loop, stepped.url) as new:
        yield lambda network: new(network=network)


PoolOf = Callable[[str], WanPortPool]
each_step = pytest.mark.parametrize("seconds", STEPS)


class TestStep:
    """The server's wall clock jumps, as when its time service wakes up: the time of a WAN goes on evenly."""

    @each_step
    def test_a_lease_outlasts_it(self, stepped: Stepped, pool_of: PoolOf, seconds: float) -> None:
        holder, other = pool_of("here"), pool_of("there")
        holder.define_wan(0, "20000", cooldown=0, lease_ttl=8)
        lease = holder.acquire(0)
        with pytest.raises(PoolExhausted):
            other.acquire(0)
        stepped.step(seconds)
        with pytest.raises(PoolExhausted):
            other.acquire(0)
        lease.renew()
        lease.check()
        assert 0 < lease.remaining() <= 8
        assert stepped.admin.hget(f"{PREFIX}lease:20000", "lease_id") == lease.lease_id
        assert 0 < stepped.admin.pttl(f"{PREFIX}lease:20000") <= 8_000
        assert lease.release() is True
        assert other.acquire(0, wait=20).port == 20000

    @each_step
    def test_who_comes_first_after_it_and_was_never_there_gets_no_leased_port(
        self, stepped: Stepped, pool_of: PoolOf, seconds: float
    ) -> None:
        holder = pool_of("here")
        holder.define_wan(0, "20000", cooldown=0, lease_ttl=8)
        lease = holder.acquire(0)
        stepped.step(seconds)
        with pytest.raises(PoolExhausted):
            pool_of("there").acquire(0)
        lease.renew()
        lease.check()

    @each_step
    def test_a_cool_down_is_as_long_as_ever(self, stepped: Stepped, pool_of: PoolOf, seconds: float) -> None:
        before, after = pool_of("here"), pool_of("there")
        before.define_wan(0, "20000", cooldown=8)
        with pytest.raises(PoolExhausted):
            after.acquire_many(0, 2)
        assert before.acquire(0).release() is True
        stepped.step(seconds)
        with pytest.raises(PoolExhausted) as caught:
            after.acquire(0)
        assert caught.value.free_in is not None and 0 < caught.value.free_in <= 8
        assert after.snapshot(0).cooling == 1

    @each_step
    def test_a_dead_holders_port_comes_back_no_earlier_and_no_later(
        self, stepped: Stepped, pool_of: PoolOf, seconds: float
    ) -> None:
        dead, heir = pool_of("here"), pool_of("there")
        heir.define_wan(0, "20000", cooldown=0)
        lease = dead.acquire(0, ttl=1.5, detached=True)
        stepped.step(seconds)

        def inherited() -> Any:
            with suppress(WanpoolError):
                return heir.acquire(0)

        wait_for(inherited, within=1.5 + 5)
        assert boottime() > lease.deadline and lease.lost

    @pytest.mark.parametrize("seconds", [HOUR, -HOUR])
    def test_a_waiter_is_served_after_it(self, stepped: Stepped, pool_of: PoolOf, seconds: float) -> None:
        holder, waiter = pool_of("here"), pool_of("there")
        holder.define_wan(0, "20000", cooldown=0)
        lease = holder.acquire(0)
        with ThreadPoolExecutor(1) as executor:
            came = executor.submit(waiter.acquire, 0, wait=30)
            wait_for(lambda: stepped.admin.zcard(PREFIX + "waiting") == 1)
            stepped.step(seconds)
            released = lease.release()
            assert came.result(20).port == 20000
        assert released is True

    @each_step
    def test_who_came_first_is_served_first(self, stepped: Stepped, pool_of: PoolOf, seconds: float) -> None:
        holder, first, second = pool_of("here"), pool_of("there"), pool_of("yonder")
        holder.define_wan(0, "20000", cooldown=0)
        lease = holder.acquire(0)
        with ThreadPoolExecutor(2) as executor:
            came = [executor.submit(first.acquire, 0, wait=15)]
            wait_for(lambda: stepped.admin.zcard(PREFIX + "waiting") == 1)
            tickets = stepped.admin.zrange(PREFIX + "waiting", 0, -1)
            stepped.step(seconds)
            came.append(executor.submit(second.acquire, 0, wait=15))
            wait_for(lambda: stepped.admin.zcard(PREFIX + "waiting") == 2)
            queue = stepped.admin.zrange(PREFIX + "waiting", 0, -1)
            assert lease.release() is True
            assert came[0].result(20).release() is True
            assert came[1].result(20).release() is True
        assert queue[:1] == tickets


class Traffic:
    """Some who stay on their port and some who come and go, each in a thread with a pool object of its own."""

    def __init__(self, stayers: list[WanPortPool], passers: list[WanPortPool]) -> None:
        self.holds: list[Hold] = []
        self.lost: list[Any] = []
        self._stopped = threading.Event()
        works = [*((self._stay, pool) for pool in stayers), *((self._pass, pool) for pool in passers)]
        self._turns = [0] * len(works)
        self._executor = ThreadPoolExecutor(len(works))
        self._running = [self._executor.submit(work, pool, number) for number, (work, pool) in enumerate(works)]

    def go_on(self, turns: int, look: Callable[[], None]) -> None:
        """Looks on until everybody has done something so many times more; an error ends it too."""
        wanted = [done + turns for done in self._turns]

        def done() -> bool:
            look()
            enough = all(done >= turn for done, turn in zip(self._turns, wanted, strict=True))
            return enough or any(future.done() for future in self._running)

        wait_for(done, within=60)

    def stop(self) -> None:
        self._stopped.set()
        self._executor.shutdown()
        for future in self._running:
            future.result()

    def _stay(self, pool: WanPortPool, number: int) -> None:
        while not self._stopped.is_set():
            lease = pool.acquire(0, wait=60)
            held = hold(lease, 1, self.holds)
            with suppress(LeaseLost):
                while not self._stopped.is_set():
                    renewed = lease.expires_at
                    while lease.expires_at == renewed and not self._stopped.is_set():
                        use(lease, held, 5)
                    self._turns[number] += 1
            if lease.lost:
                self.lost.append(lease)

    def _pass(self, pool: WanPortPool, number: int) -> None:
        last = 0.0
        while not self._stopped.is_set():
            lease = pool.acquire(0, wait=60)
            now = lease.expires_at - lease.ttl
            assert now >= last - 0.0005, "the time of the WAN ran backwards"
            last = now
            hold(lease, 3, self.holds)
            if not lease.release():
                self.lost.append(lease)
            self._turns[number] += 1


@pytest.mark.long
def test_no_port_has_two_holders_while_the_servers_clock_jumps(stepped: Stepped, pool_of: PoolOf) -> None:
    pools = [pool_of(f"network-{number % 2}") for number in range(5)]
    # A step is known no better than the quickest request was on its way; a lease's margin must be longer, 0.3 s here
    pools[0].define_wan(0, "20000-20003", cooldown=0, lease_ttl=6)
    last_seen = [0]

    def look() -> None:
        seen = int(stepped.admin.hget(PREFIX + "grants", "seen_ms"))
        assert last_seen[0] <= seen <= pools[0].snapshot(0).now_ms
        last_seen[0] = seen

    traffic = Traffic(pools[:2], pools[2:])
    try:
        for seconds in (0.0, *STEPS):
            stepped.step(seconds)
            traffic.go_on(1, look)
            check_no_overlap(traffic.holds)
    finally:
        traffic.stop()
    check_no_overlap(traffic.holds)
    assert traffic.lost == []
