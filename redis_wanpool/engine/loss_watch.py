"""Announces lost leases before Redis could grant their ports again."""

import logging
from collections.abc import Callable

from redis_wanpool.engine.ticker import Ticker
from redis_wanpool.model.lease import LeaseState
from redis_wanpool.protocol import Protocol
from redis_wanpool.sockets.leased import shut_down_all
from redis_wanpool.system.clock import boottime

logger = logging.getLogger("redis_wanpool")


class LossWatch(Ticker):
    """Ends the connections that end with a lost lease, and announces the loss."""

    def __init__(
        self, protocol: Protocol, on_lost: Callable[[LeaseState], object], watched: Callable[[], object]
    ) -> None:
        super().__init__("wanpool-losswatch", self.watch)
        self._protocol = protocol
        self._on_lost = on_lost
        self._watched = watched  #: called after each look, which may have left a lease to give back
        self.listeners: set[Callable[[], object]] = set()  #: called when any lease is lost

    def look_soon(self, lease: LeaseState) -> None:
        """Looks soon, after a renewal by the caller, which may have found that the lease is lost."""
        if lease.lost:
            self.due(boottime())

    def watch(self) -> float | None:
        """Looks once; returns the most seconds until the next look, None if there is no lease."""
        for lease in self._protocol.losses():
            shut_down_all(lease)
            try:
                for listener in self.listeners.copy():
                    listener()
                self._on_lost(lease)
            except Exception:
                logger.exception("on_lost failed for %r", lease)
        self._watched()
        first = self._protocol.first_deadline()
        return None if first is None else max(0.0, min(first - boottime(), Protocol.LONGEST_PAUSE))
