"""An echo endpoint: tells each visitor the address and port that it is seen with."""

import errno
import selectors
import socket
from collections.abc import Callable

from redis_wanpool.errors import InvalidValue, WanpoolError
from redis_wanpool.model.checks import checked_integer
from redis_wanpool.sockets.dial import resolve
from redis_wanpool.system.clock import boottime

PORT = 7801
MOST = 100  #: visitors at a time; one more, and the longest one goes, who was told long since
PATIENCE = 3.0  #: seconds that a visitor has to end its connection

CURES = {
    errno.EADDRINUSE: "give another --port, or end what listens there",
    errno.EADDRNOTAVAIL: "--bind takes an address of this machine",
    errno.EACCES: "give a --port above 1023",
}


class Echo:
    """Listens from the start; keeps nothing of what it reads.

    Raises:
        InvalidValue: not an address, or not a port.
        WanpoolError: the system refuses to listen there.
    """

    def __init__(self, bind: str, port: int) -> None:
        checked_integer("port", port, 0, 65_535)
        try:
            where = resolve((bind, port))[0]
        except OSError as error:
            raise InvalidValue(f"bind {bind!r}: {error.strerror}; give an IPv4 address of this machine") from None
        try:
            self._listening = socket.create_server(where, backlog=MOST)
        except OSError as error:
            cure = CURES.get(error.errno or 0, "give another --bind or --port")
            raise WanpoolError(f"cannot listen on {where[0]}:{port}: {error.strerror}; {cure}") from None
        self._listening.setblocking(False)
        self.address: tuple[str, int] = self._listening.getsockname()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._visitors: dict[socket.socket, float] = {}  #: until when each may stay; the first came first

    def serve(self, told: Callable[[str], object]) -> None:
        """Answers until it is interrupted; calls `told` with each ADDRESS:PORT."""
        while True:
            first = next(iter(self._visitors.values()), None)
            for key, _ in self._selector.select(None if first is None else max(0.0, first - boottime())):
                if key.fileobj is self._listening:
                    self._welcome(told)
                else:
                    self._hear(key.fileobj)  # type: ignore[arg-type]
            now = boottime()
            for visitor in [visitor for visitor, until in self._visitors.items() if until <= now]:
                self._dismiss(visitor)

    def close(self) -> None:
        """Ends all connections, and listens no more."""
        for visitor in list(self._visitors):
            self._dismiss(visitor)
        self._selector.close()
        self._listening.close()

    def _welcome(self, told: Callable[[str], object]) -> None:
        try:
            visitor, (address, port) = self._listening.accept()
        except OSError:  # gone again
            return
        if len(self._visitors) >= MOST:
            self._dismiss(next(iter(self._visitors)))
        visitor.setblocking(False)
        self._visitors[visitor] = boottime() + PATIENCE
        self._selector.register(visitor, selectors.EVENT_READ)
        told(f"{address}:{port}")
        try:
            visitor.sendall(f"{address}:{port}\n".encode())
            visitor.shutdown(socket.SHUT_WR)
        except OSError:
            self._dismiss(visitor)

    def _hear(self, visitor: socket.socket) -> None:
        try:
            if not visitor.recv(65_536):
                self._dismiss(visitor)
        except OSError:
            self._dismiss(visitor)

    def _dismiss(self, visitor: socket.socket) -> None:
        if self._visitors.pop(visitor, None) is not None:
            self._selector.unregister(visitor)
            visitor.close()
