"""Two connections as one: what comes from one goes to the other, and so does the end of either."""

import asyncio
from collections.abc import Callable

from redis_wanpool.proxy.wire import IdleWatch, Wire, reset


class _End(asyncio.Protocol):
    """One end of a tunnel."""

    other: "_End"

    def __init__(self, tunnel: "Tunnel", transport: asyncio.Transport) -> None:
        self.transport = transport
        self.count = 0  #: bytes that came from it
        self.ended = self.lost = False
        self._tunnel = tunnel

    def data_received(self, data: bytes) -> None:
        self.count += len(data)
        self._tunnel.watch.touch()
        self.other.transport.write(data)

    def pause_writing(self) -> None:
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if not self.other.ended:
            self.other.transport.resume_reading()

    def eof_received(self) -> bool:
        if self.ended:
            return True
        self.ended = True
        if self._tunnel.is_broken():
            self._tunnel.break_off()
        elif self.other.ended:
            self.transport.close()
            self.other.transport.close()
        elif not self.other.lost:
            self.other.transport.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = self.ended = True
        if self.other.lost:
            self._tunnel.finished()
        elif exc is None and not self._tunnel.is_broken():
            self.other.transport.close()
        else:
            reset(self.other.transport)


class Tunnel:
    """A tunnel between a client and a server.

    Args:
        client: the client's connection.
        server: the connection to the server.
        early: what the client has said to the server already.
        idle: seconds of silence after which it ends.
        is_broken: whether our side ended the connection to the server; that must not look like the server's end.
    """

    def __init__(self, client: Wire, server: Wire, early: bytes, idle: float, is_broken: Callable[[], bool]) -> None:
        self.is_broken = is_broken
        self.watch = IdleWatch(idle, self.break_off)
        self._done = asyncio.get_running_loop().create_future()
        ends = [_End(self, wire.transport) for wire in (client, server)]
        self._client, self._server = ends
        self._client.other, self._server.other = self._server, self._client
        unread = [wire.hand_over(end) for wire, end in zip((client, server), ends, strict=True)]
        for wire, end, data in zip((client, server), ends, (early + unread[0], unread[1]), strict=True):
            if data:
                end.data_received(data)
            if wire.lost:
                end.connection_lost(ConnectionError())
            elif wire.ended:
                end.eof_received()

    async def run(self) -> tuple[int, int]:
        """Waits for its end; how many bytes the client and the server have said."""
        try:
            await self._done
        finally:
            self.watch.stop()
            self.break_off()
        return self._client.count, self._server.count

    def break_off(self) -> None:
        """Breaks both connections."""
        for end in (self._client, self._server):
            if not end.lost:
                reset(end.transport)

    def finished(self) -> None:
        """Both connections are gone."""
        if not self._done.done():
            self._done.set_result(None)
