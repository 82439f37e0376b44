"""A WSGI and an ASGI application that connect from leased ports; in Redis stays nothing of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from redis_wanpool import AsyncWanPortPool, WanPortPool

TARGET = ("127.0.0.1", int(os.environ["TARGET"]))
pool = WanPortPool()
if os.environ.get("USED"):
    kept = pool.acquire(0, reuse_address=True)  # in gunicorn's master, with --preload
    kept.release()


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    with pool.connect(0, TARGET, wait=60, timeout=60) as sock:
        sock.sendall(b"GET /bye HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        answered = sock.makefile("rb").read().endswith(b"}")
    start_response("200 OK" if answered else "500 Wrong", [])
    return [b"%d" % sock.lease.port]


async def asgi(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    global async_pool
    if scope["type"] == "lifespan":
        await receive()
        async_pool = AsyncWanPortPool()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await async_pool.close()
        await send({"type": "lifespan.shutdown.complete"})
        return
    reader, writer = await async_pool.connect(0, TARGET, wait=60, timeout=60)
    writer.write(b"GET /bye HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
    answered = (await reader.read()).endswith(b"}")
    writer.close()
    await send({"type": "http.response.start", "status": 200 if answered else 500, "headers": []})
    await send({"type": "http.response.body", "body": b"%d" % writer.lease.port})  # type: ignore[attr-defined]


async_pool: AsyncWanPortPool
