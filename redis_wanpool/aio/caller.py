"""Leads the conversations of an asyncio caller on its loop."""

import asyncio
import logging
import weakref
from dataclasses import replace
from functools import partial
from typing import Any, cast

import redis.exceptions

from redis_wanpool.aio.loops import in_thread, on_loop, resolve, running_loop, settle
from redis_wanpool.engine import lifetime
from redis_wanpool.engine.engine import Engine
from redis_wanpool.engine.fanout import side_by_side_async
from redis_wanpool.errors import BackendUnavailable, WanpoolError
from redis_wanpool.model.lease import LeaseState
from redis_wanpool.protocol import (
    Answer,
    Ask,
    Call,
    Connect,
    Conversation,
    Look,
    Parallel,
    Remembers,
    Resolve,
    Sleep,
    Step,
    Try,
)
from redis_wanpool.protocol.steps import T, answered
from redis_wanpool.sockets import dial, race
from redis_wanpool.system.clock import boottime
from redis_wanpool.transport import exchange

logger = logging.getLogger("redis_wanpool")

Clients = weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Any]


class AsyncCaller:
    """Performs every step on the running loop, with a client for each loop."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._clients: Clients = weakref.WeakKeyDictionary()
        engine.at_fork = self._begin_again

    def _begin_again(self) -> None:
        lifetime.of_the_parent.append(self._clients)
        self._clients = weakref.WeakKeyDictionary()

    async def close(self) -> None:
        """Closes the pool object, and the client of this loop."""
        client = self._clients.pop(running_loop(), None)
        await in_thread(self.engine.close)
        if client is not None and not self.engine.backend.given:
            await client.aclose()

    async def run(self, conversation: Conversation[T], *, also_closed: bool = False) -> T:
        """Leads a conversation; `also_closed` allows it after the pool's end."""
        running_loop()
        if not also_closed:
            self.engine.check_open()
        try:
            return await self._lead(conversation)
        finally:
            self.engine.heartbeat.clear_up_soon()

    async def release(self, lease: LeaseState, *, used: bool, closed: str | None) -> bool:
        """Gives a port back; False if the lease had expired or been revoked."""
        return await self.run(self.engine.releasing(lease, used, closed), also_closed=True)

    async def give_back(self, lease: LeaseState) -> None:
        """The same, with failures only logged."""
        if lease.ended is not None:
            return
        try:
            await self.release(lease, used=True, closed=None)
        except WanpoolError as error:  # the heartbeat goes on trying; an error of the block matters more
            logger.warning("%r: will be released later: %s", lease, error)

    def client(self) -> Any:
        """The client of the running loop."""
        loop = asyncio.get_running_loop()
        return self._clients.setdefault(loop, self._clients.get(loop) or self.engine.backend.async_client())

    async def _lead(self, conversation: Conversation[T]) -> T:
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        cancels = task.cancelling()
        try:
            step = next(conversation)
            while True:
                try:
                    answer = await self._perform(step)
                    if task.cancelling() > cancels:  # asyncio.wait_for of Python 3.11 may swallow it
                        raise asyncio.CancelledError
                except BackendUnavailable as error:
                    step = conversation.throw(error)
                else:
                    step = answered(conversation, step, answer)
        except StopIteration as end:
            value: T = end.value
            return value
        finally:
            conversation.close()

    async def _perform(self, step: Step) -> Answer:
        engine = self.engine
        if isinstance(step, (Call, Ask)):
            try:
                return await self._talk(step)
            except BackendUnavailable as error:
                if engine.closed or not await in_thread(partial(engine.backend.should_retry, error)):
                    raise
                engine.performer.before_repeat()
                return replace(await self._talk(step), repeated=True)
        if isinstance(step, Look):
            return engine.performer.perform(step)
        if isinstance(step, Sleep):
            return await self._sleep(step)
        if isinstance(step, Parallel):
            return Answer(await side_by_side_async(step.branches, engine.backend.node_of, self._lead), boottime())
        if isinstance(step, Resolve):
            return Answer(await resolve(step.address), boottime())
        if isinstance(step, Try):
            return Answer(dial.try_port(step.lease.port, step.source_address), boottime())
        if isinstance(step, Remembers):
            return await in_thread(partial(engine.performer.perform, step))
        return await self._connect(step)

    async def _connect(self, step: Connect) -> Answer:
        (lease,) = self.engine.leased([step.lease])
        result = await race.connect_async(lease.port, step.targets, step.timeout, step.source_address)
        let_go = partial(self.engine.heartbeat.let_go, lease)
        return Answer(self.engine.ties.joined(step, result, let_go), boottime())

    async def _talk(self, step: Call | Ask) -> Answer:
        backend = self.engine.backend
        if asyncio.get_running_loop() not in self._clients:
            await in_thread(lambda: backend.given or backend.url)  # which may start the embedded server
        client = self.client()
        try:
            return await exchange.run_async(client, step, self.engine.performer.boot_clock)
        except (redis.RedisError, OSError, UnicodeDecodeError) as error:
            raise backend.translated(error, step.keys) from error

    async def _sleep(self, step: Sleep) -> Answer:
        loop = asyncio.get_running_loop()
        called: asyncio.Future[float] = loop.create_future()

        def heard(seconds: float) -> None:
            on_loop(loop, partial(settle, called, seconds))

        self.engine.wakeups.listen(step.ticket, step.wans, heard)
        try:
            await asyncio.wait([called], timeout=step.seconds)
        finally:
            self.engine.wakeups.forget(step.ticket)
        self.engine.check_open()
        return Answer(called.result() if called.done() else None, boottime())
