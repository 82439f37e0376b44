"""A TCP socket on a leased port: its end gives the port back, and the lease's end may end it."""

import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self
from weakref import WeakSet

from redis_wanpool.model.endings import CLEAN
from redis_wanpool.model.lease import LeaseState, members

_ABORT = struct.pack("ii", 1, 0)  #: the SO_LINGER with which close() sends RST
_ESTABLISHED, _FIN_WAIT1, _FIN_WAIT2, _CLOSED, _CLOSE_WAIT, _LAST_ACK, _TIMESTAMPS = 1, 4, 5, 7, 8, 9, 1
"""of TCP_INFO: states, and an option (include/net/tcp_states.h and include/uapi/linux/tcp.h of Linux)"""


@dataclass(frozen=True, slots=True)
class Tie:
    """What happens to a lease when its connection ends, and to the connection when the lease does."""

    lease: Any
    close_on_loss: bool
    release: Callable[[str], object] | None
    """gives the port back at once, given how the connection ended; None: the lease outlives the connection"""
    let_go: Callable[[Any, str], object]  #: gives a lease back soon, where nothing may block
    watch: Callable[[int, "Tie", str], object]
    """watches a file descriptor that goes to another object, given how its connection would end now"""

    def begun(self, connection: object) -> None:
        """Notes one more open copy of the connection."""
        self.lease.uses_begun += 1
        if self.release is not None:
            self.lease.connections = self.lease.connections or WeakSet()
            self.lease.connections.add(connection)
        if self.close_on_loss:
            self.lease.close_when_lost(connection)
            if self.lease.lost:
                shut_down(connection)

    def ended(self, connection: object, closed: str, *, at_once: bool = False) -> None:
        """Notes that a copy was closed; the last one gives the port back."""
        self.lease.use_ended(closed)
        if self.release is None or self.lease.connections is None:
            return
        self.lease.connections.discard(connection)
        if not self.lease.is_connected():
            if at_once:
                self.release(closed)
            else:
                self.let_go(self.lease, closed)


class LeasedSocket(socket.socket):
    """A socket from a leased port, `lease`. If a pool made it, its last close gives the port back.

    The heartbeat does what an interrupt leaves undone here: it finds leases that have no connection any more.
    """

    lease: Any = None
    _tie: Tie | None = None
    at_once = True  #: whether closing it tells Redis at once; else the heartbeat does, a moment later
    _said_end = False

    def tied(self, tie: Tie) -> Self:
        """Ties this socket to its lease; returns it."""
        self.lease, self._tie = tie.lease, tie
        tie.begun(self)
        return self

    def shutdown(self, how: int) -> None:
        super().shutdown(how)
        self._said_end = self._said_end or how != socket.SHUT_RD

    def dup(self) -> Self:
        """The same connection once more; the port is given back when both are closed."""
        copy = super().dup()
        copy.lease, copy.at_once, copy._said_end = self.lease, self.at_once, self._said_end
        if self._tie is not None:
            copy.tied(self._tie)
        return copy

    def detach(self) -> int:
        """Gives the file descriptor away, as for ssl; closing that gives the port back."""
        tie = self._tie
        if tie is not None and tie.lease.ended is None and self.fileno() >= 0:
            tie.watch(self.fileno(), tie, how_it_ends(self, self._said_end))
        self._tie = None
        return super().detach()

    def _decref_socketios(self) -> None:
        at_once, self.at_once = self.at_once, False  # a finalizer may close a file, in any thread
        super()._decref_socketios()  # type: ignore[misc]  # as in _real_close
        self.at_once = at_once

    def _real_close(self, *args: Any, **kwargs: Any) -> None:
        tie = self._tie
        closed = how_it_ends(self, self._said_end) if tie is not None else ""
        super()._real_close(*args, **kwargs)  # type: ignore[misc]  # as ssl.SSLSocket does; typeshed leaves it out
        if tie is not None:
            tie.ended(self, closed, at_once=self.at_once)
            self._tie = None

    def __del__(self) -> None:
        tie, self._tie = self._tie, None
        super().__del__()  # type: ignore[misc]  # closes it, and warns
        if tie is not None:
            tie.ended(self, "fin")


def how_it_ends(sock: socket.socket, said_end: bool) -> str:
    """What closing the connection now leaves behind, as `Lease.release` takes it; "fin" where that is unknown.

    Args:
        said_end: whether this side has shut down its sending.
    """
    try:
        aborts = sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(_ABORT)) == _ABORT
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)
    except (OSError, AttributeError):  # not Linux
        return "fin"
    state, has_timestamps = info[0], info[5] & _TIMESTAMPS
    if state == _CLOSED and not said_end:  # after RST, or after a silence: what the router knows is not certain
        return "fin"
    if aborts and state in (_ESTABLISHED, _FIN_WAIT1, _FIN_WAIT2, _CLOSE_WAIT):
        return "reset"
    if state in (_CLOSE_WAIT, _LAST_ACK):  # the other side closed first, and keeps TIME_WAIT
        return CLEAN
    if not has_timestamps:
        return "time_wait"
    return "drained" if state == _CLOSED else "fin"


def shut_down(connection: Any) -> None:
    """Ends a connection whose lease is lost, even in use: reads find the end, writes fail."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def shut_down_all(lease: LeaseState) -> None:
    """Does the same to all connections that end with the lease."""
    for connection in members(lease.closed_when_lost):
        shut_down(connection)
