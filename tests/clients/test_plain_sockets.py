"""Bare port numbers, bound by programs that know nothing of leases: without SO_REUSEADDR, and often closing first."""

from __future__ import annotations

import ctypes
import itertools
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from by_hand import age_wan
from chance import LONG
from plain_clients import CLIENTS, Client, by_asyncio, by_requests, by_socket
from web import Web

from redis_wanpool import PoolExhausted, PortRejected, PortUnavailable, WanPortPool
from redis_wanpool.sockets import kernel

PLENTY = "26000-27999"
FIRST_PORTS = itertools.count(28000, 100)
TIMES = round(200 * LONG)


def visit(client: Client, web: Web, port: int, server_first: bool) -> None:
    """Gets a page from a port; the web server closes first, or the client does."""
    assert client(web.url + ("/bye" if server_first else "/"), port, server_first)["port"] == port


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


@pytest.fixture
def web() -> Iterator[Web]:
    web = Web()
    yield web
    web.close()


@pytest.mark.longer
@pytest.mark.parametrize("server_first", [False, True], ids=["client-closes", "server-closes"])
@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
def test_every_port_that_is_handed_out_can_be_bound(
    pool: WanPortPool, web: Web, client: Client, server_first: bool
) -> None:
    first = 10000 + 2000 * (list(CLIENTS.values()).index(client) % 5)  # the kernel keeps what lingers for a minute
    pool.define_wan(3, f"{first}-{first + 1999}")
    for _ in range(TIMES):
        port = pool.allocate_port(3)
        visit(client, web, port, server_first)
        assert pool.release_port(3, port) is True


@pytest.mark.parametrize("client", [by_socket, by_requests, by_asyncio])
def test_a_port_whose_server_closed_first_is_clean_at_once(
    pool: WanPortPool, server: Any, web: Web, client: Client
) -> None:
    used = set()
    for _ in range(60):
        with pool.acquire(1) as lease:
            visit(client, web, lease.port, True)
            used.add(lease.port)
        age_wan(server.admin, 1.1, wan_idx=1)
    assert len(used) < 60, "ports came again"


@pytest.mark.slow
@pytest.mark.longer
@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
def test_a_port_that_the_kernel_remembers_longer_than_redis_is_not_handed_out(
    pool: WanPortPool, server: Any, web: Web, client: Client
) -> None:
    seen = 0
    for turn in range(TIMES):
        age_wan(server.admin, 66, wan_idx=1)
        try:
            lease = pool.acquire(1)
        except PoolExhausted:
            continue
        with lease:
            visit(client, web, lease.port, turn % 2 == 0)
        seen += 1
    assert seen >= min(20, TIMES), "each port was used once at least"


def test_what_the_other_side_closed_first_is_clean_before_its_last_answer_is_there(
    pool: WanPortPool, server: Any
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pool.acquire(1) as lease:
        client = socket.create_connection(listener.getsockname(), 10, source_address=("", lease.port))
        accepted, _ = listener.accept()
        with accepted:
            accepted.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""
            drop_what_comes(accepted)
            client.close()
            assert kernel.left_over(lease.port) == {kernel.LAST_ACK}, "as over a line whose round trip lasts"
            assert lease.release() is True
    grant = server.admin.hget("wanpool:{test:1}:grants", lease.port)
    assert grant.split(" ")[5:] == ["released", "plain"]


def drop_what_comes(sock: socket.socket) -> None:
    """Lets a socket receive nothing any more, by a filter of one instruction (linux/filter.h: return 0 bytes)."""
    instruction = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0))
    sock.setsockopt(socket.SOL_SOCKET, 26, struct.pack("@HP", 1, ctypes.addressof(instruction)))


def test_a_port_that_lingers_rests_for_its_network_and_says_why(pool: WanPortPool, server: Any, web: Web) -> None:
    lease = pool.acquire(1)
    visit(by_socket, web, lease.port, False)
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
        visit(by_socket, web, port, turn % 2 == 0)
        assert pool.release_port(2, port) is True
        age_wan(server.admin, 1.1, wan_idx=2)
    assert server.admin.zcard("wanpool:{test:2}:quarantined") == 0, "no port was refused to anybody"


@pytest.mark.parametrize("listens", [True, False])
def test_a_port_that_another_program_has_goes_into_quarantine(
    pool: WanPortPool, server: Any, few: int, listens: bool
) -> None:
    with socket.socket() as other:
        other.bind(("", few + 7))
        if listens:
            other.listen()
        ports = [lease.port for lease in pool.acquire_many(1, 19)]
        assert few + 7 not in ports
        with pytest.raises((PoolExhausted, PortRejected)):  # the latter if the 19 were just the others
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


@pytest.mark.slow
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
