"""Binds a leased port, finds where to connect to, and tells what the system's refusals mean."""

import errno
import socket
import sys

from redis_wanpool.model.address import Address, Failure
from redis_wanpool.sockets import kernel
from redis_wanpool.sockets.leased import LeasedSocket

_WINDOWS = sys.platform == "win32"


def new_socket(port: int, source_address: str = "") -> LeasedSocket:
    """An IPv4 TCP socket bound to the port. IPv6 has no shared NAT port space, and bypasses the router's IPv4 rule.

    SO_REUSEADDR must be on every socket of a port, or its TIME_WAIT blocks the next one. On Windows it would let
    another program take the port over, and SO_EXCLUSIVEADDRUSE is right
    (https://learn.microsoft.com/windows/win32/winsock/using-so-reuseaddr-and-so-exclusiveaddruse).

    Raises:
        OSError: the system refuses the port.
    """
    sock = LeasedSocket.unbound()
    try:
        option = socket.SO_EXCLUSIVEADDRUSE if _WINDOWS else socket.SO_REUSEADDR  # type: ignore[attr-defined,unused-ignore]
        sock.setsockopt(socket.SOL_SOCKET, option, 1)
        sock.bind((source_address, port))
    except BaseException:
        sock.close()
        raise
    return sock


def bind_failure(error: OSError, source_address: str = "") -> Failure:
    """What a refused bind means. On Windows EACCES means a port of an excluded range, or an exclusive bind."""
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
    """Why the system would refuse the port; None if it would not."""
    try:
        new_socket(port, source_address).close()
    except OSError as error:
        return bind_failure(error, source_address)
    return None


def look(port: int, *, closed: bool = False) -> Failure | None:
    """Whether the system would refuse the port to a plain socket, which binds without SO_REUSEADDR.

    Args:
        closed: whether its connection was just closed. If the other side closed first, what is left of it ends
            automatically within a round trip, and is no refusal.
    """
    if _WINDOWS:
        return try_port(port, "")
    error = _strict_bind(port)
    if error is None:
        return None
    if error.errno != errno.EADDRINUSE:
        return Failure(error)
    left = kernel.left_over(port)
    if (closed and left == {kernel.LAST_ACK}) or (left == set() and not _strict_bind(port)):
        return None
    if closed or not (refused := try_port(port, "")):
        return Failure(error, lingers="lingers")
    return Failure(error, lingers="time_wait") if left else refused


def _strict_bind(port: int) -> OSError | None:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.bind(("", port))
    except OSError as error:
        return error
    return None


def resolve(address: Address) -> list[Address]:
    """The IPv4 addresses of a (host, port); raises OSError if there is none."""
    found = socket.getaddrinfo(*address, socket.AF_INET, socket.SOCK_STREAM)
    return [(str(entry[4][0]), int(entry[4][1])) for entry in found]
