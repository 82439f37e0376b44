"""HTTP clients from leased ports: one story, told with each of them."""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import httpx
import psutil
import pytest
import requests
import urllib3
from by_hand import run_script
from faces import Loop
from waiting import wait_for
from web import Web

from redis_wanpool import ANY, AsyncWanPortPool, InvalidValue, LeaseLost, PoolExhausted, WanPortPool
from redis_wanpool.http import over_wan
from redis_wanpool.http.aiohttp import WanConnector
from redis_wanpool.http.client import WanHTTPConnection, WanHTTPSConnection
from redis_wanpool.http.httpx import AsyncWanTransport, WanTransport
from redis_wanpool.http.requests import WanAdapter, WanSession
from redis_wanpool.http.urllib3 import WanPoolManager
from redis_wanpool.model.rendezvous import choose

FIRST, SECOND = range(24300, 24310), range(24310, 24320)
TIMEOUT = 10.0
Seen = dict[str, Any]


class Client:
    """A client of one library. `get` answers what the server saw; all of them follow redirects but http.client."""

    follows = True
    given_up: tuple[type[BaseException], ...]
    """what the library raises when a connection ends in the middle, or cannot be made, or a name is unknown"""

    def __init__(self, url: str, tls: ssl.SSLContext, loop: Loop) -> None:
        self.loop = loop
        self.tls = tls
        self.pool = self.make_pool(url)
        self.open()

    def make_pool(self, url: str) -> Any:
        return WanPortPool(url, namespace="test", rest=0)

    def open(self, wan: Any = 0, wait: float = 5, sticky: str | None = None) -> None:
        raise NotImplementedError

    def get(self, url: str, timeout: float = TIMEOUT) -> Seen:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def get_all(self, urls: list[str]) -> list[Seen]:
        with ThreadPoolExecutor(len(urls)) as executor:
            return list(executor.map(self.get, urls))

    def end(self) -> None:
        self.close()
        self.pool.close()


class HttpClient(Client):
    follows = False
    given_up = (http.client.HTTPException, OSError)

    def open(self, wan: Any = 0, wait: float = 5, sticky: str | None = None) -> None:
        self.how: Any
        self.wan, self.how = wan, {"wait": wait, "sticky": sticky}
        self.kept: dict[str, WanHTTPConnection] = {}

    def connection(self, url: str) -> WanHTTPConnection:
        host = urlsplit(url).netloc
        if url.startswith("https"):
            return WanHTTPSConnection(self.pool, self.wan, host, **self.how, timeout=TIMEOUT, context=self.tls)
        return WanHTTPConnection(self.pool, self.wan, host, **self.how, timeout=TIMEOUT)

    def get(self, url: str, timeout: float = TIMEOUT) -> Seen:
        place = url.partition("//")[2].partition("/")[0]
        connection = self.kept.setdefault(place, self.connection(url))
        return self.ask(connection, url, timeout)

    def ask(self, connection: WanHTTPConnection, url: str, timeout: float) -> Seen:
        connection.timeout = timeout
        try:
            connection.request("GET", urlsplit(url).path)
            seen: Seen = json.loads(connection.getresponse().read())
        except BaseException:
            connection.close()
            raise
        return seen

    def get_all(self, urls: list[str]) -> list[Seen]:
        connections = [self.connection(url) for url in urls]
        try:
            with ThreadPoolExecutor(len(urls)) as executor:
                return list(executor.map(self.ask, connections, urls, [TIMEOUT] * len(urls)))
        finally:
            for connection in connections:
                connection.close()

    def close(self) -> None:
        for connection in self.kept.values():
            connection.close()


class Urllib3(Client):
    given_up = (urllib3.exceptions.HTTPError,)

    def open(self, wan: Any = 0, wait: float = 5, sticky: str | None = None) -> None:
        self.manager = WanPoolManager(
            self.pool, wan, wait=wait, sticky=sticky, maxsize=8, retries=False, ssl_context=self.tls
        )

    def get(self, url: str, timeout: float = TIMEOUT) -> Seen:
        retries = urllib3.Retry(redirect=3, connect=0, read=0, total=None)
        return self.manager.request("GET", url, timeout=timeout, retries=retries).json()

    def close(self) -> None:
        self.manager.clear()


class Requests(Client):
    given_up = (requests.RequestException,)

    def open(self, wan: Any = 0, wait: float = 5, sticky: str | None = None) -> None:
        self.session = WanSession(self.pool, wan, wait=wait, sticky=sticky, pool_maxsize=8)
        adapter: Any = self.session.get_adapter("https://")
        adapter.init_poolmanager(10, 8, ssl_context=self.tls)

    def get(self, url: str, timeout: float = TIMEOUT) -> Seen:
        return self.session.get(url, timeout=timeout).json()

    def close(self) -> None:
        self.session.close()


class Httpx(Client):
    given_up = (httpx.TransportError,)

    def open(self, wan: Any = 0, wait: float = 5, sticky: str | None = None) -> None:
        transport = WanTransport(self.pool, wan, wait=wait, sticky=sticky, verify=self.tls)
        self.client = httpx.Client(transport=transport, follow_redirects=True)

    def get(self, url: str, timeout: float = TIMEOUT) -> Seen:
        return self.client.get(url, timeout=timeout).json()

    def close(self) -> None:
        self.client.close()


class AsyncClient(Client):
    """Its coroutines run on a loop in another thread, each in the context of who calls."""

    def make_pool(self, url: str) -> Any:
        return AsyncWanPortPool(url, namespace="test", rest=0)

    async def fetch(self, url: str, timeout: float) -> Seen:
        raise NotImplementedError

    def get(self, url: str, timeout: float = TIMEOUT) -> Seen:
        return self.loop.run(self.fetch(url, timeout))

    def get_all(self, urls: list[str]) -> list[Seen]:
        async def all_of_them() -> list[Seen]:
            return await asyncio.gather(*(self.fetch(url, TIMEOUT) for url in urls))

        return self.loop.run(all_of_them())

    def end(self) -> None:
        self.close()
        self.loop.run(self.pool.close())


class Aiohttp(AsyncClient):
    given_up = (aiohttp.ClientError, TimeoutError)

    def open(self, wan: Any = 0, wait: float = 5, sticky: str | None = None) -> None:
        async def session() -> aiohttp.ClientSession:
            return aiohttp.ClientSession(connector=WanConnector(self.pool, wan, wait=wait, sticky=sticky, ssl=self.tls))

        self.session = self.loop.run(session())

    async def fetch(self, url: str, timeout: float) -> Seen:
        async with self.session.get(url, timeout=aiohttp.ClientTimeout(timeout)) as response:
            return await response.json(content_type=None)

    def close(self) -> None:
        self.loop.run(self.session.close())


class HttpxAsync(AsyncClient):
    given_up = (httpx.TransportError,)

    def open(self, wan: Any = 0, wait: float = 5, sticky: str | None = None) -> None:
        transport = AsyncWanTransport(self.pool, wan, wait=wait, sticky=sticky, verify=self.tls)
        self.client = httpx.AsyncClient(transport=transport, follow_redirects=True)

    async def fetch(self, url: str, timeout: float) -> Seen:
        return (await self.client.get(url, timeout=timeout)).json()

    def close(self) -> None:
        self.loop.run(self.client.aclose())


KINDS = [HttpClient, Urllib3, Requests, Aiohttp, Httpx, HttpxAsync]


@pytest.fixture
def other_web() -> Iterator[Web]:
    """Another host."""
    web = Web("127.0.0.2")
    yield web
    web.close()


@pytest.fixture
def tls_web(serving: ssl.SSLContext) -> Iterator[Web]:
    web = Web(tls=serving)
    yield web
    web.close()


def held(server: Any) -> set[int]:
    places = [f"wanpool:{{test:{wan_idx}}}:leased" for wan_idx in (0, 1)]
    return {int(port) for place in places for port in server.admin.zrange(place, 0, -1)}


def open_here(*ports: int) -> list[int]:
    """Those of the ports from which this process has a socket."""
    return [found.laddr.port for found in psutil.Process().net_connections("tcp4") if found.laddr.port in ports]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def client(request: Any, server: Any, trusting: ssl.SSLContext, loop: Loop) -> Iterator[Any]:
    with WanPortPool(server.url, namespace="test") as setup:
        setup.define_wan(0, "24300-24309", cooldown=0)
        setup.define_wan(1, "24310-24319", cooldown=0)
    client = request.param(server.url, trusting, loop)
    yield client
    client.close()
    wait_for(lambda: not held(server) and not open_here(*FIRST, *SECOND))  # none is left when the session is closed
    client.end()


following = pytest.mark.parametrize("client", [kind for kind in KINDS if kind.follows], indirect=True)
asynchronous = pytest.mark.parametrize("client", [Aiohttp, HttpxAsync], indirect=True)


def revoke(server: Any, client: Any) -> None:
    """An operator ends all leases, and their holder has heard of it."""
    for lease in list(client.pool._engine.protocol.leases.values()):
        run_script(server.admin, "revoke", lease.port, lease.lease_id)
        with suppress(LeaseLost):
            renewed = lease.renew()
            if renewed is not None:
                client.loop.run(renewed)
        assert lease.reason == "revoked"
    wait_for(lambda: not client.pool._engine.protocol.leases)


def test_two_requests_are_one_connection_with_one_lease(client: Any, web: Web, server: Any) -> None:
    one = client.get(web.url + "/seen")
    assert one["port"] in FIRST and held(server) == {one["port"]} == {*open_here(*FIRST)}
    assert client.get(web.url + "/seen") == one
    client.close()
    wait_for(lambda: not held(server))


def test_tls(client: Any, tls_web: Web, server: Any) -> None:
    one = client.get(tls_web.url + "/seen")
    assert one["port"] in FIRST and held(server) == {one["port"]}
    assert client.get(tls_web.url + "/seen") == one
    client.close()
    wait_for(lambda: not held(server))


def test_requests_at_a_time_have_a_port_each(client: Any, web: Web, server: Any) -> None:
    seen = client.get_all([web.url + "/seen"] * 8)
    ports: dict[int, int] = {}
    for one in seen:
        assert ports.setdefault(one["connection"], one["port"]) == one["port"] and one["port"] in FIRST
    assert len(set(ports.values())) == len(ports)


@following
def test_a_redirect_to_another_host_takes_another_lease(client: Any, web: Web, other_web: Web, server: Any) -> None:
    seen = client.get(f"{web.url}/redirect?to={other_web.url}/seen")
    assert other_web.connections == web.connections == 1
    assert seen["port"] in held(server) and len(held(server)) == 2, "the first one is kept alive"


@pytest.mark.parametrize("path", ["/bye", "/slam"])
def test_a_server_that_closes_first_ends_the_lease(client: Any, web: Web, server: Any, path: str) -> None:
    one = client.get(web.url + path)
    if path == "/bye":
        wait_for(lambda: not held(server))
    for _ in range(20):  # who was told nothing may yet take the dying connection
        with suppress(*client.given_up):
            two = client.get(web.url + "/seen")
            break
    assert two["connection"] > one["connection"]
    wait_for(lambda: held(server) == {two["port"]})


def test_a_connection_does_not_outlive_its_lease(client: Any, web: Web, server: Any) -> None:
    one = client.get(web.url + "/seen")
    revoke(server, client)
    for _ in range(20):
        with suppress(*client.given_up):
            two = client.get(web.url + "/seen")
            break
    assert two["connection"] != one["connection"] and held(server) == {two["port"]}


def test_a_lease_that_is_lost_in_the_middle_ends_the_request(client: Any, web: Web, server: Any) -> None:
    with ThreadPoolExecutor(1) as executor:
        getting = executor.submit(client.get, web.url + "/slow")
        wait_for(lambda: client.pool._engine.protocol.leases and web.connections)
        revoke(server, client)
        with pytest.raises(client.given_up):
            getting.result(20)
    assert not held(server)
    assert client.get(web.url + "/seen")["port"] in FIRST


def test_a_request_that_takes_too_long_gives_its_port_back(client: Any, web: Web, server: Any) -> None:
    with pytest.raises(client.given_up):
        client.get(web.url + "/slow", timeout=0.2)
    wait_for(lambda: not held(server))


@pytest.fixture
def soon_unused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What httpcore forgets is closed soon."""
    monkeypatch.setattr("redis_wanpool.http.httpcore.UNUSED", 0.2)


@asynchronous
@pytest.mark.usefixtures("soon_unused")
def test_a_cancelled_request_gives_its_port_back(client: Any, web: Web, server: Any) -> None:
    async def cancel() -> None:
        getting = asyncio.ensure_future(client.fetch(web.url + "/slow", TIMEOUT))
        while not web.connections:
            await asyncio.sleep(0.005)
        getting.cancel()
        with suppress(asyncio.CancelledError):
            await getting

    client.loop.run(cancel())
    assert client.get(web.url + "/seen")["port"] in FIRST
    wait_for(lambda: len(held(server)) == 1)


class TestChoice:
    """The WAN of a session, and of a request."""

    def test_of_a_request_is_by_over_wan(self, client: Any, web: Web, server: Any) -> None:
        one = client.get(web.url + "/seen")
        with self.over(client, 1) as get:
            two = get(web.url + "/seen")
            assert get(web.url + "/seen") == two
        assert one["port"] in FIRST and two["port"] in SECOND
        if client.follows:  # http.client has one connection, which stays where it is
            assert client.get(web.url + "/seen") == one, "each choice keeps its connections apart"
            assert held(server) == {one["port"], two["port"]}

    def test_of_a_key_is_one_wan_and_moves_with_its_health(
        self, client: Any, web: Web, server: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("redis_wanpool.protocol.choosing.LOOKS_LAST", -1.0)
        keys = {choose(key, {0: 1, 1: 1}): key for key in ("account-1", "account-2", "account-7")}
        for wan_idx, ports in ((0, FIRST), (1, SECOND)):
            with self.over(client, ANY, keys[wan_idx]) as get:
                one = get(web.url + "/seen")
                assert one["port"] in ports and get(web.url + "/seen") == one
        run_script(server.admin, "judge", "h:1:x", 60_000, 1, "down", "-", "no answer")
        with self.over(client, ANY, keys[1]) as get:
            assert get(web.url + "/seen")["port"] in FIRST, "the connection that is kept by WAN 1 is not used"
        client.close()
        client.open(wan=ANY, sticky=keys[1])
        assert client.get(web.url + "/seen")["port"] in FIRST

    @contextmanager
    def over(self, client: Any, wan: Any, key: str | None = None) -> Iterator[Callable[[str], Seen]]:
        if isinstance(client, AsyncClient):

            async def fetch(url: str) -> Seen:
                with over_wan(wan, sticky=key):
                    return await client.fetch(url, TIMEOUT)

            yield lambda url: client.loop.run(fetch(url))
            return
        with over_wan(wan, sticky=key):
            if not client.follows:
                client.close()
            yield client.get

    def test_of_a_session_may_be_several(self, client: Any, web: Web) -> None:
        client.close()
        client.open(wan=[1])
        assert client.get(web.url + "/seen")["port"] in SECOND
        client.close()
        client.open(wan=ANY)
        assert client.get(web.url + "/seen")["port"] in [*FIRST, *SECOND]

    def test_must_be_one(self, client: Any) -> None:
        with pytest.raises(InvalidValue), over_wan(-1):
            pass
        client.close()
        with pytest.raises(InvalidValue):
            client.open(wan="x")
            client.get("http://127.0.0.1:9/")
        client.open()


def test_an_exhausted_wan_is_said_as_such(client: Any, web: Web, server: Any) -> None:
    with WanPortPool(server.url, namespace="test", rest=0) as greedy:
        greedy.acquire_many(0, 10, reuse_address=True)
        client.close()
        client.open(wait=0)
        with pytest.raises(PoolExhausted):
            client.get(web.url + "/seen")
    assert client.get(web.url + "/seen")["port"] in FIRST


def test_what_fails_is_an_error_of_the_client(client: Any, server: Any) -> None:
    with pytest.raises(client.given_up):
        client.get("http://127.0.0.1:9/")  # discard: nobody listens
    with pytest.raises(client.given_up):
        client.get("http://no-such-host.invalid/")
    assert not held(server) and server.admin.scard("wanpool:{test:0}:free") == 10


def test_proxies_of_the_environment_are_not_used(client: Any, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    client.close()
    client.open()
    assert client.get(web.url + "/seen")["port"] in FIRST


class TestRequests:
    """What is of requests and urllib3 alone."""

    @pytest.fixture
    def pool(self, server: Any) -> Iterator[WanPortPool]:
        with WanPortPool(server.url, namespace="test", rest=0) as pool:
            pool.define_wan(0, "24300-24309", cooldown=0)
            yield pool

    def test_an_adapter_refuses_a_proxy(self, pool: WanPortPool, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://secret:password@127.0.0.1:9")
        with requests.Session() as session:
            session.mount("http://", WanAdapter(pool, 0))
            with pytest.raises(InvalidValue, match="trust_env") as caught:
                session.get("http://example.com/")
        assert "password" not in str(caught.value)

    def test_a_retry_takes_another_lease(self, pool: WanPortPool, web: Web) -> None:
        web.to_fail = 2
        manager = WanPoolManager(pool, 0, retries=urllib3.Retry(3))
        assert manager.request("GET", web.url + "/flaky").json()["connection"] == 3
        manager.clear()
        wait_for(lambda: pool.snapshot(0).leased == 0)

    def test_the_source_address_can_be_chosen(self, pool: WanPortPool, web: Web) -> None:
        with WanSession(pool, 0, source_address="127.0.0.5") as session:
            assert session.get(web.url + "/seen").json()["address"] == "127.0.0.5"
        with pytest.raises(InvalidValue, match="source_address"):
            WanSession(pool, 0, source_address="here")

    def test_a_body_that_is_streamed_keeps_the_lease_to_its_end(self, pool: WanPortPool, web: Web) -> None:
        with WanSession(pool, 0) as session:
            response = session.get(web.url + "/bye", stream=True)
            assert pool.snapshot(0).leased == 1
            assert response.json()["port"] in FIRST
            wait_for(lambda: pool.snapshot(0).leased == 0)


@asynchronous
@pytest.mark.usefixtures("soon_unused")
def test_cancelled_at_any_moment_it_leaves_no_lease_behind(client: Any, web: Web, server: Any) -> None:
    async def cancel(turns: int) -> None:
        getting = asyncio.ensure_future(client.fetch(web.url + "/slow", TIMEOUT))
        for _ in range(turns):
            await asyncio.sleep(0)
        getting.cancel()
        with suppress(asyncio.CancelledError):
            await getting

    for turns in range(40):
        client.loop.run(cancel(turns))
        wait_for(lambda: not unanswered(FIRST))  # with a rest of 0 the port comes back before the server's answer
    wait_for(lambda: not held(server))


def unanswered(ports: range) -> list[str]:
    """Closed connections from these ports whose end the other side has not confirmed yet; Linux refuses their twins."""
    fin_wait_1, closing = "04", "0B"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [row[1] for row in rows if int(row[1][-4:], 16) in ports and row[3] in (fin_wait_1, closing)]
