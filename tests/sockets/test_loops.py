"""Connections that anything may close, in any order: event loops of others, other objects, other processes."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import aiohttp
import httpx
import pytest
import uvloop
from waiting import wait_for
from web import Web

from redis_wanpool import AsyncWanPortPool, WanPortPool
from redis_wanpool.http.aiohttp import WanConnector
from redis_wanpool.http.httpx import AsyncWanTransport

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
Visit = Callable[[AsyncWanPortPool, Web], Awaitable[None]]


async def by_streams(pool: AsyncWanPortPool, web: Web) -> None:
    _, writer = await pool.connect(0, ("127.0.0.1", web.server_address[1]), wait=10, timeout=10)
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def by_abort(pool: AsyncWanPortPool, web: Web) -> None:
    _, writer = await pool.connect(0, ("127.0.0.1", web.server_address[1]), wait=10, timeout=10)
    writer.transport.abort()


async def by_aiohttp(pool: AsyncWanPortPool, web: Web) -> None:
    connector = WanConnector(pool, 0, wait=10)
    async with aiohttp.ClientSession(connector=connector) as session, session.get(web.url) as response:
        assert (await response.read()).startswith(b"{")


async def by_httpx(pool: AsyncWanPortPool, web: Web) -> None:
    async with httpx.AsyncClient(transport=AsyncWanTransport(pool, 0, wait=10), timeout=20) as client:
        assert (await client.get(web.url)).status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize("visit", [by_streams, by_abort, by_aiohttp, by_httpx])
@pytest.mark.parametrize("loop", LOOPS)
def test_each_loop_gives_the_port_back_when_it_closes_a_connection(
    loop: str, visit: Visit, server: Any, web: Web
) -> None:
    """uvloop closes the descriptor first, and tells the socket afterwards."""

    async def visits() -> None:
        async with AsyncWanPortPool(server.url, namespace="test", rest=0) as pool:
            await pool.define_wan(0, "25520-25523", cooldown=0)
            for _ in range(12):
                await visit(pool, web)
            await asyncio.to_thread(wait_for, lambda: not server.admin.exists("wanpool:{test:0}:leased"))

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(visits())


@pytest.fixture
def pool(server: Any) -> Iterator[WanPortPool]:
    with WanPortPool(server.url, namespace="test", rest=0) as pool:
        pool.define_wan(0, "25520-25529", cooldown=0)
        yield pool


@pytest.mark.parametrize("then", ["nothing", "close", "detach"])
def test_a_descriptor_that_was_closed_behind_the_socket_gives_the_port_back(
    pool: WanPortPool, server: Any, web: Web, then: str
) -> None:
    sock = pool.connect(0, ("127.0.0.1", web.server_address[1]), timeout=10)
    with socket.socket() as other:
        os.dup2(other.fileno(), sock.fileno())  # closes it, and its number is another connection's
        if then == "close":
            sock.close()
        elif then == "detach":
            os.close(sock.detach())
        else:
            pool._engine.heartbeat.beat()
        wait_for(lambda: not server.admin.exists("wanpool:{test:0}:leased"))
        sock.close()
