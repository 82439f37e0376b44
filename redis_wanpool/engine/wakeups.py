"""Listens for calls to waiters, with one listener for each WAN on which this pool object waits."""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from redis_wanpool.engine.ticker import NoThread, Ticker
from redis_wanpool.system.clock import boottime
from redis_wanpool.transport.backend import Backend

logger = logging.getLogger("redis_wanpool")

Heard = Callable[[float], None]  #: takes the seconds until the port is there


class Wakeups:
    """Pops calls from the wake lists and hands each to its waiter. A lost call only costs time."""

    SLICE = 1.0
    AFTER_ERROR = 0.5
    UNHEARD = 1_000

    def __init__(
        self, client: Callable[[], Any], list_name: Callable[[int], str], disconnect: Callable[[], None]
    ) -> None:
        self._client = client
        self._list_name = list_name
        self._disconnect = disconnect
        self._lock = threading.Lock()
        self._waiting: dict[str, tuple[tuple[int, ...], Heard]] = {}
        self._unheard: dict[str, float] = {}
        self._listeners: dict[int, Ticker] = {}
        self._closed = False

    def listen(self, ticket: str, wans: tuple[int, ...], heard: Heard) -> None:
        """Tells `heard` of calls for this ticket, earlier ones included."""
        with self._lock:
            self._waiting[ticket] = wans, heard
            early = 0.0 if self._closed else self._unheard.pop(ticket, None)
            for wan_idx in () if self._closed else wans:
                if wan_idx not in self._listeners:
                    self._listeners[wan_idx] = Ticker(f"wanpool-wakeups-{wan_idx}", partial(self._listen, wan_idx))
                with suppress(NoThread):  # without a thread waiters ask again, if later
                    self._listeners[wan_idx].due(boottime())
        if early is not None:
            heard(early)

    def forget(self, ticket: str) -> None:
        """Ends listening for this ticket."""
        with self._lock:
            self._waiting.pop(ticket, None)

    def close(self) -> None:
        """Ends the listeners, and calls all waiters, who then find the pool closed."""
        with self._lock:
            self._closed = True
            waiting, listeners = list(self._waiting.values()), list(self._listeners.values())
        for listener in listeners:
            listener.stop(self._disconnect)  # the pool's end does not wait for it
        for _, heard in waiting:
            heard(0.0)

    def is_awaited(self, wan_idx: int) -> bool:
        """Whether anybody waits for a call of that WAN."""
        with self._lock:
            return any(wan_idx in wans for wans, _ in self._waiting.values())

    def _listen(self, wan_idx: int) -> float | None:
        if not self.is_awaited(wan_idx):
            return None
        client = self._client()
        timeout = Backend.client_timeout(client)
        slice_ = self.SLICE if timeout is None else min(self.SLICE, timeout / 2)
        try:
            popped = client.blpop([self._list_name(wan_idx)], timeout=slice_)
        except Exception as error:  # also from a client that another thread closes
            # The waiter asks again anyway, and reports the error
            logger.debug("cannot hear calls of WAN %d, going on trying: %s", wan_idx, error)
            return self.AFTER_ERROR
        if popped:
            self.hand_over(popped[1].decode() if isinstance(popped[1], bytes) else popped[1])
        return 0.0

    def hand_over(self, call: str) -> None:
        """Tells a waiter of a call, now or when it begins to listen."""
        ticket, _, ms = call.rpartition(" ")
        seconds = int(ms) / 1000
        with self._lock:
            waiter = self._waiting.get(ticket)
            if waiter is None:  # the call came between its question and its sleep
                self._unheard[ticket] = seconds
                while len(self._unheard) > self.UNHEARD:
                    del self._unheard[next(iter(self._unheard))]
        if waiter is not None:
            waiter[1](seconds)
