"""HTTP clients from leased ports, with servers that do not behave and callers who err."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import io
import json
import socket
import ssl
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, cast

import aiohttp
import httpx
import pytest
import requests
import urllib3
from listening import listening
from waiting import wait_for
from web import Web

from redis_wanpool import AsyncWanPortPool, InvalidValue, WanPortPool
from redis_wanpool.http import over_wan
from redis_wanpool.http.aiohttp import WanConnector
from redis_wanpool.http.client import WanHTTPConnection
from redis_wanpool.http.httpcore import PIECE, _AsyncStream, _Stream
from redis_wanpool.http.httpx import AsyncWanTransport, WanTransport
from redis_wanpool.http.line import Line
from redis_wanpool.http.requests import WanSession
from redis_wanpool.http.urllib3 import WanPoolManager

LEASED = "wanpool:{test:0}:leased"


@pytest.fixture
def pool(server: Any) -> Iterator[WanPortPool]:
    with WanPortPool(server.url, namespace="test", rest=0) as pool:
        pool.define_wan(0, "24600-24609", cooldown=0)
        pool.define_wan(1, "24610-24619", cooldown=0)
        yield pool


def answer(text: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text)


class TestServerThatDoesNotRead:
    """A body that is never read keeps neither the caller nor the port."""

    @pytest.fixture(params=["http", "https"])
    def deaf(self, request: Any, serving: ssl.SSLContext) -> Iterator[str]:
        over = threading.Event()

        def talk(visitor: socket.socket) -> None:
            with serving.wrap_socket(visitor, server_side=True) if request.param == "https" else visitor:
                over.wait(60)

        with listening(talk) as (_, port):
            yield f"{request.param}://localhost:{port}"
            over.set()

    @pytest.fixture
    def given_back(self, server: Any) -> Callable[[], Any]:
        return lambda: asyncio.to_thread(wait_for, lambda: not server.admin.zcard(LEASED))

    async def test_httpx_async(
        self, pool: Any, async_pool: AsyncWanPortPool, deaf: str, trusting: ssl.SSLContext, given_back: Any
    ) -> None:
        transport, timeout = AsyncWanTransport(async_pool, 0, verify=trusting), httpx.Timeout(10, write=0.1)
        async with httpx.AsyncClient(transport=transport, timeout=timeout) as client:
            with pytest.raises(httpx.WriteTimeout):
                await client.post(deaf, content=bytes(30_000_000))
            await given_back()

    @pytest.mark.parametrize("size", [1_000, 30_000_000], ids=["all-is-sent", "some-is-left"])
    async def test_aiohttp(
        self, pool: Any, async_pool: AsyncWanPortPool, deaf: str, trusting: ssl.SSLContext, given_back: Any, size: int
    ) -> None:
        async with aiohttp.ClientSession(connector=WanConnector(async_pool, 0, ssl=trusting)) as session:
            with pytest.raises(TimeoutError):
                await session.post(deaf, data=io.BytesIO(bytes(size)), timeout=aiohttp.ClientTimeout(total=0.2))
            await given_back()


async def test_httpx_async_waits_for_no_goodbye_of_tls(
    server: Any, pool: WanPortPool, async_pool: AsyncWanPortPool, serving: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    over = threading.Event()

    def talk(visitor: socket.socket) -> None:
        tls = serving.wrap_socket(visitor, server_side=True)
        tls.recv(10_000)
        tls.sendall(answer(b"yes"))
        over.wait(60)
        tls.detach()

    with listening(talk) as (_, port):
        async with httpx.AsyncClient(transport=AsyncWanTransport(async_pool, 0, verify=trusting)) as client:
            assert (await client.get(f"https://localhost:{port}")).text == "yes"
        await asyncio.to_thread(wait_for, lambda: not server.admin.zcard(LEASED))
        over.set()


async def test_what_nobody_asked_for_makes_an_idle_connection_useless() -> None:
    """httpcore asks whether an idle connection is readable, and takes another then."""
    here, there = socket.socketpair()
    here.setblocking(False)
    with there:
        stream = await _AsyncStream.over(here)
        assert not stream.get_extra_info("is_readable")
        there.sendall(answer(b"asked"))
        assert await stream.read(1000) == answer(b"asked")
        assert not stream.get_extra_info("is_readable")
        there.sendall(answer(b"unasked"))
        while not stream._reader.unread:  # the loop has taken it from the socket
            await asyncio.sleep(0.001)
        assert stream.get_extra_info("is_readable")
        await stream.aclose()


def test_a_body_that_moves_is_not_late() -> None:
    class Narrow:
        sent = b""

        def settimeout(self, seconds: float) -> None:
            self.timeout = seconds

        def send(self, data: memoryview) -> int:
            self.sent += bytes(data[:1000])
            return min(1000, len(data))

    sock: Any = Narrow()
    _Stream(sock).write(bytes(range(256)) * 20, timeout=3)
    assert sock.sent == bytes(range(256)) * 20 and sock.timeout == 3


def test_a_body_that_moves_is_not_late_with_asyncio() -> None:
    class Narrow:
        def __init__(self) -> None:
            self.sent: list[bytes] = []

        def write(self, data: memoryview) -> None:
            self.sent.append(bytes(data))

        async def drain(self) -> None:
            self.sent.append(b"")

    async def tell() -> None:
        here, there = socket.socketpair()
        here.setblocking(False)
        with there:
            stream = await _AsyncStream.over(here)
            writer, stream._writer = stream._writer, cast("Any", narrow)
            await stream.write(body, timeout=3)
            writer.close()

    narrow, body = Narrow(), bytes(range(256)) * 1000
    asyncio.run(tell())
    assert b"".join(narrow.sent) == body
    assert [len(data) for data in narrow.sent] == [PIECE, 0, PIECE, 0, PIECE, 0, len(body) - 3 * PIECE, 0]


def test_http_client_goes_by_the_wan_that_is_chosen_for_each_request(pool: WanPortPool, web: Web) -> None:
    connection = WanHTTPConnection(pool, 0, web.url.partition("//")[2], timeout=5)

    def port() -> int:
        connection.request("GET", "/")
        return int(json.loads(connection.getresponse().read())["port"])

    first = port()
    assert port() == first, "kept alive"
    with over_wan(1):
        assert port() in range(24610, 24620)
        connection.request("GET", "/")
    assert b"2461" in connection.getresponse().read(), "what is under way is not cut"
    assert port() in range(24600, 24610)
    connection.close()
    wait_for(lambda: pool.snapshot(0).leased == pool.snapshot(1).leased == 0)


def test_closing_waits_for_nobody(pool: WanPortPool, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    talked: list[int] = []
    talk, here = pool._engine.performer.talk, threading.get_ident()
    manager = WanPoolManager(pool, 0)
    assert manager.request("GET", web.url).status == 200
    monkeypatch.setattr(
        pool._engine.performer, "talk", lambda step: (talked.append(threading.get_ident()), talk(step))[1]
    )
    manager.clear()
    assert here not in talked
    wait_for(lambda: talked)
    wait_for(lambda: pool.snapshot(0).leased == 0)


def test_a_name_that_cannot_be_one_is_said_as_ever(pool: WanPortPool) -> None:
    url = f"http://{'a' * 64}.example.com/"
    with pytest.raises(urllib3.exceptions.LocationParseError):
        WanPoolManager(pool, 0, retries=False).request("GET", url)
    with WanSession(pool, 0) as session:
        for get in (session.get, requests.get):
            with pytest.raises(urllib3.exceptions.LocationParseError):
                get(url)
    assert pool.snapshot(0).leased == 0


def test_a_forgotten_http_client_connection_needs_no_garbage_collector(pool: WanPortPool) -> None:
    gc.disable()
    try:
        connection: Any = WanHTTPConnection(pool, 0, "localhost")
        alive = weakref.ref(connection)
        del connection
        assert alive() is None
    finally:
        gc.enable()


def test_http2_without_its_package_is_said_at_once(pool: WanPortPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InvalidValue, match=r"httpx\[http2\]"):
        WanTransport(pool, 0, http2=True)


def test_the_order_of_a_choice_makes_no_difference(pool: WanPortPool) -> None:
    assert Line(pool, [0, 1], 0.0, None).wans == Line(pool, (1, 0, 1), 0.0, None).wans == (0, 1)
