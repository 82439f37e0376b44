"""Ends what ends with a lost lease, and announces the loss, before Redis could grant the port again."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from redis_wanpool.engine.ticker import Ticker
from redis_wanpool.model.lease import LeaseState
from redis_wanpool.protocol import Protocol
from redis_wanpool.sockets.leased import shut_down_all
from redis_wanpool.system.clock import boottime
from redis_wanpool.system.signals import DeafThread

logger = logging.getLogger("redis_wanpool")


class Teller:
    """Calls `on_lost` in threads for which nothing waits: one, and more while a call takes long."""

    PATIENCE = 1.0  #: seconds for which one call may keep the next one waiting
    MOST = 8  #: how many threads there are at most

    def __init__(self, on_lost: Callable[[LeaseState], object]) -> None:
        self._on_lost = on_lost
        self._untold: deque[tuple[LeaseState, float]] = deque()
        self._threads: list[threading.Thread] = []

    def tell(self, lost: list[LeaseState]) -> float:
        """Tells of these leases; returns the most seconds until it wants to be called again, if only to see."""
        now = boottime()
        self._untold.extend((lease, now) for lease in lost)
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        waiting = next(iter(self._untold.copy()), None)
        if waiting is None:
            return Protocol.LONGEST_PAUSE
        if not self._threads or (now - waiting[1] >= self.PATIENCE and len(self._threads) < self.MOST):
            thread = DeafThread(self._run, name="wanpool-on-lost")
            with suppress(RuntimeError):  # without a thread now, it is tried again
                thread.start()
                self._threads.append(thread)
        return self.PATIENCE

    def join(self, seconds: float) -> None:
        """Waits for the calls under way, for at most this many seconds."""
        until = boottime() + seconds
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, until - boottime()))

    def _run(self) -> None:
        with suppress(IndexError):
            while True:
                lease, _ = self._untold.popleft()
                try:
                    self._on_lost(lease)
                except BaseException:
                    logger.exception("on_lost failed for %r", lease)


class LossWatch(Ticker):
    """Ends the connections that end with a lost lease, and has the loss announced."""

    def __init__(
        self, protocol: Protocol, on_lost: Callable[[LeaseState], object], watched: Callable[[], object]
    ) -> None:
        super().__init__("wanpool-losswatch", self.watch)
        self._protocol = protocol
        self.teller = Teller(on_lost)
        self._watched = watched  #: called after each look, which may have left a lease to give back
        self.listeners: set[Callable[[], object]] = set()  #: called when any lease is lost

    def look_soon(self, lease: LeaseState) -> None:
        """Looks soon, after a renewal by the caller, which may have found that the lease is lost."""
        if lease.lost:
            self.due(boottime())

    def watch(self) -> float | None:
        """Looks once; returns the most seconds until the next look, None if there is no lease."""
        lost = self._protocol.losses()
        for lease in lost:
            shut_down_all(lease)
        for listener in self.listeners.copy() if lost else ():
            listener()
        pause = self.teller.tell([lease for lease in lost if lease.idle_since is None])
        self._watched()
        first = self._protocol.first_deadline()
        if first is None:
            return None if pause == Protocol.LONGEST_PAUSE else pause
        return max(0.0, min(first - boottime(), pause))
