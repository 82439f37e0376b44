"""The leases of one pool object: those it keeps, those on their way to it, and what it still has to tell Redis.

Several threads use a ledger, without a lock: each step takes a copy before it iterates, and an id that moves on is in
its next place before it leaves the one before.
"""

from collections.abc import Iterable, Iterator
from typing import TypeVar
from weakref import WeakValueDictionary

from redis_wanpool.model.endings import final_word
from redis_wanpool.model.lease import LeaseState

LeaseT = TypeVar("LeaseT", bound=LeaseState)

SUSPECT_FOR = 60.0  #: seconds for which upkeep looks for a late duplicate of an unanswered call
BEAT_A_TTL = 3  #: how many renewals a ttl has


class Ids(list[str]):
    """The lease_ids of one call."""


class Ledger:
    """What a pool object holds and owes. Times are by the local clock of its leases, in seconds."""

    def __init__(self) -> None:
        self.leases: WeakValueDictionary[str, LeaseState] = WeakValueDictionary()
        """lease_id -> lease that is kept alive"""
        self.anchors: dict[str, LeaseState] = {}
        """Those that live on when nothing refers to them: their users may know the number of the port.

        One in a `with` block is not among them: the block refers to it and ends it, unless that is interrupted.
        """
        self._places: dict[str, tuple[int, int]] = {}  #: lease_id -> WAN and port of each lease that is kept alive
        self.fresh: WeakValueDictionary[str, LeaseState] = WeakValueDictionary()
        """the leases on their way to the caller; they go with the stack of an interrupted call"""
        self.in_flight: WeakValueDictionary[str, Ids] = WeakValueDictionary()
        """lease_id -> the ids of the call that is asking for it; the call holds them"""
        self.doubts: dict[tuple[int, str], tuple[str, str]] = {}
        """(wan_idx, lease_id) -> (port or "", end reason): calls that have no answer yet, or never got one"""
        self.under_way: WeakValueDictionary[tuple[int, str], Ids] = WeakValueDictionary()
        """the doubts whose call is on its way, with its ids: the call holds them, so what is interrupted is upkeep's"""
        self.abandoned: dict[tuple[int, str], None] = {}  #: (wan_idx, ticket) of places in a queue to give up
        self.suspects: dict[int, float] = {}
        """wan_idx -> local time until which upkeep looks for a late duplicate of an unanswered call"""
        self.differing: set[int] = set()  #: the WANs in which this holder has more or fewer leases than are kept here
        self.graces: dict[int, int] = {}  #: wan_idx -> end of the last known grace, in ms of the WAN's time
        self.reasserts = False  #: whether leases are to be renewed at once, because Redis may have forgotten them

    # -- from a request to a lease

    def asks(self, ids: Ids) -> None:
        """A call is about to ask for these ids."""
        for lease_id in ids:
            self.in_flight[lease_id] = ids

    def answered(self, ids: Ids) -> None:
        """The call has ended: its ids are leases, in doubt, or unused."""
        for lease_id in ids:
            self.in_flight.pop(lease_id, None)

    def give_up(self, wans: Iterable[int], ids: Ids) -> None:
        """Leaves it to upkeep to give back any grant, now or later, of these ids."""
        self.doubts.update({(wan_idx, lease_id): ("", "unused") for wan_idx in wans for lease_id in ids})
        self.answered(ids)

    def granted(self, lease: LeaseState) -> None:
        """A lease is on its way to the caller."""
        self.fresh[lease.granted_id] = lease

    def keep(self, leases: Iterable[LeaseState]) -> None:
        """Keeps new leases alive from now on, until they end, or until nothing refers to one that is not anchored."""
        for lease in leases:
            self.leases[lease.granted_id] = lease
            self._places[lease.granted_id] = lease.wan_idx, lease.port
            self.fresh.pop(lease.granted_id, None)

    def anchored(self, leases: list[LeaseT]) -> list[LeaseT]:
        """Keeps leases alive even if nothing refers to them; returns them, in one line that no interrupt divides."""
        return self.anchors.update({lease.granted_id: lease for lease in leases}) or leases

    def find_dropped(self) -> None:
        """Leaves leases to upkeep that nobody can end any more; how their connections ended, nobody can tell."""
        for lease_id, (wan_idx, port) in list(self._places.items()):
            if lease_id not in self.leases and self._forget(lease_id):
                self.doubts[wan_idx, lease_id] = str(port), "time_wait"

    def kept(self) -> list[LeaseState]:
        """The leases that are kept alive at this moment, even while other threads change them."""
        return [lease for found in self.leases.valuerefs() if (lease := found()) is not None]

    def _forget(self, lease_id: str) -> bool:
        was_kept = self._places.pop(lease_id, None) is not None  # first: else another thread might find it dropped
        self.leases.pop(lease_id, None)
        self.anchors.pop(lease_id, None)
        return was_kept

    # -- renewals

    def renew_soon(self, leases: Iterable[LeaseState] | None = None) -> None:
        """Makes these leases, or all, due at the next beat, which is to come at once."""
        for lease in self.kept() if leases is None else leases:
            lease.renew_at = 0.0
            self.reasserts = True

    def noticed_grace(self, wan_idx: int, ends_ms: int) -> None:
        """Re-asserts the leases of a WAN, once in each grace."""
        if self.graces.get(wan_idx) != ends_ms:
            self.graces[wan_idx] = ends_ms
            self.renew_soon(lease for lease in self.kept() if lease.wan_idx == wan_idx)

    def due(self, now: float) -> Iterator[LeaseState]:
        """The leases to renew now, with those that would be due a little later, to save a call."""
        for lease in self.attached():
            if lease.reason is None and lease.renew_at <= now + lease.ttl / BEAT_A_TTL / 4:
                yield lease

    def attached(self) -> list[LeaseState]:
        """The kept leases that end with this process."""
        return [lease for lease in self.kept() if not lease.detached]

    def count_on(self, wan_idx: int) -> int:
        """How many attached leases a WAN has."""
        return sum(lease.wan_idx == wan_idx for lease in self.attached())

    def losses(self) -> list[LeaseState]:
        """The leases that ended without our release since the last call."""
        lost = [lease for lease in self.kept() if lease.lost]
        for lease in lost:
            known = self._forget(lease.granted_id) and lease.end(lease.reason or "expired")
            if known and not lease.detached:  # another process may have renewed a detached one
                # Redis may still think otherwise for the length of the margin: the port need not wait for it
                self.doubts[lease.wan_idx, lease.granted_id] = str(lease.port), "unseen"
        return lost

    def first_deadline(self) -> float | None:
        """The local time at which the next lease is lost if nothing renews it."""
        return min((lease.deadline for lease in self.kept()), default=None)

    # -- the end of a lease

    def doubt(self, lease: LeaseState, end_reason: str) -> None:
        """A call is about to end the lease, or upkeep has to."""
        # First the doubt: a lease in neither would look unknown.
        self.doubts[lease.wan_idx, lease.granted_id] = str(lease.port), end_reason
        self._forget(lease.granted_id)

    def leave_to_upkeep(self, lease: LeaseState, end_reason: str) -> None:
        """Ends a lease here and now; upkeep tells Redis."""
        self.doubt(lease, end_reason)
        lease.end(final_word(end_reason))

    def settle(self, wan_idx: int, lease_id: str) -> None:
        """Redis has answered how the lease ended."""
        self.doubts.pop((wan_idx, lease_id), None)

    def suspect(self, wan_idx: int, now: float) -> None:
        """Makes upkeep look for late duplicates of an unanswered call."""
        self.suspects[wan_idx] = now + SUSPECT_FOR

    def is_unknown(self, wan_idx: int, port: int, lease_id: str) -> bool:
        """Whether this ledger does not know a lease that this holder has in Redis."""
        # In the order in which another thread moves an id on: in flight, fresh, kept, in doubt.
        if lease_id in self.in_flight or lease_id in self.fresh:
            return False
        return self._places.get(lease_id) != (wan_idx, port) and (wan_idx, lease_id) not in self.doubts

    # -- what there is to do

    def unanswered(self) -> list[tuple[int, str]]:
        """The doubts whose call has ended without an answer."""
        return [key for key in list(self.doubts) if key not in self.under_way]

    def has_work(self) -> bool:
        """Whether there is anything for upkeep."""
        return bool(self._places or self.doubts or self.abandoned or self.suspects)

    def to_clear_up(self) -> set[int]:
        """The WANs of unanswered calls."""
        return {wan_idx for wan_idx, _ in [*self.unanswered(), *self.abandoned]} | set(self.suspects)
