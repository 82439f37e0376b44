"""Keeping leases alive, noticing their loss, and clearing up after calls without an answer."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from by_hand import age_lease, run_script
from invariant import check_invariant
from waiting import KEPT_TTL, wait_for

from redis_wanpool import AsyncWanPortPool, BackendUnavailable, InGrace, LeaseLost, WanPortPool
from redis_wanpool.system.clock import boottime

PREFIX = "wanpool:{test:0}:"


@pytest.fixture
def brief(pools: Callable[..., Any]) -> Any:
    """A pool object whose leases are renewed soon."""
    pool = pools()
    pool.define_wan(0, "20000-20009", cooldown=0, lease_ttl=KEPT_TTL)
    return pool


def test_the_heartbeat_renews(brief: Any) -> None:
    lease = brief.acquire(0)
    first = lease.expires_at
    wait_for(lambda: lease.expires_at > first + 1)
    lease.check()


def test_detached_leases_are_not_renewed(brief: Any) -> None:
    lease = brief.acquire(0, ttl=0.5, detached=True)
    wait_for(lambda: lease.lost)
    wait_for(lambda: brief.snapshot(0).free == 10)


def test_an_empty_script_cache_is_no_obstacle(brief: Any, backends: Any) -> None:
    lease = brief.acquire(0)
    for _ in range(20):
        backends.admin.script_flush()
        brief.acquire(0).release()
    first = lease.expires_at
    backends.admin.script_flush()
    wait_for(lambda: lease.expires_at > first)


@pytest.mark.slow
def test_broken_connections_are_made_anew(server: Any, face: str, loop: Any) -> None:
    from faces import make

    pool = make(face, loop, server.url, namespace="test", rest=0)
    pool.define_wan(0, "20000-20009", cooldown=0, lease_ttl=KEPT_TTL)
    with pool:
        lease = pool.acquire(0)
        for _ in range(3):
            server.admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            first = lease.expires_at
            wait_for(lambda first=first: lease.expires_at > first)
            pool.acquire(0).release()


def test_a_revoked_lease_is_noticed_at_the_next_heartbeat(pools: Any, backends: Any) -> None:
    told: list[Any] = []
    pool = pools(on_lost=told.append)
    pool.define_wan(0, "20000-20009", cooldown=0, lease_ttl=KEPT_TTL)
    lease = pool.acquire(0)
    assert run_script(backends.admin, "revoke", lease.port, lease.lease_id)[2] == "revoked"
    assert lease.wait_lost(20) is True
    with pytest.raises(LeaseLost, match="an operator revoked the lease") as caught:
        lease.check()
    assert caught.value.reason == "revoked"
    wait_for(lambda: told)
    assert [gone.lease_id for gone in told] == [lease.lease_id]
    assert lease.release() is False


def test_who_waited_for_a_loss_in_vain_leaves_nothing_behind(pool: Any) -> None:
    lease = pool.acquire(0)
    assert not any(lease.wait_lost(0.001) for _ in range(3))
    assert not pool._engine.loss_watch.listeners


def test_a_loss_is_told_to_all_who_wait_on_several_loops(server: Any) -> None:
    waiting = threading.Barrier(3)

    async def story(pool: AsyncWanPortPool) -> None:
        async with pool.acquire(0) as lease:
            waiting.wait(20)
            waits = [asyncio.ensure_future(lease.wait_lost()) for _ in range(1000)]
            await asyncio.sleep(0)  # they do
            waiting.wait(20)
            assert all(await asyncio.wait_for(asyncio.gather(*waits), 20))
        await pool._caller.client().aclose()  # its loop ends before the pool

    with WanPortPool(server.url, namespace="test") as other:
        other.define_wan(0, "20000-20009", lease_ttl=60)
        pool = AsyncWanPortPool(server.url, namespace="test")
        switching = sys.getswitchinterval()
        with ThreadPoolExecutor(2) as threads:
            told = [threads.submit(asyncio.run, story(pool)) for _ in range(2)]
            try:
                waiting.wait(20)
                sys.setswitchinterval(1e-6)
                waiting.wait(20)
            finally:
                sys.setswitchinterval(switching)
            for lease in list(pool._engine.protocol.leases.values()):
                run_script(server.admin, "revoke", lease.port, lease.lease_id)
                lease.end("revoked")
            pool._engine.loss_watch.due(boottime())
            for each in told:
                each.result()
        asyncio.run(pool.close())


async def test_loss_is_told_once_on_the_loop_of_the_async_face(server: Any) -> None:
    told: list[tuple[Any, int]] = []
    async with AsyncWanPortPool(
        server.url, namespace="test", on_lost=lambda lease: told.append((lease, threading.get_ident()))
    ) as pool:
        await pool.define_wan(0, "20000-20009", lease_ttl=0.5)
        lease = await pool.acquire(0, detached=True)
        assert await lease.wait_lost(20) is True
        while not told:
            await asyncio.sleep(0.01)
        assert told == [(lease, threading.get_ident())]


async def test_a_busy_loop_loses_no_lease(async_pool: AsyncWanPortPool) -> None:
    await async_pool.define_wan(0, "20000-20009", lease_ttl=KEPT_TTL)
    lease = await async_pool.acquire(0)
    first = lease.expires_at
    wait_for(lambda: lease.expires_at > first + 1)  # blocks the loop
    lease.check()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
# asyncio.run closes a loop under the connections that live on it: redis-py and asyncio say so
def test_loops_that_come_and_go_share_a_pool_object(server: Any) -> None:
    async def one(pool: AsyncWanPortPool) -> Any:
        await pool.define_wan(0, "20000-20009", cooldown=0)
        return await pool.acquire(0)

    async def two(pool: AsyncWanPortPool, lease: Any) -> bool:
        await pool.acquire(0)
        return bool(await lease.release())

    def story() -> weakref.ref[AsyncWanPortPool]:
        pool = AsyncWanPortPool(server.url, namespace="test", rest=0)
        assert asyncio.run(two(pool, asyncio.run(one(pool)))) is True
        asyncio.run(pool.close())
        return weakref.ref(pool)

    pool = story()
    wait_for(lambda: gc.collect() >= 0 and pool() is None)  # a thread that ends may hold it yet


class TestUnreachable:
    """The server is stopped, not gone: it takes connections and answers nothing."""

    @pytest.fixture
    def told(self) -> list[Any]:
        return []

    @pytest.fixture
    def pool(self, own_server: Any, face: str, loop: Any, told: list[Any]) -> Any:
        from faces import make

        def on_lost(lease: Any) -> None:
            told.append((lease.lease_id, boottime()))

        pool = make(
            face,
            loop,
            own_server.url,
            namespace="test",
            rest=0,
            connect_timeout=1.0,
            on_lost=on_lost,
            lease_ttl=KEPT_TTL,
        )
        pool.define_wan(0, "20000-20009", cooldown=0, lease_ttl=KEPT_TTL, max_ttl=60)
        yield pool
        own_server.process.send_signal(signal.SIGCONT)
        pool.close()
        check_invariant(own_server.admin)

    def test_loss_is_announced_before_the_server_would_grant_again(
        self, pool: Any, own_server: Any, told: list[Any]
    ) -> None:
        lease = pool.acquire(0, ttl=60)
        age_lease(own_server.admin, pool, lease, 56, lambda: own_server.process.send_signal(signal.SIGSTOP))
        assert lease.wait_lost(30) is True
        wait_for(lambda: told)
        assert lease.reason == "unreachable"
        with pytest.raises(LeaseLost, match="could not be reached"):
            lease.check()
        own_server.process.send_signal(signal.SIGCONT)
        seconds, micros = own_server.admin.time()
        now_at_server, now_here = seconds + micros / 1e6, boottime()
        expires_here = now_here + (lease.expires_at - now_at_server)
        assert told[0][0] == lease.lease_id and told[0][1] < expires_here

    def test_what_an_unanswered_acquire_took_is_given_back(self, pool: Any, own_server: Any) -> None:
        own_server.process.send_signal(signal.SIGSTOP)
        with pytest.raises(BackendUnavailable):
            pool.acquire(0)
        own_server.process.send_signal(signal.SIGCONT)
        wait_for(lambda: not pool._engine.protocol.doubts)
        assert pool.snapshot(0).free == 10
        assert not list(own_server.admin.scan_iter(PREFIX + "held:*"))

    def test_an_unanswered_release_is_made_up_for(self, pool: Any, own_server: Any) -> None:
        lease = pool.acquire(0)
        own_server.process.send_signal(signal.SIGSTOP)
        with pytest.raises(BackendUnavailable):
            lease.release()
        own_server.process.send_signal(signal.SIGCONT)
        wait_for(lambda: pool.snapshot(0).free == 10)
        assert lease.release() is True

    def test_leases_outlive_a_short_stop(self, pool: Any, own_server: Any) -> None:
        lease = pool.acquire(0)
        own_server.process.send_signal(signal.SIGSTOP)
        wait_for(lambda: lease.reason_at_deadline == "unreachable")
        own_server.process.send_signal(signal.SIGCONT)
        first = lease.expires_at
        wait_for(lambda: lease.expires_at > first)
        lease.check()


def test_a_restart_of_a_durable_server_loses_no_lease(own_server: Any) -> None:
    durable = ("--appendonly", "yes", "--appendfsync", "always")
    own_server.restart(*durable)
    with WanPortPool(own_server.url, namespace="test") as pool:
        pool.define_wan(0, "20000-20009", lease_ttl=10)
        lease = pool.acquire(0)
        own_server.restart(*durable)
        lease.renew()
        with pytest.raises(InGrace):
            pool.acquire(0)


def test_a_late_duplicate_of_an_acquire_is_given_back(pools: Any, backends: Any) -> None:
    """A request that was delayed in the network takes a port for a lease that nobody asks for any more."""
    pool = pools()
    pool.define_wan(0, "20000-20009", cooldown=0, lease_ttl=KEPT_TTL, max_ttl=3600)
    pool.acquire(0)
    who = pool._engine.protocol.holder
    late = f"{who.id}/late"
    args = (who.id, pool.network, 0, who.host, who.pid, "", 3_600_000, "", "", "", 1, 8, "", "", late)
    assert run_script(backends.admin, "acquire", *args)[0] == "GRANTED"
    wait_for(lambda: not backends.admin.hexists(PREFIX + "held:" + late.rsplit("/", 1)[0], late.rsplit("/", 1)[1]))
    assert pool.snapshot(0).leased == 1


class TestIdempotence:
    """The same call twice: the same answer, and nothing more taken or given."""

    def test_of_acquire(self, pool: Any, backends: Any) -> None:
        args = ("h:1:x", "net", 0, "h", 1, "", "", "", "", "", 2, 8, "", "", "h:1:x/a", "h:1:x/b")
        first = run_script(backends.admin, "acquire", *args)
        second = run_script(backends.admin, "acquire", *args)
        assert first[2:] == second[2:] and pool.snapshot(0).leased == 2

    def test_of_release(self, pool: Any, backends: Any) -> None:
        lease = pool.acquire(0)
        args = ("released", lease.port, lease.lease_id)
        assert run_script(backends.admin, "release", *args)[2] == "released"
        assert run_script(backends.admin, "release", *args)[2] == "released"
        assert pool.snapshot(0).free == 10

    def test_of_a_release_that_was_an_expiry(self, pool: Any, backends: Any, age: Any) -> None:
        lease = pool.acquire(0)
        age(61)
        for _ in range(2):
            assert run_script(backends.admin, "release", "released", "", lease.lease_id)[2] in ("expired", "gone")

    def test_of_reject(self, pool: Any, backends: Any, age: Any) -> None:
        lease = pool.acquire(0)
        for _ in range(2):
            assert (
                run_script(backends.admin, "reject", "n", "h", "why", "", lease.port, lease.lease_id)[2] == "rejected"
            )
        assert pool.snapshot(0).cooling == 1
        age(64)
        assert pool.snapshot(0).cooling == 1
        age(1)
        assert pool.snapshot(0).free == 10

    def test_of_a_port_named_twice_in_one_call(self, pool: Any, backends: Any) -> None:
        lease = pool.acquire(0)
        args = ("released", lease.port, lease.lease_id, lease.port, lease.lease_id)
        assert run_script(backends.admin, "release", *args)[2:] == ["released", "released"]

    def test_a_stranger_can_end_nothing(self, pool: Any, backends: Any) -> None:
        lease = pool.acquire(0)
        for name, args in (("release", ("released",)), ("reject", ("n", "h", "why", "")), ("revoke", ())):
            assert run_script(backends.admin, name, *args, lease.port, "x:1:y/guess")[2] == "gone"
            assert run_script(backends.admin, name, *args, "", "x:1:y/guess")[2] == "gone"
        lease.renew()
