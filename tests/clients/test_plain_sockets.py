"""Bare port numbers, bound by programs that know nothing of leases: without SO_REUSEADDR, and often closing first."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import pycurl
import pytest
import requests
import urllib3
from by_hand import age_wan
from web import Web

from redis_wanpool import PoolExhausted, PortUnavailable, WanPortPool

PLENTY = "26000-27999"
FIRST_PORTS = itertools.count(28000, 100)
TIMES = 40

Client = Callable[[Web, int, bool], None]
"""connects from a port; whether the server is to close first"""


@pytest.fixture
def few() -> int:
    """The first of a hundred ports that no test has used, for the kernel keeps what lingers for a minute."""
    return next(FIRST_PORTS)


@pytest.fixture
def pool(server: Any, few: int) -> Iterator[WanPortPool]:
    with WanPortPool(server.url, namespace="test") as pool:
        pool.define_wan(0, PLENTY)
        pool.define_wan(1, f"{few}-{few + 19}")
        pool.define_wan(2, f"{few + 20}-{few + 99}")
        yield pool


def path(server_first: bool) -> str:
    return "/bye" if server_first else "/"


def by_socket(web: Web, port: int, close: bool) -> None:
    with socket.create_connection(web.server_address, 10, source_address=("", port)) as sock:
        sock.sendall(f"GET {path(close)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(b"}"):
            answer += sock.recv(4096)
        while close and sock.recv(4096):
            pass


class SourceAdapter(requests.adapters.HTTPAdapter):
    def __init__(self, port: int) -> None:
        self.port = port
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, source_address=("", self.port), **kwargs)


def by_requests(web: Web, port: int, close: bool) -> None:
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", SourceAdapter(port))
        session.get(web.url + path(close), timeout=10).raise_for_status()


def by_urllib3(web: Web, port: int, close: bool) -> None:
    with urllib3.PoolManager(source_address=("", port), retries=False) as manager:
        assert manager.request("GET", web.url + path(close)).status == 200


def by_http_client(web: Web, port: int, close: bool) -> None:
    connection = http.client.HTTPConnection(*web.server_address, timeout=10, source_address=("", port))
    connection.request("GET", path(close))
    assert connection.getresponse().read() is not None
    connection.close()


def by_aiohttp(web: Web, port: int, close: bool) -> None:
    async def get() -> None:
        connector = aiohttp.TCPConnector(local_addr=("127.0.0.1", port), force_close=close)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get(web.url + path(close)) as response,
        ):
            assert response.status == 200
            await response.read()

    asyncio.run(get())


def by_asyncio(web: Web, port: int, close: bool) -> None:
    async def get() -> None:
        reader, writer = await asyncio.open_connection(*web.server_address, local_addr=("127.0.0.1", port))
        writer.write(f"GET {path(close)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert await reader.readuntil(b"}")
        if close:
            await reader.read()
        writer.close()
        await writer.wait_closed()

    asyncio.run(get())


def by_pycurl(web: Web, port: int, close: bool) -> None:
    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, web.url + path(close))
    curl.setopt(pycurl.LOCALPORT, port)
    curl.setopt(pycurl.WRITEFUNCTION, lambda _: None)
    curl.setopt(pycurl.PROXY, "")
    curl.perform()
    curl.close()


CLIENTS = [by_socket, by_requests, by_urllib3, by_http_client, by_aiohttp, by_asyncio, by_pycurl]


@pytest.fixture
def web() -> Iterator[Web]:
    web = Web()
    yield web
    web.close()


@pytest.mark.parametrize("server_first", [False, True], ids=["client-closes", "server-closes"])
@pytest.mark.parametrize("client", CLIENTS)
def test_every_port_that_is_handed_out_can_be_bound(
    pool: WanPortPool, web: Web, client: Client, server_first: bool
) -> None:
    for _ in range(TIMES):
        port = pool.allocate_port(0)
        client(web, port, server_first)
        assert pool.release_port(0, port) is True


@pytest.mark.parametrize("client", [by_socket, by_requests, by_asyncio])
def test_a_port_whose_server_closed_first_is_clean_at_once(
    pool: WanPortPool, server: Any, web: Web, client: Client
) -> None:
    used = set()
    for _ in range(60):
        with pool.acquire(1) as lease:
            client(web, lease.port, True)
            used.add(lease.port)
        age_wan(server.admin, 1.1, wan_idx=1)
    assert len(used) < 60, "ports came again"


def test_a_port_that_lingers_rests_for_its_network_and_says_why(pool: WanPortPool, server: Any, web: Web) -> None:
    lease = pool.acquire(1)
    by_socket(web, lease.port, False)
    assert lease.release() is True
    age_wan(server.admin, 60, wan_idx=1)
    with pytest.raises(PortUnavailable) as caught:
        pool.acquire(1, port=lease.port)
    assert caught.value.state == "cooling" and 3 < (caught.value.free_in or 0) < 6


def test_a_plain_acquire_that_finds_none_says_how_many_there_are_for_sockets_with_reuse_address(
    pool: WanPortPool, server: Any, web: Web
) -> None:
    for _ in range(20):
        with pool.acquire(1, reuse_address=True) as lease, lease.connect(web.server_address, 10):
            pass  # closed by us first
    age_wan(server.admin, 2, wan_idx=1)
    with pytest.raises(PoolExhausted, match="20 for one with SO_REUSEADDR: reuse_address=True") as caught:
        pool.acquire(1)
    assert caught.value.reusable == 20
    with pool.acquire(1, reuse_address=True) as lease, lease.connect(web.server_address, 10) as sock:
        assert sock.getsockname()[1] == lease.port


def test_plain_sockets_and_ours_do_not_starve_each_other(pool: WanPortPool, server: Any, web: Web) -> None:
    for turn in range(30):
        with pool.connect(2, web.server_address, timeout=10):
            pass
        port = pool.allocate_port(2)
        by_socket(web, port, turn % 2 == 0)
        assert pool.release_port(2, port) is True
        age_wan(server.admin, 1.1, wan_idx=2)
    assert server.admin.zcard("wanpool:{test:2}:quarantined") == 0, "no port was refused to anybody"


def test_a_port_that_another_program_listens_on_goes_into_quarantine(pool: WanPortPool, server: Any, few: int) -> None:
    with socket.socket() as other:
        other.bind(("", few + 7))
        other.listen()
        ports = [lease.port for lease in pool.acquire_many(1, 19)]
        assert few + 7 not in ports
        with pytest.raises(PoolExhausted):
            pool.acquire(1)
        assert server.admin.hget(f"wanpool:{{test:1}}:quarantine:{few + 7}", "reason") == "EADDRINUSE at bind"


def test_a_port_that_lingers_here_only_goes_back_to_where_it_was(
    pool: WanPortPool, server: Any, web: Web, few: int
) -> None:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("", few + 3))
        sock.connect(web.server_address)
    leases = pool.acquire_many(1, 19)
    assert few + 3 not in [lease.port for lease in leases]
    assert server.admin.sismember("wanpool:{test:1}:free", few + 3)
    with pytest.raises(PortUnavailable, match="linger") as caught:
        pool.acquire(1, port=few + 3)
    assert caught.value.state == "lingering"


def test_run_hands_its_command_a_port_that_it_can_bind(pool: WanPortPool, server: Any, web: Web) -> None:
    curl = shutil.which("curl")
    command = (
        [curl, "-sS", "--noproxy", "*", "--local-port", "{port}"] if curl else [sys.executable, "-c", FETCH, "{port}"]
    )
    for _ in range(6):
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "redis_wanpool",
                "run",
                "--url",
                server.url,
                "--namespace",
                "test",
                "--wan",
                "0",
                "--",
            ]
            + [*command, web.url],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")


FETCH = """
import http.client, sys
from urllib.parse import urlsplit
connection = http.client.HTTPConnection(urlsplit(sys.argv[2]).netloc, timeout=10, source_address=("", int(sys.argv[1])))
connection.request("GET", "/")
connection.getresponse().read()
"""
