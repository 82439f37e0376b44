"""A host with several addresses, of which the first never answers, or refuses."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import aiohttp
import httpx
import pytest
from waiting import wait_for
from web import Web

from redis_wanpool import AsyncWanPortPool, InvalidValue, WanPortPool
from redis_wanpool.http.aiohttp import WanConnector
from redis_wanpool.http.httpx import AsyncWanTransport, WanTransport
from redis_wanpool.http.requests import WanSession
from redis_wanpool.model.address import Failure
from redis_wanpool.sockets import race

NAME = "several.example"
PORTS = range(25530, 25540)
Get = Callable[[str, int], int]


@contextmanager
def hanging(port: int) -> Iterator[None]:
    """127.0.0.2 answers no connection on that port: its queue is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.2", port))
        listener.listen(0)
        for _ in range(3):
            visitor = stack.enter_context(socket.socket())
            visitor.setblocking(False)
            assert visitor.connect_ex(("127.0.0.2", port)) in (0, errno.EINPROGRESS)
        yield


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with two addresses, the second of which is the web server's."""
    found = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host not in (NAME, NAME.encode()):
            return found(host, port, *args, **kwargs)
        both = [found(address, port, socket.AF_INET, socket.SOCK_STREAM) for address in ("127.0.0.2", "127.0.0.1")]
        return [*both[0], *both[1]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.fixture
def pool(server: Any) -> Iterator[WanPortPool]:
    with WanPortPool(server.url, namespace="test", rest=0) as pool:
        pool.define_wan(0, "25530-25539", cooldown=0)
        yield pool


def by_connect(url: str, port: int) -> int:
    with WanPortPool(url, namespace="test", rest=0) as pool, pool.connect(0, (NAME, port), timeout=2) as sock:
        assert sock.gettimeout() == 2 and sock.getpeername() == ("127.0.0.1", port)
        return int(sock.getsockname()[1])


def by_lease(url: str, port: int) -> int:
    with (
        WanPortPool(url, namespace="test", rest=0) as pool,
        pool.acquire(0, reuse_address=True) as lease,
        lease.connect((NAME, port), timeout=2) as sock,
    ):
        return int(sock.getsockname()[1])


def by_requests(url: str, port: int) -> int:
    with WanPortPool(url, namespace="test", rest=0) as pool, WanSession(pool, 0) as session:
        return int(session.get(f"http://{NAME}:{port}/", timeout=2).json()["port"])


def by_httpx(url: str, port: int) -> int:
    with (
        WanPortPool(url, namespace="test", rest=0) as pool,
        httpx.Client(transport=WanTransport(pool, 0), timeout=2) as client,
    ):
        return int(client.get(f"http://{NAME}:{port}/").json()["port"])


def by_httpx_async(url: str, port: int) -> int:
    async def get() -> int:
        async with (
            AsyncWanPortPool(url, namespace="test", rest=0) as pool,
            httpx.AsyncClient(transport=AsyncWanTransport(pool, 0), timeout=2) as client,
        ):
            return int((await client.get(f"http://{NAME}:{port}/")).json()["port"])

    return asyncio.run(get())


def by_aiohttp(url: str, port: int) -> int:
    async def get() -> int:
        total = aiohttp.ClientTimeout(total=4)
        async with (
            AsyncWanPortPool(url, namespace="test", rest=0) as pool,
            aiohttp.ClientSession(connector=WanConnector(pool, 0), timeout=total) as session,
            session.get(f"http://{NAME}:{port}/") as response,
        ):
            return int((await response.json(content_type=None))["port"])

    return asyncio.run(get())


def by_streams(url: str, port: int) -> int:
    async def get() -> int:
        async with AsyncWanPortPool(url, namespace="test", rest=0) as pool, asyncio.timeout(2):
            _, writer = await pool.connect(0, (NAME, port))
            writer.close()
            await writer.wait_closed()
            return int(writer.lease.port)  # type: ignore[attr-defined]

    return asyncio.run(get())


CLIENTS = [by_connect, by_lease, by_requests, by_httpx, by_httpx_async, by_aiohttp, by_streams]


@pytest.mark.parametrize("get", CLIENTS)
def test_an_address_that_never_answers_leaves_time_for_the_next(
    get: Get, pool: WanPortPool, server: Any, web: Web, several: None
) -> None:
    with hanging(web.server_address[1]):
        assert get(server.url, web.server_address[1]) in PORTS
    wait_for(lambda: pool.snapshot(0).leased == 0)


@pytest.mark.parametrize("get", CLIENTS)
def test_an_address_that_refuses_costs_no_time(
    get: Get, pool: WanPortPool, server: Any, web: Web, several: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(race, "STAGGER", 3600.0)
    assert get(server.url, web.server_address[1]) in PORTS


@pytest.mark.parametrize("get", [by_connect, by_httpx_async])
@pytest.mark.parametrize("where", ["nobody", "all hang"])
def test_when_none_answers_the_port_comes_back(
    get: Get, where: str, pool: WanPortPool, server: Any, several: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:
        free = stack.enter_context(socket.socket())
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        if where == "all hang":
            stack.enter_context(hanging(port))
            monkeypatch.setattr(race, "STAGGER", 3600.0)
        with pytest.raises((OSError, httpx.ConnectTimeout, httpx.ConnectError)):
            get(server.url, port)
    wait_for(lambda: pool.snapshot(0).leased == 0)


@pytest.mark.parametrize("face", ["sync", "asyncio"])
def test_a_refused_port_was_used_if_another_attempt_is_still_pending(
    face: str, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The router may remember its SYN, so the port needs its cool-down."""
    bound = iter([race._bound(25539, ""), Failure(OSError(errno.EADDRINUSE, "no"), port_at_fault=True)])
    monkeypatch.setattr(race, "_bound", lambda *_: next(bound))
    address = ("127.0.0.2", web.server_address[1])
    with hanging(address[1]):
        if face == "sync":
            result = race.connect(25539, [address, address], 5.0)
        else:
            result = asyncio.run(race.connect_async(25539, [address, address], 5.0))
    assert isinstance(result, Failure) and result.port_at_fault and result.used


def test_on_windows_the_addresses_divide_the_time(
    pool: WanPortPool, web: Web, several: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port can be bound only once there."""
    monkeypatch.setattr(race, "ONE_BY_ONE", True)
    with hanging(web.server_address[1]):
        pool.connect(0, (NAME, web.server_address[1]), timeout=2).close()


def test_a_reset_beside_an_attempt_that_the_router_remembers_is_no_reset(
    pool: WanPortPool, server: Any, web: Web, several: None
) -> None:
    pool.define_wan(1, "25540-25540", cooldown=100)
    with hanging(web.server_address[1]):
        sock = pool.connect(1, (NAME, web.server_address[1]), timeout=5)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    cools = server.admin.zscore("wanpool:{test:1}:cooling", 25540) - server.admin.time()[0] * 1000
    assert cools > 50_000, "a reset alone cools for 15 s"


@pytest.mark.parametrize(
    ("address", "timeout", "words"),
    [
        (("", 80), 1.0, "not empty"),
        (("a" * 64 + ".example", 80), 1.0, "cannot be a name in the DNS"),
        (("a..b", 80), 1.0, "cannot be a name in the DNS"),
        (("a\0b", 80), 1.0, "must be a name"),
        (("127.0.0.1", 80), 0, "timeout"),
    ],
)
def test_an_address_or_timeout_that_cannot_be_is_said_before_anything_is_leased(
    pool: WanPortPool, address: Any, timeout: float, words: str
) -> None:
    with pytest.raises(InvalidValue, match=words):
        pool.connect(0, address, timeout=timeout)
    with pool.acquire(0, reuse_address=True) as lease, pytest.raises(InvalidValue, match=words):
        lease.connect(address, timeout)
    assert pool.snapshot(0).leased == 0
