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
from contextlib import contextmanager, suppress
from typing import Any, cast

import aiohttp
import httpx
import pytest
import requests
import trustme
import urllib3
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
        pool.define_wan(0, "24300-24309", cooldown=0)
        pool.define_wan(1, "24310-24319", cooldown=0)
        yield pool


@pytest.fixture
def web() -> Iterator[Web]:
    web = Web()
    yield web
    web.close()


@contextmanager
def listening(talk: Callable[[socket.socket], object]) -> Iterator[str]:
    """A server of connections, each in a thread; its URL."""

    def serve(visitor: socket.socket) -> None:
        with suppress(OSError), visitor:
            talk(visitor)

    def listen() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=listen, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def answer(text: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text)


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of a server, and of who trusts it."""
    authority = trustme.CA()
    serving, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(serving)
    authority.configure_trust(trusting)
    return serving, trusting


def story(url: str, tell: Callable[[AsyncWanPortPool], Any]) -> None:
    async def run() -> None:
        async with AsyncWanPortPool(url, namespace="test", rest=0) as pool:
            await asyncio.wait_for(tell(pool), 20)

    asyncio.run(run())


class TestServerThatDoesNotRead:
    """A body that is never read keeps neither the caller nor the port."""

    @pytest.fixture
    def deaf(self) -> Iterator[str]:
        over = threading.Event()
        with listening(lambda visitor: over.wait(60)) as url:
            yield url
            over.set()

    def test_httpx_async(self, server: Any, pool: WanPortPool, deaf: str) -> None:
        async def tell(mine: AsyncWanPortPool) -> None:
            timeout = httpx.Timeout(10, write=0.1)
            async with httpx.AsyncClient(transport=AsyncWanTransport(mine, 0), timeout=timeout) as client:
                with pytest.raises(httpx.WriteTimeout):
                    await client.post(deaf, content=bytes(30_000_000))
                await asyncio.to_thread(wait_for, lambda: not server.admin.zcard(LEASED))

        story(server.url, tell)

    def test_httpx_async_with_tls(self, server: Any, pool: WanPortPool) -> None:
        over, (serving, trusting) = threading.Event(), contexts()

        def talk(visitor: socket.socket) -> None:
            with serving.wrap_socket(visitor, server_side=True):
                over.wait(60)

        async def tell(mine: AsyncWanPortPool) -> None:
            url, timeout = base.replace("http://127.0.0.1", "https://localhost"), httpx.Timeout(10, write=0.1)
            transport = AsyncWanTransport(mine, 0, verify=trusting)
            async with httpx.AsyncClient(transport=transport, timeout=timeout) as client:
                with pytest.raises(httpx.WriteTimeout):
                    await client.post(url, content=bytes(30_000_000))
                await asyncio.to_thread(wait_for, lambda: not server.admin.zcard(LEASED))

        with listening(talk) as base:
            story(server.url, tell)
            over.set()

    def test_aiohttp(self, server: Any, pool: WanPortPool, deaf: str) -> None:
        async def tell(mine: AsyncWanPortPool) -> None:
            async with aiohttp.ClientSession(connector=WanConnector(mine, 0)) as session:
                with pytest.raises(TimeoutError):
                    await session.post(
                        deaf, data=io.BytesIO(bytes(30_000_000)), timeout=aiohttp.ClientTimeout(total=0.2)
                    )
                await asyncio.to_thread(wait_for, lambda: not server.admin.zcard(LEASED))

        story(server.url, tell)


def test_httpx_async_waits_for_no_goodbye_of_tls(server: Any, pool: WanPortPool) -> None:
    over, (serving, trusting) = threading.Event(), contexts()

    def talk(visitor: socket.socket) -> None:
        tls = serving.wrap_socket(visitor, server_side=True)
        tls.recv(10_000)
        tls.sendall(answer(b"yes"))
        over.wait(60)
        tls.detach()

    async def tell(mine: AsyncWanPortPool) -> None:
        url = base.replace("http://127.0.0.1", "https://localhost")
        async with httpx.AsyncClient(transport=AsyncWanTransport(mine, 0, verify=trusting)) as client:
            assert (await client.get(url)).text == "yes"
        await asyncio.to_thread(wait_for, lambda: not server.admin.zcard(LEASED))

    with listening(talk) as base:
        story(server.url, tell)
        over.set()


def test_what_nobody_asked_for_makes_an_idle_connection_useless() -> None:
    """httpcore asks whether an idle connection is readable, and takes another then."""

    async def tell() -> None:
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

    asyncio.run(asyncio.wait_for(tell(), 20))


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
        assert port() in range(24310, 24320)
        connection.request("GET", "/")
    assert b"2431" in connection.getresponse().read(), "what is under way is not cut"
    assert port() in range(24300, 24310)
    connection.close()
    wait_for(lambda: pool.snapshot(0).leased == pool.snapshot(1).leased == 0)


def test_closing_waits_for_nobody(pool: WanPortPool, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    talked: list[int] = []
    talk, here = pool._talk, threading.get_ident()
    manager = WanPoolManager(pool, 0)
    assert manager.request("GET", web.url).status == 200
    monkeypatch.setattr(pool, "_talk", lambda step: (talked.append(threading.get_ident()), talk(step))[1])
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
