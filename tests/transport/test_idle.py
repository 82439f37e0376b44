"""Connections between two calls: kept at hand, never used with an unread reply, and looked at when they may be dead."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from faces import Loop, maker
from private_server import Server

from redis_wanpool import AsyncWanPortPool, PoolExhausted, WanPortPool
from redis_wanpool.transport import idle
from redis_wanpool.transport.replies import Refused, Unfinished, reply_of


@pytest.fixture
def pool(face: str, loop: Loop, own_server: Server) -> Iterator[Any]:
    with maker(face, loop, f"unix://{own_server.socket}") as new:
        pool = new()
        pool.define_wan(0, "20000-20019", cooldown=0, fresh=True)
        pool.acquire(0).release()
        yield pool


def connections(pool: Any) -> Any:
    """The connections at hand of what the pool's callers use."""
    thing = getattr(pool, "_thing", pool)
    if isinstance(thing, WanPortPool):
        return thing._engine.performer.client().connection_pool.kept_idle
    (client,) = thing._caller._clients.values()
    return client.connection_pool.kept_idle


def test_a_call_uses_the_connection_of_the_one_before(pool: Any) -> None:
    before = list(connections(pool))
    for _ in range(20):
        pool.acquire(0).release()
    assert before and before[-1] in connections(pool) and len(connections(pool)) <= len(before) + 1


def test_one_that_is_owed_a_reply_is_used_by_no_call(pool: Any) -> None:
    """As an interrupt leaves it that comes between a request and its reply."""
    (*_, connection) = connections(pool)
    connection._owed += 1
    for _ in range(10):
        pool.acquire(0).release()
    assert connection._owed == 0  # it was connected again, before it was used


@pytest.mark.parametrize("lost", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_exchange_answers_no_later_call(
    own_server: Server, monkeypatch: pytest.MonkeyPatch, lost: type[BaseException]
) -> None:
    """The reply is there, and nobody has read it."""

    class Broken:
        def __init__(self, sock: Any) -> None:
            self.sock = sock

        def __getattr__(self, name: str) -> Any:
            return getattr(self.sock, name)

        def recv(self, *_: object) -> bytes:
            raise lost

    with WanPortPool(f"unix://{own_server.socket}", namespace="test", rest=0) as pool:
        pool.define_wan(0, "20000-20019", cooldown=0, fresh=True)
        pool.acquire(0).release()
        (*_, connection) = connections(pool)
        connection._sock = connection._whole = Broken(connection._sock)
        with suppress(lost):
            pool.acquire(0)
        ports = [pool.acquire(0).port for _ in range(10)]
        assert len(set(ports)) == 10


async def test_a_cancelled_exchange_answers_no_later_call(own_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async with AsyncWanPortPool(f"unix://{own_server.socket}", namespace="test", rest=0) as pool:
        await pool.define_wan(0, "20000-20019", cooldown=0, fresh=True)
        await (await pool.acquire(0)).release()
        own_server.admin.client_pause(200)
        task = asyncio.ensure_future(pool._lease(pool_request()))
        await asyncio.sleep(0)
        while not any(connection._owed for connection in in_use(pool)):
            await asyncio.sleep(0.001)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        ports = [(await pool.acquire(0)).port for _ in range(10)]
        assert len(set(ports)) == 10


def pool_request() -> Any:
    from redis_wanpool.model.request import Request

    return Request.of(0)


def in_use(pool: AsyncWanPortPool) -> list[Any]:
    (client,) = pool._caller._clients.values()
    return list(client.connection_pool._in_use_connections)


def test_several_that_were_cut_by_the_server_fail_no_call(pool: Any, own_server: Server) -> None:
    """One call finds out, and is sent again; the others are not tried on connections that died with that one."""
    take_several(pool)
    assert len(connections(pool)) >= 3
    for each in own_server.admin.client_list():
        if each["id"] != own_server.admin.client_id():
            own_server.admin.client_kill_filter(each["id"])
    for _ in range(6):
        pool.acquire(0).release()


def take_several(pool: Any) -> None:
    thing = getattr(pool, "_thing", pool)
    if isinstance(thing, AsyncWanPortPool):

        async def all_at_once() -> None:
            leases = await asyncio.gather(*(thing._lease(pool_request()) for _ in range(4)))
            for (lease,) in leases:
                await lease.release()

        pool._loop.run(all_at_once())
        return
    taken = [idle_or_new(thing) for _ in range(4)]
    for connection in taken:
        idle.kept(thing._engine.performer.client().connection_pool, connection)


def idle_or_new(pool: WanPortPool) -> Any:
    """A connection in the state in which calls leave it."""
    connections = pool._engine.performer.client().connection_pool
    connection = connections.get_connection()
    connection.swap(b"*1\r\n$4\r\nPING\r\n")
    return connection


def test_what_threads_leave_behind_is_used_by_others(own_server: Server) -> None:
    with WanPortPool(f"unix://{own_server.socket}", namespace="test", rest=0) as pool:
        pool.define_wan(0, "20000-20019", cooldown=0, fresh=True)
        for _ in range(30):
            thread = threading.Thread(target=lambda: pool.acquire(0).release())
            thread.start()
            thread.join()
        assert len(connections(pool)) <= 3 and len(own_server.admin.client_list()) <= 8
    assert not connections(pool)


def test_a_wish_for_few_connections_is_kept(own_server: Server) -> None:
    url = f"unix://{own_server.socket}?max_connections=20"
    with WanPortPool(url, namespace="test", rest=0) as pool:
        pool.define_wan(0, "20000-20019", cooldown=0, fresh=True)
        pool.acquire(0).release()
        assert not hasattr(pool._engine.performer.client().connection_pool, "kept_idle")


def test_a_refusal_costs_one_request(pool: Any, own_server: Server) -> None:
    leases = pool.acquire_many(0, 20)
    with suppress(PoolExhausted):
        pool.acquire(0)
    own_server.admin.config_resetstat()
    with pytest.raises(PoolExhausted):
        pool.acquire(0)
    assert own_server.admin.info("commandstats")["cmdstat_evalsha"]["calls"] == 1
    assert len(leases) == 20


WHOLE: list[tuple[bytes, Any]] = [
    (b"*2\r\n$2\r\nOK\r\n:-7\r\n", ["OK", -7]),
    (b"*0\r\n", []),
    (b"*-1\r\n", None),
    (b"$-1\r\n", None),
    (b"$0\r\n\r\n", ""),
    (b"+OK\r\n", "OK"),
    (b"*2\r\n$4\r\na\r\nb\r\n*1\r\n:1\r\n", ["a\r\nb", [1]]),
    (b"*1\r\n$5\r\na\xe2\x82\xacb\r\n", ["a€b"]),
    (b"*2\r\n$-1\r\n+x\r\n", [None, "x"]),
    (b"-ERR no\r\n", Refused("ERR no")),
]


@pytest.mark.parametrize(("data", "reply"), WHOLE)
def test_a_reply_is_read_when_it_is_whole_and_not_before(data: bytes, reply: Any) -> None:
    assert reply_of(data) == reply and type(reply_of(data)) is type(reply)
    for end in range(len(data)):
        with pytest.raises(Unfinished):
            reply_of(data[:end])


@pytest.mark.parametrize("data", [b"+OK\r\n+OK\r\n", b"?\r\n", b"*1\r\n$2\r\nabc\r\n", b":x\r\n", b"$1\r\nab\r\n\r\n"])
def test_what_is_no_single_reply_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        reply_of(data)
