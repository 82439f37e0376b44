"""A thread that does one thing again and again, when it is time to."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable

from redis_wanpool.clock import boottime

logger = logging.getLogger("redis_wanpool")


class Background:
    """Calls `tick` when it said it wants to be called, or earlier when somebody asks; outlives every error."""

    AFTER_ERROR = 1.0
    LOOK = 5.0
    """seconds after which it looks at the clock again: a suspended machine stops the waiting, and not boottime"""

    def __init__(self, name: str, tick: Callable[[], float | None]) -> None:
        self._name = name
        self._tick = tick
        self._changed = threading.Condition()
        self._wakes_at = math.inf
        self._thread: threading.Thread | None = None
        self._stopped = False

    def due(self, at: float) -> None:
        """Sees to it that `tick` runs at that local time or earlier."""
        if at >= self._wakes_at:
            return
        with self._changed:
            if self._stopped:
                return
            self._wakes_at = min(at, self._wakes_at)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify()

    def stop(self, timeout: float) -> None:
        """Ends the thread; waits so many seconds for it at most."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._stopped and (left := self._wakes_at - boottime()) > 0:
                    self._changed.wait(None if left == math.inf else min(left, self.LOOK))
                if self._stopped:
                    return
                self._wakes_at = math.inf
            try:
                pause = self._tick()
            except Exception:
                logger.exception("%s: going on after an error", self._name)
                pause = self.AFTER_ERROR
            if pause is not None:
                with self._changed:
                    self._wakes_at = min(self._wakes_at, boottime() + pause)
