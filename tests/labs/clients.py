"""HTTP clients with leased ports: each is given a pool and a WAN, and makes a function from headers to JSON."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from typing import Any

from namespaces import SERVER

URL = f"http://{SERVER}/"
WAIT = 60.0
Headers = dict[str, str]


@contextmanager
def requests(pool: Any, wan: int) -> Iterator[Callable[[Headers], Any]]:
    from redis_wanpool.http.requests import WanSession

    with WanSession(pool, wan, wait=WAIT) as session:
        yield lambda headers: session.get(URL, headers=headers, timeout=10).json()


@contextmanager
def urllib3(pool: Any, wan: int) -> Iterator[Callable[[Headers], Any]]:
    from redis_wanpool.http.urllib3 import WanPoolManager

    with WanPoolManager(pool, wan, wait=WAIT) as manager:
        yield lambda headers: manager.request("GET", URL, headers=headers, timeout=10).json()


@contextmanager
def client(pool: Any, wan: int) -> Iterator[Callable[[Headers], Any]]:
    from redis_wanpool.http.client import WanHTTPConnection

    def get(headers: Headers) -> Any:
        connection.request("GET", "/", headers=headers)
        return json.load(connection.getresponse())

    with closing(WanHTTPConnection(pool, wan, SERVER, 80, wait=WAIT, timeout=10)) as connection:
        yield get


@contextmanager
def httpx(pool: Any, wan: int) -> Iterator[Callable[[Headers], Any]]:
    from httpx import Client

    from redis_wanpool.http.httpx import WanTransport

    with Client(transport=WanTransport(pool, wan, wait=WAIT)) as client:
        yield lambda headers: client.get(URL, headers=headers, timeout=10).json()


@asynccontextmanager
async def httpx_async(pool: Any, wan: int) -> AsyncIterator[Callable[[Headers], Awaitable[Any]]]:
    from httpx import AsyncClient

    from redis_wanpool.http.httpx import AsyncWanTransport

    async def get(headers: Headers) -> Any:
        return (await session.get(URL, headers=headers, timeout=10)).json()

    async with AsyncClient(transport=AsyncWanTransport(pool, wan, wait=WAIT)) as session:
        yield get


@asynccontextmanager
async def aiohttp(pool: Any, wan: int) -> AsyncIterator[Callable[[Headers], Awaitable[Any]]]:
    from aiohttp import ClientSession

    from redis_wanpool.http.aiohttp import WanConnector

    async def get(headers: Headers) -> Any:
        async with session.get(URL, headers=headers) as response:
            return await response.json()

    async with ClientSession(connector=WanConnector(pool, wan, wait=WAIT)) as session:
        yield get


BLOCKING = {"requests": requests, "urllib3": urllib3, "client": client, "httpx": httpx}
ASYNC = {"httpx async": httpx_async, "aiohttp": aiohttp}
