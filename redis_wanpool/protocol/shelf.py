"""The ports that a pool object keeps for itself between leases: leased in Redis, renewed, and in nobody's hands.

Several threads use a shelf, without a lock: what is idle lies in deques, and belongs to the thread that takes it out.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress

from redis_wanpool.model.endings import KEPT_AFTER, final_word
from redis_wanpool.model.lease import Grant, LeaseState
from redis_wanpool.protocol.ledger import Ledger

BEAT = 1.0  #: seconds after which a WAN whose ports are kept is asked for its epoch again
TRUSTED = 2.0  #: seconds after the last good answer of a WAN after which none of its kept ports is leased again

Epoch = tuple[str, int]


class _Place:
    """What is kept of one WAN."""

    def __init__(self) -> None:
        self.resting: deque[tuple[float, LeaseState]] = deque()  #: local times at which they have rested, in that order
        self.ready: deque[LeaseState] = deque()  #: the last is leased first, so that what is not needed goes back
        self.back: deque[LeaseState] = deque()  #: to be given back at the next beat
        self.epoch: Epoch | None = None
        self.heard = float("-inf")  #: the local time at which the last good answer was asked for
        self.is_scarce = False  #: whether others wait for ports of the WAN, or few are free
        self.asked_until = float("-inf")  #: the local time until which the WAN is asked for its epoch

    def __len__(self) -> int:
        return len(self.resting) + len(self.ready)


class Shelf:
    """Keeps up to `max_idle` ports of each WAN, for `idle_timeout` seconds; times are by the local clock `now`."""

    def __init__(
        self,
        max_idle: int,
        idle_timeout: float,
        *,
        rest: float,
        ledger: Ledger,
        make_lease: Callable[[Grant], LeaseState],
        now: Callable[[], float],
        beat_at: Callable[[float], object],
    ) -> None:
        self._max_idle = max_idle
        self._idle_timeout = idle_timeout
        self._rest = rest
        self._ledger = ledger
        self._make_lease = make_lease
        self._now = now
        self._beat_at = beat_at  #: makes a beat come at that local time or earlier
        self._places: dict[int, _Place] = {}
        self.is_closed = False

    def _place(self, wan_idx: int) -> _Place:
        return self._places.get(wan_idx) or self._places.setdefault(wan_idx, _Place())

    # -- what Redis says

    def noticed(self, wan_idx: int, epoch: Epoch, sent: float, *, scarce: bool | None = None) -> bool:
        """Notes what an answer told of a WAN, which was asked at that local time; whether its epoch is another one."""
        place, is_new = self._place(wan_idx), False
        if sent >= place.heard:
            is_new = place.epoch not in (None, epoch)
            place.epoch, place.heard = epoch, sent
            if scarce is not None:
                place.is_scarce = scarce
        return is_new

    def to_ask(self, now: float) -> list[int]:
        """The WANs that are to be asked for their epoch."""
        return [wan_idx for wan_idx, place in self._places.copy().items() if len(place) or place.asked_until > now]

    # -- from one lease to the next

    def keeps(self, lease: LeaseState, end_reason: str) -> bool:
        """Keeps the port of a lease that ends like this; False if it is to go back to Redis."""
        now, place = self._now(), self._place(lease.wan_idx)
        fit = (
            end_reason in KEPT_AFTER
            and not lease.detached
            and len(place) < self._max_idle
            and self._is_good(lease, place, now)
        )
        if vars(lease).pop("is_out", None) is None:  # another thread ends it, too, or this is not the first attempt
            return not lease.goes_back
        if not fit:
            lease.goes_back = True
            return False
        idle = lease.successor(self._idle, lease.serial, lease.label, reuse_address=True)
        how, ago = lease.overall(end_reason)
        idle.idle_since, idle.earlier_at = now, now - ago
        idle.earlier = None if how == "unused" else how
        rested_at = idle.earlier_at + (self._rest if idle.earlier not in (None, "drained") else 0.0)
        self._ledger.leases[lease.granted_id] = idle
        self._ledger.anchors.pop(lease.granted_id, None)
        lease.end(final_word(end_reason))
        if rested_at <= now:
            place.ready.append(idle)
        else:
            place.resting.append((rested_at, idle))
        self._asks_until(place, now)
        return True

    def _idle(self, grant: Grant) -> LeaseState:
        return LeaseState(grant, self._now)

    def _asks_until(self, place: _Place, now: float) -> None:
        if place.asked_until <= now:
            self._beat_at(now)
        place.asked_until = now + max(self._idle_timeout, TRUSTED)

    def candidates(self, wan_idx: int, label: str, *, reuse_address: bool) -> Iterator[LeaseState]:
        """Leases of ports that are kept and have rested, each of which is the caller's once it has it, best first."""
        place = self._places.get(wan_idx)
        while place is not None and len(place):
            now = self._now()
            try:
                while place.resting and place.resting[0][0] <= now:
                    place.ready.append(place.resting.popleft()[1])
                idle = place.ready.pop()
            except IndexError:  # there is none, or another thread took it
                return
            if not self._is_good(idle, place, now):
                place.back.append(idle)
                self._beat_at(now)
                return
            lease = idle.successor(self._make_lease, idle.serial + 1, label, reuse_address)
            self._ledger.leases[lease.granted_id] = lease
            self._asks_until(place, now)
            yield lease

    def _is_good(self, lease: LeaseState, place: _Place, now: float) -> bool:
        return (
            not self.is_closed
            and not place.is_scarce
            and place.epoch == (lease.generation, lease.epoch)
            and now - place.heard <= TRUSTED
            and lease.reason is None
        )

    # -- the way back

    def emptied(self, wan_idx: int) -> list[LeaseState]:
        """All idle leases of a WAN, which are the caller's."""
        return self.to_give_back(wan_idx, math.inf) if wan_idx in self._places else []

    def to_give_back(self, wan_idx: int, now: float) -> list[LeaseState]:
        """The idle leases of a WAN that are to go back to Redis now; they are the caller's."""
        place = self._place(wan_idx)
        found: list[LeaseState] = []
        for one in (place.back, place.ready, place.resting):
            for _ in range(len(one)):
                with suppress(IndexError):  # another thread took it
                    entry = one.popleft()
                    idle = entry[1] if isinstance(entry, tuple) else entry
                    stays = one is not place.back and self._is_good(idle, place, now)
                    if stays and now - (idle.idle_since or 0.0) < self._idle_timeout:
                        one.append(entry)  # type: ignore[arg-type]
                    else:
                        found.append(idle)
        return [idle for idle in found if idle.ended is None]
