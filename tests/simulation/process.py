"""Simulated hosts and processes: each has a real engine, whose threads, clock and connections are the world's."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from random import Random
from types import GeneratorType, SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

from loop import Errand, Task, pause
from network import Network

from redis_wanpool.engine import engine as engines
from redis_wanpool.engine import heartbeat, loss_watch, reaper, ticker, wakeups
from redis_wanpool.engine.engine import Engine
from redis_wanpool.engine.fanout import _OPEN, _checked, _fill, _grouped
from redis_wanpool.engine.heartbeat import Heartbeat
from redis_wanpool.engine.loss_watch import LossWatch
from redis_wanpool.engine.reaper import Reaper
from redis_wanpool.engine.ticker import Ticker
from redis_wanpool.engine.wakeups import Wakeups
from redis_wanpool.errors import BackendUnavailable
from redis_wanpool.model.holder import Holder
from redis_wanpool.model.lease import LeaseState
from redis_wanpool.protocol import Answer, Ask, Call, Look, Parallel, Protocol, Remembers, Resolve, Sleep, Try
from redis_wanpool.protocol.refusals import is_silence
from redis_wanpool.protocol.steps import answered
from redis_wanpool.system.liveness import ALIVE, DEAD, UNKNOWN, Verdict

if TYPE_CHECKING:
    from world import World

logger = logging.getLogger("redis_wanpool")
NAMESPACE = "sim"


class Host:
    """A machine: its boot clock, which counts suspend, and its name for others."""

    def __init__(self, world: World, number: int, dice: Random) -> None:
        self.world = world
        self.number = number
        self.name = f"host{number}"
        self.boot_id = f"boot-{number}"
        self.clock_name = f"{number:02x}{dice.getrandbits(40):010x}"
        self._began = dice.uniform(10, 1e6)
        self._rate = 1 + dice.uniform(-0.0009, 0.0009)
        self.pids = 100

    def clock(self) -> float:
        return self._began + self.world.loop.now * self._rate

    def when(self, local: float) -> float:
        """The true time at which its clock shows that."""
        return (local - self._began) / self._rate + 1e-6


class VirtualTicker(Ticker):
    """A ticker whose thread is a task of the world."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._process: Process = current().loop.current
        self._ticks = self._is_ticking = False

    def _conversation(self) -> Any:
        return self._tick()

    def due(self, at: float) -> None:
        if self._stopped or at >= self._wakes_at:
            return
        self._wakes_at = at
        process = self._process
        process.world.loop.at(process.host.when(at), partial(self._fire, at), process)

    def start(self) -> None:
        self._ticks = True

    def see_to(self) -> None:
        pass

    def stop(self, last: Callable[[], object] | None = None) -> None:
        if not self._stopped:
            self._stopped, self._last = True, last
            if not self._is_ticking and last is not None:
                last()

    @property
    def is_alive(self) -> bool:
        return not self._stopped

    def join(self, seconds: float | None = None) -> bool:
        return True

    def _fire(self, at: float) -> None:
        if self._wakes_at == at and not self._is_ticking and not self._stopped:
            self._wakes_at, self._is_ticking = math.inf, True
            self._process.spawn(self._ticking(), self._ticked)

    def _ticking(self) -> Errand:
        try:
            result = self._conversation()
            if isinstance(result, GeneratorType):
                result = yield from self._process.led(result)
        except Exception:
            self._process.world.judge.wrong(f"a tick of {self._name} failed", error=True)
            return self.AFTER_ERROR
        return result

    def _ticked(self, seconds: float | None) -> None:
        self._is_ticking = False
        if self._stopped:
            if self._last is not None:
                self._last()
            return
        asked, self._wakes_at = self._wakes_at, math.inf
        self.due(min(asked, math.inf if seconds is None else self._process.clock() + seconds))


class VirtualHeartbeat(VirtualTicker, Heartbeat):
    def _conversation(self) -> Any:
        return self.beating()

    def give_back(self) -> None:
        self._process.spawn(self._giving_back())

    def _giving_back(self) -> Errand:
        yield from self._process.led(self.giving_back())


class VirtualLossWatch(VirtualTicker, LossWatch):
    pass


class VirtualWakeups(Wakeups):
    """Pops from the wake lists of simulated servers."""

    def _listen(self, wan_idx: int) -> Any:
        return self._listening(wan_idx, current().loop.current)

    def _listening(self, wan_idx: int, process: Process) -> Errand:
        if not self.is_awaited(wan_idx):
            return None
        yield from ()
        try:
            popped = yield partial(process.world.network.pop, process, wan_idx, self._list_name(wan_idx), self.SLICE)
        except BackendUnavailable:
            return self.AFTER_ERROR
        if popped is not None:
            self.hand_over(popped)
        return 0.0


class Thread:
    """What tells of losses: a callback may block, and so its thread lives as long as its process's callbacks take."""

    def __init__(self, run: Callable[[], object], name: str = "") -> None:
        self._run = run
        self._process: Process = current().loop.current
        self._ends = 0.0

    def start(self) -> None:
        teller = getattr(self._run, "__self__", None)
        seconds = self._process.blocks
        if seconds and isinstance(teller, loss_watch.Teller) and teller._untold:
            lease, _ = teller._untold.popleft()
            teller._on_lost(lease)
            self._ends = self._process.world.loop.now + seconds
            self._process.world.loop.at(self._ends, self._run, self._process)
        else:
            self._run()

    def is_alive(self) -> bool:
        return self._process.world.loop.now < self._ends


class Led:
    """Leads the conversations of a process, as `redis_wanpool.engine.performer` does."""

    process: Process

    def __init__(self, process: Process) -> None:
        self.process = process
        self.heard = 0.0
        self.tries_again = True
        self.before_repeat: Callable[[], object] = lambda: None

    def run(self, conversation: Any) -> Any:
        return conversation  # a tick returns it, and the world leads it

    def client(self) -> Any:
        raise AssertionError("nobody needs a client here")

    def disconnect(self) -> None:
        pass


class VirtualEngine(Engine):
    """An engine whose parts are the world's where they touch it."""

    def __init__(self, process: Process, **options: Any) -> None:
        self.process = process
        with mock.patch.object(engines.lifetime, "watch_over"):
            super().__init__(process.settings, process.backend, **options)

    def _begin(self) -> None:
        process, world = self.process, self.process.world
        self.is_ready = self._started = False
        self._greenlets = engines.greenlets()
        self.performer = Led(process)
        self.performer.tries_again = not self.closed
        self.protocol = Protocol(
            namespace=NAMESPACE,
            holder=process.holder,
            network=process.network,
            rest=process.settings.rest,
            lease_ttl=process.settings.lease_ttl,
            make_lease=self._make_lease,
            on_failover="grace" if world.plan.grace else "continue",
            is_sharded=len(world.services) > 1,
            random=process.dice,
            new_secret=process.new_secret,
        )
        self.performer.before_repeat = self.protocol.renew_soon
        self.heartbeat = VirtualHeartbeat(self.protocol, self.performer, lambda: self.loss_watch.due(process.clock()))
        self.loss_watch = VirtualLossWatch(self.protocol, self._on_lost, self._watched)
        self.ties = SimpleNamespace(see_to=lambda: None, stop=lambda: None)
        self.reaper = Reaper(self.protocol, self.performer.run)
        self.reaping = VirtualTicker("wanpool-reaper", self.reaper.looking)
        self.wakeups = VirtualWakeups(
            self.performer.client,
            lambda wan_idx: self.protocol.wan_keys(wan_idx).wake(self.protocol.holder.id),
            self.performer.disconnect,
        )


class Process:
    """A process: its pool object, and the tasks that use it."""

    def __init__(self, world: World, host: Host, number: int, network: str, dice: Random) -> None:
        self.world = world
        self.host = host
        self.number = number
        self.name = f"process {number}"
        self.network = network
        self.dice = dice
        self.clock = host.clock
        self.is_dead = self.is_stopped = False
        self.deferred: list[Callable[[], object]] = []
        self.blocks = 0.0  #: seconds for which a call of on_lost takes; 0: none
        self.timeout = dice.choice((0.5, 2.0))
        self.users = 0  #: how many of its threads are at work
        self._held_up = 0.0  #: until when it was stopped last
        self.targets: dict[int, Any] = {}  #: service -> the node that this process takes for the primary
        self._begin()

    def _begin(self) -> None:
        self.host.pids += 1
        self.pid = self.host.pids
        self.holder = Holder(
            id=f"{self.host.name}:{self.pid}:{self.dice.getrandbits(32):08x}",
            host=self.host.name,
            boot_id=self.host.boot_id,
            pid_namespace="1",
            pid=self.pid,
            started="1",
            program="sim",
            reaps=self.number < 900 and self.dice.random() < 0.4,
        )
        self.settings: Any = SimpleNamespace(
            namespace=NAMESPACE,
            network=self.network,
            rest=self.world.plan.rest,
            lease_ttl=None,
            durability=None,
            wans=self.world.plan.wans,
            legacy_wait=0.0,
        )
        self.backend: Any = SimpleNamespace(
            is_fake=False, is_embedded=False, given=False, is_named=True, timeout=2.0, take_part=lambda: None
        )
        self.world.loop.current = self
        self.engine = VirtualEngine(
            self,
            make_lease=lambda grant: LeaseState(grant, self.clock),
            on_lost=partial(self.world.judge.told_lost, self),
            reaps=True,
            release_on_sigterm=False,
            allow_eviction=False,
            max_idle=0,
            idle_timeout=5.0,
        )
        self.world.loop.current = None

    @property
    def protocol(self) -> Protocol:
        return self.engine.protocol

    def new_secret(self) -> str:
        return f"{self.dice.getrandbits(48):012x}"

    # -- tasks

    def spawn(self, errand: Errand, ended: Callable[[Any], object] = lambda _: None) -> None:
        Task(self.world.loop, self, errand, ended).start()

    def led(self, conversation: Any) -> Errand:
        """Leads a conversation to its end; the twin of `redis_wanpool.engine.performer.lead`."""
        try:
            step = next(conversation)
            while True:
                try:
                    answer = yield from self._perform(step)
                except BackendUnavailable as error:
                    step = conversation.throw(error)
                else:
                    step = answered(conversation, step, answer)
        except StopIteration as end:
            return end.value
        finally:
            conversation.close()

    def _perform(self, step: Any) -> Errand:
        if isinstance(step, (Call, Ask)):
            return (yield from self._talk_twice(step))
        if isinstance(step, Look):
            return Answer([self.world.look(self, port) for port in step.ports], self.clock())
        if isinstance(step, Parallel):
            return Answer((yield from self._side_by_side(step.branches)), self.clock())
        if isinstance(step, Sleep):
            return (yield from self._sleep(step))
        if isinstance(step, Resolve):
            return Answer([("192.0.2.1", 443)], self.clock())
        if isinstance(step, Try):
            return Answer(self.world.look(self, step.lease.port, is_bound=True), self.clock())
        if callable(step):  # a wait of the world's own
            return (yield step)
        if isinstance(step, Remembers):
            return Answer(None, self.clock())
        raise TypeError(f"nobody here does {step}")

    def _sleep(self, step: Sleep) -> Errand:
        calls: list[float] = []
        if not step.wans:
            yield pause(step.seconds / self.host._rate)
            return Answer(None, self.clock())

        def wait(task: Task) -> None:
            wake = task.waker()

            def heard(seconds: float) -> None:
                calls.append(seconds)
                self.world.loop.at(self.world.loop.now, wake, self)

            self.engine.wakeups.listen(step.ticket, step.wans, heard)
            self.world.loop.at(self.world.loop.now + step.seconds, wake, self)

        yield wait
        self.engine.wakeups.forget(step.ticket)
        self.engine.check_open()
        return Answer(calls[0] if calls else None, self.clock())

    def _talk_twice(self, step: Call | Ask) -> Errand:
        performer = self.engine.performer
        network: Network = self.world.network
        try:
            return (yield from network.talk(self, step))
        except BackendUnavailable as error:
            if not (performer.tries_again and getattr(error, "again", False)):
                raise
        performer.before_repeat()
        answer = yield from network.talk(self, step)
        return Answer(answer.reply, answer.sent, repeated=True)

    def _side_by_side(self, branches: Any) -> Errand:
        """The twin of `redis_wanpool.engine.fanout.side_by_side`."""
        results: list[Any] = [_OPEN] * len(branches)

        def lead_all(numbers: list[int]) -> Errand:
            for number in numbers:
                try:
                    results[number] = yield from self.led(branches[number][1])
                except Exception as error:
                    results[number] = error
                    if is_silence(error):
                        _fill(results, numbers, error)
                        return

        groups = _grouped(branches, self.world.service_of_key)
        left = len(groups)

        def wait(task: Task) -> None:
            wake = task.waker()

            def ended(_: Any) -> None:
                nonlocal left
                left -= 1
                if not left:
                    self.world.loop.at(self.world.loop.now, wake, self)

            for numbers in groups:
                self.spawn(lead_all(numbers), ended)

        if left == 1:
            yield from lead_all(groups[0])
        else:
            yield wait
        return _checked(results)

    # -- faults

    def stop(self) -> None:
        self.is_stopped = True

    def was_held_up(self, since: float) -> bool:
        """Whether it was stopped at some time since then, by its clock."""
        return self._held_up >= since

    def left(self, _: Any) -> None:
        """One of its users has ended."""
        self.users -= 1
        self.world.busy -= 1

    def go_on(self) -> None:
        self.is_stopped, self._held_up = False, self.clock()
        deferred, self.deferred = self.deferred, []
        for what in deferred:
            self.world.loop.at(self.world.loop.now, what, self)

    def kill(self) -> None:
        self.is_dead = True
        self.deferred.clear()


_world: list[World] = []


def current() -> World:
    return _world[-1]


def _verdict(who: Holder, here: Holder) -> Verdict:
    """What the kernel of the simulated host says of a process."""
    if (who.host, who.boot_id) != (here.host, here.boot_id):
        return Verdict(UNKNOWN, "it is of another machine")
    return Verdict(ALIVE if current().lives(who) else DEAD, "the world says so")


@contextmanager
def inside(world: World) -> Iterator[None]:
    """Lets the engine see the world's clocks, threads and processes."""

    def clock() -> float:
        process = world.loop.current
        return process.clock() if process is not None else 0.0

    def uniform(low: float, high: float) -> float:
        chosen: float = world.loop.current.dice.uniform(low, high)
        return chosen

    _world.append(world)
    with (
        mock.patch.object(engines, "boottime", clock),
        mock.patch.object(heartbeat, "boottime", clock),
        mock.patch.object(loss_watch, "boottime", clock),
        mock.patch.object(reaper, "boottime", clock),
        mock.patch.object(ticker, "boottime", clock),
        mock.patch.object(wakeups, "boottime", clock),
        mock.patch.object(loss_watch, "DeafThread", Thread),
        mock.patch.object(heartbeat, "DeafThread", Thread),
        mock.patch.object(wakeups, "Ticker", VirtualTicker),
        mock.patch.object(reaper, "verdict", _verdict),
        mock.patch.object(reaper, "random", SimpleNamespace(uniform=uniform)),
    ):
        try:
            yield
        finally:
            _world.pop()
