"""A server that never comes to an end: every call ends within connect_timeout, and the end of the pool within 2 s."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from faces import Loop, maker
from proxy import Proxy

from redis_wanpool import BackendUnavailable

TIMEOUT, FOR_THE_MACHINE = 1.0, 1.5
"""seconds: the connect_timeout, and what a loaded machine may add"""


@pytest.fixture
def new(face: str, loop: Loop, proxy: Proxy) -> Iterator[Callable[..., Any]]:
    with maker(face, loop, proxy.url, connect_timeout=TIMEOUT) as new:
        yield new


def drip(request: bytes) -> Iterator[bytes]:
    return itertools.chain([b"*900000\r\n"], itertools.repeat(b"$1\r\nx\r\n"))


def drip_a_word(request: bytes) -> Iterator[bytes]:
    return itertools.chain([b"$900000\r\n"], itertools.repeat(b"x"))


def to_scripts(word: bytes) -> Callable[[bytes], list[bytes] | None]:
    return lambda request: [word] if b"EVAL" in request else None


ENDLESS: dict[str, Callable[[bytes], Any]] = {
    "drips": drip,
    "drips a word": drip_a_word,
    "always stepped": to_scripts(b"*1\r\n$7\r\nSTEPPED\r\n"),
    "never knows a script": to_scripts(b"-NOSCRIPT No matching script.\r\n"),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", ENDLESS)
def test_every_call_and_the_end_of_the_pool_come_to_an_end(new: Callable[..., Any], proxy: Proxy, how: str) -> None:
    pool = new()
    pool.define_wan(0, "20000-20003", cooldown=0)
    lease = pool.acquire(0)
    fresh = new()
    proxy.answer = ENDLESS[how]
    for call in (lambda: pool.acquire(0), lease.renew, lambda: fresh.acquire(0), lambda: pool.snapshot(0)):
        began = time.monotonic()
        with pytest.raises(BackendUnavailable):
            call()
        assert time.monotonic() - began < TIMEOUT + FOR_THE_MACHINE
    for each in (pool, fresh):
        began = time.monotonic()
        each.close()
        assert time.monotonic() - began < 2 + FOR_THE_MACHINE
    proxy.answer = lambda request: None


def test_what_is_late_but_comes_is_no_trouble(new: Callable[..., Any], proxy: Proxy) -> None:
    """A reply in many pieces that is whole in time."""
    pool = new(connect_timeout=30.0)
    pool.define_wan(0, "20000-20003", cooldown=0)
    reply = b"*2\r\n$1\r\n0\r\n$1\r\n7\r\n"
    proxy.answer = lambda request: (bytes([byte]) for byte in reply) if b"HKEYS" in request else None
    assert pool.wans() == (0, 7)


def test_a_reply_that_drips_comes_to_an_end_soon(new: Callable[..., Any], proxy: Proxy) -> None:
    """The end of the dripping would be late, too late for a call, and there is one."""
    pool = new()
    proxy.answer = lambda request: itertools.islice(drip(request), round(6 / Proxy.DRIP))
    began = time.monotonic()
    with pytest.raises(BackendUnavailable):
        pool.acquire(0)
    assert time.monotonic() - began < 5


@pytest.mark.slow
def test_the_end_waits_for_no_long_timeout(new: Callable[..., Any], proxy: Proxy) -> None:
    pool = new(connect_timeout=10.0)
    pool.define_wan(0, "20000-20003", cooldown=0)
    pool.acquire(0)
    proxy.answer = lambda request: itertools.islice(drip(request), round(20 / Proxy.DRIP))
    began = time.monotonic()
    pool.close()
    assert time.monotonic() - began < 2 + FOR_THE_MACHINE
