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

from redis_wanpool.errors import InvalidValue

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
    """gives a lease back later, from where nothing may block"""
    watch: Callable[[int, Tie, str], object]
    """looks after a file descriptor that goes to another object; is told how its connection would end now"""


class LeasedSocket(socket.socket):
    """A socket from a leased port, `lease`. If a pool made it, its last close gives the port back."""

    lease: Any = None
    _tie: Tie | None = None
    _said_end = False

    def shutdown(self, how: int) -> None:
        super().shutdown(how)
        self._said_end = self._said_end or how != socket.SHUT_RD

    def detach(self) -> int:
        """Gives the file descriptor away, as ssl has it done; the port is given back when that is closed."""
        tie, self._tie = self._tie, None
        closed = how_it_ends(self, self._said_end) if tie is not None else ""
        fd = super().detach()
        if tie is not None and fd >= 0:
            tie.watch(fd, tie, closed)
        return fd

    def _real_close(self, *args: Any, **kwargs: Any) -> None:
        tie, self._tie = self._tie, None
        release = None if tie is None else tie.release
        closed = how_it_ends(self, self._said_end) if release is not None else ""
        super()._real_close(*args, **kwargs)  # type: ignore[misc]  # as ssl.SSLSocket does; typeshed leaves it out
        if release is not None:
            release(closed)

    def __del__(self) -> None:
        tie, self._tie = self._tie, None
        if tie is not None and tie.release is not None:
            tie.let_go(tie.lease, "fin")
        super().__del__()  # type: ignore[misc]  # closes it, and warns


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
            await asyncio.wait_for(loop.sock_connect(sock, target), timeout)
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
