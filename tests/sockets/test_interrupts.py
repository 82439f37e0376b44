"""Interrupts and cancellations at the worst moments: the next answer is the right one, and nothing stays behind."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import FrameType
from typing import Any

import pytest
import redis
import redis.asyncio
from listening import listening
from private_server import Server
from waiting import wait_for

import redis_wanpool
from redis_wanpool import AsyncWanPortPool, WanPortPool
from redis_wanpool.engine.ticker import Ticker
from redis_wanpool.system.clock import boottime

PREFIX = "wanpool:{test:0}:"
OURS = os.path.dirname(redis_wanpool.__file__)  # noqa: PTH120  # as frames have it


def interrupted_at(line: int, act: Callable[[], object]) -> bool:
    """Whether the act was interrupted, at that line of our code, counted as they are passed.

    An interrupt of a finalizer goes no further, and counts.
    """
    left = line

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        if event == "line":
            left -= 1
            if left == -1:
                raise KeyboardInterrupt
        return trace

    def apart() -> Iterator[None]:
        """An error that the interrupt keeps from being forgotten would be the context of all later ones in this thread.

        Python leaves it if a trace function raises where a `with` has caught an error; a generator takes it along.
        """
        act()
        yield

    sys.settrace(trace)
    try:
        with suppress(KeyboardInterrupt):
            next(apart())
    finally:
        sys.settrace(None)
    return left < 0


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """A server that waits for the end."""
    with listening(lambda visitor: visitor.recv(1)) as address:
        yield address


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("how", ["plain", "file", "duplicate", "detached"])
def test_a_connection_interrupted_at_any_line_leaves_no_lease(server: Any, echo: Any, how: str) -> None:
    def act() -> None:
        sock = pool.connect(0, echo, timeout=5, close_on_loss=True)
        if how == "file":
            sock.makefile("rb").close()
        elif how == "duplicate":
            sock.dup().close()
        elif how == "detached":
            sock = socket.socket(fileno=sock.detach())  # type: ignore[assignment]
        sock.close()

    with WanPortPool(server.url, namespace="test", rest=0) as pool:
        pool.define_wan(0, "23000-23899", cooldown=0, lease_ttl=60)
        act()
        line = 0
        while interrupted_at(line, act):
            line += 1
        assert line > 100 and sys.exc_info() == (None, None, None)
        pool._engine.heartbeat.due(boottime())
        wait_for(lambda: not server.admin.zcard(PREFIX + "leased") and not pool._engine.protocol.leases)
        assert pool.snapshot(0).leased == 0


def test_a_thread_that_somebody_is_just_starting_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ticker, "AFTER_ERROR", 20.0)
    told: list[str] = []
    background = Ticker("test", lambda: None)
    background._thread = threading.Thread(target=background._run)  # as between the two lines of another thread's start
    background.stop(lambda: told.append("the end"))
    threading.Timer(0.05, background._thread.start).start()
    assert background.join() and told == ["the end"]


class TestHandshake:
    """One that ended half-way leaves replies that are nobody's answer; redis-py sees what is there already."""

    @pytest.fixture
    def guarded(self, own_server: Server) -> str:
        """The URL of a server that is greeted with a password and the choice of a database."""
        own_server.admin.config_set("requirepass", "sesame")
        return f"unix://:sesame@{own_server.socket}?db=1"

    @pytest.mark.parametrize("at", range(4))
    def test_an_interrupted_one_answers_no_call(self, guarded: str, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
        left, real = [at], redis.connection.AbstractConnection.read_response

        def read(self: Any, *args: Any, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] == -1:
                raise KeyboardInterrupt
            return real(self, *args, **kwargs)

        with WanPortPool(guarded, namespace="test") as pool:
            pool.define_wan(0, "23900-23909")
            pool._engine.performer.client().connection_pool.disconnect()
            with monkeypatch.context() as patch:
                patch.setattr(redis.connection.AbstractConnection, "read_response", read)
                patch.setattr(redis.connection.AbstractConnection, "can_read", lambda *args, **kwargs: False)
                with suppress(KeyboardInterrupt):
                    pool.snapshot(0)
                left[0] = 1_000
                for _ in range(10):
                    assert pool.snapshot(0).free == 10

    @pytest.mark.parametrize("at", range(4))
    async def test_a_cancelled_one_answers_no_call(self, guarded: str, at: int, monkeypatch: Any) -> None:
        left, real = [at], redis.asyncio.connection.AbstractConnection.read_response

        async def read(self: Any, *args: Any, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] == -1:
                raise asyncio.CancelledError
            return await real(self, *args, **kwargs)

        async def nothing(*args: Any, **kwargs: Any) -> bool:
            return False

        async with AsyncWanPortPool(guarded, namespace="test") as pool:
            await pool.define_wan(0, "23900-23909")
            await pool._caller.client().connection_pool.disconnect()
            with monkeypatch.context() as patch:
                patch.setattr(redis.asyncio.connection.AbstractConnection, "read_response", read)
                for name in ("can_read", "can_read_destructive"):  # of redis-py 8, and before
                    patch.setattr(redis.asyncio.connection.AbstractConnection, name, nothing, raising=False)
                with suppress(asyncio.CancelledError):
                    await pool.snapshot(0)
                left[0] = 1_000
                for _ in range(10):
                    assert (await pool.snapshot(0)).free == 10
