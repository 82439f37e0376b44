"""One end of a TCP connection, as a coroutine reads and writes it."""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import cast

_ABORT = struct.pack("ii", 1, 0)  #: the SO_LINGER with which close() sends RST
_MOST_UNREAD = 65_536  #: bytes that wait for their reader; then the other side has to wait, too
_MOST_AT_ONCE = 32_768  #: bytes that one call returns
_LAST = 60.0  #: seconds that a reader has for what is unsent at the end
_LINGER = 2.0  #: seconds for which a client that was refused may go on sending


class IdleWatch:
    """Calls a function once when nothing has passed for some seconds."""

    def __init__(self, seconds: float, at_end: Callable[[], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._at_end = at_end
        self.touch()
        self._timer = self._loop.call_later(seconds, self._look)

    def touch(self) -> None:
        """Notes that something has passed."""
        self._seen = self._loop.time()

    def stop(self) -> None:
        """Ends it."""
        self._timer.cancel()

    def _look(self) -> None:
        left = self._seen + self._seconds - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        else:
            self._at_end()


class Wire(asyncio.Protocol):
    """A connection with one reader and one writer at a time. A slow one makes the other side wait.

    Attributes:
        transport: the connection, as soon as there is one.
        is_connected: whether there was one.
        ended: whether the other side sends no more.
        lost: whether the connection is gone.
        at_end: called once when the other side sends no more, or is gone.
        watch: what is told of everything that comes.
    """

    transport: asyncio.Transport

    def __init__(self, begun: Callable[["Wire"], object] | None = None) -> None:
        self._begun = begun
        self._unread = bytearray()
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._is_full = False
        self._discards = False
        self._error: Exception | None = None
        self.is_connected = self.ended = self.lost = False
        self.at_end: Callable[[], object] | None = None
        self.watch: IdleWatch | None = None

    # -- what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.is_connected = True
        if self._begun is not None:
            self._begun(self)

    def data_received(self, data: bytes) -> None:
        if self._discards:
            return
        if self.watch is not None:
            self.watch.touch()
        self._unread += data
        if len(self._unread) > _MOST_UNREAD:
            self.transport.pause_reading()
        _wake(self._reader)

    def eof_received(self) -> bool:
        self._end()
        return True  # it may still hear us

    def connection_lost(self, exc: Exception | None) -> None:
        self._error, self.lost = exc, True
        _wake(self._writer)
        self._end()

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        _wake(self._writer)

    def _end(self) -> None:
        self.ended = True
        _wake(self._reader)
        at_end, self.at_end = self.at_end, None
        if at_end is not None:
            at_end()

    # -- what coroutines call

    async def receive(self) -> bytes:
        """What has come, at least a byte; b"" at the end. Raises ConnectionError if the connection broke."""
        await self._more(1)
        return self._taken(_MOST_AT_ONCE)

    async def exactly(self, count: int) -> bytes:
        """Exactly that many bytes. Raises ConnectionError if fewer come."""
        await self._more(count)
        if len(self._unread) < count:
            raise ConnectionError("the other side said less than was expected")
        return self._taken(count)

    async def peek(self) -> int | None:
        """The first byte that has come and is unread; None at the end."""
        await self._more(1)
        return self._unread[0] if self._unread else None

    async def send(self, data: bytes) -> None:
        """Writes, and waits while too much is unsent. Raises ConnectionError if the connection is gone."""
        if self.lost or self.transport.is_closing():
            raise ConnectionError("the connection is gone")
        self.transport.write(data)
        await self.flush()

    async def flush(self) -> None:
        """Waits while too much is unsent."""
        while self._is_full and not self.lost:
            self._writer = asyncio.get_running_loop().create_future()
            await self._writer
        if self.lost:
            raise ConnectionError("the connection is gone")

    async def _more(self, count: int) -> None:
        while len(self._unread) < count and not self.ended:
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        if self._error is not None and len(self._unread) < count:
            raise ConnectionError(str(self._error))

    def _taken(self, count: int) -> bytes:
        data = bytes(self._unread[:count])
        del self._unread[:count]
        self._resume()
        return data

    def _resume(self) -> None:
        if len(self._unread) <= _MOST_UNREAD and not self.lost and not self.transport.is_closing():
            self.transport.resume_reading()

    # -- ends

    def hand_over(self, protocol: asyncio.Protocol) -> bytes:
        """Leaves the connection to another protocol; what has come and nobody has read."""
        self.transport.set_protocol(protocol)
        unread = bytes(self._unread)
        self._unread.clear()
        self._resume()
        return unread

    def close(self) -> None:
        """Closes the connection when all is sent, or after a minute."""
        self.transport.close()
        if self.transport.get_write_buffer_size():
            asyncio.get_running_loop().call_later(_LAST, self.transport.abort)

    def reset(self) -> None:
        """Breaks the connection, so that the other side takes nothing that it has heard for the whole."""
        reset(self.transport)

    async def finish(self) -> None:
        """Says no more, and lets the other side finish: a close in the middle of its words would drop ours."""
        self._discards = True
        self._unread.clear()
        with suppress(OSError, TimeoutError):
            self._resume()
            self.transport.write_eof()
            async with asyncio.timeout(_LINGER):
                await self._more(1)
        self.transport.close()


def reset(transport: asyncio.Transport) -> None:
    """Breaks a connection with RST."""
    sock = transport.get_extra_info("socket")
    with suppress(OSError, AttributeError, TypeError):  # closed, or uvloop's stand-in for a socket
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    transport.abort()


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)
