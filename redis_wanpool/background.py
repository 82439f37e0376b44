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
        self._last: Callable[[], object] | None = None

    @property
    def runs(self) -> bool:
        """Whether there is a thread, which will call what `stop` is given."""
        return self._thread is not None

    def due(self, at: float) -> None:
        """Sees to it that `tick` runs at that local time or earlier."""
        if at >= self._wakes_at:
            return
        with self._changed:
            if self._stopped:
                return
            self._wakes_at = min(at, self._wakes_at)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                thread.start()
                self._thread = thread
            self._changed.notify()

    def stop(self, last: Callable[[], object] | None = None) -> None:
        """Has the thread end, after it has called `last`; does not wait for it."""
        with self._changed:
            self._stopped = True
            self._last = last
            self._changed.notify()

    def join(self, seconds: float | None = None) -> bool:
        """Waits for the end of the thread; False if it never ran."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(None if seconds is None else max(0.0, seconds))
        return self.runs

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._stopped and (left := self._wakes_at - boottime()) > 0:
                    self._changed.wait(None if left == math.inf else min(left, self.LOOK))
                if self._stopped:
                    break
                self._wakes_at = math.inf
            try:
                pause = self._tick()
            except Exception:
                logger.exception("%s: going on after an error", self._name)
                pause = self.AFTER_ERROR
            if pause is not None:
                with self._changed:
                    self._wakes_at = min(self._wakes_at, boottime() + pause)
        if self._last is not None:
            self._last()
