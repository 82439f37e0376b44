"""A leased port in a socket: the right options, and what the system's refusals mean."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_WINDOWS = sys.platform == "win32"
_TAKEN = {errno.EADDRINUSE, getattr(errno, "WSAEADDRINUSE", 10048)}
_FORBIDDEN = {errno.EACCES, getattr(errno, "WSAEACCES", 10013)}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a connection from a leased port did not come about."""

    error: OSError
    port_at_fault: bool
    used: bool
    """whether the router may remember the attempt"""


class LeasedSocket(socket.socket):
    """A socket whose last close gives its port back."""

    lease: Any = None
    _on_close: Callable[[], object] | None = None

    def _real_close(self, *args: Any, **kwargs: Any) -> None:
        super()._real_close(*args, **kwargs)  # type: ignore[misc]  # as ssl.SSLSocket does; typeshed leaves it out
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()


def new_socket(port: int) -> LeasedSocket:
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
        sock.bind(("", port))
    except BaseException:
        sock.close()
        raise
    return sock


def bind_failure(error: OSError) -> Failure:
    """What a refused bind means."""
    return Failure(error, port_at_fault=error.errno in _TAKEN | _FORBIDDEN, used=False)


def connect_failure(error: OSError) -> Failure:
    """What a failed connect means: EADDRNOTAVAIL is the old connection of this port to the same server in TIME_WAIT.

    After ECONNREFUSED the router keeps nothing; after a timeout it remembers the attempt as long as a connection.
    """
    at_fault = error.errno in _TAKEN | {errno.EADDRNOTAVAIL}
    return Failure(error, port_at_fault=at_fault, used=not at_fault and not isinstance(error, ConnectionRefusedError))


def lookup_failure(error: OSError) -> Failure:
    """A name that does not resolve is nobody's port."""
    return Failure(error, port_at_fault=False, used=False)


def resolve(address: tuple[str, int]) -> list[tuple[str, int]]:
    """The IPv4 addresses of a (host, port)."""
    found = socket.getaddrinfo(address[0], address[1], socket.AF_INET, socket.SOCK_STREAM)
    return [(str(entry[4][0]), int(entry[4][1])) for entry in found]


def connect(port: int, address: tuple[str, int], timeout: float | None) -> LeasedSocket | Failure:
    """Connects from the port, to the first address of the host that answers."""
    try:
        targets = resolve(address)
    except OSError as error:
        return lookup_failure(error)
    failure: Failure | None = None
    for target in targets:
        try:
            sock = new_socket(port)
        except OSError as error:
            return bind_failure(error)
        sock.settimeout(timeout)
        try:
            sock.connect(target)
        except OSError as error:
            sock.close()
            failure = connect_failure(error)
            if failure.port_at_fault:
                break
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    assert failure is not None  # getaddrinfo never answers with an empty list
    return failure


async def connect_async(port: int, address: tuple[str, int], timeout: float | None) -> LeasedSocket | Failure:
    """As `connect`, without blocking the loop."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(*address, family=socket.AF_INET, type=socket.SOCK_STREAM)
    except OSError as error:
        return lookup_failure(error)
    failure: Failure | None = None
    for entry in found:
        try:
            sock = new_socket(port)
        except OSError as error:
            return bind_failure(error)
        sock.setblocking(False)
        try:
            await asyncio.wait_for(loop.sock_connect(sock, entry[4]), timeout)
        except OSError as error:  # TimeoutError is one
            sock.close()
            failure = connect_failure(error)
            if failure.port_at_fault:
                break
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    assert failure is not None  # getaddrinfo never answers with an empty list
    return failure
