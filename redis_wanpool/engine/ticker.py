"""A thread that does one thing again and again, whenever it is due, and that nothing ends but `stop`."""

import logging
import math
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from redis_wanpool.errors import WanpoolError
from redis_wanpool.system.clock import boottime
from redis_wanpool.system.signals import DeafThread

logger = logging.getLogger("redis_wanpool")


class NoThread(WanpoolError):
    """The system, or an interpreter that is ending, gives no new thread."""


class Ticker:
    """Calls `tick` again after the seconds that it returned, or earlier on request; outlives every error.

    A request may be interrupted anywhere, and may come from a finalizer: so there is no lock that could stay taken, and
    only the thread itself notes when it will wake.
    """

    AFTER_ERROR = 1.0
    LOOK = 5.0
    """seconds after which it looks at the clock again: a suspended machine stops the waiting, and not boottime"""

    def __init__(self, name: str, tick: Callable[[], float | None]) -> None:
        self._name = name
        self._tick = tick
        self._asked: queue.SimpleQueue[float] = queue.SimpleQueue()  #: local times for which a tick was requested
        self._wakes_at = math.inf
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._last: Callable[[], object] | None = None

    def due(self, at: float) -> None:
        """Makes `tick` run at that local time or earlier."""
        if self._stopped or (at >= self._wakes_at and self._runs()):
            return
        self._asked.put(at)
        self.start()

    def see_to(self) -> None:
        """Starts the thread again if it has died."""
        if self._thread is not None:
            self.start()

    def stop(self, last: Callable[[], object] | None = None) -> None:
        """Makes the thread end, after it has called `last`; does not wait for it."""
        self._last = last
        self._stopped = True
        self._asked.put(0.0)

    @property
    def is_alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def join(self, seconds: float | None = None) -> bool:
        """Waits for the end of the thread, for at most this many seconds; False if it never ran."""
        thread, patience = self._thread, boottime() + self.AFTER_ERROR
        if thread is None or thread is threading.current_thread():
            return thread is not None
        while True:
            try:
                thread.join(None if seconds is None else max(0.0, seconds))
            except RuntimeError:  # another thread is just starting it
                if boottime() > patience:
                    return False
                time.sleep(0.001)
            else:
                return True

    def start(self) -> None:
        """Starts the thread unless it runs; raises NoThread if there is none."""
        if self._runs():
            return
        with self._starting:
            if self._runs() or self._stopped:
                return
            if self._thread is not None:
                logger.error("%s had ended; it is started again", self._name)
                self._wakes_at = math.inf
                self._asked.put(boottime())
            self._thread = thread = DeafThread(self._run, name=self._name)
            try:
                thread.start()
            except BaseException as error:
                if thread.ident is None:  # else it runs, and only our waiting was interrupted
                    self._thread = None
                if isinstance(error, RuntimeError):
                    raise NoThread(
                        f"no thread for {self._name}: {error}. Without it no lease can be kept, so nothing was leased; "
                        "see RLIMIT_NPROC (ulimit -u) and the cgroup's pids.max"
                    ) from error
                raise

    def _runs(self) -> bool:
        """Whether the thread runs, or somebody is just starting it."""
        thread = self._thread
        return thread is not None and (thread.ident is None or thread.is_alive())

    def _run(self) -> None:
        if self._thread is not threading.current_thread():
            return
        wakes_at = math.inf
        while not self._stopped:
            try:
                wakes_at = self._once(wakes_at)
            except BaseException:  # whatever a tick raises, or somebody throws into the thread
                wakes_at = boottime() + self.AFTER_ERROR
                with suppress(BaseException):
                    logger.exception("%s: going on after an error", self._name)
        if self._last is not None:
            self._last()

    def _once(self, wakes_at: float) -> float:
        """Waits for that time, or an earlier one on request, and ticks; returns the time of the next tick."""
        while not self._stopped:
            left = wakes_at - boottime()
            self._wakes_at = wakes_at = min(
                wakes_at, self._heard(None if left == math.inf else max(0.0, min(left, self.LOOK)))
            )
            if wakes_at <= boottime():
                break
        if self._stopped:
            return wakes_at
        self._wakes_at = math.inf
        pause = self._tick()
        return math.inf if pause is None else boottime() + pause

    def _heard(self, seconds: float | None) -> float:
        """The earliest requested time, after the first request or that many seconds."""
        earliest = math.inf
        with suppress(queue.Empty):
            earliest = self._asked.get(timeout=seconds)
            while True:
                earliest = min(earliest, self._asked.get_nowait())
        return earliest
