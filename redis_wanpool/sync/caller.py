"""Leads the conversations of a blocking caller: talks to Redis, waits, and opens connections."""

import logging
import queue
from contextlib import suppress
from functools import partial

from redis_wanpool.engine.engine import Engine
from redis_wanpool.engine.performer import lead
from redis_wanpool.errors import WanpoolError
from redis_wanpool.model.lease import LeaseState
from redis_wanpool.protocol import Answer, Call, Connect, Conversation, Look, Resolve, Sleep, Step, Try
from redis_wanpool.protocol.steps import T
from redis_wanpool.sockets import dial, race
from redis_wanpool.system.clock import boottime

logger = logging.getLogger("redis_wanpool")


class Caller:
    """Performs every step in the calling thread."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def run(self, conversation: Conversation[T], *, also_closed: bool = False) -> T:
        """Leads a conversation; `also_closed` allows it after the pool's end."""
        if not also_closed:
            self.engine.check_open()
        try:
            return lead(conversation, self._perform)
        finally:
            self.engine.heartbeat.clear_up_soon()

    def release(self, lease: LeaseState, *, used: bool, closed: str | None) -> bool:
        """Gives a port back; False if the lease had expired or been revoked."""
        return self.run(self.engine.releasing(lease, used, closed), also_closed=True)

    def give_back(self, lease: LeaseState, closed: str | None = None) -> None:
        """The same, with failures only logged."""
        if lease.ended is not None:
            return
        try:
            self.release(lease, used=True, closed=closed)
        except WanpoolError as error:  # the heartbeat goes on trying; an error of the block matters more
            logger.warning("%r: will be released later: %s", lease, error)

    def _perform(self, step: Step) -> Answer:
        if isinstance(step, (Call, Look)):  # the usual ones first
            return self.engine.performer.perform(step)
        if isinstance(step, Sleep):
            return self._sleep(step)
        if isinstance(step, Resolve):
            return Answer(dial.resolve(step.address), boottime())
        if isinstance(step, Try):
            return Answer(dial.try_port(step.lease.port, step.source_address), boottime())
        if isinstance(step, Connect):
            return self._connect(step)
        return self.engine.performer.perform(step)

    def _connect(self, step: Connect) -> Answer:
        (lease,) = self.engine.leased([step.lease])
        result = race.connect(lease.port, step.targets, step.timeout, step.source_address)
        return Answer(self.engine.ties.joined(step, result, partial(self.give_back, lease)), boottime())

    def _sleep(self, step: Sleep) -> Answer:
        calls: queue.SimpleQueue[float] = queue.SimpleQueue()
        called: float | None = None
        self.engine.wakeups.listen(step.ticket, step.wans, calls.put)
        try:
            with suppress(queue.Empty):
                called = calls.get(timeout=step.seconds)
        finally:
            self.engine.wakeups.forget(step.ticket)
        self.engine.check_open()
        return Answer(called, boottime())
