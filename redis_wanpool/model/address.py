"""Where connections go, and why one failed."""

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Self

from redis_wanpool.errors import InvalidValue
from redis_wanpool.model.checks import checked_integer, checked_seconds

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a connection from a leased port failed."""

    error: OSError
    port_at_fault: bool = False
    used: bool = False  #: whether the router may remember the attempt
    why: str = ""  #: what the system said, for people who look at the quarantine
    lingers: str = ""
    """the end reason of a port that an old connection of this system keeps away: from plain sockets, which bind without
    SO_REUSEADDR ("lingers"), or from all, for its own socket was a plain one ("time_wait")"""

    @property
    def is_vague(self) -> bool:
        """Whether it says nothing of the port: there are no descriptors left, or no right to bind at all."""
        return not (self.port_at_fault or self.lingers)


@dataclass(frozen=True, slots=True)
class Dial:
    """How to connect: to which address, from which, for how long, and how often."""

    address: Address
    timeout: float | None
    attempts: int = 3
    source_address: str = ""
    close_on_loss: bool = False
    others: tuple[Address, ...] = ()
    """further addresses of the same host, by number"""

    @classmethod
    def of(
        cls,
        address: Address,
        timeout: float | None,
        attempts: int,
        source_address: str | None,
        close_on_loss: bool,
        others: tuple[Address, ...] = (),
    ) -> Self:
        if timeout is not None:
            checked_seconds("timeout", timeout, 0.001)
        checked_integer("attempts", attempts, 1, 100)
        source = checked_source(source_address)
        return cls(checked_address(address), timeout, attempts, source, bool(close_on_loss), others)


def checked_source(source_address: object) -> str:
    """An IPv4 address of this host; "" for None, which means the address of the route."""
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
    """A host and a port, unchanged."""
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
