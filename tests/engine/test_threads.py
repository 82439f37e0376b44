"""Nothing of the user's, and nothing that happens to a thread, stands in the way of what keeps and ends leases."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from faces import Loop, make
from waiting import KEPT_TTL, wait_for

from redis_wanpool.engine.heartbeat import Heartbeat
from redis_wanpool.engine.ticker import Ticker
from redis_wanpool.system.clock import boottime

KEEPERS = ("heartbeat", "loss_watch", "reaping")


class Connection:
    """A connection that ends with a lease."""

    def __init__(self, lease: Any) -> None:
        self.ended = threading.Event()
        lease.close_when_lost(self)

    def is_open(self) -> bool:
        return not self.ended.is_set()

    def shutdown(self, how: int) -> None:
        self.ended.set()


def lose(pool: Any, *leases: Any) -> None:
    """Somebody else ends these leases, and the pool object notices."""
    for lease in leases:
        getattr(lease, "_thing", lease).end("revoked")
    pool._engine.loss_watch.due(boottime())


class TestOnLost:
    """A callback of the user's, that does not do its part."""

    @pytest.fixture
    def pool(self, server: Any, face: str, loop: Loop, on_lost: Callable[[Any], None]) -> Iterator[Any]:
        pool = make(face, loop, server.url, namespace="test", rest=0, on_lost=on_lost)
        pool.define_wan(0, "20000-20009", cooldown=0)
        yield pool
        pool.close()

    @pytest.fixture
    def told(self) -> list[str]:
        return []

    @pytest.fixture
    def wakes(self) -> threading.Event:
        return threading.Event()

    @pytest.fixture(params=["blocks", "raises", "exits"])
    def on_lost(self, request: Any, face: str, told: list[str], wakes: threading.Event) -> Callable[[Any], None]:
        def on_lost(lease: Any) -> None:
            told.append(lease.lease_id)
            if request.param == "blocks":
                wakes.wait(60)
            elif request.param == "exits" and face == "sync":  # on a loop it is the loop's end, as ever
                sys.exit("it exits")
            else:
                raise GeneratorExit("it raises")

        return on_lost

    def test_delays_the_end_of_no_connection(
        self, pool: Any, told: list[str], wakes: threading.Event, face: str
    ) -> None:
        leases = pool.acquire_many(0, 4)
        connections = [Connection(getattr(lease, "_thing", lease)) for lease in leases]
        lose(pool, *leases[:2])  # at once
        wait_for(lambda: told)
        lose(pool, leases[2])
        lose(pool, leases[3])
        for connection in connections:
            assert connection.ended.wait(20)
        if face == "sync":  # nor does one keep the others from being called
            wait_for(lambda: sorted(told) == sorted(lease.lease_id for lease in leases))
        wakes.set()

    def test_may_close_the_pool_object(self, server: Any, loop: Loop) -> None:
        closed = threading.Event()

        def on_lost(lease: Any) -> None:
            pool.close()
            closed.set()

        pool = make("sync", loop, server.url, namespace="test", rest=0, on_lost=on_lost)
        pool.define_wan(0, "20000-20009", cooldown=0)
        lose(pool, pool.acquire(0))
        assert closed.wait(20)


class TestKeepers:
    """The threads that keep leases."""

    @pytest.fixture
    def pool(self, server: Any, face: str, loop: Loop) -> Iterator[Any]:
        with make("sync", loop, server.url, namespace="test") as other:
            other.define_wan(0, "20000-20009", cooldown=0, lease_ttl=KEPT_TTL)
        with make(face, loop, server.url, namespace="test", rest=0) as pool:
            yield pool

    @pytest.mark.parametrize("name", KEEPERS)
    def test_outlive_what_is_thrown_into_them(self, pool: Any, name: str, caplog: Any) -> None:
        lease = pool.acquire(0)
        keeper: Ticker = getattr(pool._engine, name)
        thread, tick = keeper._thread, keeper._tick
        assert thread is not None

        def exits() -> float | None:
            keeper._tick = tick
            raise SystemExit

        keeper._tick = exits
        keeper.due(boottime())
        wait_for(lambda: "going on after an error" in caplog.text)
        before = lease.expires_at
        wait_for(lambda: lease.expires_at > before)
        lease.check()
        assert thread.is_alive()

    @pytest.mark.parametrize("name", KEEPERS)
    def test_are_started_again_if_they_have_died(self, pool: Any, name: str, caplog: Any) -> None:
        lease = pool.acquire(0)
        keeper: Ticker = getattr(pool._engine, name)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Heartbeat, "give_back", lambda _: None)  # which is right only for one that was asked to end
            keeper.stop()
            assert keeper.join()
            keeper._stopped = False  # as if nobody had asked it to
        before = lease.expires_at
        pool._engine.loss_watch.due(boottime())
        wait_for(keeper._runs)
        assert f"{keeper._name} had ended" in caplog.text
        wait_for(lambda: lease.expires_at > before)
        lease.check()

    def test_listeners_for_waiters_outlive_it_too(self, pool: Any, server: Any, caplog: Any) -> None:
        """Somebody else wrote into the list from which calls come, and then a call comes."""
        heard: list[float] = []
        wakeups, protocol = pool._engine.wakeups, pool._engine.protocol
        wakeups.listen("ticket", (0,), heard.append)
        name = protocol.wan_keys(0).wake(protocol.holder.id)
        server.admin.rpush(name, "no call", b"\xff", "ticket x", "ticket 250")
        assert wait_for(lambda: heard) == [0.25]
        assert "going on after an error" in caplog.text
        wakeups.forget("ticket")
