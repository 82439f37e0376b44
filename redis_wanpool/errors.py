"""What can go wrong: each error says what happened, to what, and what to do, with the facts as attributes."""

from typing import Any


class WanpoolError(Exception):
    """The root of all errors of this package."""

    passing: bool = False  #: whether it may pass without a change of settings: an outage, a failover, a grace

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.__dict__.update(facts)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[WanpoolError], args: tuple[str], facts: dict[str, Any]) -> WanpoolError:
    return kind(*args, **facts)


class InvalidValue(WanpoolError, ValueError):
    """An argument or a setting is not acceptable; nothing was written."""


class WanNotDefined(WanpoolError):
    """Redis knows no such WAN, or no longer knows it."""

    wan_idx: int | None
    namespace: str


class WanMismatch(WanpoolError):
    """A WAN is defined differently from what was asked for, or its ports belong to another WAN."""

    wan_idx: int
    differences: dict[str, tuple[str, str]]  #: name -> (what was asked for, what Redis has)


class WanDraining(WanpoolError):
    """The WAN grants nothing new until an operator opens it."""

    wan_idx: int


class WanInUse(WanpoolError):
    """The WAN has live leases."""

    wan_idx: int
    leased: int


class PoolExhausted(WanpoolError):
    """No port is available now."""

    wan_idx: int | tuple[int, ...]
    free_in: float | None  #: seconds until a port is free, if no lease is released or renewed; None if unknown
    reusable: int = 0  #: how many ports there are for sockets with SO_REUSEADDR, when plain ones found none


class PortNotInRange(WanpoolError):
    """The wanted port does not belong to the WAN."""

    port: int
    wan_idx: int


class PortUnavailable(WanpoolError):
    """The wanted port is taken."""

    port: int
    state: str  #: leased, cooling, withheld, or lingering: an old connection keeps plain sockets away
    free_in: float | None  #: seconds until it is free, if its holder neither releases nor renews it; None if unknown


class PortRejected(WanpoolError):
    """The operating system refused every port that was tried, or so many recently that it gets no more for a while."""

    wan_idx: int | tuple[int, ...]
    ports: tuple[int, ...]
    free_in: float | None  #: seconds until this network may have free ports of the WAN again; None if it may now


class LeaseLost(WanpoolError):
    """The lease has ended; another holder may have its port."""

    port: int
    wan_idx: int
    reason: str  #: expired, revoked, reaped, unreachable, data_lost, forked, released, or rejected


class InGrace(WanpoolError):
    """After a failover or restart nothing new is granted for a while, so that holders can re-assert their leases."""

    passing = True
    wan_idx: int | tuple[int, ...]
    retry_after: float  #: seconds until something may be granted


class UnsafeRedis(WanpoolError):
    """This Redis cannot keep the promises."""


class PoolClosed(WanpoolError):
    """The pool object was closed."""


class BackendUnavailable(WanpoolError):
    """Redis does not answer, or refuses, or too few servers confirmed a grant."""

    answered: bool = True  #: whether Redis answered: if so, it may serve other requests
    confirmed: int | None = None
    """How many of the servers that min_replicas and fsync ask for confirmed the grant; None in other cases."""
    wanted: int | None = None
