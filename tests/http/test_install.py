"""Libraries that open connections themselves, as they are, while `install` is in effect."""

from __future__ import annotations

import asyncio
import ftplib
import gc
import http.client
import io
import json
import os
import smtplib
import socket
import ssl
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from contextvars import copy_context
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx
import pytest
import requests
import trustme
import urllib3
from by_hand import run_script
from listening import listening
from requests.adapters import HTTPAdapter
from waiting import wait_for
from web import Web

from redis_wanpool import ANY, BackendUnavailable, InvalidValue, Lease, PoolExhausted, WanpoolError, WanPortPool
from redis_wanpool.http import install, line, over_wan, uninstall
from redis_wanpool.http.client import WanHTTPConnection
from redis_wanpool.http.httpx import WanTransport
from redis_wanpool.http.requests import WanSession
from redis_wanpool.model.rendezvous import choose

FIRST, SECOND = range(25930, 25950), range(25950, 25970)
WANS = {0: FIRST, 1: SECOND, None: [port for port in range(65536) if port not in FIRST and port not in SECOND]}
Seen = dict[str, Any]
Fetch = Callable[[str], Seen]


@pytest.fixture
def pool(server: Any) -> Iterator[WanPortPool]:
    with WanPortPool(server.url, namespace="test", rest=0) as pool:
        pool.define_wan(0, "25930-25949", cooldown=0)
        pool.define_wan(1, "25950-25969", cooldown=0)
        yield pool
        wait_for(lambda: not held(pool))


@pytest.fixture(autouse=True)
def nothing_is_left(no_proxies: None) -> Iterator[None]:
    before = originals()
    yield
    with suppress(WanpoolError):
        uninstall()
    assert originals() == before


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urllib.request, "_opener", None)  # it remembers what was there when it was first used
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def tls_web(serving: ssl.SSLContext, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A server that all libraries believe."""
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
    with closing(Web(tls=serving)) as web:
        yield web


def originals() -> list[object]:
    return [
        socket.create_connection,
        vars(http.client.HTTPConnection)["putrequest"],
        urllib3.util.connection.create_connection,
        vars(urllib3.PoolManager)["connection_from_pool_key"],
        vars(httpcore.ConnectionPool)["handle_request"],
    ]


def held(pool: WanPortPool) -> int:
    return pool.snapshot(0).leased + pool.snapshot(1).leased


class Kept:
    """A library that keeps what it connects by."""

    def __init__(self) -> None:
        self.session = requests.Session()
        self.manager = urllib3.PoolManager()
        self.pool: urllib3.HTTPConnectionPool | None = None
        self.connection: http.client.HTTPConnection | None = None

    @cached_property
    def client(self) -> httpx.Client:
        return httpx.Client(timeout=9)

    def close(self) -> None:
        self.session.close()
        for one in (vars(self).get("client"), self.pool, self.connection):
            if one is not None:
                one.close()

    def requests_get(self, url: str) -> Seen:
        return requests.get(url, timeout=9).json()

    def requests_post(self, url: str) -> Seen:
        return requests.post(url, data={"deep": "within"}, timeout=9).json()

    def requests_session(self, url: str) -> Seen:
        return self.session.get(url, timeout=9).json()

    def requests_session_with_an_adapter_for_each_call(self, url: str) -> Seen:
        self.session.mount(url[:8].rstrip("l"), HTTPAdapter(max_retries=urllib3.Retry(2), pool_maxsize=4))
        return self.session.get(url, timeout=9).json()

    def urllib3_manager(self, url: str) -> Seen:
        return self.manager.request("GET", url, timeout=9).json()

    def urllib3_request(self, url: str) -> Seen:
        return urllib3.request("GET", url, timeout=9).json()

    def urllib3_pool(self, url: str) -> Seen:
        self.pool = self.pool or urllib3.connection_from_url(url, maxsize=2)
        return self.pool.request("GET", "/", timeout=9).json()

    def urlopen(self, url: str) -> Seen:
        with urllib.request.urlopen(url, timeout=9) as response:
            return json.load(response)

    def urlopen_as_pandas_does(self, url: str) -> Seen:
        request = urllib.request.Request(url, headers={"Accept-Encoding": "identity"})
        with urllib.request.urlopen(request) as response:
            return json.loads(io.TextIOWrapper(io.BytesIO(response.read())).read())

    def http_client(self, url: str) -> Seen:
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self.connection = self.connection or kind(parts.netloc, timeout=9)
        self.connection.request("GET", "/")
        return json.loads(self.connection.getresponse().read())

    def httpx_get(self, url: str) -> Seen:
        return httpx.get(url, timeout=9).json()

    def httpx_client(self, url: str) -> Seen:
        return self.client.get(url).json()

    def create_connection(self, url: str) -> Seen:
        parts = urlsplit(url)
        sock = socket.create_connection((parts.hostname or "", parts.port or 0), 9)
        if parts.scheme == "https":
            sock = ssl.create_default_context().wrap_socket(sock, server_hostname=parts.hostname)
        with sock, sock.makefile("rb") as answer:
            sock.sendall(b"GET /bye HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return json.loads(answer.read().partition(b"\r\n\r\n")[2])

    def thread_with_the_context(self, url: str) -> Seen:
        with ThreadPoolExecutor(1) as executor:
            return executor.submit(copy_context().run, self.requests_session, url).result()


STYLES = [name for name in vars(Kept) if not name.startswith("_") and name not in ("close", "client")]


@pytest.fixture
def kept() -> Iterator[Kept]:
    with closing(Kept()) as kept:
        yield kept


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("style", STYLES)
def test_each_style_leaves_by_the_wan_that_is_chosen(
    pool: WanPortPool, kept: Kept, style: str, scheme: str, web: Web, tls_web: Web
) -> None:
    url = (web if scheme == "http" else tls_web).url
    get: Fetch = getattr(kept, style)
    assert get(url)["port"] in WANS[None]
    with install(pool, wait=9):
        for wan in (0, 1, None, 0):
            if wan is None:
                port = get(url)["port"]
            else:
                with over_wan(wan):
                    port = get(url)["port"]
            assert port in WANS[wan], wan
    wait_for(lambda: not held(pool))
    assert get(url)["port"] in WANS[None]


KEEPING = ["requests_session", "urllib3_manager", "urllib3_request", "urllib3_pool", "http_client", "httpx_client"]


@pytest.mark.parametrize("style", KEEPING)
def test_a_connection_is_kept_alive_within_its_wan(pool: WanPortPool, kept: Kept, style: str, web: Web) -> None:
    get: Fetch = getattr(kept, style)
    with install(pool, default=[0, 1]):
        one = get(web.url)
        assert get(web.url) == one
        with over_wan(ANY):
            two = get(web.url)
            assert get(web.url) == two
    assert {one["port"], two["port"]} <= {*FIRST, *SECOND}


@pytest.mark.parametrize("style", ["requests_session", "urllib3_manager", "httpx_client"])
def test_each_wan_keeps_its_connection(pool: WanPortPool, kept: Kept, style: str, web: Web) -> None:
    get: Fetch = getattr(kept, style)
    with install(pool):
        seen = []
        for wan in (0, 1, 0, 1):
            with over_wan(wan):
                seen.append(get(web.url))
    assert seen[:2] == seen[2:] and seen[0] != seen[1] and web.connections == 2


@pytest.mark.parametrize("style", ["requests_session", "urllib3_pool", "http_client", "httpx_client"])
def test_a_key_has_its_wan_and_leaves_a_line_that_is_down(
    pool: WanPortPool, server: Any, kept: Kept, style: str, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redis_wanpool.protocol.choosing.LOOKS_LAST", -1.0)
    get: Fetch = getattr(kept, style)
    keys = {choose(key, {0: 1, 1: 1}): key for key in ("account-1", "account-2", "account-7")}
    with install(pool):
        for wan in (0, 1):
            with over_wan(ANY, sticky=keys[wan]):
                assert get(web.url)["port"] in WANS[wan]
        run_script(server.admin, "judge", "h:1:x", 60_000, 1, "down", "-", "no answer")
        with over_wan(ANY, sticky=keys[1]):
            assert get(web.url)["port"] in FIRST


def test_ftp_and_smtp_leave_by_it(pool: WanPortPool) -> None:
    seen: list[int] = []

    def talk(visitor: socket.socket) -> None:
        with visitor:
            seen.append(visitor.getpeername()[1])
            visitor.sendall(b"220 welcome\r\n")
            while visitor.recv(1000):
                visitor.sendall(b"221 bye\r\n")

    with listening(talk) as (_, port), install(pool), over_wan(1):
        with ftplib.FTP(timeout=9) as ftp:
            ftp.connect("127.0.0.1", port)
        with suppress(smtplib.SMTPServerDisconnected), smtplib.SMTP("127.0.0.1", port, timeout=9):
            pass
    assert len(seen) == 2 and {*seen} <= {*SECOND}


def crossing(pool: WanPortPool, web: Web, times: int) -> None:
    """Two threads in two WANs share a session and a client, and none of their requests crosses."""
    seen: dict[int, list[int]] = {0: [], 1: []}
    with closing(Kept()) as kept, install(pool, wait=20), ThreadPoolExecutor(2) as executor:

        def ask(wan: int) -> None:
            for number in range(times):
                with over_wan(wan):
                    get = kept.httpx_client if number % 2 else kept.requests_session
                    seen[wan].append(get(web.url)["port"])

        assert kept.client
        list(executor.map(ask, (0, 1)))
    assert len(seen[0]) == len(seen[1]) == times
    assert {*seen[0]} <= {*FIRST} and {*seen[1]} <= {*SECOND}


def test_threads_do_not_cross(pool: WanPortPool, web: Web) -> None:
    crossing(pool, web, 100)


@pytest.mark.long
def test_threads_do_not_cross_for_long(pool: WanPortPool, web: Web) -> None:
    crossing(pool, web, 1_000)


def test_tasks_do_not_cross(pool: WanPortPool, kept: Kept, web: Web) -> None:
    async def ask(wan: int) -> set[int]:
        with over_wan(wan):
            return {(await asyncio.to_thread(kept.requests_session, web.url))["port"] for _ in range(20)}

    async def both() -> tuple[set[int], set[int]]:
        return await asyncio.gather(ask(0), ask(1))

    with install(pool, wait=9):
        first, second = asyncio.run(both())
    assert first <= {*FIRST} and second <= {*SECOND}


def test_a_thread_that_does_not_inherit_the_choice_is_told_once(
    pool: WanPortPool, kept: Kept, web: Web, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "_told", False)
    with install(pool), ThreadPoolExecutor(1) as executor, over_wan(1):
        assert executor.submit(kept.requests_get, web.url).result()["port"] in WANS[None]
    assert "copy_context" in "".join(record.getMessage() for record in caplog.records)


def test_a_session_from_before_a_fork_connects_again_in_the_child(pool: WanPortPool, kept: Kept, web: Web) -> None:
    gets: list[Fetch] = [kept.requests_session, kept.http_client, kept.httpx_client]
    with install(pool, wait=20):
        with over_wan(1):
            before = [get(web.url) for get in gets]
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                with over_wan(1):
                    found = [get(web.url) for get in gets]
                uninstall()
                found.append(gets[0](web.url))
                os.write(writing, json.dumps(found).encode())
                pool.close()
                os._exit(0)
            finally:
                os._exit(1)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            *inside, after = json.load(pipe)
        assert os.waitpid(child, 0)[1] == 0
        assert {one["port"] for one in inside} <= {*SECOND} and after["port"] in WANS[None]
        assert not {one["connection"] for one in inside} & {one["connection"] for one in before}
        with over_wan(1):
            assert [get(web.url) for get in gets] == before, "the parent's live on"


class TestDefault:
    """The WAN outside `over_wan`."""

    def test_is_used_there(self, pool: WanPortPool, kept: Kept, web: Web) -> None:
        with install(pool, default=1):
            assert kept.urlopen(web.url)["port"] in SECOND
            with over_wan(0):
                assert kept.requests_session(web.url)["port"] in FIRST
            assert kept.requests_session(web.url)["port"] in SECOND

    def test_leaves_a_source_port_to_its_caller(self, pool: WanPortPool, web: Web) -> None:
        pool.define_wan(2, "24630-24639", cooldown=0)  # where no connection of another test lingers
        with install(pool, default=1), pool.acquire(2) as lease:
            connection = http.client.HTTPConnection(web.url[7:], timeout=9, source_address=("127.0.0.1", lease.port))
            connection.request("GET", "/")
            assert json.loads(connection.getresponse().read())["port"] == lease.port
            connection.close()

    def test_must_be_a_wan(self, pool: WanPortPool) -> None:
        with pytest.raises(InvalidValue):
            install(pool, default=-1)


class TestSourceAddress:
    def test_is_the_callers(self, pool: WanPortPool, web: Web) -> None:
        connection = http.client.HTTPConnection(web.url[7:], timeout=9, source_address=("127.0.0.7", 0))
        with install(pool), over_wan(1):
            connection.request("GET", "/")
            seen = json.loads(connection.getresponse().read())
        assert seen["address"] == "127.0.0.7" and seen["port"] in SECOND

    def test_with_a_port_is_refused(self, pool: WanPortPool, web: Web) -> None:
        with install(pool), over_wan(1), pytest.raises(InvalidValue, match="outside over_wan"):
            socket.create_connection(("127.0.0.1", web.server_port), source_address=("", 25931))
        assert not web.connections


class TestArguments:
    """Of create_connection, as ever."""

    @pytest.fixture(autouse=True)
    def inside(self, pool: WanPortPool) -> Iterator[None]:
        with install(pool), over_wan(0):
            yield

    @pytest.mark.parametrize("given", [{"timeout": 3.5}, {"timeout": None}, {"timeout": 100_000}, {}])
    def test_the_timeout_is_the_sockets(self, web: Web, given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(7)
        try:
            with socket.create_connection(("127.0.0.1", web.server_port), **given) as sock:
                assert sock.gettimeout() == given.get("timeout", 7)
                assert sock.getsockname()[1] in FIRST
        finally:
            socket.setdefaulttimeout(before)

    @pytest.mark.parametrize("host", [None, b"127.0.0.1", "localhost"])
    def test_hosts_of_any_kind(self, web: Web, host: Any) -> None:
        with socket.create_connection((host, web.server_port)) as sock:
            assert sock.getsockname()[1] in FIRST

    def test_options_of_urllib3(self, web: Web) -> None:
        options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
        address = "127.0.0.1", web.server_port
        with urllib3.util.connection.create_connection(address, 9, None, options) as sock:
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1

    def test_a_bad_option_leaves_nothing(self, pool: WanPortPool, web: Web) -> None:
        with pytest.raises(OSError, match="not available"):
            urllib3.util.connection.create_connection(
                ("127.0.0.1", web.server_port), socket_options=[(socket.SOL_SOCKET, 9_999, 1)]
            )
        wait_for(lambda: not held(pool))

    def test_what_is_no_name_is_said_as_ever(self) -> None:
        with pytest.raises(UnicodeError):
            socket.create_connection(("a" * 64 + ".example", 80))
        with pytest.raises(urllib3.exceptions.LocationParseError):
            urllib3.util.connection.create_connection(("a" * 64 + ".example", 80))
        with pytest.raises(socket.gaierror):
            socket.create_connection(("no-such-host.invalid", 80))

    def test_all_errors(self, pool: WanPortPool) -> None:
        with pytest.raises(ExceptionGroup) as caught:
            socket.create_connection(("127.0.0.1", 9), all_errors=True)
        assert isinstance(caught.value.exceptions[0], ConnectionRefusedError)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", 9))


class TestErrors:
    """They are what the library's users expect, and leave no lease."""

    @pytest.fixture(autouse=True)
    def inside(self, pool: WanPortPool) -> Iterator[None]:
        with install(pool), over_wan(0):
            yield
            gc.collect()
            wait_for(lambda: not held(pool))

    def test_nobody_listens(self, kept: Kept) -> None:
        url = "http://127.0.0.1:9/"
        with pytest.raises(requests.ConnectionError):
            kept.requests_session_with_an_adapter_for_each_call(url)
        with pytest.raises(urllib.error.URLError, match="refused"):
            kept.urlopen(url)
        with pytest.raises(httpx.ConnectError):
            kept.httpx_get(url)
        with pytest.raises(ConnectionRefusedError):
            kept.http_client(url)

    def test_a_handshake_that_fails(self, kept: Kept, serving: ssl.SSLContext) -> None:
        with closing(Web(tls=serving)) as unknown:
            for get, error in [
                (kept.requests_get, requests.exceptions.SSLError),
                (kept.urlopen, urllib.error.URLError),
                (kept.httpx_get, httpx.ConnectError),
                (kept.http_client, ssl.SSLCertVerificationError),
            ]:
                with pytest.raises(error, match="certificate"):
                    get(unknown.url)

    def test_time_is_up(self, kept: Kept, web: Web) -> None:
        with pytest.raises(requests.RequestException, match="timed out"):
            kept.session.get(web.url + "/slow", timeout=0.2)
        with pytest.raises(httpx.TimeoutException):
            httpx.get(web.url + "/slow", timeout=0.2)
        with pytest.raises(TimeoutError), urllib.request.urlopen(web.url + "/slow", timeout=0.2) as response:
            response.read()

    def test_an_exhausted_wan_is_said_as_such(self, kept: Kept, web: Web, server: Any) -> None:
        with WanPortPool(server.url, namespace="test", rest=0) as greedy:
            greedy.acquire_many(0, 20, reuse_address=True)
            for style in STYLES:
                with pytest.raises(PoolExhausted, match="WAN 0"):
                    getattr(kept, style)(web.url)
        assert not web.connections

    def test_an_exhausted_wan_is_not_asked_again(
        self, pool: WanPortPool, kept: Kept, web: Web, server: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connect, asked = WanPortPool.connect, list[int]()
        monkeypatch.setattr(WanPortPool, "connect", lambda *args, **how: (asked.append(1), connect(*args, **how))[1])
        with WanPortPool(server.url, namespace="test", rest=0) as greedy:
            greedy.acquire_many(0, 20, reuse_address=True)
            with pytest.raises(PoolExhausted):
                kept.manager.request("GET", web.url, retries=urllib3.Retry(5))
        assert len(asked) == 1


class TestProxies:
    """They are refused by an error that says what to do."""

    @pytest.fixture(autouse=True)
    def inside(self, pool: WanPortPool) -> Iterator[None]:
        with install(pool), over_wan(0):
            yield
        wait_for(lambda: not held(pool))

    @pytest.fixture
    def proxy(self) -> Iterator[str]:
        """It is never asked."""
        asked: list[int] = []
        with listening(lambda visitor: asked.append(1)) as (_, port):
            yield f"http://anna:secret@127.0.0.1:{port}"
        assert not asked

    WITH_PROXY = [name for name in STYLES if name not in ("http_client", "create_connection", "urllib3_pool")]
    OF_ENVIRONMENT = [name for name in WITH_PROXY if not name.startswith("urllib3")]

    @pytest.mark.parametrize("style", OF_ENVIRONMENT)
    def test_of_the_environment(self, style: str, proxy: str, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        for scheme in ("http", "https"):
            with closing(Kept()) as kept, pytest.raises(InvalidValue, match="NO_PROXY") as caught:
                getattr(kept, style)(f"{scheme}://127.0.0.1:{web.server_port}/")
            assert "secret" not in str(caught.value) and "127.0.0.1:" in str(caught.value)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setattr(urllib.request, "_opener", None)
        with closing(Kept()) as kept:
            assert getattr(kept, style)(web.url)["port"] in FIRST

    def test_of_all_protocols(self, kept: Kept, proxy: str, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ALL_PROXY", proxy)
        for get in (kept.requests_get, kept.httpx_get):
            with pytest.raises(InvalidValue, match="NO_PROXY"):
                get(web.url)

    def test_of_the_system(self, kept: Kept, proxy: str, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
        """As macOS and Windows have them."""
        monkeypatch.setattr(urllib.request, "getproxies", lambda: {"http": proxy})
        with pytest.raises(InvalidValue, match="NO_PROXY"):
            urllib.request.build_opener().open(web.url)

    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_of_an_argument(self, kept: Kept, scheme: str, proxy: str) -> None:
        url = f"{scheme}://example.com/"
        for call in [
            lambda: requests.get(url, proxies={scheme: proxy}),
            lambda: requests.get(url, proxies={scheme: proxy.replace("http:", "https:")}),
            lambda: httpx.get(url, proxy=proxy),
            lambda: httpcore.ConnectionPool(proxy=httpcore.Proxy(proxy)).request("GET", url),
            lambda: urllib3.ProxyManager(proxy).request("GET", url),
            lambda: urllib.request.build_opener(urllib.request.ProxyHandler({scheme: proxy})).open(url),
        ]:
            with pytest.raises(InvalidValue, match="NO_PROXY"):
                call()

    def test_of_a_session(self, kept: Kept, proxy: str) -> None:
        kept.session.proxies = {"https": proxy}
        with pytest.raises(InvalidValue, match="NO_PROXY"):
            kept.requests_session("https://example.com/")

    def test_of_http_client(self, proxy: str) -> None:
        where = proxy.rpartition("@")[2]
        tunnel = http.client.HTTPSConnection(where, timeout=9)
        tunnel.set_tunnel("example.com")
        with pytest.raises(InvalidValue, match="NO_PROXY"):
            tunnel.request("GET", "/")
        with pytest.raises(InvalidValue, match="NO_PROXY"):
            http.client.HTTPConnection(where, timeout=9).request("GET", "http://example.com/")

    def test_by_socks(self) -> None:
        """PySocks makes its own sockets."""
        manager = urllib3.PoolManager()
        context = {"scheme": "http", "host": "example.com", "port": 80}
        context["_socks_options"] = {"proxy_host": "127.0.0.1", "proxy_port": 1080}  # type: ignore[assignment]
        with pytest.raises(InvalidValue, match="NO_PROXY"):
            manager.connection_from_pool_key(object(), context)  # type: ignore[arg-type]
        socks = httpcore.ConnectionPool(proxy=httpcore.Proxy("socks5://127.0.0.1:1080"))
        with pytest.raises(InvalidValue, match="NO_PROXY"):
            socks.request("GET", "http://example.com/")

    def test_a_whole_url_for_the_server_itself_is_none(self, web: Web) -> None:
        connection = http.client.HTTPConnection(web.url[7:], timeout=9)
        connection.request("GET", web.url + "/")
        assert json.loads(connection.getresponse().read())["port"] in FIRST
        connection.close()


def test_outside_over_wan_a_proxy_is_used_as_ever(
    pool: WanPortPool, kept: Kept, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", web.url)
    with install(pool):
        for get in (kept.requests_get, kept.urlopen, kept.httpx_get):
            assert get("http://example.invalid/")["port"] in WANS[None]


class TestHosts:
    """Which of a name's addresses are used."""

    @pytest.fixture(autouse=True)
    def names(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = socket.getaddrinfo
        numbers = {"both.test": ["::1", "127.0.0.1"], "six.test": ["::1"]}

        def getaddrinfo(host: Any, port: Any, family: int = 0, *args: Any, **kwargs: Any) -> Any:
            if host == "busy.test":
                raise socket.gaierror(socket.EAI_AGAIN, "try again")
            if host not in numbers:
                return real(host, port, family, *args, **kwargs)
            found = []
            for number in numbers[host]:
                with suppress(socket.gaierror):
                    found += real(number, port, family, *args, **kwargs)
            if not found:
                raise socket.gaierror(socket.EAI_NONAME, "no such name")
            return found

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    @pytest.fixture
    def web6(self) -> Iterator[Web]:
        class Web6(Web):
            address_family = socket.AF_INET6

        with closing(Web6("::1")) as web:
            yield web

    def test_both_go_by_ipv4(self, pool: WanPortPool, kept: Kept, web: Web) -> None:
        url = f"http://both.test:{web.server_port}/"
        with install(pool), over_wan(0):
            assert kept.requests_get(url)["port"] in FIRST
            assert kept.urlopen(url)["port"] in FIRST

    @pytest.mark.parametrize("host", ["six.test", "[::1]"])
    @pytest.mark.parametrize("style", ["requests_session", "urlopen", "http_client", "httpx_client"])
    def test_ipv6_only_connects_as_it_would_without(
        self, pool: WanPortPool, kept: Kept, web6: Web, host: str, style: str
    ) -> None:
        url = f"http://{host}:{web6.server_port}/"
        with install(pool), over_wan(0):
            one = getattr(kept, style)(url)
            assert one["address"] == "::1" and not held(pool)
            if style != "urlopen":
                assert getattr(kept, style)(url) == one, "it is kept alive"

    def test_nobody_listens_at_ipv6(self, pool: WanPortPool) -> None:
        with install(pool), over_wan(0), pytest.raises(ConnectionRefusedError):
            socket.create_connection(("six.test", 9))

    def test_a_name_that_is_not_known_now_is_not_looked_for_elsewhere(self, pool: WanPortPool) -> None:
        with install(pool), over_wan(0), pytest.raises(socket.gaierror) as caught:
            socket.create_connection(("busy.test", 9))
        assert caught.value.errno == socket.EAI_AGAIN


class TestLeftAlone:
    def test_unix_sockets(self, pool: WanPortPool) -> None:
        theirs: list[socket.socket] = []

        class Local(http.client.HTTPConnection):
            def connect(self) -> None:
                self.sock, there = socket.socketpair()
                there.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                theirs.append(there)

        with install(pool), over_wan(0):
            local = Local("localhost")
            local.request("GET", "/")
            assert local.getresponse().read() == b"ok"
            local.close()
            theirs[0].close()

    def test_connections_to_redis(self, own_server: Any, web: Web, kept: Kept) -> None:
        """Of a pool object that is made inside, by TCP."""
        own_server.admin.config_set("protected-mode", "no")
        own_server.admin.config_set("port", 25969)
        url = "redis://127.0.0.1:25969/0"
        with WanPortPool(url, namespace="test", rest=0) as pool:
            pool.define_wan(0, "25930-25949", cooldown=0)
            with install(pool, default=0), over_wan(0), WanPortPool(url, namespace="test", rest=0) as other:
                with other.acquire(0, reuse_address=True):
                    assert kept.requests_get(web.url)["port"] in FIRST
                clients = own_server.admin.client_list()
            ports = {int(one["addr"].rpartition(":")[2]) for one in clients if one["addr"].startswith("127")}
            assert len(ports) >= 2 and not ports & {*FIRST}

    def test_what_the_pool_opens_to_connect(
        self, pool: WanPortPool, web: Web, kept: Kept, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As a redis client does that fetches its password by HTTP."""
        ports: list[int] = []
        connect = WanPortPool.connect

        def with_password(*args: Any, **kwargs: Any) -> Any:
            ports.append(kept.urlopen(web.url)["port"])
            return connect(*args, **kwargs)

        monkeypatch.setattr(WanPortPool, "connect", with_password)
        with install(pool), over_wan(0):
            assert kept.urlopen(web.url)["port"] in FIRST
        assert len(ports) == 1 and ports[0] in WANS[None]

    def test_our_own_clients(self, pool: WanPortPool, web: Web) -> None:
        with install(pool, default=0):
            with WanSession(pool, 1) as session, httpx.Client(transport=WanTransport(pool, 1)) as client:
                assert session.get(web.url).json()["port"] in SECOND
                assert client.get(web.url).json()["port"] in SECOND
                with over_wan(0):
                    assert session.get(web.url).json()["port"] in FIRST
                    assert client.get(web.url).json()["port"] in FIRST
            connection = WanHTTPConnection(pool, 1, web.url[7:], timeout=9)
            connection.request("GET", "/")
            assert json.loads(connection.getresponse().read())["port"] in SECOND
            connection.close()

    def test_others_that_make_their_own_sockets_are_refused(self, pool: WanPortPool, web: Web) -> None:
        class Own(http.client.HTTPConnection):
            def connect(self) -> None:
                self.sock = socket.socket()
                self.sock.connect((self.host, self.port))

        own = Own(web.url[7:])
        with install(pool):
            own.request("GET", "/")
            assert json.loads(own.getresponse().read())["port"] in WANS[None]
            with over_wan(0), pytest.raises(InvalidValue, match="wanpool run --proxy"):
                own.request("GET", "/")
        assert own.sock is None


class TestUndo:
    def test_every_function_is_what_it_was(self, pool: WanPortPool) -> None:
        before = originals()
        with pytest.raises(KeyError), install(pool):
            assert not [one for one, other in zip(originals(), before, strict=True) if one is other]
            raise KeyError
        assert all(one is other for one, other in zip(originals(), before, strict=True))
        install(pool, 0)
        uninstall()
        assert all(one is other for one, other in zip(originals(), before, strict=True))

    def test_nested_is_refused(self, pool: WanPortPool, kept: Kept, web: Web) -> None:
        with install(pool):
            with pytest.raises(WanpoolError, match="already"):
                install(pool)
            with pytest.raises(WanpoolError, match="already"), install(pool, 1):
                pass
            with over_wan(1):
                assert kept.requests_get(web.url)["port"] in SECOND, "the first one stands"

    def test_without_install_is_refused(self, pool: WanPortPool) -> None:
        with pytest.raises(WanpoolError, match="not in effect"):
            uninstall()
        with install(pool):
            uninstall()
        with pytest.raises(WanpoolError, match="not in effect"):
            uninstall()

    def test_another_pool_is_refused(self, async_pool: Any) -> None:
        with pytest.raises(InvalidValue, match="asyncio"):
            install(async_pool)

    def test_a_library_of_an_unknown_version_is_refused(
        self, pool: WanPortPool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delattr(urllib3.PoolManager, "connection_from_pool_key")
        before = socket.create_connection
        with pytest.raises(WanpoolError, match="urllib3"):
            install(pool)
        assert socket.create_connection is before
        monkeypatch.undo()

    def test_libraries_that_are_not_there_are_not_needed(
        self, pool: WanPortPool, kept: Kept, web: Web, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("urllib3.util.connection", "urllib3.poolmanager", "httpcore"):
            monkeypatch.setitem(sys.modules, name, None)
        with install(pool), over_wan(1):
            assert kept.urlopen(web.url)["port"] in SECOND

    def test_what_somebody_else_put_in_between_stays(self, pool: WanPortPool, web: Web) -> None:
        before = socket.create_connection
        with install(pool):
            ours = socket.create_connection

            def theirs(*args: Any, **kwargs: Any) -> socket.socket:
                return ours(*args, **kwargs)

            socket.create_connection = theirs  # type: ignore[assignment]
        try:
            assert socket.create_connection is theirs
            with over_wan(0), socket.create_connection(("127.0.0.1", web.server_port)) as sock:
                assert sock.getsockname()[1] in WANS[None]
        finally:
            socket.create_connection = before

    def test_ends_what_is_in_use(self, pool: WanPortPool, web: Web, kept: Kept) -> None:
        with install(pool):
            with over_wan(0):
                response = kept.session.get(web.url + "/slow", stream=True, timeout=9)
                sock = socket.create_connection(("127.0.0.1", web.server_port), 9)
            assert held(pool) == 2
        assert not held(pool)
        assert sock.recv(10) == b""
        sock.close()
        with pytest.raises(requests.RequestException):
            response.content  # noqa: B018

    def test_ends_what_is_being_connected_meanwhile(
        self, pool: WanPortPool, web: Web, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        going, on = threading.Event(), threading.Event()
        connect = WanPortPool.connect

        def slow(*args: Any, **kwargs: Any) -> Any:
            going.set()
            assert on.wait(20)
            return connect(*args, **kwargs)

        def open_it() -> bytes:
            with over_wan(0), socket.create_connection(("127.0.0.1", web.server_port), 9) as sock:
                return sock.recv(10)

        monkeypatch.setattr(WanPortPool, "connect", slow)
        with ThreadPoolExecutor(1) as executor:
            with install(pool):
                opening = executor.submit(open_it)
                assert going.wait(20)
            on.set()
            assert opening.result(20) == b""
        assert not held(pool)

    def test_waits_once_for_a_silent_redis(
        self, server: Any, pool: WanPortPool, web: Web, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[Lease] = []

        def silent(lease: Lease, **_: Any) -> bool:
            asked.append(lease)
            raise BackendUnavailable("silent")

        monkeypatch.setattr(Lease, "release", silent)
        with WanPortPool(server.url, namespace="test", rest=0, lease_ttl=3) as short:
            with install(short, default=0):
                opened = [socket.create_connection(("127.0.0.1", web.server_port), 9) for _ in range(3)]
            assert [sock.recv(10) for sock in opened] == [b"", b"", b""] and len(asked) == 1
            wait_for(lambda: not held(pool))  # the heartbeat does it
            for sock in opened:
                sock.close()

    def test_after_the_pool_is_closed(self, server: Any, kept: Kept, web: Web) -> None:
        with WanPortPool(server.url, namespace="test", rest=0) as pool:
            pool.define_wan(0, "25930-25949", cooldown=0)
            install(pool, default=0)
            assert kept.requests_session(web.url)["port"] in FIRST
        with pytest.raises(WanpoolError, match="closed"):
            kept.requests_get(web.url)
        uninstall()
        assert kept.requests_session(web.url)["port"] in WANS[None]
