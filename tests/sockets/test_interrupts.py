"""Interrupts and cancellations at the worst moments: the next answer is the right one, and nothing stays behind."""

from __future__ import annotations

import asyncio
import copy
import gc
import os
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import FrameType
from typing import Any

import pytest
import redis
import redis.asyncio
from faces import make
from listening import listening
from private_server import Server
from waiting import KEPT_TTL, wait_for

import redis_wanpool
from redis_wanpool import AsyncWanPortPool, WanPortPool
from redis_wanpool.engine.ticker import Ticker
from redis_wanpool.system.clock import boottime

PREFIX = "wanpool:{test:0}:"
OURS = os.path.dirname(redis_wanpool.__file__)  # noqa: PTH120  # as frames have it


def interrupted_at(line: int, act: Callable[[], object], *, but: str = "") -> bool:
    """Whether the act was interrupted, at that line of our code, but for a function, counted as they are passed.

    An interrupt of a finalizer goes no further, and counts.
    """
    left = line

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.startswith(OURS) or frame.f_code.co_name == but:
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


@pytest.mark.slow
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
        pool.define_wan(0, "23000-23899", cooldown=0, lease_ttl=60, fresh=True)
        act()
        line = 0
        while interrupted_at(line, act):
            line += 1
        assert line > 100 and sys.exc_info() == (None, None, None)
        pool._engine.heartbeat.due(boottime())
        wait_for(lambda: not server.admin.zcard(PREFIX + "leased") and not pool._engine.protocol.leases)
        assert pool.snapshot(0).leased == 0


def beats(pool: Any) -> None:
    """Collects garbage, and makes the heartbeat look at what is left."""
    gc.collect()
    pool._engine.heartbeat.due(boottime())


def interrupt_blocks(url: str) -> None:
    """Interrupts a block at each line of ours; run as a program."""

    def act() -> None:
        with pool.acquire(0, reuse_address=True) as lease:
            assert lease.port

    with WanPortPool(url, namespace="test", rest=0) as pool, redis.Redis.from_url(url) as admin:
        pool.define_wan(0, "23000-23899", cooldown=0, lease_ttl=60, fresh=True)
        act()
        line = 0
        while interrupted_at(line, act, but="__enter__"):
            line += 1
        assert line > 100
        beats(pool)
        ledger = pool._engine.protocol.ledger
        assert not ledger.anchors
        # A trace function that raises in a `with` may leave an error that keeps frames, and what they refer to
        wait_for(lambda: admin.zcard(PREFIX + "leased") == len(ledger.kept()) <= 2)


@pytest.mark.slow
def test_a_block_interrupted_at_any_line_leaves_no_lease(server: Any) -> None:
    """But at the first step of `__enter__`: an interrupt there leaves what `pool.acquire(0).port` leaves.

    In a process apart: Python 3.11 miscounts how deep its calls are when a trace function raises in a generator.
    """
    program = f"import sys; sys.path[:0] = {sys.path!r}; from test_interrupts import interrupt_blocks as interrupt\n"
    command = [sys.executable, "-P", "-c", program + f"interrupt({server.url!r})"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr


class TestLeaseThatNothingRefersTo:
    @pytest.fixture
    def pool(self, server: Any, face: str, loop: Any) -> Iterator[Any]:
        with make(face, loop, server.url, namespace="test", rest=0) as pool:
            pool.define_wan(0, "23900-23909", cooldown=0, lease_ttl=KEPT_TTL, fresh=True)
            yield pool

    @pytest.mark.slow
    def test_lives_on_if_its_user_has_the_number(self, pool: Any, server: Any) -> None:
        ports = [pool.acquire(0).port, pool.allocate_port(wan_idx=0)]
        ports += [lease.port for lease in pool.acquire_many(0, 2)]
        ends = server.admin.zmscore(PREFIX + "leased", ports)
        beats(pool)
        wait_for(
            lambda: all(
                now > then + KEPT_TTL * 1000
                for now, then in zip(server.admin.zmscore(PREFIX + "leased", ports), ends, strict=True)
            )
        )
        assert all(pool.release_port(0, port) for port in ports)

    async def entered(self, pool: Any) -> Any:
        """The socket of a lease in a block that nobody leaves."""
        if isinstance(pool, WanPortPool):
            return pool.acquire(0, reuse_address=True).__enter__().socket()
        return (await pool.acquire(0, reuse_address=True).__aenter__()).socket()

    def test_is_given_back_when_its_block_has_ended_without_that(self, pool: Any, server: Any, loop: Any) -> None:
        sock = loop.run(self.entered(getattr(pool, "_thing", pool)))
        beats(pool)
        pool._engine.protocol.ledger.find_dropped()
        assert not pool._engine.protocol.doubts and server.admin.zscore(PREFIX + "leased", sock.getsockname()[1])
        sock.close()
        del sock
        beats(pool)
        wait_for(lambda: not server.admin.zcard(PREFIX + "leased"))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_lease_is_not_copied(server: Any, face: str, loop: Any, copied: Callable[[Any], Any]) -> None:
    with make(face, loop, server.url, namespace="test", rest=0) as pool:
        pool.define_wan(0, "23000-23009", cooldown=0, fresh=True)
        lease = pool.acquire(0)
        with pytest.raises(TypeError, match="cannot be copied or pickled"):
            copied(getattr(lease, "_thing", lease))


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
            pool.define_wan(0, "23900-23909", fresh=True)
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
            await pool.define_wan(0, "23900-23909", fresh=True)
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
