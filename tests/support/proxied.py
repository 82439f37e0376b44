"""A proxy that runs beside a test, and raw clients of it."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from faces import Loop
from waiting import wait_for

from redis_wanpool import AsyncWanPortPool
from redis_wanpool.proxy import Proxy, serve


class Complaints(logging.Handler):
    """What the proxy, or its loop, finds fault with."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(logging.Formatter().format(record))


class Running:
    """A proxy for WANs 0 and 1, which is called "second"."""

    def __init__(self, loop: Loop, server: Any, proxy: Proxy, pool: AsyncWanPortPool) -> None:
        self.loop = loop
        self.server = server
        self.proxy = proxy
        self.pool = pool

    def url(self, user: str = "", scheme: str = "http") -> str:
        """Where user names choose the WAN."""
        return f"{scheme}://{user}{':x@' if user else ''}127.0.0.1:{self.proxy.port}"

    def url_of(self, wan: int, scheme: str = "http") -> str:
        """The WAN's own port."""
        return f"{scheme}://127.0.0.1:{self.proxy.wan_ports[wan]}"

    def connect(self, wan: int | None = 0) -> Raw:
        """A client at the port of a WAN, or at the one where user names choose."""
        return Raw(self.proxy.port if wan is None else self.proxy.wan_ports[wan])

    def leased(self) -> int:
        """How many ports are leased."""
        return sum(self.server.admin.zcard(key) for key in self.server.admin.scan_iter("wanpool:*:leased"))

    def labels(self) -> set[str]:
        """The labels of all leases."""
        return {self.server.admin.hget(key, "label") for key in self.server.admin.scan_iter("wanpool:*:lease:*")}


@contextmanager
def proxied(
    server: Any,
    first: str,
    second: str,
    loop: Loop | None = None,
    *,
    rules: dict[str, Any] | None = None,
    **options: Any,
) -> Iterator[Running]:
    """Runs a proxy, with WAN 0 by such rules; afterwards all leases are given back, and nobody has complained."""
    own = loop or Loop()
    complaints = Complaints()
    loggers = [logging.getLogger(name) for name in ("redis_wanpool.proxy", "asyncio")]

    async def enter() -> tuple[AsyncWanPortPool, Any, Proxy]:
        pool = AsyncWanPortPool(server.url, namespace="test", rest=0)
        await pool.define_wan(0, first, cooldown=0, **(rules or {}))
        await pool.define_wan(1, second, cooldown=0, name="second")
        serving = serve(pool, **{"port": 0, "wait": 5, "drain": 0, **options})
        return pool, serving, await serving.__aenter__()

    for logger in loggers:
        logger.addHandler(complaints)
    try:
        pool, serving, proxy = own.run(enter())
        running = Running(own, server, proxy, pool)
        try:
            yield running
            wait_for(lambda: running.leased() == 0)
        finally:
            own.run(serving.__aexit__(None, None, None))
            own.run(pool.close())
        assert complaints.found == []
        assert proxy.clients == 0
    finally:
        for logger in loggers:
            logger.removeHandler(complaints)
        if loop is None:
            own.close()


class Raw(socket.socket):
    """A client that says what it likes."""

    def __init__(self, port: int, timeout: float = 20) -> None:
        super().__init__()
        self.settimeout(timeout)
        super().connect(("127.0.0.1", port))

    def until(self, end: bytes) -> bytes:
        """What comes, up to these bytes."""
        said = b""
        while not said.endswith(end):
            byte = self.recv(1)
            assert byte, said
            said += byte
        return said

    def count(self, count: int) -> bytes:
        """So many bytes."""
        said = b""
        while len(said) < count:
            more = self.recv(count - len(said))
            assert more, said
            said += more
        return said

    def rest(self) -> bytes:
        """What comes, to the end."""
        said = b""
        with suppress(ConnectionResetError):
            while more := self.recv(65_536):
                said += more
        return said

    def ask(self, request: str | bytes) -> bytes:
        """Sends a request; the head of the answer."""
        self.sendall(request.encode() if isinstance(request, str) else request)
        return self.until(b"\r\n\r\n")

    def tunnel(self, address: tuple[str, int]) -> Raw:
        """Opens a tunnel by CONNECT."""
        host, port = address
        head = self.ask(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        return self
