"""A lease as its holder sees it: pure state, judged by the caller's clock."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakSet

from redis_wanpool.errors import LeaseLost
from redis_wanpool.model.endings import KEPT_AFTER, OURS, SAID

LeaseT = TypeVar("LeaseT", bound="LeaseState")


def margin(ttl: float) -> float:
    """Seconds by which a holder gives up its lease before Redis does: time to notice, and to stop."""
    return min(max(0.05 * ttl, 0.05), 2.0)


@dataclass(slots=True)  # not frozen: it would take four times as long to make
class Grant:
    """What Redis said when it granted a lease, and when we had asked."""

    namespace: str
    wan_idx: int
    port: int
    lease_id: str
    fence: int
    label: str
    ttl: float
    max_ttl: float
    detached: bool
    reuse_address: bool
    expires_at: float
    deadline: float
    generation: str
    epoch: int = 0
    serial: int = 0  #: how often its port was leased again, since Redis granted it, without a word to Redis


class OfThisProcess:
    """Cannot be copied, nor sent to another process: a copy would keep or end what the original holds."""

    def __reduce__(self) -> str:
        raise TypeError(f"a {type(self).__name__} cannot be copied or pickled; make one in each process that needs one")


class LeaseState(OfThisProcess):
    """The right to one port until `expires_at`; `now` is the local clock of its deadline, in seconds."""

    def __init__(self, grant: Grant, now: Callable[[], float]) -> None:
        self._now = now
        self.port = grant.port
        self.wan_idx = grant.wan_idx
        self.granted_id = grant.lease_id
        """the id that Redis knows: of all leases of a port that is kept between them"""
        self.serial = grant.serial
        self.granted_fence = grant.fence - grant.serial
        """the fence that Redis knows; a renewal with a greater one would tell it that its data is too old"""
        self.lease_id = f"{grant.lease_id}.{grant.serial}" if grant.serial else grant.lease_id
        self.fence = grant.fence
        self.label = grant.label
        self.expires_at = grant.expires_at
        self.namespace = grant.namespace
        self.ttl = grant.ttl
        self.max_ttl = grant.max_ttl
        self.detached = grant.detached
        self.reuse_address = grant.reuse_address
        self.uses_begun = 0
        """how many sockets of ours have used the port"""
        self.uses_ended: set[str] = set()
        """how their connections ended"""
        self.deadline = grant.deadline
        self.renew_at = grant.deadline
        self.generation = grant.generation
        """of the WAN's data that knows the lease; another one's must be told of it"""
        self.epoch = grant.epoch  #: of the WAN when Redis granted it
        self.idle_since: float | None = None
        """the local time from which its port is kept, in nobody's hands; None: it is not"""
        self.is_out = True  #: until somebody begins to end the lease; to take it away is to be the one
        self.goes_back = False  #: whether its port is on its way back to Redis
        self.earlier: str | None = None
        """how the earlier uses of a port that was kept have ended, taken together; None: there were none"""
        self.earlier_at = 0.0  #: the local time at which the last of them did
        self.ended: str | None = None
        self.reason_at_deadline = "expired"
        """how the lease ends if nothing renews it: expired, unreachable or data_lost"""
        self.asked_to_end: str | None = None  #: how an unanswered release wants the lease to end
        self.closed_when_lost: WeakSet[Any] | None = None  #: the connections that end with the lease
        self.connections: WeakSet[Any] | None = None
        """the open copies of the connection whose end ends the lease; None if no connection does"""

    def __repr__(self) -> str:
        state = self.ended or f"{self.remaining():.1f} s left"
        return f"<lease of port {self.port} of WAN {self.wan_idx}, namespace {self.namespace!r}, {state}>"

    def remaining(self) -> float:
        """Seconds for which the port is surely ours, by the local clock; 0 when it is not."""
        return 0.0 if self.ended else max(0.0, self.deadline - self._now())

    @property
    def lost(self) -> bool:
        """Whether the lease ended without our release: stop using the port."""
        return self.reason is not None and self.reason not in OURS

    @property
    def reason(self) -> str | None:
        """How the lease ended, or None while it stands."""
        if self.ended is None and self._now() >= self.deadline:
            return self.reason_at_deadline
        return self.ended

    def check(self) -> None:
        """Raises LeaseLost unless the lease stands."""
        reason = self.reason
        if reason is not None:
            raise self.loss(reason)

    def loss(self, reason: str) -> LeaseLost:
        """The error that says that the lease ended, and how."""
        late = self._now() - self.deadline
        ago = f" {late:.1f} s ago" if reason == "expired" and late > 0 else ""
        return LeaseLost(
            f"port {self.port} of WAN {self.wan_idx} (namespace {self.namespace!r}): {SAID[reason]}{ago}; "
            "stop using it, and acquire another",
            port=self.port,
            wan_idx=self.wan_idx,
            reason=reason,
        )

    def end(self, reason: str) -> bool:
        """Notes how the lease ended; False if it had ended before."""
        if self.ended is not None:
            return False
        self.ended = reason
        return True

    @property
    def kept_as(self) -> str:
        """What Redis is told of a port that is kept between leases."""
        return "idle" if self.idle_since is not None else "used" if self.serial else ""

    def successor(self, made: Callable[[Grant], LeaseT], serial: int, label: str, reuse_address: bool) -> LeaseT:
        """The next lease of the same port, or the time between two, of which Redis knows nothing."""
        grant = Grant(
            namespace=self.namespace,
            wan_idx=self.wan_idx,
            port=self.port,
            lease_id=self.granted_id,
            fence=self.fence + serial - self.serial,
            label=label,
            ttl=self.ttl,
            max_ttl=self.max_ttl,
            detached=False,
            reuse_address=reuse_address,
            expires_at=self.expires_at,
            deadline=self.deadline,
            generation=self.generation,
            epoch=self.epoch,
            serial=serial,
        )
        lease = made(grant)
        lease.renew_at, lease.reason_at_deadline = self.renew_at, self.reason_at_deadline
        lease.earlier, lease.earlier_at = self.earlier, self.earlier_at
        return lease

    def overall(self, end_reason: str) -> tuple[str, float]:
        """How all uses of the port have ended, taken together, if the last ends like this; and how many seconds ago."""
        if self.earlier is None:
            return end_reason, 0.0
        ago = max(0.0, self._now() - self.earlier_at)
        if end_reason == "unused":
            return self.earlier, ago
        if end_reason == "lingers":
            return "released", ago
        if end_reason == "rejected":
            return "rejected after use", 0.0
        alike = end_reason == self.earlier or end_reason not in KEPT_AFTER
        return (end_reason if alike else "released"), 0.0

    def use_ended(self, closed: str) -> None:
        """Notes how the connection of a socket of ours ended."""
        self.uses_ended.add(closed)

    @property
    def seen_end(self) -> str | None:
        """How the connections of our sockets ended; None: no such socket used the port."""
        if not self.uses_begun:
            return None
        if "time_wait" in self.uses_ended:
            return "time_wait"
        return next(iter(self.uses_ended), "fin") if self.uses_begun == 1 else "fin"

    def close_when_lost(self, connection: Any) -> None:
        """Shuts a connection down, by its `shutdown`, when the lease is lost."""
        if self.closed_when_lost is None:
            self.closed_when_lost = WeakSet()
        self.closed_when_lost.add(connection)

    def is_connected(self) -> bool:
        """Whether any copy of the connection whose end ends the lease is still open."""
        return any(connection.is_open() for connection in members(self.connections))

    def extend(self, expires_at: float, deadline: float) -> None:
        """Notes a renewal."""
        self.expires_at = max(self.expires_at, expires_at)  # a reply may be overtaken by a later one
        self.deadline = max(self.deadline, deadline)
        self.reason_at_deadline = "expired"


def members(connections: WeakSet[Any] | None) -> list[Any]:
    """The connections at this moment, even while other threads change the set."""
    while True:
        try:
            return list(connections or ())
        except RuntimeError:  # it changed size during the iteration
            continue
