"""Where connections go, and why one failed."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

from redis_wanpool.errors import InvalidValue
from redis_wanpool.model.checks import checked_integer, checked_seconds

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
class Dial:
    """Where to, from where, how long, and how often."""

    address: Address
    timeout: float | None
    attempts: int = 3
    source_address: str = ""
    close_on_loss: bool = False
    others: tuple[Address, ...] = ()
    """further addresses of the same host, by number"""

    @staticmethod
    def of(
        address: Address,
        timeout: float | None,
        attempts: int,
        source_address: str | None,
        close_on_loss: bool,
        others: tuple[Address, ...] = (),
    ) -> Dial:
        if timeout is not None:
            checked_seconds("timeout", timeout, 0.001)
        checked_integer("attempts", attempts, 1, 100)
        source = checked_source(source_address)
        return Dial(checked_address(address), timeout, attempts, source, bool(close_on_loss), others)


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
            _check_host(host)
            return host, port  # type: ignore[return-value]  # the system knows some ports by name
    raise InvalidValue(f"address {address!r}: must be a host and a port, like ('example.com', 443)")


def _check_host(host: str) -> None:
    try:
        if host.encode("idna") and "\0" not in host:
            return
    except UnicodeError as error:
        raise InvalidValue(f"host {host!r}: cannot be a name in the DNS: {error}") from None
    raise InvalidValue(f"host {host!r}: must be a name or an IPv4 address, and not empty")
