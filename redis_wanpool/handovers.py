"""File descriptors that other objects took over from leased sockets, as ssl does: closing them gives the port back."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

from redis_wanpool.background import Background
from redis_wanpool.clock import boottime
from redis_wanpool.sockets import Tie

SOONEST = 0.1
"""seconds between two looks; more for thousands of connections: `PER_CONNECTION` each"""
PER_CONNECTION = 0.001


class Handover:
    """A connection whose file descriptor is in other hands."""

    def __init__(self, fd: int, tie: Tie, closed: str) -> None:
        self.tie = tie
        self.closed = closed
        self._fd = fd
        self._inode = os.fstat(fd).st_ino

    def is_open(self) -> bool:
        """Whether the file descriptor still is this connection, and not closed, or another one by now."""
        try:
            return os.fstat(self._fd).st_ino == self._inode
        except OSError:
            return False

    def shutdown(self, how: int) -> None:
        fd = os.dup(self._fd)
        with socket.socket(fileno=fd) as copy:
            if os.fstat(fd).st_ino == self._inode:
                copy.shutdown(how)


class Handovers:
    """Those of a pool object, and who looks at them."""

    def __init__(self) -> None:
        self._open: list[Handover] = []
        self._looking = Background("wanpool-handovers", self._look)

    def watch(self, fd: int, tie: Tie, closed: str) -> None:
        """Looks after a connection from now on.

        Where a file descriptor cannot be told from a later one of the same number (Windows), the lease lasts as long
        as the pool object.
        """
        with suppress(OSError):
            handover = Handover(fd, tie, closed)
            self._open.append(handover)
            if tie.close_on_loss:
                tie.lease.close_when_lost(handover)
            self._looking.due(boottime() + SOONEST)

    def stop(self) -> None:
        self._looking.stop()

    def _look(self) -> float | None:
        for handover in list(self._open):
            if not handover.is_open():
                self._open.remove(handover)
                if handover.tie.release is not None:
                    handover.tie.let_go(handover.tie.lease, handover.closed)
        return max(SOONEST, PER_CONNECTION * len(self._open)) if self._open else None
