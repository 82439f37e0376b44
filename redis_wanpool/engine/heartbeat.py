"""Keeps all leases of a pool object alive, and gives back those that nothing refers to any more."""

from collections import deque
from collections.abc import Callable
from contextlib import suppress

from redis_wanpool.engine.performer import Performer
from redis_wanpool.engine.ticker import Ticker
from redis_wanpool.model.endings import end_reason
from redis_wanpool.model.lease import LeaseState
from redis_wanpool.protocol import Conversation, Look, Protocol
from redis_wanpool.system.clock import boottime
from redis_wanpool.system.signals import DeafThread


class Heartbeat(Ticker):
    """Renews, clears up, and at the end gives everything back, in its own thread."""

    def __init__(self, protocol: Protocol, performer: Performer, renewed: Callable[[], object]) -> None:
        super().__init__("wanpool-heartbeat", self.beat)
        self._protocol = protocol
        self._performer = performer
        self._renewed = renewed  #: called after each beat, which may have found that a lease is lost
        self._dropped: deque[tuple[LeaseState, str]] = deque()

    def let_go(self, lease: LeaseState, closed: str) -> None:
        """Gives a port back soon; may be called anywhere, as by the garbage collector in the middle of other code."""
        if lease.ended is None:
            self._dropped.append((lease, closed))
            self.due(boottime())

    def beat(self) -> float | None:
        """Does one beat; returns the most seconds until the next, None if there is nothing to keep."""
        return self._performer.run(self.beating())

    def beating(self) -> Conversation[float | None]:
        """The conversation of a beat."""
        while self._dropped:
            lease, closed = self._dropped.popleft()
            shelf, reason = self._protocol.shelf, end_reason(True, closed)
            if lease.ended is None and not (shelf is not None and shelf.keeps(lease, reason)):
                self._protocol.leave_to_upkeep(lease, reason)
        for lease in self._protocol.ledger.kept():
            if lease.connections is not None and not lease.is_connected():
                self._protocol.leave_to_upkeep(lease, "released")
        self._protocol.ledger.find_dropped()
        if not self._performer.heard:  # the blocking client of an asyncio pool
            yield from self._protocol.wan_indexes()
        if not self._protocol.has_work():
            return None
        pause = yield from self._protocol.beat((yield Look(())).sent)
        self._renewed()
        return pause

    def clear_up_soon(self) -> None:
        """Clears up soon, after an unanswered call."""
        if self._stopped and self._protocol.has_work():  # the call outlived the heartbeat
            with suppress(RuntimeError):  # an interpreter that is ending starts no threads
                DeafThread(self.give_back).start()
        elif self._protocol.ledger.unanswered() or self._protocol.abandoned or self._protocol.reasserts:
            self.due(boottime())

    def give_back(self) -> None:
        """Gives everything back, however long it takes."""
        self._performer.run(self.giving_back())
        self._performer.disconnect()

    def giving_back(self) -> Conversation[None]:
        """The conversation of that."""
        self._protocol.ledger.find_dropped()
        if self._protocol.has_work() or self._protocol.registered:
            yield from self._protocol.give_back()
