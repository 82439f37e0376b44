"""A value that costs Redis something to read: read now and then, however many ask, and however often."""

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from redis_wanpool.errors import WanpoolError
from redis_wanpool.system.clock import boottime

logger = logging.getLogger("redis_wanpool")

T = TypeVar("T")
LEAST = 1.0  #: seconds between two readings
SHARE = 10.0  #: how many times as long as it took no other reading begins: so it is busy a tenth of the time at most


class Paced(Generic[T]):
    """Reads a value at most once in a while; all who ask meanwhile get the last answer, or the last error.

    Args:
        read: reads it.
        least: seconds between two readings.
    """

    def __init__(self, read: Callable[[], T], least: float = LEAST) -> None:
        self._read = read
        self._least = least
        self._lock = threading.Lock()
        self._due = float("-inf")
        self._error: WanpoolError | None = None
        self._value: T | None = None
        self.readings = 0  #: how often it was read

    def get(self) -> T:
        """The value, a little old at most; raises what the last reading raised."""
        with self._lock:
            begun = boottime()
            if begun >= self._due:
                self.readings += 1
                try:
                    self._value, self._error = self._read(), None
                except WanpoolError as error:
                    self._error = error
                ended = boottime()
                self._due = ended + max(self._least, SHARE * (ended - begun))
            if self._error is not None:
                raise self._error
            assert self._value is not None
            return self._value


class Background(Generic[T]):
    """Reads a value in its own thread, which ends with the program; `value` is the last one, None at first.

    Args:
        read: reads it; a WanpoolError is logged, and leaves no value.
        every: seconds between two readings.
    """

    def __init__(self, read: Callable[[], T], every: float) -> None:
        self._read = read
        self._every = every
        self._ended = threading.Event()
        self.value: T | None = None

    def start(self) -> None:
        """Begins."""
        threading.Thread(target=self._run, name="wanpool-background", daemon=True).start()

    def stop(self) -> None:
        """Begins no other reading."""
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self.value = self._read()
            except WanpoolError as error:
                self.value = None
                logger.warning("cannot look: %s", error)
            self._ended.wait(self._every)
