"""A holder that is cut off, paused or suspended knows of its loss before anybody else may have the port."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from blackhole import BlackHole
from by_hand import age_lease
from command_line import python
from faces import make
from invariant import check_invariant
from waiting import KEPT_TTL, wait_for

from redis_wanpool import BackendUnavailable, LeaseLost, WanpoolError, WanPortPool
from redis_wanpool.engine.ticker import Ticker
from redis_wanpool.system import clock

PREFIX = "wanpool:{test:0}:"


class Rival:
    """Asks for one port with a connection of its own, again and again, until it is granted."""

    def __init__(self, url: str, port: int) -> None:
        self.pool = WanPortPool(url, namespace="test", rest=0)
        self.lease: Any = None
        self.answered_at = 0.0
        self._port = port
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Rival:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        self.pool.close()

    def _run(self) -> None:
        while not self._stopped.wait(0.005):
            with suppress(WanpoolError):
                self.lease = self.pool.acquire(0, port=self._port)
                self.answered_at = clock.boottime()
                return

    def wait(self) -> None:
        wait_for(lambda: self.answered_at)


def use_until_lost(lease: Any, within: float = 30.0) -> tuple[float, LeaseLost]:
    """Uses a lease; answers a time before the last check that allowed it, and what the next one raised."""
    allowed = began = clock.boottime()
    while began < allowed + within:
        began = clock.boottime()
        try:
            lease.check()
        except LeaseLost as error:
            return allowed, error
        allowed = began
    raise AssertionError(f"the lease was not lost within {within} s")


def once_reachable(call: Callable[[], Any]) -> Any:
    """What a call answers as soon as Redis does."""

    def answer() -> Any:
        with suppress(BackendUnavailable):
            return call()

    return wait_for(answer)


class TestBlackHole:
    """Redis takes bytes and answers none; its connections stay open."""

    @pytest.fixture
    def hole(self, own_server: Any) -> Iterator[BlackHole]:
        hole = BlackHole(own_server.socket)
        yield hole
        hole.close()
        check_invariant(own_server.admin)

    @pytest.fixture
    def told(self) -> list[tuple[str, float]]:
        return []

    @pytest.fixture
    def pool(self, hole: BlackHole, face: str, loop: Any, told: list[tuple[str, float]]) -> Iterator[Any]:
        pool = make(
            face,
            loop,
            hole.url,
            namespace="test",
            rest=0,
            connect_timeout=1.0,
            on_lost=lambda lease: told.append((lease.lease_id, clock.boottime())),
        )
        pool.define_wan(0, "20000-20003", cooldown=0, lease_ttl=KEPT_TTL, max_ttl=60)
        yield pool
        hole.open()
        pool.close()

    @pytest.mark.slow
    def test_loss_is_known_and_told_before_another_may_have_the_port(
        self, hole: BlackHole, pool: Any, own_server: Any, told: list[tuple[str, float]]
    ) -> None:
        lease = pool.acquire(0, ttl=60)
        hole.shut()
        age_lease(own_server.admin, pool, lease, 56)
        with Rival(own_server.url, lease.port) as rival:
            allowed, error = use_until_lost(lease)
            rival.wait()
            assert lease.lost and error.reason == "unreachable"
            assert allowed < rival.answered_at and lease.deadline < rival.answered_at
            assert wait_for(lambda: dict(told).get(lease.lease_id)) < rival.answered_at
            with pytest.raises(LeaseLost, match="could not be reached"):
                lease.check()
            hole.open()
            wait_for(lambda: not pool._engine.protocol.doubts)
            rival.lease.renew()  # what the loser had sent, and arrived late, did no harm
        pool.close()
        assert [lease_id for lease_id, _ in told] == [lease.lease_id]

    @pytest.mark.slow
    def test_the_same_pool_object_goes_on_afterwards(
        self, hole: BlackHole, pool: Any, own_server: Any, told: list[tuple[str, float]]
    ) -> None:
        brief, lasting = pool.acquire(0, ttl=3), pool.acquire(0, ttl=60)
        hole.shut()
        with pytest.raises(BackendUnavailable):
            pool.acquire(0)
        with pytest.raises(BackendUnavailable):
            lasting.renew()
        assert use_until_lost(brief)[1].reason == "unreachable"
        lasting.check()
        hole.open()
        fresh = once_reachable(lambda: pool.acquire(0))
        before = fresh.expires_at
        wait_for(lambda: fresh.expires_at > before)
        lasting.check()
        lasting.renew()
        assert lasting.release() is True and fresh.release() is True
        wait_for(lambda: not pool._engine.protocol.doubts)
        wait_for(lambda: pool.snapshot(0).free == 4)
        assert not list(own_server.admin.scan_iter(PREFIX + "held:*"))
        pool.close()
        assert [lease_id for lease_id, _ in told] == [brief.lease_id]

    def test_leases_outlive_a_hole_that_opens_in_time(self, hole: BlackHole, pool: Any, told: list[Any]) -> None:
        lease = pool.acquire(0)
        hole.shut()
        wait_for(lambda: lease.reason_at_deadline == "unreachable")
        before = lease.expires_at
        hole.open()
        wait_for(lambda: lease.expires_at > before)
        lease.check()
        assert lease.reason_at_deadline == "expired" and lease.release() is True
        pool.close()
        assert told == []

    def test_a_closed_pool_object_keeps_no_connection(self, hole: BlackHole, pool: Any, own_server: Any) -> None:
        lease = pool.acquire(0)
        before = lease.expires_at
        wait_for(lambda: lease.expires_at > before)  # by the heartbeat, which has a connection of its own
        pool.close()
        wait_for(lambda: int(own_server.admin.info("clients")["connected_clients"]) == 1)


HOLDER = """
import asyncio, json, sys, time
from redis_wanpool import AsyncWanPortPool, LeaseLost, WanPortPool
from redis_wanpool.system.clock import boottime

told = []

def use(lease):
    allowed = None
    while True:
        began = boottime()
        try:
            lease.check()
        except LeaseLost as error:
            return {"allowed": allowed, "reason": error.reason, "lost": lease.lost, "raised": boottime()}
        if allowed is None:
            print(json.dumps({"port": lease.port}), flush=True)
        allowed = began

async def on_a_loop():
    async with AsyncWanPortPool(sys.argv[2], namespace="test", rest=0, on_lost=told.append) as pool:
        lease = await pool.acquire(0)
        said = use(lease)
        while not told:
            await asyncio.sleep(0.01)
        another = await pool.acquire(0)
        return said | {"another": another.port}

def in_a_thread():
    with WanPortPool(sys.argv[2], namespace="test", rest=0, on_lost=told.append) as pool:
        lease = pool.acquire(0)
        said = use(lease)
        while not told:
            time.sleep(0.01)
        return said | {"another": pool.acquire(0).port}

said = in_a_thread() if sys.argv[1] == "sync" else asyncio.run(on_a_loop())
print(json.dumps(said | {"told": len(told)}), flush=True)
"""


def test_a_program_that_on_lost_starts_hears_signals(own_server: Any) -> None:
    blocked: list[str] = []

    def start(lease: Any) -> None:
        done = subprocess.run(["grep", "SigBlk", "/proc/self/status"], capture_output=True, text=True, check=True)
        blocked.append(done.stdout.split()[1])

    with WanPortPool(own_server.url, namespace="test", on_lost=start) as pool:
        pool.define_wan(0, "20000-20009", lease_ttl=0.5)
        pool.acquire(0)
        own_server.process.send_signal(signal.SIGSTOP)
        wait_for(lambda: blocked)
        own_server.process.send_signal(signal.SIGCONT)
    assert int(blocked[0], 16) == 0


@pytest.mark.slow
def test_a_paused_holder_uses_nothing_after_its_pause(own_server: Any, face: str) -> None:
    with WanPortPool(own_server.url, namespace="test", rest=0) as pool:
        pool.define_wan(0, "20000-20003", cooldown=0, lease_ttl=KEPT_TTL)
    holder = python("-c", HOLDER, face, own_server.url, stdin=None)
    try:
        port = json.loads(holder.stdout.readline())["port"]
        holder.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, holder.pid, os.WSTOPPED)
        with Rival(own_server.url, port) as rival:
            rival.wait()
            resumed_at = clock.boottime()
            holder.send_signal(signal.SIGCONT)
            output, errors = holder.communicate(timeout=60)
            assert holder.returncode == 0, errors
            said = json.loads(output)
            rival.lease.check()
            rival.lease.renew()
        assert said["allowed"] < rival.answered_at < resumed_at < said["raised"]
        assert said["lost"] is True and said["reason"] == "expired" and said["told"] == 1
        assert said["another"] != port
    finally:
        holder.kill()
        holder.communicate()
    check_invariant(own_server.admin)


USES: dict[str, Callable[[Any], Any]] = {
    "check": lambda lease: lease.check(),
    "socket": lambda lease: lease.socket(),
    "connect": lambda lease: lease.connect(("127.0.0.1", 9)),
    "renew": lambda lease: lease.renew(),
}


class TestSuspend:
    """The machine slept: the boot clock went on, the monotonic clock and every timer of the process did not."""

    @pytest.fixture
    def sleep(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
        slept = [0.0]
        real = clock.boottime
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] == "redis_wanpool" and hasattr(module, "boottime"):
                monkeypatch.setattr(module, "boottime", lambda: real() + slept[0])

        def sleep(seconds: float) -> None:
            slept[0] += seconds

        return sleep

    @pytest.mark.parametrize("use", USES)
    def test_the_first_use_after_it_raises(
        self, own_server: Any, face: str, loop: Any, sleep: Callable[[float], None], use: str
    ) -> None:
        with make(face, loop, own_server.url, namespace="test", rest=0) as pool:
            pool.define_wan(0, "20000-20003", cooldown=0)
            lease = pool.acquire(0)
            lease.check()
            sleep(3600)
            with pytest.raises(LeaseLost) as caught:
                USES[use](lease)
            assert caught.value.reason == "expired" and caught.value.port == lease.port
            assert lease.lost and lease.remaining() == 0
            assert lease.wait_lost(0) is True
            fresh = pool.acquire(0)
            fresh.check()
            assert fresh.release() is True
        check_invariant(own_server.admin)

    def test_loss_is_told_once_soon_after_it(
        self, own_server: Any, face: str, loop: Any, sleep: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Soon is a few seconds, whatever the ttl: no timer of the process is of use here."""
        assert Ticker.LOOK == 5.0
        monkeypatch.setattr(Ticker, "LOOK", 0.5)
        told: list[str] = []
        with make(
            face, loop, own_server.url, namespace="test", rest=0, on_lost=lambda lease: told.append(lease.lease_id)
        ) as pool:
            pool.define_wan(0, "20000-20003", cooldown=0, lease_ttl=600)
            lease = pool.acquire(0)
            sleep(3600)
            wait_for(lambda: told)
            wait_for(lambda: not pool._engine.protocol.doubts)
            assert pool.snapshot(0).leased == 0
        assert told == [lease.lease_id]
        check_invariant(own_server.admin)

    def test_a_short_one_costs_no_lease(
        self, own_server: Any, face: str, loop: Any, sleep: Callable[[float], None]
    ) -> None:
        with make(face, loop, own_server.url, namespace="test", rest=0) as pool:
            pool.define_wan(0, "20000-20003", cooldown=0)
            lease = pool.acquire(0)
            sleep(30)
            lease.check()
            lease.renew()
            assert 30 < lease.remaining() <= 60
            assert lease.release() is True
