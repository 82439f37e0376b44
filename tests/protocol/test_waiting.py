"""`wait=` is a promise both ways: a call returns within it, and waits out in it whatever trouble passes."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from command_line import spawned, wanpool
from faces import Loop, maker
from private_server import Server, keep_busy
from proxy import Proxy
from web import Web

from redis_wanpool import BackendUnavailable, InGrace, PoolClosed, PoolExhausted, WanNotDefined
from redis_wanpool.protocol.acquiring import Acquiring

LONG = 60.0
"""seconds that a call may wait whose trouble ends"""
IN_GRACE = ("wanpool:{test:0}:config", "grace_until_ms")
AOF = ("--appendonly", "yes", "--appendfsync", "always")


@pytest.fixture
def own_server(started: Callable[..., Server]) -> Server:
    return started(*AOF)


@pytest.fixture
def pools(face: str, loop: Loop, own_server: Server, proxy: Proxy) -> Iterator[Callable[..., Any]]:
    with maker(face, loop, proxy.url) as new:
        yield new


@pytest.fixture
def pool(pools: Callable[..., Any]) -> Any:
    """A pool object that has talked to its server already."""
    pool = pools()
    pool.define_wan(0, "25610-25619", cooldown=0, on_failover="continue")
    return pool


def refusing(word: bytes) -> tuple[Callable[..., object], Callable[..., object]]:
    """A server that answers everything with this error, until it no longer does."""

    def begin(server: Server, proxy: Proxy) -> None:
        proxy.answer = lambda request: [b"-" + word + b" just now\r\n"]

    return begin, lambda server, proxy: setattr(proxy, "answer", lambda request: None)


TROUBLES: dict[str, tuple[Callable[..., object], Callable[..., object]]] = {
    "grace": (
        lambda server, proxy: server.admin.hset(*IN_GRACE, 2**50),
        lambda server, proxy: server.admin.hset(*IN_GRACE, 0),
    ),
    "outage": (lambda server, proxy: server.stop(), lambda server, proxy: server.start(*AOF)),
    "failover": (
        lambda server, proxy: server.admin.replicaof("127.0.0.1", "1"),
        lambda server, proxy: server.admin.replicaof("no", "one"),
    ),
    "busy": (lambda server, proxy: keep_busy(server), lambda server, proxy: server.admin.script_kill()),
    "loading": refusing(b"LOADING Redis is loading the dataset in memory"),
    "masterdown": refusing(b"MASTERDOWN Link with MASTER is down"),
    "clusterdown": refusing(b"CLUSTERDOWN The cluster is down"),
    "tryagain": refusing(b"TRYAGAIN Multiple keys request during rehashing of slot"),
    "silence": (
        lambda server, proxy: server.process.send_signal(signal.SIGSTOP),
        lambda server, proxy: server.process.send_signal(signal.SIGCONT),
    ),
}


@pytest.mark.parametrize("is_known", [True, False], ids=["known", "first"])
@pytest.mark.parametrize("trouble", TROUBLES)
def test_what_passes_is_waited_out(
    pool: Any, pools: Any, own_server: Server, proxy: Proxy, trouble: str, is_known: bool, monkeypatch: Any
) -> None:
    monkeypatch.setattr(Acquiring, "LONGEST_PAUSE", 0.5)
    if not is_known:
        pool = pools(connect_timeout=0.5)
    begin, end = TROUBLES[trouble]
    begin(own_server, proxy)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(lambda: pool.acquire(0, wait=LONG))
        time.sleep(0.3)  # it has met the trouble; were it late, the test would pass for less
        assert not waiting.done()
        end(own_server, proxy)
        assert waiting.result(LONG).port in range(25610, 25620)


@pytest.mark.parametrize("call", ["acquire_many", "connect"])
def test_whatever_takes_a_port_waits(pool: Any, own_server: Server, call: str, web: Web, face: str) -> None:
    own_server.stop()
    with ThreadPoolExecutor(1) as threads:
        if call == "connect":
            waiting = threads.submit(lambda: pool.connect(0, web.server_address, wait=LONG))
        else:
            waiting = threads.submit(lambda: pool.acquire_many(0, 2, wait=LONG, reuse_address=True))
        time.sleep(0.1)
        assert not waiting.done()
        own_server.start(*AOF)
        got = waiting.result(LONG)
    if call == "connect":
        (got if face == "sync" else got[1]).close()
    else:
        assert len(got) == 2


@pytest.mark.parametrize(
    "words", [("run", "--wait", "60s", "--", "true"), ("acquire", "--wait", "60s", "--ttl", "60s")]
)
def test_commands_wait(own_server: Server, words: tuple[str, ...]) -> None:
    env = {"WANPOOL_URL": own_server.url, "WANPOOL_NAMESPACE": "test"}
    assert wanpool("init", "--wan", "0=25610-25619", "--on-failover", "continue", **env).returncode == 0
    own_server.stop()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(spawned, words[0], "--wan", "0", *words[1:], **env)
        time.sleep(1.0)
        own_server.start(*AOF)
        done = waiting.result(LONG)
    assert done.returncode == 0, done


@pytest.mark.parametrize("trouble", TROUBLES)
def test_no_call_takes_longer_than_its_wait(
    pools: Any, pool: Any, own_server: Server, proxy: Proxy, trouble: str
) -> None:
    """And one connect_timeout where Redis is silent."""
    begin, end = TROUBLES[trouble]
    begin(own_server, proxy)
    pool = pools(connect_timeout=0.5)
    before = time.monotonic()
    with pytest.raises((BackendUnavailable, InGrace), match=r"acquire waited .* this has not passed: ") as caught:
        pool.acquire(0, wait=0.4)
    assert 0.4 <= time.monotonic() - before < 0.4 + 0.5 + 1.0, "a second is for the machine"
    assert caught.value.passing and caught.value.__cause__ is not None
    end(own_server, proxy)


def test_a_wait_in_grace_is_no_longer_than_was_asked(pool: Any, own_server: Server) -> None:
    """The steps themselves tell: no sleep ends after the wait."""
    own_server.admin.hset(*IN_GRACE, 2**50)
    before = time.monotonic()
    with pytest.raises(InGrace):
        pool.acquire(0, wait=0.5)
    assert time.monotonic() - before < 3, "it slept until the grace was to be looked at again"


def test_without_a_wait_a_call_tries_once_more_on_a_new_connection(pool: Any, proxy: Proxy, own_server: Server) -> None:
    seen: list[bytes] = []

    def refuse(request: bytes) -> None:
        if b"acquire" not in request and b"EVALSHA" in request:
            seen.append(request)
            raise ConnectionError

    pool.acquire(0).release()
    proxy.answer = refuse  # type: ignore[assignment]
    with pytest.raises(BackendUnavailable) as caught:
        pool.acquire(0)
    proxy.answer = lambda request: None
    assert "waited" not in str(caught.value) and 1 <= len({bytes(request) for request in seen}) <= 4


def test_an_idle_connection_that_was_dropped_is_no_trouble(pool: Any, own_server: Server) -> None:
    pool.acquire(0).release()
    own_server.cut()
    assert pool.acquire(0).release()


def test_what_does_not_pass_is_an_error_at_once(pool: Any, own_server: Server) -> None:
    with pytest.raises(WanNotDefined):
        pool.acquire(7, wait=LONG)
    leases = pool.acquire_many(0, 10, reuse_address=True)
    before = time.monotonic()
    with pytest.raises(PoolExhausted):
        pool.acquire(0, wait=0.2)
    assert time.monotonic() - before < 3 and len(leases) == 10


def test_the_end_of_the_pool_ends_the_wait(pool: Any, own_server: Server) -> None:
    own_server.stop()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(lambda: pool.acquire(0, wait=LONG))
        time.sleep(0.1)
        pool.close()
        with pytest.raises(PoolClosed):
            waiting.result(20)
