"""Which connections of libraries are of which WAN, while `install` is in effect."""

import http.client
import socket
from contextlib import suppress
from contextvars import ContextVar
from typing import Any
from weakref import WeakSet

from redis_wanpool.errors import WanpoolError
from redis_wanpool.http.client import is_idle
from redis_wanpool.http.line import Line, chosen, chosen_wan, connect
from redis_wanpool.model.lease import members
from redis_wanpool.model.request import WanChoice
from redis_wanpool.sockets.leased import LeasedSocket, shut_down_all
from redis_wanpool.sync.lease import Lease
from redis_wanpool.sync.pool import WanPortPool

Place = tuple[int, int]
"""the family and the port of this end of a connection"""
_connecting: ContextVar[bool] = ContextVar("redis_wanpool_connecting", default=False)
"""whether the pool is connecting here: what it opens for that, to Redis or for its password, is not for a WAN"""


class Opened:
    """The connections that libraries have opened, and the line of those that they want.

    Attributes:
        plain: `socket.create_connection` as it was before.
    """

    plain: Any = None

    def __init__(self, pool: WanPortPool, default: WanChoice | None, wait: float | None) -> None:
        self._base = Line(pool, 0 if default is None else default, wait, None)
        self._has_default = default is not None
        self._wan_of: dict[Place, int | None] = {}
        """None for a connection that has no lease, and needs none"""
        self._leases: WeakSet[Lease] = WeakSet()
        self._kept: WeakSet[http.client.HTTPConnection] = WeakSet()
        self._is_over = False

    def line(self) -> Line[WanPortPool] | None:
        """The line of the connection that is wanted now; None: it is none of ours."""
        if _connecting.get():
            return None
        if chosen_wan() is None:
            return self._base if self._has_default else None
        token = _connecting.set(True)
        try:
            return chosen(self._base)
        finally:
            _connecting.reset(token)

    def connect(self, line: Line[WanPortPool], address: tuple[str, int], timeout: float | None) -> LeasedSocket:
        """A connection with its own lease."""
        token = _connecting.set(True)
        try:
            sock = connect(line, address, timeout)
        finally:
            _connecting.reset(token)
        self._wan_of[sock.family, sock.lease.port] = sock.lease.wan_idx
        self._leases.add(sock.lease)
        if self._is_over:
            _end(sock.lease)
        return sock

    def pass_by(self, sock: socket.socket) -> socket.socket:
        """Notes a connection that has no lease, and needs none."""
        place = _place(sock)
        if place is not None:
            self._wan_of[place] = None
        return sock

    def forget(self, sock: socket.socket) -> socket.socket:
        """Notes a connection that was opened without a line."""
        place = _place(sock)
        if place is not None:
            self._wan_of.pop(place, None)
        return sock

    def keep(self, connection: http.client.HTTPConnection) -> None:
        """Notes a connection that may be kept alive."""
        self._kept.add(connection)

    def is_right(self, sock: Any, line: Line[WanPortPool] | None) -> bool:
        """Whether a connection may be used on that line; what is not TCP may always be."""
        place = _place(sock)
        if line is None or place is None:
            return place is None or self._wan_of.get(place) is None
        wan = self._wan_of.get(place, -1)
        return wan is None or (wan >= 0 and (line.wans is None or wan in line.wans))

    def end(self) -> None:
        """Closes what is kept alive, and ends what is in use."""
        self._is_over = True
        for connection in members(self._kept):
            if is_idle(connection) and not self.is_right(connection.sock, None):
                http.client.HTTPConnection.close(connection)
        _end(*members(self._leases))


def _end(*leases: Lease) -> None:
    """Ends connections, and their leases; if Redis does not answer, the heartbeat goes on trying."""
    left = [lease for lease in leases if lease.ended is None]
    for lease in left:
        shut_down_all(lease)
        if lease.connections is not None:
            lease.connections.clear()
    with suppress(WanpoolError):
        for lease in left:
            lease.release()


def _place(sock: Any) -> Place | None:
    """None if it is not TCP; port 0 if it has ended."""
    family = getattr(sock, "family", None)
    if family not in (socket.AF_INET, socket.AF_INET6):
        return None
    try:
        return family, sock.getsockname()[1]
    except (OSError, IndexError):
        return family, 0
