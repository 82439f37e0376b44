"""File descriptors that other objects took over from leased sockets, as ssl does: closing them gives the port back."""

import os
import socket
from contextlib import suppress

from redis_wanpool.engine.ticker import NoThread, Ticker
from redis_wanpool.sockets.leased import Tie, inode
from redis_wanpool.system.clock import boottime

SOONEST = 0.1  #: seconds between two looks; more for thousands of connections: `PER_CONNECTION` each
PER_CONNECTION = 0.001


class Handover:
    """A connection whose file descriptor another object has taken over."""

    def __init__(self, fd: int, tie: Tie, closed: str) -> None:
        self.tie = tie
        self.closed = closed
        self._fd = fd
        self._inode = os.fstat(fd).st_ino

    def fileno(self) -> int:
        return self._fd

    def is_open(self) -> bool:
        """Whether the file descriptor is still this connection: not closed, and not another one by now."""
        return inode(self._fd) == self._inode

    def shutdown(self, how: int) -> None:
        try:
            fd = os.dup(self._fd)  # which stays this connection if anybody closes the other
        except OSError:  # perhaps none is left
            fd = self._fd
        try:
            if inode(fd) == self._inode:
                sock = socket.socket(fileno=fd)
                try:
                    sock.shutdown(how)
                finally:
                    sock.detach()
        finally:
            if fd != self._fd:
                os.close(fd)


class Handovers:
    """The handovers of a pool object, and the thread that watches them."""

    def __init__(self) -> None:
        self._open: list[Handover] = []
        self.looking = Ticker("wanpool-handovers", self._look)

    def watch(self, fd: int, tie: Tie, closed: str) -> None:
        """Watches a connection from now on.

        Where a file descriptor cannot be told from a later one of the same number (Windows), the lease lasts as long
        as the pool object.
        """
        try:
            handover = Handover(fd, tie, closed)
        except OSError:
            tie.lease.connections = None
            return
        self._open.append(handover)
        tie.begun(handover)
        with suppress(NoThread):  # then the heartbeat finds its end
            self.looking.due(boottime() + SOONEST)

    def _look(self) -> float | None:
        for handover in list(self._open):
            if not handover.is_open():
                self._open.remove(handover)
                handover.tie.ended(handover, handover.closed)
        return max(SOONEST, PER_CONNECTION * len(self._open)) if self._open else None
