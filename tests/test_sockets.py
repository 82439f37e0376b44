"""A leased port in a socket, over loopback."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from conftest import wait_for

from redis_wanpool import AsyncWanPortPool, PortRejected, WanPortPool

RANGE = "24100-24109"


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """A server that answers with the port that it sees."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    visitor, peer = listening.accept()
                except OSError:
                    return
                with visitor:
                    visitor.sendall(str(peer[1]).encode())

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()
        listening.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def nobody() -> Iterator[tuple[str, int]]:
    """An address that refuses connections."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()


@pytest.fixture
def pool(server: Any) -> Iterator[WanPortPool]:
    with WanPortPool(server.url, namespace="test", rest=0.2) as pool:
        pool.define_wan(0, RANGE, cooldown=50)
        yield pool


@contextmanager
def squatting(*ports: int) -> Iterator[None]:
    """Somebody else listens on these ports."""
    with ExitStack() as stack:
        for port in ports:
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # an earlier test's TIME_WAIT is no matter
            sock.bind(("", port))
            sock.listen()
        yield


def test_a_lease_connects_from_its_port(pool: WanPortPool, echo: tuple[str, int]) -> None:
    with pool.acquire(0) as lease, lease.connect(echo, timeout=5) as sock:
        assert int(sock.recv(10)) == lease.port == sock.getsockname()[1]
        assert sock.family == socket.AF_INET
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)


def test_a_socket_of_the_lease_is_bound_to_its_port(pool: WanPortPool) -> None:
    with pool.acquire(0) as lease, lease.socket() as sock:
        assert sock.getsockname() == ("0.0.0.0", lease.port)


def test_closing_the_connection_of_the_pool_releases_its_lease(pool: WanPortPool, echo: tuple[str, int]) -> None:
    sock = pool.connect(0, echo, timeout=5)
    assert int(sock.recv(10)) == sock.lease.port
    file = sock.makefile("rb")
    sock.close()
    assert pool.snapshot(0).leased == 1, "somebody still reads from it"
    file.close()
    assert (pool.snapshot(0).leased, pool.snapshot(0).cooling) == (0, 1)
    sock.close()


def test_a_refused_port_goes_into_quarantine_and_another_is_taken(pool: WanPortPool, echo: tuple[str, int]) -> None:
    with squatting(*range(24100, 24105)):
        for _ in range(5):
            with pool.connect(0, echo, timeout=5, attempts=6) as sock:
                assert int(sock.recv(10)) >= 24105


def test_when_every_port_is_refused_it_says_so(pool: WanPortPool, echo: tuple[str, int]) -> None:
    with squatting(*range(24100, 24110)), pytest.raises(PortRejected, match="in quarantine") as caught:
        pool.connect(0, echo, timeout=5)
    assert len(set(caught.value.ports)) == 3
    seen = pool.snapshot(0)
    assert (seen.cooling, seen.rested) == (3, 0)


def test_a_refused_connection_leaves_the_port_free_for_all(pool: WanPortPool, nobody: tuple[str, int]) -> None:
    with pytest.raises(ConnectionRefusedError):
        pool.connect(0, nobody, timeout=5)
    assert pool.snapshot(0).free == 10


def test_a_name_that_does_not_resolve_costs_no_port(pool: WanPortPool) -> None:
    with pytest.raises(OSError):
        pool.connect(0, ("no-such-host.invalid", 80), timeout=5)
    assert pool.snapshot(0).free == 10


def async_story(story: Callable[[AsyncWanPortPool], Any], url: str) -> None:
    async def run() -> None:
        async with AsyncWanPortPool(url, namespace="test", rest=0.2) as pool:
            await pool.define_wan(0, RANGE, cooldown=50)
            await story(pool)

    asyncio.run(run())


def test_streams_of_a_lease(server: Any, echo: tuple[str, int]) -> None:
    async def story(pool: AsyncWanPortPool) -> None:
        async with pool.acquire(0) as lease:
            reader, writer = await lease.connect(echo, timeout=5)
            assert int(await reader.read()) == lease.port
            writer.close()
            await writer.wait_closed()
            lease.check()

    async_story(story, server.url)


def test_closing_the_streams_of_the_pool_releases_the_lease(server: Any, echo: tuple[str, int]) -> None:
    async def story(pool: AsyncWanPortPool) -> None:
        reader, writer = await pool.connect(0, echo, timeout=5)
        assert int(await reader.read()) == writer.lease.port  # type: ignore[attr-defined]
        writer.close()
        await writer.wait_closed()
        await asyncio.to_thread(wait_for, lambda: server.admin.zcard("wanpool:{test:0}:leased") == 0)
        assert (await pool.snapshot(0)).cooling == 1

    async_story(story, server.url)


def test_async_refusals_are_judged_alike(server: Any, echo: tuple[str, int], nobody: tuple[str, int]) -> None:
    async def story(pool: AsyncWanPortPool) -> None:
        with pytest.raises(ConnectionRefusedError):
            await pool.connect(0, nobody, timeout=5)
        assert (await pool.snapshot(0)).free == 10
        with squatting(*range(24100, 24110)), pytest.raises(PortRejected):
            await pool.connect(0, echo, timeout=5)
        assert (await pool.snapshot(0)).cooling == 3

    async_story(story, server.url)
