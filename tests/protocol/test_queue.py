"""Waiting for a port: called by a release, woken by the clock, served in order."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest
from by_hand import change_rules, run_script
from waiting import wait_for

from redis_wanpool import AsyncWanPortPool, PoolClosed, PoolExhausted, PortUnavailable, WanPortPool
from redis_wanpool.engine.wakeups import Wakeups
from redis_wanpool.protocol import Protocol

WAITING, WAITERS, CAPPED = (f"wanpool:{{test:0}}:{name}" for name in ("waiting", "waiters", "capped"))


@pytest.fixture(autouse=True)
def no_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """A waiter who is not called comes back after an hour: no test passes by polling."""
    monkeypatch.setattr(Protocol, "LONGEST_PAUSE", 3600.0)


@pytest.fixture
def one_port(pools: Callable[..., Any]) -> Any:
    pool = pools()
    pool.define_wan(0, "20000", cooldown=0)
    return pool


class Waiter(threading.Thread):
    """Acquires in a thread of its own, and keeps what came of it."""

    def __init__(self, pool: Any, **options: Any) -> None:
        super().__init__(daemon=True)
        self.pool, self.options = pool, {"wait": 30, **options}
        self.result: Any = None
        self.start()

    def run(self) -> None:
        try:
            self.result = self.pool.acquire(0, **self.options)
        except Exception as error:
            self.result = error

    def outcome(self) -> Any:
        self.join(20)
        assert not self.is_alive()
        return self.result


def queue_of(admin: Any, length: int) -> None:
    wait_for(lambda: admin.hlen(WAITERS) == length)


def test_a_release_calls_the_waiter(one_port: Any, backends: Any) -> None:
    lease = one_port.acquire(0)
    waiter = Waiter(one_port)
    queue_of(backends.admin, 1)
    lease.release()
    assert waiter.outcome().port == 20000
    assert backends.admin.zcard(WAITING) == 0


def test_a_release_by_another_pool_object_does_too(pools: Any, one_port: Any, backends: Any) -> None:
    lease = pools().acquire(0)
    waiter = Waiter(one_port)
    queue_of(backends.admin, 1)
    lease.release()
    assert waiter.outcome().port == 20000


def test_a_waiter_comes_when_the_rest_is_over(pools: Any, backends: Any) -> None:
    pool = pools(rest=0.4)
    pool.define_wan(0, "20000", cooldown=100)
    lease = pool.acquire(0)
    waiter = Waiter(pool)
    queue_of(backends.admin, 1)
    lease.release()
    assert waiter.outcome().port == 20000


def test_a_waiter_comes_when_a_cool_down_is_over_without_any_event(pools: Any) -> None:
    a, b = pools(network="a"), pools(network="b")
    a.define_wan(0, "20000", cooldown=0.4)
    a.acquire(0).release()
    assert Waiter(b).outcome().port == 20000


def test_a_waiter_comes_when_a_dead_holders_lease_has_expired(pools: Any) -> None:
    pool = pools()
    pool.define_wan(0, "20000", cooldown=0, lease_ttl=0.5)
    dead = pool.acquire(0, detached=True)
    assert Waiter(pool).outcome().fence > dead.fence


def test_patience_ends(one_port: Any, backends: Any) -> None:
    one_port.acquire(0)
    with pytest.raises(PoolExhausted):
        one_port.acquire(0, wait=0.05)
    assert backends.admin.zcard(WAITING) == 0


def test_a_wanted_port_is_waited_for(one_port: Any) -> None:
    lease = one_port.acquire(0)
    with pytest.raises(PortUnavailable) as caught:
        one_port.acquire(0, port=20000, wait=0.05)
    assert caught.value.state == "leased"
    waiter = Waiter(one_port, port=20000)
    lease.release()
    assert waiter.outcome().port == 20000


def test_first_come_first_served(one_port: Any, backends: Any) -> None:
    lease = one_port.acquire(0)
    waiters = []
    for length in range(1, 6):
        waiters.append(Waiter(one_port))
        queue_of(backends.admin, length)
    for i, waiter in enumerate(waiters):
        lease.release()
        lease = waiter.outcome()
        assert all(later.result is None for later in waiters[i + 1 :])


def test_a_newcomer_does_not_overtake_a_waiter(pools: Any, one_port: Any, backends: Any) -> None:
    lease, newcomer = one_port.acquire(0), pools()
    with pytest.raises(PoolExhausted):
        newcomer.acquire(0)
    place(backends.admin, in_ms=60_000)
    lease.release()  # from now on the waiter has two seconds to come
    with pytest.raises(PoolExhausted):
        newcomer.acquire(0)


class TestCapped:
    """Waiters whose network holds all the ports that it may."""

    @pytest.fixture
    def capped(self, pools: Callable[..., Any]) -> Any:
        pool = pools(network="capped")
        pool.define_wan(0, "20000-20001", cooldown=0, max_per_network=1)
        return pool

    def test_keep_no_port_from_other_networks(self, capped: Any, pools: Any, backends: Any) -> None:
        lease = capped.acquire(0)
        waiter = Waiter(capped)
        queue_of(backends.admin, 1)
        other = pools(network="other")
        assert other.acquire(0).release() is True
        lease.release()
        assert waiter.outcome().release() is True

    def test_are_called_by_their_own_release_and_others_for_the_port(
        self, capped: Any, pools: Any, backends: Any
    ) -> None:
        lease, other = capped.acquire(0), pools(network="other")
        theirs = other.acquire(0)
        first = Waiter(capped)
        queue_of(backends.admin, 1)
        second = Waiter(pools(network="third"))
        queue_of(backends.admin, 2)
        theirs.release()
        assert second.outcome().port == theirs.port, "the first may not have it"
        lease.release()
        assert first.outcome().port == lease.port

    def test_are_called_though_one_of_another_network_stands_first(
        self, capped: Any, pools: Any, backends: Any
    ) -> None:
        lease, other = capped.acquire(0), pools(network="other")
        theirs = other.acquire(0)
        first = Waiter(pools(network="third"))
        queue_of(backends.admin, 1)
        second = Waiter(capped)
        queue_of(backends.admin, 2)
        lease.release()
        assert first.outcome().port == lease.port
        wait_for(lambda: backends.admin.zcard(WAITING) == 1)  # the second was called, and is capped no more
        theirs.release()
        assert second.outcome().port == theirs.port

    def test_many_of_them_are_in_nobodys_way(self, pools: Any, backends: Any) -> None:
        other = pools(network="other")
        other.define_wan(0, "20000-20001", cooldown=0, max_per_network=1)
        ask(backends.admin, "capped", 0)
        for number in range(1, 80):
            assert ask(backends.admin, "capped", number)[0] == "CAPPED"
        theirs = other.acquire(0)
        waiter = Waiter(pools(network="third"))
        queue_of(backends.admin, 80)
        theirs.release()
        assert waiter.outcome().port == theirs.port

    def test_keep_their_place_when_they_are_capped_no_more(self, pools: Any, backends: Any) -> None:
        other = pools(network="other")
        other.define_wan(0, "20000-20001", cooldown=0, max_per_network=1)
        port = ask(backends.admin, "capped", 0)[7]
        theirs = other.acquire(0)
        assert ask(backends.admin, "capped", 1)[0] == "CAPPED"
        waiter = Waiter(pools(network="third"))
        queue_of(backends.admin, 2)
        run_script(backends.admin, "withhold", port)
        run_script(backends.admin, "release", "released", port, "capped:1:x/0")
        assert ask(backends.admin, "capped", 1)[0] == "EXHAUSTED"
        assert backends.admin.zrange(WAITING, 0, 0) == ["capped:1:x/1"]
        theirs.release()
        assert ask(backends.admin, "capped", 1)[0] == "GRANTED"
        run_script(backends.admin, "release", "released", "", "capped:1:x/1")
        assert waiter.outcome().port == theirs.port

    def test_pass_their_call_on_when_they_leave(self, capped: Any, pools: Any, backends: Any) -> None:
        lease = capped.acquire(0)
        assert ask(backends.admin, "capped", 1)[0] == "CAPPED"
        waiter = Waiter(capped)
        queue_of(backends.admin, 2)
        lease.release()  # calls the first, who does not come
        run_script(backends.admin, "leave", "capped:1:x/1")
        assert waiter.outcome().release()

    def test_that_were_called_are_not_overtaken_by_their_own_network(self, capped: Any, backends: Any) -> None:
        lease = capped.acquire(0)
        assert ask(backends.admin, "capped", 1)[0] == "CAPPED"
        lease.release()  # calls the first
        assert ask(backends.admin, "capped", 2)[0] == "CAPPED"
        assert ask(backends.admin, "capped", 1)[0] == "GRANTED"

    def test_that_died_on_their_way_pass_their_call_on(self, capped: Any, pools: Any, backends: Any) -> None:
        lease = capped.acquire(0)
        assert ask(backends.admin, "capped", 1)[0] == "CAPPED"
        waiter = Waiter(capped)
        queue_of(backends.admin, 2)
        lease.release()  # calls the first, who does not come
        network, plan = backends.admin.hget(WAITERS, "capped:1:x/1").split()
        backends.admin.hset(WAITERS, "capped:1:x/1", f"{network} {int(plan) - 2_001}")
        with pools(network="other").acquire(0):
            assert waiter.outcome().release()

    def test_get_the_port_at_once_that_nobody_before_them_waits_for(
        self, capped: Any, pools: Any, backends: Any
    ) -> None:
        lease, theirs = capped.acquire(0), pools(network="other").acquire(0)
        assert ask(backends.admin, "capped", 1)[0] == "CAPPED"
        assert ask(backends.admin, "third", 1)[0] == "EXHAUSTED"
        lease.release()
        assert ask(backends.admin, "capped", 1)[:1] == ["GRANTED"]
        theirs.release()
        assert ask(backends.admin, "third", 1)[0] == "GRANTED"

    def test_that_want_more_than_they_may_let_the_next_have_it(self, pools: Any, backends: Any) -> None:
        pool = pools(network="capped")
        pool.define_wan(0, "20000-20003", cooldown=0, max_per_network=2)
        leases = pool.acquire_many(0, 2)
        assert ask(backends.admin, "capped", 1, count=2)[0] == "CAPPED"
        waiter = Waiter(pool)
        queue_of(backends.admin, 2)
        leases[0].release()
        assert ask(backends.admin, "capped", 1, count=2)[0] == "CAPPED"
        got = waiter.outcome()
        got.release()
        leases[1].release()
        assert ask(backends.admin, "capped", 1, count=2)[0] == "GRANTED"

    def test_stay_in_order_when_they_ask_again(self, capped: Any, backends: Any) -> None:
        with capped.acquire(0):
            for number in (1, 2, 3, 1, 2):
                assert ask(backends.admin, "capped", number)[0] == "CAPPED"
            order = [f"capped:1:x/{number}" for number in (1, 2, 3)]
            assert backends.admin.zrange(f"{CAPPED}:capped", 0, -1) == order
            assert backends.admin.zcard(WAITING) == 0

    def test_that_died_are_forgotten(self, pools: Any, backends: Any) -> None:
        other = pools(network="other")
        other.define_wan(0, "20000-20001", cooldown=0, max_per_network=1)
        ask(backends.admin, "capped", 0)
        for number in range(1, 20):
            ask(backends.admin, "capped", number)
        for ticket in backends.admin.zrange(CAPPED, 0, -1):
            backends.admin.zincrby(CAPPED, -3_700_000, ticket)
        for _ in range(3):
            other.acquire(0).release()
        assert not backends.admin.hlen(WAITERS) and not list(backends.admin.scan_iter(CAPPED + "*"))


def ask(admin: Any, network: str, number: int, count: int = 1) -> list[Any]:
    """An acquire of a network's holder, who would wait."""
    ticket = f"{network}:1:x/{number}"
    ids = [ticket, *(f"{ticket}.{more}" for more in range(1, count))]
    return run_script(
        admin, "acquire", f"{network}:1:x", network, 0, "h", 1, "", "", 3_600_000, "", "", count, 8, "", "", *ids
    )


def test_a_dead_waiter_is_in_nobodys_way_for_long(one_port: Any, backends: Any) -> None:
    place(backends.admin, in_ms=-2_001)
    one_port.acquire(0)
    assert backends.admin.zcard(WAITING) == 0


def place(admin: Any, in_ms: int) -> None:
    """A waiter who planned to come so many ms from now, and does not."""
    seconds, micros = admin.time()
    admin.zadd(WAITING, {"ghost:1:x/y": 1})
    admin.hset("wanpool:{test:0}:waiters", "ghost:1:x/y", f"net {seconds * 1000 + micros // 1000 + in_ms}")
    change_rules(admin, waiting=1)


def test_a_waiter_behind_a_dead_one_comes_as_soon_as_that_is_known(one_port: Any, backends: Any) -> None:
    place(backends.admin, in_ms=-1_500)
    assert Waiter(one_port).outcome().port == 20000


def test_who_leaves_passes_the_call_on(one_port: Any, backends: Any, pools: Any) -> None:
    """A waiter that was called and gave up must not leave the port unseen."""
    lease = one_port.acquire(0)
    place(backends.admin, in_ms=60_000)
    waiter = Waiter(pools())
    queue_of(backends.admin, 2)
    lease.release()
    assert backends.admin.hget("wanpool:{test:0}:waiters", "ghost:1:x/y"), "the ghost was called, and does not come"
    one_port._engine.protocol.abandoned[0, "ghost:1:x/y"] = None
    one_port._engine.heartbeat.clear_up_soon()
    assert waiter.outcome().port == 20000


def test_closing_the_pool_ends_the_wait(one_port: Any, pools: Any, backends: Any) -> None:
    holder = pools()
    holder.acquire(0)
    waiter = Waiter(one_port)
    queue_of(backends.admin, 1)
    one_port.close()
    assert isinstance(waiter.outcome(), PoolClosed)
    queue_of(backends.admin, 0)


def test_closing_between_the_question_and_the_sleep_ends_the_wait_too(one_port: Any) -> None:
    wakeups = one_port._engine.wakeups
    one_port.close()
    heard: list[float] = []
    wakeups.listen("ticket", (0,), heard.append)
    assert heard == [0.0]


def test_a_wait_on_several_wans_leaves_no_place_behind(pools: Any, backends: Any) -> None:
    pool = pools()
    pool.define_wan(0, "20000", cooldown=0)
    pool.define_wan(1, "21000", cooldown=0)
    leases = [pool.acquire(0), pool.acquire(1)]
    waiting: list[Any] = []
    thread = threading.Thread(target=lambda: waiting.append(pool.acquire([0, 1], wait=30)))
    thread.start()
    for wan_idx in (0, 1):
        wait_for(lambda wan_idx=wan_idx: backends.admin.zcard(f"wanpool:{{test:{wan_idx}}}:waiting") == 1)
    leases[1].release()
    thread.join(20)
    assert waiting[0].port == 21000
    wait_for(lambda: backends.admin.zcard(WAITING) == 0)


async def test_a_cancelled_task_leaves_nothing_behind(server: Any, async_pool: AsyncWanPortPool) -> None:
    await async_pool.define_wan(0, "20000", cooldown=0)
    lease = await async_pool.acquire(0)

    async def acquire() -> Any:
        return await async_pool.acquire(0, wait=30)

    task = asyncio.create_task(acquire())
    await asyncio.to_thread(queue_of, server.admin, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(queue_of, server.admin, 0)
    await lease.release()
    assert (await async_pool.snapshot(0)).free == 1


def test_many_waiters_of_many_objects_all_get_their_turn(server: Any) -> None:
    pools = [WanPortPool(server.url, namespace="test", rest=0) for _ in range(4)]
    pools[0].define_wan(0, "20000-20001", cooldown=0)
    served: list[int] = []

    def work(pool: WanPortPool) -> None:
        for _ in range(125):
            with pool.acquire(0, wait=30) as lease:
                served.append(lease.port)

    threads = [threading.Thread(target=work, args=(pool,)) for pool in pools for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for pool in pools:
        pool.close()
    assert len(served) == 1_000, "no call was lost: nobody asks again by itself"


def test_nobody_is_served_a_third_time_before_everybody_was_served(server: Any) -> None:
    pools = [WanPortPool(server.url, namespace="test", rest=0) for _ in range(5)]
    pools[0].define_wan(0, "20000-20004", cooldown=0)
    served = [0] * 50
    turn = threading.Lock()
    unfair: list[list[int]] = []

    def work(number: int) -> None:
        while not all(served) and not unfair:
            with pools[number % 5].acquire(0, wait=60):
                with turn:
                    served[number] += 1
                    if served[number] > 2 and not all(served):
                        unfair.append(list(served))
                time.sleep(0.1)  # what it takes the port for

    held = pools[0].acquire_many(0, 5)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    queue_of(server.admin, 50)
    for lease in held:
        lease.release()
    for thread in threads:
        thread.join(60)
    for pool in pools:
        pool.close()
    assert all(served) and not unfair, unfair


class Cancelled:
    """Awaits a coroutine in its task, and cancels that where it waits for the n-th time.

    Either at once, or when what it waits for has come, and the task has not gone on yet.
    """

    def __init__(self, coroutine: Any, nth: int, after: bool) -> None:
        self.coroutine, self.nth, self.after = coroutine, nth, after
        self.reached = False

    def __await__(self) -> Generator[Any, Any, Any]:
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        steps = self.coroutine.__await__()
        go: Callable[[], Any] = partial(next, steps)
        try:
            for count in itertools.count(1):
                waited = go()
                if count == self.nth:
                    self.reached = True
                    if self.after and waited is not None:
                        waited.add_done_callback(lambda _: task.cancel())
                    else:
                        task.cancel()
                try:
                    go = partial(steps.send, (yield waited))
                except BaseException as raised:  # this cancellation, or one by a timeout of redis-py's own
                    go = partial(steps.throw, raised)
        except StopIteration as end:
            return end.value

    async def run(self) -> None:
        with suppress(PoolExhausted):
            await self


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("connected", [False, True], ids=["no-connection", "connected"])
@pytest.mark.parametrize("ports", ["20000", "20000-20009"])
async def test_a_cancellation_at_any_await_leaves_no_place_and_leaks_no_port(
    server: Any, async_pool: AsyncWanPortPool, ports: str, connected: bool, after: bool
) -> None:
    await async_pool.define_wan(0, ports, cooldown=0)
    await async_pool.acquire(0, port=20000)

    async def acquire_and_release() -> None:
        lease = await async_pool.acquire(0, wait=0.2)
        assert await lease.release()

    places = 0
    for nth in range(1, 200):
        await async_pool.snapshot(0)  # the last attempt may have broken the connection: now there is one again
        if not connected:
            client = async_pool._caller.client()
            await getattr(client, "connection_pool", client).disconnect()
        attempt = Cancelled(acquire_and_release(), nth, after)
        task = asyncio.create_task(attempt.run())
        await asyncio.wait([task])
        assert task.cancelled() == attempt.reached, "no cancellation is swallowed"
        # At once, before the search for late duplicates that a later attempt may cause
        await asyncio.to_thread(
            wait_for, lambda: not async_pool._engine.protocol.doubts and not async_pool._engine.protocol.abandoned
        )
        held = server.admin.zcard("wanpool:{test:0}:leased")
        assert held == len(async_pool._engine.protocol.leases) == 1, f"{held} after a cancellation at place {nth}"
        if not attempt.reached:
            break
        places += 1
    assert places > 1, "it waits for at least two replies"
    await asyncio.to_thread(queue_of, server.admin, 0)


def test_a_listener_that_ends_after_its_pool_hangs_up() -> None:
    """The end of a pool waits for no listener, and closes only the connections that nobody uses just then."""
    listens, goes_on, hung_up = threading.Event(), threading.Event(), threading.Event()

    class Client:
        connection_pool = SimpleNamespace(connection_kwargs={})

        def blpop(self, names: list[str], timeout: float) -> None:
            listens.set()
            goes_on.wait(20)

    wakeups = Wakeups(Client, lambda wan_idx: "a list", hung_up.set)
    wakeups.listen("a ticket", (0,), lambda seconds: None)
    assert listens.wait(20)
    wakeups.close()
    assert not hung_up.is_set()
    goes_on.set()
    assert hung_up.wait(20)
