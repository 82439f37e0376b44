"""A lease as an asyncio caller holds it."""

import asyncio
from collections.abc import Coroutine, Generator
from functools import partial
from typing import Any, Self

from redis_wanpool.aio.caller import AsyncCaller
from redis_wanpool.aio.loops import on_loop, resolve, running_loop, settle
from redis_wanpool.model.address import Address
from redis_wanpool.model.checks import checked_timeout
from redis_wanpool.model.lease import Grant, LeaseState
from redis_wanpool.protocol import Dial
from redis_wanpool.protocol.ledger import Ledger
from redis_wanpool.sockets import race
from redis_wanpool.sockets.leased import LeasedSocket
from redis_wanpool.system.clock import boottime

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class AsyncLease(LeaseState):
    """The right to one port until `expires_at`; an async context manager that gives it back."""

    def __init__(self, caller: AsyncCaller, grant: Grant) -> None:
        super().__init__(grant, boottime)
        self._caller = caller
        self.loop = running_loop()  #: the loop on which `on_lost` is called

    async def __aenter__(self) -> Self:
        self._caller.engine.protocol.ledger.anchors.pop(self.granted_id, None)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._caller.give_back(self)

    async def renew(self, ttl: float | None = None) -> None:
        """As `Lease.renew`."""
        engine = self._caller.engine
        try:
            await self._caller.run(engine.protocol.renew_one(self, self.ttl if ttl is None else ttl))
        finally:
            engine.loss_watch.look_soon(self)

    async def release(self, *, used: bool = True, closed: str | None = None) -> bool:
        """As `Lease.release`."""
        return await self._caller.release(self, used=used, closed=closed)

    async def wait_lost(self, timeout: float | None = None) -> bool:
        """As `Lease.wait_lost`."""
        timeout = checked_timeout(timeout)
        until = None if timeout is None else boottime() + timeout
        loop, listeners = asyncio.get_running_loop(), self._caller.engine.loss_watch.listeners
        while not self.lost and self.ended is None and (until is None or boottime() < until):
            told = loop.create_future()
            listener = partial(on_loop, loop, partial(settle, told, None))
            listeners.add(listener)
            try:
                left = self.remaining() if until is None else min(self.remaining(), until - boottime())
                await asyncio.wait([told], timeout=max(0.001, left))
            finally:
                listeners.discard(listener)
        return self.lost

    def socket(self, *, source_address: str | None = None, close_on_loss: bool = False) -> LeasedSocket:
        """As `Lease.socket`, and non-blocking."""
        self.check()
        sock = self._caller.engine.ties.bound(self, source_address, close_on_loss)
        sock.setblocking(False)
        return sock

    async def connect(
        self,
        address: Address,
        timeout: float | None = None,
        *,
        source_address: str | None = None,
        close_on_loss: bool = False,
    ) -> Streams:
        """As `Lease.connect`; the streams of the connection."""
        self.check()
        wanted = Dial.of(address, timeout, 1, source_address, close_on_loss)
        targets = await resolve(wanted.address)
        result = await race.connect_async(self.port, targets, timeout, wanted.source_address)
        return await asyncio.open_connection(sock=self._caller.engine.ties.connected(self, result, close_on_loss))


class Leasing:
    """The result of `acquire`: await it for a lease, or enter it with `async with`."""

    def __init__(self, acquiring: Coroutine[Any, Any, list[AsyncLease]], ledger: Ledger) -> None:
        self._acquiring = acquiring
        self._ledger = ledger
        self._lease: AsyncLease | None = None

    def __await__(self) -> Generator[Any, Any, AsyncLease]:
        return self._first().__await__()

    async def _first(self) -> AsyncLease:
        return self._ledger.anchored(await self._acquiring)[0]

    async def __aenter__(self) -> AsyncLease:
        (self._lease,) = await self._acquiring  # which the block ends
        return self._lease

    async def __aexit__(self, *raised: object) -> None:
        if self._lease is not None:
            await self._lease.__aexit__(*raised)
