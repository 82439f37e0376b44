"""Time as a number: what happens next in the world, and tasks that wait for it."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator
from typing import Any, Protocol

Wait = Callable[["Task"], None]  #: tells a task when to go on, by its `wake`
Errand = Generator[Wait, Any, Any]


class Doer(Protocol):
    """Whose events wait while it is stopped, and end when it is dead."""

    is_dead: bool
    is_stopped: bool
    deferred: list[Callable[[], object]]


class Loop:
    """The events of a world in the order of their times; equal times go by who asked first."""

    def __init__(self) -> None:
        self.now = 0.0
        self.current: Any = None  #: whose event happens now; None: the world's
        self._events: list[tuple[float, int, Doer | None, Callable[[], object]]] = []
        self._count = 0

    def at(self, time: float, what: Callable[[], object], doer: Doer | None = None) -> None:
        self._count += 1
        heapq.heappush(self._events, (max(time, self.now), self._count, doer, what))

    def run(self, until: float) -> None:
        events = self._events
        while events and events[0][0] <= until:
            self.now, _, doer, what = heapq.heappop(events)
            if doer is not None:
                if doer.is_dead:
                    continue
                if doer.is_stopped:
                    doer.deferred.append(what)
                    continue
            self.current = doer
            what()
            self.current = None
        self.now = max(self.now, until)


class Task:
    """A generator that yields waits, and goes on when each is over."""

    def __init__(self, loop: Loop, doer: Doer | None, errand: Errand, ended: Callable[[Any], object]) -> None:
        self.loop = loop
        self.doer = doer
        self._errand = errand
        self._ended = ended
        self._ticket = 0

    def start(self) -> None:
        self._go(None, None)

    def waker(self) -> Callable[..., None]:
        """What ends the present wait, once: of several calls the first counts."""
        ticket = self._ticket

        def wake(value: Any = None, error: Exception | None = None) -> None:
            if ticket == self._ticket:
                self._go(value, error)

        return wake

    def _go(self, value: Any, error: Exception | None) -> None:
        self._ticket += 1
        try:
            wait = self._errand.send(value) if error is None else self._errand.throw(error)
        except StopIteration as end:
            self._ended(end.value)
        else:
            wait(self)


def pause(seconds: float) -> Wait:
    """A wait of so many seconds of true time."""

    def wait(task: Task) -> None:
        task.loop.at(task.loop.now + seconds, task.waker(), task.doer)

    return wait
