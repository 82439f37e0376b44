"""A TCP socket on a leased port: its end gives the port back, and the lease's end may end it."""

import os
import socket
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakSet

from redis_wanpool.model.endings import CLEAN
from redis_wanpool.model.lease import LeaseState, members
from redis_wanpool.system.greenlets import greenlets

_PLAIN = socket.socket
if TYPE_CHECKING:
    _Socket = socket.socket
else:
    _Socket = object  # of which kind, is known when one is made

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


class LeasedSocket(_Socket):
    """A socket from a leased port, `lease`. If a pool made it, its last close gives the port back.

    The heartbeat does what an interrupt leaves undone here: it finds leases that have no connection any more. The file
    descriptor may be closed by anybody and in any order (uvloop closes it before it detaches the socket): what counts
    is whether it is still that of the connection.
    """

    lease: Any = None
    _tie: Tie | None = None
    at_once = True  #: whether closing it tells Redis at once; else the heartbeat does, a moment later
    is_one_of_several = False
    """whether other addresses were tried from its port, too: the router may remember these longer than this one"""
    _said_end = False
    _inode: int | None = None

    @staticmethod
    def unbound() -> "LeasedSocket":
        """A TCP socket of the kind that this process uses: gevent's, if its threads are greenlets."""
        return _kind(socket.socket if greenlets() else _PLAIN)(socket.AF_INET, socket.SOCK_STREAM)

    def tied(self, tie: Tie) -> Self:
        """Ties this socket to its lease; returns it."""
        self.lease, self._tie, self._inode = tie.lease, tie, inode(self.fileno())
        tie.begun(self)
        return self

    def is_open(self) -> bool:
        """Whether the file descriptor is still that of this connection."""
        fd = self.fileno()
        return fd >= 0 and (self._inode is None or self._inode == inode(fd))

    def shutdown(self, how: int) -> None:
        super().shutdown(how)
        self._said_end = self._said_end or how != socket.SHUT_RD

    def dup(self) -> Self:
        """The same connection once more; the port is given back when both are closed."""
        copy: Self = super().dup()
        for name in ("lease", "at_once", "is_one_of_several", "_said_end"):
            setattr(copy, name, getattr(self, name))
        if self._tie is not None:
            copy.tied(self._tie)
        return copy

    def detach(self) -> int:
        """Gives the file descriptor away, as for ssl; closing that gives the port back."""
        tie = self._tie
        if tie is not None and tie.lease.ended is None and self.fileno() >= 0:
            if self.is_open():
                tie.watch(self.fileno(), tie, self._ending())
            else:
                tie.ended(self, "fin")
        self._tie = None
        return super().detach()

    def _ending(self) -> str:
        closed = how_it_ends(self, self._said_end)
        return "fin" if closed == "reset" and self.is_one_of_several else closed

    def _decref_socketios(self) -> None:
        at_once, self.at_once = self.at_once, False  # a finalizer may close a file, in any thread
        super()._decref_socketios()  # type: ignore[misc]  # as in _real_close
        self.at_once = at_once

    def _real_close(self, *args: Any, **kwargs: Any) -> None:
        tie = self._tie
        closed = self._ending() if tie is not None and self.is_open() else "fin"
        try:
            super()._real_close(*args, **kwargs)  # type: ignore[misc]  # as ssl.SSLSocket does; typeshed leaves it out
        finally:
            if tie is not None:
                tie.ended(self, closed, at_once=self.at_once)
                self._tie = None

    def __del__(self) -> None:
        tie, self._tie = self._tie, None
        if hasattr(super(), "__del__"):  # gevent's sockets leave it to the socket inside them
            super().__del__()  # type: ignore[misc]  # closes it, and warns
        if tie is not None:
            tie.ended(self, "fin")


@lru_cache
def _kind(base: type[socket.socket]) -> type[LeasedSocket]:
    return type("LeasedSocket", (LeasedSocket, base), {})


def inode(fd: int) -> int | None:
    """What tells a file descriptor from a later one of the same number; None if it is closed, and on Windows."""
    try:
        return os.fstat(fd).st_ino
    except OSError:
        return None


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
    with suppress(Exception):  # nor does one that fails keep the others open
        connection.shutdown(socket.SHUT_RDWR)


def shut_down_all(lease: LeaseState) -> None:
    """Does the same to all connections that end with the lease."""
    for connection in members(lease.closed_when_lost):
        shut_down(connection)


def drop_copies(leases: Iterable[LeaseState]) -> None:
    """In a forked child: its copies of the connections that end with these leases find their end; the parent's live on.

    A session that was used before the fork would read the answers of other processes from them.
    """
    found = [connection for lease in leases for connection in members(lease.closed_when_lost) if connection.is_open()]
    if found:
        ended, other = socket.socketpair()
        other.close()
        with ended:
            for connection in found:
                os.dup2(ended.fileno(), connection.fileno(), inheritable=False)
