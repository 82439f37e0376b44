"""A leased port in a socket: the right options, what the system's refusals mean, and how a connection ended."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any
from weakref import WeakSet

from redis_wanpool.errors import InvalidValue
from redis_wanpool.model.lease import LeaseState, members

_WINDOWS = sys.platform == "win32"
_ABORT = struct.pack("ii", 1, 0)
"""SO_LINGER with which close() sends RST"""
_ESTABLISHED, _FIN_WAIT1, _FIN_WAIT2, _CLOSED, _CLOSE_WAIT, _LAST_ACK, _TIMESTAMPS = 1, 4, 5, 7, 8, 9, 1
"""of TCP_INFO: states, and an option (include/net/tcp_states.h and include/uapi/linux/tcp.h of Linux)"""

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a connection from a leased port did not come about."""

    error: OSError
    port_at_fault: bool = False
    used: bool = False
    """whether the router may remember the attempt"""
    why: str = ""
    """what the system said, for people who look at the quarantine"""


@dataclass(frozen=True, slots=True)
class Tie:
    """What becomes of the lease when its connection ends, and of the connection when its lease does."""

    lease: Any
    close_on_loss: bool
    release: Callable[[str], object] | None
    """gives the port back, now; is told how the connection ended; None: the lease outlives it"""
    let_go: Callable[[Any, str], object]
    """gives a lease back soon, from where nothing may block"""
    watch: Callable[[int, Tie, str], object]
    """looks after a file descriptor that goes to another object; is told how its connection would end now"""

    def begun(self, connection: object) -> None:
        """One more has it open."""
        if self.release is not None:
            self.lease.connections = self.lease.connections or WeakSet()
            self.lease.connections.add(connection)
        if self.close_on_loss:
            self.lease.close_when_lost(connection)
            if self.lease.lost:
                hang_up(connection)

    def ended(self, connection: object, closed: str, *, at_once: bool = False) -> None:
        """One has closed it: if it was the last, the port is given back."""
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

    What an interrupt leaves undone here, the heartbeat does: it looks which leases have no connection any more.
    """

    lease: Any = None
    _tie: Tie | None = None
    at_once = True
    """whether closing it tells Redis then and there; else the heartbeat does, a moment later"""
    _said_end = False

    def tied(self, tie: Tie) -> LeasedSocket:
        """This socket, which is the lease's from now on."""
        self.lease, self._tie = tie.lease, tie
        tie.begun(self)
        return self

    def shutdown(self, how: int) -> None:
        super().shutdown(how)
        self._said_end = self._said_end or how != socket.SHUT_RD

    def dup(self) -> LeasedSocket:
        """The same connection once more; the port is given back when both are closed."""
        copy = super().dup()
        copy.lease, copy.at_once, copy._said_end = self.lease, self.at_once, self._said_end
        if self._tie is not None:
            copy.tied(self._tie)
        return copy

    def detach(self) -> int:
        """Gives the file descriptor away, as ssl has it done; the port is given back when that is closed."""
        tie = self._tie
        if tie is not None and tie.lease.ended is None and self.fileno() >= 0:
            tie.watch(self.fileno(), tie, how_it_ends(self, self._said_end))
        self._tie = None
        return super().detach()

    def _decref_socketios(self) -> None:
        at_once, self.at_once = self.at_once, False  # a file's end may be a finalizer, in whatever thread
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
    """What closing the connection now leaves behind, as `Lease.release` wants to know it; "fin" where nobody can tell.

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
        return "fin"
    if not has_timestamps:
        return "time_wait"
    return "drained" if state == _CLOSED else "fin"


def hang_up(connection: Any) -> None:
    """Ends a connection whose lease is lost, under its user's hands: reading finds the end, writing fails."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def hang_up_all(lease: LeaseState) -> None:
    """The same of all that end with the lease."""
    for connection in members(lease.closed_when_lost):
        hang_up(connection)


def checked_source(source_address: object) -> str:
    """An IPv4 address of this host, or "" for the one that the route takes, if it is None."""
    if source_address is None:
        return ""
    try:
        if isinstance(source_address, str):
            return str(IPv4Address(source_address))
    except ValueError:
        pass
    raise InvalidValue(
        f"source_address {source_address!r}: must be an IPv4 address of this host, like '192.0.2.1'; "
        "the port is the lease's"
    )


def checked_address(address: object) -> Address:
    """A host and a port, as they stand."""
    if isinstance(address, (tuple, list)) and len(address) == 2:
        host, port = address
        if isinstance(host, str) and (isinstance(port, str) or (type(port) is int and 0 < port < 65_536)):
            return host, port  # type: ignore[return-value]  # the system knows some ports by name
    raise InvalidValue(f"address {address!r}: must be a host and a port, like ('example.com', 443)")


def new_socket(port: int, source_address: str = "") -> LeasedSocket:
    """An IPv4 TCP socket bound to the port. IPv6 has no shared NAT port space, and passes by the router's IPv4 rule.

    SO_REUSEADDR must be on every socket of a port, or its TIME_WAIT blocks the next one. On Windows it would let
    another program take the port over, and SO_EXCLUSIVEADDRUSE is right
    (https://learn.microsoft.com/windows/win32/winsock/using-so-reuseaddr-and-so-exclusiveaddruse).

    Raises:
        OSError: the system refuses the port.
    """
    sock = LeasedSocket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        option = socket.SO_EXCLUSIVEADDRUSE if _WINDOWS else socket.SO_REUSEADDR  # type: ignore[attr-defined,unused-ignore]
        sock.setsockopt(socket.SOL_SOCKET, option, 1)
        sock.bind((source_address, port))
    except BaseException:
        sock.close()
        raise
    return sock


def bind_failure(error: OSError, source_address: str = "") -> Failure:
    """What a refused bind means. On Windows EACCES is a port of an excluded range, or one that is bound exclusively."""
    if error.errno == errno.EADDRNOTAVAIL:
        text = f"{error.strerror}: source address {source_address} is not one of this host's; see: ip -4 address"
        return Failure(OSError(error.errno, text))
    if error.errno == errno.EADDRINUSE or (_WINDOWS and error.errno == errno.EACCES):
        return Failure(error, port_at_fault=True, why=f"{_name(error)} at bind")
    return Failure(error)


def connect_failure(error: OSError) -> Failure:
    """What a failed connect means: EADDRNOTAVAIL is an old connection of this port to the same server.

    After ECONNREFUSED the router keeps nothing; after a timeout it remembers the attempt as long as a connection.
    """
    if error.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
        return Failure(error, port_at_fault=True, why=f"{_name(error)} at connect: an earlier connection lingers")
    return Failure(error, used=error.errno not in (errno.ECONNREFUSED, errno.EPERM, errno.EINVAL))


def _name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, str(error))


def try_port(port: int, source_address: str) -> Failure | None:
    """Whether the system would refuse the port."""
    try:
        new_socket(port, source_address).close()
    except OSError as error:
        return bind_failure(error, source_address)
    return None


def resolve(address: Address) -> list[Address]:
    """The IPv4 addresses of a (host, port).

    Raises:
        OSError: there is none.
    """
    return _targets(socket.getaddrinfo(*address, socket.AF_INET, socket.SOCK_STREAM))


async def resolve_async(address: Address) -> list[Address]:
    """As `resolve`, without blocking the loop."""
    loop = asyncio.get_running_loop()
    return _targets(await loop.getaddrinfo(*address, family=socket.AF_INET, type=socket.SOCK_STREAM))


def _targets(found: Sequence[Any]) -> list[Address]:
    return [(str(entry[4][0]), int(entry[4][1])) for entry in found]


def connect(port: int, targets: Sequence[Address], timeout: float | None, source: str = "") -> LeasedSocket | Failure:
    """Connects from the port, to the first of the targets that answers; each has `timeout` seconds."""
    failure = Failure(OSError("no address"))
    for target in targets:
        try:
            sock = new_socket(port, source)
        except OSError as error:
            return _after(failure, bind_failure(error, source))
        sock.settimeout(timeout)
        try:
            sock.connect(target)
        except OSError as error:
            sock.close()
            failure = _after(failure, connect_failure(error))
            if failure.port_at_fault:
                break
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    return failure


async def connect_async(
    port: int, targets: Sequence[Address], timeout: float | None, source: str = ""
) -> LeasedSocket | Failure:
    """As `connect`, without blocking the loop."""
    loop = asyncio.get_running_loop()
    failure = Failure(OSError("no address"))
    for target in targets:
        try:
            sock = new_socket(port, source)
        except OSError as error:
            return _after(failure, bind_failure(error, source))
        sock.setblocking(False)
        try:
            async with asyncio.timeout(timeout):  # wait_for of Python 3.11 swallows a cancellation that comes late
                await loop.sock_connect(sock, target)
        except OSError as error:  # TimeoutError is one
            sock.close()
            failure = _after(failure, connect_failure(error))
            if failure.port_at_fault:
                break
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    return failure


def _after(earlier: Failure, failure: Failure) -> Failure:
    """A failure, when the router may remember what was tried before it."""
    return Failure(failure.error, failure.port_at_fault, earlier.used or failure.used, failure.why)
