"""Performs the steps of conversations that are about Redis, in the calling thread."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import redis.exceptions

from redis_wanpool.engine.fanout import side_by_side
from redis_wanpool.errors import BackendUnavailable
from redis_wanpool.protocol import Answer, Ask, Call, Conversation, Look, Parallel, Remembers, Sleep, Step
from redis_wanpool.protocol.steps import T, answered
from redis_wanpool.sockets.dial import look
from redis_wanpool.system.clock import boottime
from redis_wanpool.system.identity import boot_clock
from redis_wanpool.transport import exchange
from redis_wanpool.transport.backend import Backend


def lead(conversation: Conversation[T], perform: Callable[[Step], Answer]) -> T:
    """Leads a conversation to its end; `perform` answers each of its steps."""
    try:
        step = next(conversation)
        while True:
            try:
                answer = perform(step)
            except BackendUnavailable as error:
                step = conversation.throw(error)
            else:
                step = answered(conversation, step, answer)
    except StopIteration as end:
        value: T = end.value
        return value
    finally:
        conversation.close()


class Performer:
    """Leads conversations over one blocking client, which threads may share."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.boot_clock = None if backend.is_fake else boot_clock()
        self.tries_again = True  #: whether a step is performed once more after a broken connection
        self.before_repeat: Callable[[], object] = lambda: None
        """called before that: the server that answers now may have forgotten leases"""
        self.heard = 0.0  #: the local time of the last answer
        self._client: Any = None

    def client(self) -> Any:
        """The blocking client, made when it is first needed."""
        if self._client is None:
            self._client = self.backend.sync_client()
        return self._client

    def run(self, conversation: Conversation[T]) -> T:
        """Leads a conversation to its end, in the calling thread."""
        return lead(conversation, self.perform)

    def perform(self, step: Step) -> Answer:
        """The answer to one step; raises BackendUnavailable if Redis does not answer, or refuses."""
        if isinstance(step, (Call, Ask)):
            try:
                return self.talk(step)
            except BackendUnavailable as error:
                if not self.tries_again or not self.backend.should_retry(error):
                    raise
                self.before_repeat()
                return replace(self.talk(step), repeated=True)
        if isinstance(step, Look):
            return Answer([look(port, closed=step.closed) for port in step.ports], boottime())
        if isinstance(step, Remembers):
            return Answer(self.backend.remembers(), boottime())
        if isinstance(step, Parallel):
            return Answer(side_by_side(step.branches, self.backend.node_of, self.run), boottime())
        if isinstance(step, Sleep):
            time.sleep(step.seconds)
            return Answer(None, boottime())
        raise TypeError(f"{step} is for a caller, not for the background")

    def talk(self, step: Call | Ask) -> Answer:
        """The same, tried once."""
        client = self.client()
        try:
            answer = exchange.run(client, step, self.boot_clock)
            self.heard = boottime()
            return answer
        except (redis.RedisError, OSError, UnicodeDecodeError) as error:
            raise self.backend.translated(error, step.keys) from error

    def disconnect(self) -> None:
        """Closes the idle connections; the others belong to calls that go on."""
        self.backend.disconnect(self._client)
