"""Keeps all leases of a pool object alive, and gives back those that nothing refers to any more."""

from collections import deque
from collections.abc import Callable
from contextlib import suppress

from redis_wanpool.engine.performer import Performer
from redis_wanpool.engine.ticker import Ticker
from redis_wanpool.model.endings import end_reason
from redis_wanpool.model.lease import LeaseState
from redis_wanpool.protocol import Protocol
from redis_wanpool.system.clock import boottime
from redis_wanpool.system.signals import DeafThread


class Heartbeat:
    """Renews, clears up, and at the end gives everything back, in its own thread."""

    def __init__(self, protocol: Protocol, performer: Performer, renewed: Callable[[], object]) -> None:
        self._protocol = protocol
        self._performer = performer
        self._renewed = renewed  #: called after each beat, which may have found that a lease is lost
        self._ticker = Ticker("wanpool-heartbeat", self.beat)
        self._dropped: deque[tuple[LeaseState, str]] = deque()
        self._stopped = False

    def due(self, at: float) -> None:
        """Schedules a beat for that local time or earlier."""
        self._ticker.due(at)

    def let_go(self, lease: LeaseState, closed: str) -> None:
        """Gives a port back soon; may be called anywhere, as by the garbage collector in the middle of other code."""
        if lease.ended is None:
            self._dropped.append((lease, closed))
            self.due(boottime())

    def beat(self) -> float | None:
        """Does one beat; returns the most seconds until the next, None if there is nothing to keep."""
        while self._dropped:
            lease, closed = self._dropped.popleft()
            if lease.ended is None:
                self._protocol.leave_to_upkeep(lease, end_reason(True, closed))
        for lease in list(self._protocol.leases.values()):
            if lease.connections is not None and not lease.is_connected():
                self._protocol.leave_to_upkeep(lease, "released")
        if not self._protocol.has_work():
            return None
        pause = self._performer.run(self._protocol.beat(boottime()))
        self._renewed()
        return pause

    def clear_up_soon(self) -> None:
        """Clears up soon, after an unanswered call."""
        if self._stopped and self._protocol.has_work():  # the call outlived the heartbeat
            with suppress(RuntimeError):  # an interpreter that is ending starts no threads
                DeafThread(self.give_back).start()
        elif self._protocol.doubts or self._protocol.abandoned or self._protocol.reasserts:
            self.due(boottime())

    def start(self) -> None:
        """Starts the thread; raises NoThread if there is none."""
        self._ticker.start()

    def stop(self, *, give_back: bool = True) -> None:
        """Makes the thread give everything back and end; does not wait for it."""
        self._stopped = True
        self._ticker.stop(self.give_back if give_back else None)

    def join(self, seconds: float | None = None) -> bool:
        """Waits for that, for at most this many seconds; False if there is no thread."""
        return self._ticker.join(seconds)

    def give_back(self) -> None:
        """Gives everything back, however long it takes."""
        if self._protocol.has_work() or self._protocol.registered:
            self._performer.run(self._protocol.give_back())
        self._performer.disconnect()
