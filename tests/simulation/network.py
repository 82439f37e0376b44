"""The way of requests and replies: how long it takes, and what gets lost on it."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from loop import Errand, Task
from primaries import Node, Trouble, broken, refusal, silence

from redis_wanpool.protocol import Answer, Ask, Call

if TYPE_CHECKING:
    from process import Process
    from world import World

LEAST = 0.0002  #: seconds that any message takes
AT_ANY_TIME = (
    "acquire",
    "renew",
    "release",
    "reject",
    "leave",
    "held",
    "reap",
    "define",
    "claim",
    "register",
    "revoke",
)
"""the scripts that may run once more, however late; an operator's word counts when it arrives"""


class Weather:
    """What goes wrong on the way, as probabilities, for a while."""

    def __init__(self, kind: str, amount: float, process: int | None) -> None:
        self.kind = kind  #: lost, deaf (the reply is), cut (it is, and both know), twice, late
        self.amount = amount
        self.process = process  #: whose requests; None: everybody's


class Network:
    """Carries requests to servers, and replies back."""

    def __init__(self, world: World, dice: Random) -> None:
        self.world = world
        self.dice = dice
        self.weather: list[Weather] = []

    def talk(self, process: Process, step: Call | Ask) -> Errand:
        """The answer to a step, tried once; the twin of `redis_wanpool.transport.exchange`."""
        clock = process.host.clock_name
        for _ in range(3):
            sent = process.clock()
            args = step.timed_args(clock, sent) if isinstance(step, Call) else ()
            reply = yield partial(self._send, process, step, args)
            if not (isinstance(step, Call) and reply[0] == "STEPPED"):
                process.engine.performer.heard = process.clock()
                return Answer(reply, sent)
            clock += "!"
        raise refusal("it answers again and again that its clock stepped")

    def _bad(self, process: Process, kind: str) -> float:
        """How much of that weather there is for a request."""
        for one in self.weather:
            if (
                one.kind == kind
                and one.process in (None, process.number)
                and (kind == "late" or self.dice.random() < one.amount)
            ):
                return one.amount
        return 0.0

    def _delay(self, process: Process) -> float:
        dice, delay = self.dice, LEAST
        delay += 0.003 * dice.random()
        if self.weather and (late := self._bad(process, "late")):
            delay += late * dice.random()
        return delay

    def _send(self, process: Process, step: Call | Ask, args: Any, task: Task) -> None:
        world = self.world
        loop, wake = world.loop, task.waker()
        service = world.service_of(step)
        node: Node = process.targets.get(service.number) or service.primary
        process.targets[service.number] = node
        gives_up = loop.now + process.timeout
        delay = self._delay(process)

        def failed(error: Trouble) -> None:
            if not error.answered or node is not service.primary:
                process.targets.pop(service.number, None)  # and looks where the primary is
            wake(None, error)

        if self.weather and self._bad(process, "lost"):
            loop.at(gives_up, lambda: failed(silence()), process)
            return

        def arrive(again: bool = False) -> None:
            if node.is_stopped:
                node.queue.append(arrive)
                if not again:
                    loop.at(gives_up, lambda: failed(silence()), process)
                return
            loop.current = None
            back = loop.now + self._delay(process)
            if not node.is_up:
                loop.at(min(back, gives_up), lambda: failed(broken()), process)
                return
            try:
                reply = node.run(step, args) if isinstance(step, Call) else node.ask(step)
            except Trouble as trouble:
                error = trouble
                loop.at(back, lambda: failed(error), process)
                return
            if again:
                return
            if self.weather:
                if isinstance(step, Call) and step.script.name in AT_ANY_TIME and self._bad(process, "twice"):
                    loop.at(loop.now + self.dice.random() ** 3 * 60, partial(arrive, True))
                if self._bad(process, "cut"):
                    loop.at(back, lambda: failed(broken()), process)
                    return
                if self._bad(process, "deaf"):
                    back = gives_up + 1
            if back > gives_up:
                loop.at(gives_up, lambda: failed(silence()), process)
            else:
                loop.at(back, partial(wake, reply), process)

        if loop.now + delay > gives_up:
            loop.at(gives_up, lambda: failed(silence()), process)
        loop.at(loop.now + delay, arrive)

    def pop(self, process: Process, wan_idx: int, name: str, seconds: float, task: Task) -> None:
        """Waits for an entry of a list."""
        world = self.world
        loop, wake = world.loop, task.waker()
        service = world.services[wan_idx % len(world.services)]
        node = process.targets.get(service.number) or service.primary

        def tell(value: str) -> None:
            if not (self.weather and (self._bad(process, "deaf") or self._bad(process, "cut"))):
                loop.at(loop.now + self._delay(process), partial(wake, value), process)

        def arrive() -> None:
            if not node.is_up or node.is_stopped or node.refuses:
                loop.at(loop.now + self._delay(process), partial(wake, None, broken()), process)
                return
            node.listen(name, tell)
            loop.at(loop.now + seconds, over)

        def over() -> None:
            if node.is_up:
                node.unlisten(name, tell)
            loop.at(loop.now + self._delay(process), partial(wake, None), process)

        loop.at(loop.now + self._delay(process), arrive)
