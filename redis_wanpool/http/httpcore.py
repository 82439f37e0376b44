"""Network backends of httpcore, the engine of httpx, that connect from leased ports."""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore

from redis_wanpool.aio.pool import AsyncWanPortPool
from redis_wanpool.http.line import Line, connect, connect_async
from redis_wanpool.sync.pool import WanPortPool

Raised = type[Exception]

PIECE = 65_536
"""bytes that asyncio is given at a time: each piece has the timeout, and TLS would take a whole body unread"""
UNUSED = 30.0
"""seconds after which an unused connection is closed: httpcore 1.0 forgets one whose request is cancelled early"""


@contextmanager
def _raising(timeout: Raised, other: Raised) -> Iterator[None]:
    """Turns errors of sockets into those of httpcore."""
    try:
        yield
    except TimeoutError as error:
        raise timeout(error) from error
    except OSError as error:  # of ssl, too
        raise other(error) from error


def _is_readable(sock: socket.socket) -> bool:
    """Whether an idle connection is of no more use: it has ended, or has data that nobody asked for."""
    if sock.fileno() < 0:
        return True
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _about(sock: Any, info: str) -> Any:
    if info == "socket":
        return sock
    if info == "client_addr":
        return sock.getsockname()
    if info == "server_addr":
        return sock.getpeername()
    if info == "is_readable":
        return _is_readable(sock)
    return None


class LeasedBackend(httpcore.NetworkBackend):
    """Connects from leased ports."""

    def __init__(self, line: Line[WanPortPool]) -> None:
        self._line = line

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        with _raising(httpcore.ConnectTimeout, httpcore.ConnectError):
            sock = connect(self._line, (host, port), timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _Stream(sock)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # between httpcore's retries


class _Stream(httpcore.NetworkStream):
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _raising(httpcore.ReadTimeout, httpcore.ReadError):
            self._sock.settimeout(timeout)
            return self._sock.recv(max_bytes)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        left = memoryview(buffer)
        with _raising(httpcore.WriteTimeout, httpcore.WriteError):
            self._sock.settimeout(timeout)
            while left:  # each has the timeout: a body that moves is not late
                left = left[self._sock.send(left) :]

    def close(self) -> None:
        self._sock.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        with _raising(httpcore.ConnectTimeout, httpcore.ConnectError):
            try:
                self._sock.settimeout(timeout)
                return _Stream(ssl_context.wrap_socket(self._sock, server_hostname=server_hostname))
            except BaseException:
                self.close()
                raise

    def get_extra_info(self, info: str) -> Any:
        if info == "ssl_object":
            return self._sock if isinstance(self._sock, ssl.SSLSocket) else None
        return _about(self._sock, info)


class AsyncLeasedBackend(httpcore.AsyncNetworkBackend):
    """Connects from leased ports, on asyncio."""

    def __init__(self, line: Line[AsyncWanPortPool]) -> None:
        self._line = line

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        with _raising(httpcore.ConnectTimeout, httpcore.ConnectError):
            async with asyncio.timeout(timeout):
                sock = await connect_async(self._line, (host, port))
                return await _AsyncStream.over(sock)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)  # between httpcore's retries


class _Reader(asyncio.StreamReader):
    """Counts the bytes that came and were not read."""

    unread = 0

    def feed_data(self, data: Any) -> None:
        self.unread += len(data)
        super().feed_data(data)

    async def read(self, n: int = -1) -> bytes:
        data = await super().read(n)
        self.unread -= len(data)
        return data


class _AsyncStream(httpcore.AsyncNetworkStream):
    def __init__(self, reader: _Reader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._ending = asyncio.get_running_loop().call_later(UNUSED, writer.close)

    @staticmethod
    async def over(sock: socket.socket) -> _AsyncStream:
        """As `asyncio.open_connection`, with a reader that counts."""
        loop = asyncio.get_running_loop()
        reader = _Reader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.create_connection(lambda: protocol, sock=sock)
        return _AsyncStream(reader, asyncio.StreamWriter(transport, protocol, reader, loop))

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _raising(httpcore.ReadTimeout, httpcore.ReadError):
            async with asyncio.timeout(timeout):
                return await self._reader.read(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._ending.cancel()
        left = memoryview(buffer)
        with _raising(httpcore.WriteTimeout, httpcore.WriteError):
            while left:
                self._writer.write(left[:PIECE])
                left = left[PIECE:]
                async with asyncio.timeout(timeout):
                    await self._writer.drain()

    async def aclose(self) -> None:
        """Closes without waiting, neither for a peer that does not read the rest nor for the answer of TLS."""
        self._ending.cancel()
        self._writer.close()
        try:
            await asyncio.sleep(0)
        finally:
            self._writer.transport.abort()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        self._ending.cancel()
        with _raising(httpcore.ConnectTimeout, httpcore.ConnectError):
            try:
                async with asyncio.timeout(timeout):
                    await self._writer.start_tls(ssl_context, server_hostname=server_hostname)
            except BaseException:
                self._writer.transport.abort()
                raise
        self._ending = asyncio.get_running_loop().call_later(UNUSED, self._writer.close)
        return self

    def get_extra_info(self, info: str) -> Any:
        if info == "ssl_object":
            return self._writer.get_extra_info("ssl_object")
        if info == "is_readable" and (self._reader.unread or self._reader.at_eof()):
            return True
        return _about(self._writer.get_extra_info("socket"), info)
