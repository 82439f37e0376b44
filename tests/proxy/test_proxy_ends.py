"""However a connection through the proxy ends, its port comes back, and neither side takes a part for the whole."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import psutil
import pytest
import uvloop
from chance import SEED
from faces import Loop
from listening import listening, unanswered
from proxied import Running, proxied
from waiting import KEPT_TTL, wait_for

from redis_wanpool import Operator

FIRST, SECOND = "25720-25839", "25840-25879"
RESETS = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def proxying(request: Any, server: Any) -> Iterator[Running]:
    with closing(Loop(request.param)) as loop, proxied(server, FIRST, SECOND, loop) as running:
        yield running


def until_end(visitor: socket.socket) -> bytes:
    said = b""
    while data := visitor.recv(65_536):
        said += data
    return said


def test_either_side_may_finish_first(proxying: Running) -> None:
    def answers(visitor: socket.socket) -> None:
        visitor.sendall(hashlib.sha256(until_end(visitor)).digest())

    def asks(visitor: socket.socket) -> None:
        visitor.sendall(b"question")
        visitor.shutdown(socket.SHUT_WR)
        said.append(until_end(visitor))

    said: list[bytes] = []
    body = random.Random(SEED).randbytes(3_000_000)
    with listening(answers) as address, proxying.connect().tunnel(address) as client:
        client.sendall(body)
        client.shutdown(socket.SHUT_WR)
        assert client.rest() == hashlib.sha256(body).digest()
    with listening(asks) as address:
        with proxying.connect().tunnel(address) as client:
            assert client.rest() == b"question"
            client.sendall(body)
        wait_for(lambda: said)
    assert said == [body]


def test_what_comes_with_the_request_goes_through_the_tunnel(proxying: Running) -> None:
    with listening(lambda visitor: visitor.sendall(until_end(visitor))) as address, proxying.connect() as client:
        client.sendall(f"CONNECT 127.0.0.1:{address[1]} HTTP/1.1\r\nHost: x\r\n\r\nearly".encode())
        client.shutdown(socket.SHUT_WR) if client.until(b"\r\n\r\n") else None
        assert client.rest() == b"early"


def test_a_reset_passes_through_both_ways(proxying: Running) -> None:
    def resets(visitor: socket.socket) -> None:
        visitor.sendall(visitor.recv(1))
        visitor.setsockopt(*RESETS)

    def hears(visitor: socket.socket) -> None:
        visitor.sendall(visitor.recv(1))
        try:
            until_end(visitor)
        except ConnectionResetError:
            heard.set()

    heard = threading.Event()
    with listening(resets) as address, proxying.connect().tunnel(address) as client:
        client.sendall(b"x")
        client.count(1)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with listening(hears) as address:
        with proxying.connect().tunnel(address) as client:
            client.sendall(b"x")
            client.count(1)
            client.setsockopt(*RESETS)
        assert heard.wait(20)


def test_a_slow_reader_makes_the_server_wait_and_costs_no_memory(proxying: Running) -> None:
    sent = 0

    def pours(visitor: socket.socket) -> None:
        nonlocal sent
        visitor.recv(1)
        visitor.settimeout(0.4)
        data = bytes(1_000_000)
        try:
            for _ in range(200):
                visitor.sendall(data)
                sent += len(data)
        except TimeoutError:
            stuck.set()

    stuck = threading.Event()
    with listening(pours) as address, proxying.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        client.tunnel(address)
        before = psutil.Process().memory_info().rss
        client.sendall(b"x")
        assert stuck.wait(30), "nothing held it back"
        assert psutil.Process().memory_info().rss - before < 10_000_000
        assert sent < 50_000_000
    stuck.clear()
    with listening(lambda visitor: visitor.recv(1) and stuck.wait(30)) as address, proxying.connect() as client:
        post = "POST http://{}:{}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n"
        client.sendall(post.format(*address).encode())
        client.settimeout(0.4)
        with pytest.raises(TimeoutError):
            for _ in range(100):
                client.sendall(bytes(1_000_000))
        assert psutil.Process().memory_info().rss - before < 20_000_000
        stuck.set()


VANISHES = """
import os, socket, sys
client = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
client.sendall(bytes.fromhex(sys.argv[2]))
print("ready", flush=True)
sys.stdin.read()
"""


def phases(silent: tuple[str, int], holding: tuple[str, int]) -> dict[str, bytes]:
    """What a client says that then is waiting for something."""
    address = b"\x05\x01\x00\x01" + socket.inet_aton("127.0.0.1") + holding[1].to_bytes(2, "big")
    connect, post = "CONNECT {}:{} HTTP/1.1\r\nHost: x\r\n\r\n", "POST http://{}:{}/ HTTP/1.1\r\nHost: x\r\n"
    return {
        "before a word": b"",
        "in a head": b"GET http://127.0.0.1/ HT",
        "in a greeting": b"\x05\x02\x00",
        "connecting": connect.format(*silent).encode(),
        "connecting by SOCKS": b"\x05\x01\x00\x05\x01\x00\x01"
        + socket.inet_aton("127.0.0.1")
        + silent[1].to_bytes(2, "big"),
        "connecting for a request": f"GET http://{silent[0]}:{silent[1]}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
        "in a tunnel": connect.format(*holding).encode() + b"x",
        "in a tunnel by SOCKS": b"\x05\x01\x00" + address + b"x",
        "in a body": (post + "Content-Length: 100\r\n\r\nhalf").format(*holding).encode(),
        "waiting for the answer": (post + "Content-Length: 4\r\n\r\nhalf").format(*holding).encode(),
    }


@pytest.mark.parametrize("phase", phases(("", 0), ("", 0)))
def test_a_client_that_is_killed_gives_its_port_back(phase: str, server: Any, loop: Loop) -> None:
    with (
        proxied(server, FIRST, SECOND, loop, connect_timeout=60) as running,
        unanswered() as silent,
        listening(until_end) as holding,
        subprocess.Popen(
            [sys.executable, "-ISc", VANISHES, str(running.proxy.wan_ports[0]), phases(silent, holding)[phase].hex()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as client,
    ):
        assert client.stdout.readline() == b"ready\n"
        wait_for(lambda: running.proxy.clients == 1)
        if "in a head" not in phase and phase not in ("before a word", "in a greeting"):
            wait_for(lambda: running.leased() == 1)
        os.kill(client.pid, signal.SIGKILL)
        wait_for(lambda: running.proxy.clients == 0 and running.leased() == 0)


def test_a_client_that_waits_for_a_port_and_is_gone_gets_none(server: Any, loop: Loop) -> None:
    with (
        proxied(server, "25720", SECOND, loop, wait=60) as running,
        listening(until_end) as address,
    ):
        first = running.connect().tunnel(address)
        gone = running.connect()
        gone.sendall(f"CONNECT 127.0.0.1:{address[1]} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        wait_for(lambda: running.proxy.clients == 2)
        gone.close()
        wait_for(lambda: running.proxy.clients == 1)
        with running.connect() as third:
            third.sendall(f"CONNECT 127.0.0.1:{address[1]} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            first.close()
            assert third.until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")


@pytest.mark.slow
def test_a_lost_lease_breaks_its_connection(server: Any, loop: Loop) -> None:
    with (
        proxied(server, FIRST, SECOND, loop, rules={"lease_ttl": KEPT_TTL}) as running,
        listening(until_end) as address,
        running.connect().tunnel(address) as client,
        Operator(server.url, namespace="test") as operator,
    ):
        (lease,) = operator.snapshot(0, leases=True).leases
        operator.revoke(0, [lease])
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_silence_ends_a_tunnel(server: Any, loop: Loop) -> None:
    with (
        proxied(server, FIRST, SECOND, loop, idle_timeout=0.3) as running,
        listening(until_end) as address,
        running.connect().tunnel(address) as client,
        pytest.raises(ConnectionResetError),
    ):
        client.recv(1)


def test_clients_may_finish_when_the_proxy_ends(server: Any) -> None:
    go_on = threading.Event()

    def talk(visitor: socket.socket) -> None:
        visitor.recv(1_000)
        go_on.wait(20)
        visitor.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        visitor.recv(1)

    with closing(Loop()) as loop, listening(talk) as address, ExitStack() as stack:
        running = stack.enter_context(proxied(server, FIRST, SECOND, loop))
        client, idle = stack.enter_context(running.connect()), stack.enter_context(running.connect())
        client.sendall("GET http://{}:{}/ HTTP/1.1\r\nHost: x\r\n\r\n".format(*address).encode())
        wait_for(lambda: running.leased() == 1)
        ending = asyncio.run_coroutine_threadsafe(running.proxy.drain(20), loop.loop)
        assert idle.rest() == b""
        with closing(socket.socket()) as late:
            assert late.connect_ex(("127.0.0.1", running.proxy.port)) != 0
        go_on.set()
        answer = client.rest()
        assert answer.startswith(b"HTTP/1.1 200 ") and b"onnection: close" in answer and answer.endswith(b"ok")
        ending.result(20)


def many(running: Running, count: int) -> None:
    """That many tunnels are open at once, and each is its own."""

    def talk(visitor: socket.socket) -> None:
        while data := visitor.recv(100):
            visitor.sendall(data)

    def visit(number: int) -> None:
        with running.connect().tunnel(address) as client:
            together.wait(60)
            client.sendall(b"%d" % number)
            assert client.count(len(str(number))) == b"%d" % number

    together = threading.Barrier(count)
    with listening(talk) as address, ThreadPoolExecutor(count) as executor:
        list(executor.map(visit, range(count)))


def test_a_hundred_clients_at_once(server: Any, loop: Loop) -> None:
    with proxied(server, FIRST, SECOND, loop) as running:
        many(running, 100)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_thousand_clients_at_once(server: Any, loop: Loop) -> None:
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # four descriptors for each
    try:
        with proxied(server, "8000-9199", SECOND, loop, wait=60) as running:
            many(running, 1_000)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


@pytest.mark.long
@pytest.mark.timeout(600)
def test_ten_thousand_clients_in_turn_leave_nothing(server: Any, loop: Loop) -> None:
    with (
        proxied(server, "8000-9199", SECOND, loop, wait=60) as running,
        listening(lambda visitor: visitor.sendall(b"x")) as address,
    ):
        for number in range(10_000):
            with running.connect().tunnel(address) as client:
                assert client.rest() == b"x"
            if number == 1_000:
                before = psutil.Process().memory_info().rss
        assert psutil.Process().memory_info().rss - before < 20_000_000
