"""The asyncio face. Leases are kept by threads of the pool, so a busy loop loses none."""

from __future__ import annotations

import asyncio
import logging
import weakref
from dataclasses import replace
from functools import partial
from typing import Any, cast

import redis.exceptions

from redis_wanpool.aio.loops import on_loop, settle
from redis_wanpool.engine.engine import Face
from redis_wanpool.engine.fanout import side_by_side_async
from redis_wanpool.engine.reaper import HolderSeen
from redis_wanpool.errors import BackendUnavailable
from redis_wanpool.model.address import Address
from redis_wanpool.model.checks import checked_wan
from redis_wanpool.model.lease import Grant, LeaseState
from redis_wanpool.model.request import ANY, WanChoice
from redis_wanpool.model.views import WanSnapshot
from redis_wanpool.model.wan import COOLDOWN, WanDefinition
from redis_wanpool.protocol import (
    Answer,
    Ask,
    Call,
    Connect,
    Conversation,
    Dial,
    Parallel,
    Request,
    Resolve,
    Sleep,
    Step,
    Try,
)
from redis_wanpool.protocol.steps import T
from redis_wanpool.sockets import dial as sockets
from redis_wanpool.sockets.leased import LeasedSocket
from redis_wanpool.sync.lease import AsyncLease, Leasing, Streams
from redis_wanpool.system.clock import boottime
from redis_wanpool.transport import exchange

logger = logging.getLogger("redis_wanpool")


class AsyncWanPortPool(Face):
    """Leases source ports of WANs, coordinated by Redis; the names and arguments of `WanPortPool`.

    `client` is a redis.asyncio.Redis; `on_lost` is called on the loop that acquired the lease.
    """

    blocking = False

    def _begin(self) -> None:
        super()._begin()
        self._clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = weakref.WeakKeyDictionary()
        self._told: set[asyncio.Future[None]] = set()
        """of those who wait for a loss"""

    async def __aenter__(self) -> AsyncWanPortPool:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Gives everything back; the object is of no use then."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        await asyncio.to_thread(self._close_down)
        if client is not None and not self._backend.given:
            await client.aclose()

    # -- WANs

    async def define_wan(
        self,
        wan_idx: int,
        ports: str,
        *,
        lease_ttl: float = 60.0,
        max_ttl: float | None = None,
        cooldown: float = COOLDOWN,
        quarantine: float = 65.0,
        weight: int = 1,
        name: str = "",
        max_per_network: int | None = None,
        on_failover: str | None = None,
        failover_margin: float = 10.0,
        recover: bool = False,
    ) -> bool:
        """Defines a WAN; asking again for the same changes nothing."""
        definition = WanDefinition.of(
            wan_idx,
            ports,
            lease_ttl=lease_ttl,
            max_ttl=max_ttl,
            cooldown=cooldown,
            quarantine=quarantine,
            weight=weight,
            name=name,
            max_per_network=max_per_network,
            on_failover=on_failover,
            failover_margin=failover_margin,
        )
        return await self._run(self.protocol.define_wan(definition, recover=recover))

    async def drain(self, wan_idx: int) -> None:
        """Grants nothing new on a WAN; running leases live on."""
        await self._run(self.protocol.set_state(checked_wan(wan_idx), "drain"))

    async def open(self, wan_idx: int) -> None:
        """Ends a drain."""
        await self._run(self.protocol.set_state(checked_wan(wan_idx), "open"))

    async def snapshot(self, wan_idx: int, *, leases: bool = False) -> WanSnapshot:
        """The counts of a WAN at one moment; with `leases`, who holds what."""
        return await self._run(self.protocol.snapshot(checked_wan(wan_idx), leases=leases))

    async def wans(self) -> tuple[int, ...]:
        """The WANs of the namespace."""
        return await self._run(self.protocol.wan_indexes())

    # -- leases

    def acquire(
        self,
        wan: WanChoice = ANY,
        *,
        wait: float | None = 0.0,
        port: int | None = None,
        label: str = "",
        ttl: float | None = None,
        detached: bool = False,
    ) -> Leasing:
        """Leases one port, and keeps the lease alive until it is released."""
        request = Request.of(wan, wait=wait, port=port, label=label, ttl=ttl, detached=detached)
        return Leasing(self._acquire(request))

    async def _acquire(self, request: Request) -> AsyncLease:
        lease: AsyncLease = self._leased(await self._run(self.protocol.acquire(request)))[0]
        return lease

    async def acquire_many(
        self,
        wan: int,
        count: int,
        *,
        at_least: int | None = None,
        wait: float | None = 0.0,
        label: str = "",
        ttl: float | None = None,
    ) -> list[AsyncLease]:
        """Leases up to 1,000 ports of one WAN in one round trip: all, or `at_least` so many, or none."""
        request = Request.of(checked_wan(wan), count=count, at_least=at_least, wait=wait, label=label, ttl=ttl)
        return self._leased(await self._run(self.protocol.acquire(request)))

    async def connect(
        self,
        wan: WanChoice,
        address: Address,
        *,
        wait: float | None = 0.0,
        timeout: float | None = None,
        attempts: int = 3,
        source_address: str | None = None,
        close_on_loss: bool = False,
    ) -> Streams:
        """The streams of a TCP connection from a leased port; closing them releases it (`writer.lease`)."""
        dial = Dial.of(address, timeout, attempts, source_address, close_on_loss)
        sock = await self._connect(Request.of(wan, wait=wait), dial)
        reader, writer = await asyncio.open_connection(sock=sock)
        writer.lease = sock.lease  # type: ignore[attr-defined]
        return reader, writer

    async def _connect(self, request: Request, dial: Dial) -> LeasedSocket:
        return await self._run(self.protocol.connect(request, dial))

    async def allocate_port(self, wan_idx: int) -> int:
        """The old name of `acquire`: leases a port of the WAN until `release_port`."""
        return (await self.acquire(checked_wan(wan_idx))).port

    async def release_port(self, wan_idx: int, port: int) -> bool:
        """The old name of `release`; False if this object does not hold the port: then nothing changes."""
        lease = self._held(wan_idx, port)
        if lease is None:
            self._log_not_held(wan_idx, port, await self._run(self.protocol.holder_of(wan_idx, port)))
            return False
        return await self._run(self.protocol.release_one(lease, "released"))

    async def get_port_usage_info(self) -> dict[str, Any]:
        """Who uses how many ports, on all machines."""
        return await self._run(self.protocol.usage())

    async def reap(self, *, dry_run: bool = False) -> list[HolderSeen]:
        """As `WanPortPool.reap`."""
        return await asyncio.to_thread(self._reap_now, dry_run)

    # -- performing

    def _make_lease(self, grant: Grant) -> AsyncLease:
        return AsyncLease(self, grant)

    def _tell_loss(self, lease: LeaseState) -> None:
        assert isinstance(lease, AsyncLease)
        for future in self._told.copy():
            on_loop(future.get_loop(), partial(settle, future, None))
        if self._on_lost is not None and not on_loop(lease._loop, lambda: self._on_lost and self._on_lost(lease)):
            logger.warning("%r is lost, and its loop has closed: on_lost was not called", lease)

    def _loop_client(self) -> Any:
        loop = asyncio.get_running_loop()
        return self._clients.setdefault(loop, self._clients.get(loop) or self._backend.async_client())

    async def _run(self, conversation: Conversation[T], *, also_closed: bool = False) -> T:
        if not also_closed:
            self._check_open()
        try:
            if not self._ready:
                await asyncio.to_thread(lambda: self._backend.url if not self._backend.given else None)
                await self._lead(self._prepare())
                self._is_prepared()
            return await self._lead(conversation)
        finally:
            self._clear_up_soon()

    async def _lead(self, conversation: Conversation[T]) -> T:
        """Leads a conversation to its end, on the loop."""
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        cancels = task.cancelling()
        try:
            step = next(conversation)
            while True:
                try:
                    answer = await self._answer(step)
                    if task.cancelling() > cancels:  # asyncio.wait_for of Python 3.11 may swallow it
                        raise asyncio.CancelledError
                except BackendUnavailable as error:
                    step = conversation.throw(error)
                else:
                    step = conversation.send(answer)
        except StopIteration as end:
            value: T = end.value
            return value
        finally:
            conversation.close()

    async def _answer(self, step: Step) -> Answer:
        if isinstance(step, Sleep):
            return await self._sleep(step)
        if isinstance(step, Parallel):
            return Answer(await side_by_side_async(step.branches, self._backend.node_of, self._lead), boottime())
        if isinstance(step, Resolve):
            return Answer(await sockets.resolve_async(step.address), boottime())
        if isinstance(step, Try):
            return Answer(sockets.try_port(step.lease.port, step.source_address), boottime())
        if isinstance(step, Connect):
            self._leased([step.lease])
            result = await sockets.connect_async(step.lease.port, step.targets, step.timeout, step.source_address)
            return Answer(self._joined(step, result, partial(self._let_go, step.lease)), boottime())
        try:
            return await self._talk_async(step)
        except BackendUnavailable as error:
            if self._closed or not await asyncio.to_thread(self._backend.should_retry, error):
                raise
            self.protocol.renew_soon()
            return replace(await self._talk_async(step), repeated=True)

    async def _talk_async(self, step: Call | Ask) -> Answer:
        client = self._loop_client()
        try:
            return await exchange.run_async(client, step, self._boot_clock)
        except (redis.RedisError, OSError) as error:
            raise self._backend.translated(error, step.keys) from error

    async def _sleep(self, step: Sleep) -> Answer:
        loop = asyncio.get_running_loop()
        called: asyncio.Future[float] = loop.create_future()

        def heard(seconds: float) -> None:
            on_loop(loop, partial(settle, called, seconds))

        self._wakeups.listen(step.ticket, step.wans, heard)
        try:
            await asyncio.wait([called], timeout=step.seconds)
        finally:
            self._wakeups.forget(step.ticket)
        self._check_open()
        return Answer(called.result() if called.done() else None, boottime())
