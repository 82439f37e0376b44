"""Leases as callers hold them, of the blocking face and of the asyncio face."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Generator
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from redis_wanpool.errors import WanpoolError
from redis_wanpool.model.address import Address
from redis_wanpool.model.lease import Grant, LeaseState
from redis_wanpool.protocol import Dial
from redis_wanpool.sockets import dial as sockets
from redis_wanpool.sockets.leased import LeasedSocket, shut_down_all
from redis_wanpool.system.clock import boottime

if TYPE_CHECKING:
    from redis_wanpool.aio.pool import AsyncWanPortPool
    from redis_wanpool.sync.pool import WanPortPool

logger = logging.getLogger("redis_wanpool")

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Lease(LeaseState):
    """The right to one port until `expires_at`; a context manager that gives it back."""

    def __init__(self, pool: WanPortPool, grant: Grant) -> None:
        super().__init__(grant, boottime)
        self._pool = pool

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self, closed: str = "fin") -> None:
        if self.ended is not None:
            return
        try:
            self.release(closed=closed)
        except WanpoolError as error:  # the heartbeat goes on trying; what the block raised matters more
            logger.warning("%r: will be released later: %s", self, error)

    def renew(self, ttl: float | None = None) -> None:
        """Makes the lease last at least `ttl` seconds from now (default: its own ttl); it never gets shorter.

        Raises:
            LeaseLost: the lease has ended.
        """
        try:
            self._pool._run(self._pool.protocol.renew_one(self, self.ttl if ttl is None else ttl))
        finally:
            self._pool._watch_soon(self)

    def release(self, *, used: bool = True, closed: str = "fin") -> bool:
        """Gives the port back.

        Args:
            used: False if no packet left from the port: it is free for everybody at once.
            closed: how the connection ended: "fin"; "drained" (read to the end before closing: no rest); "reset" (a
                cool-down of 15 s at most); "time_wait" (closed by this side first, without TCP timestamps: this system
                refuses the port for a minute, so it rests for 65 s).

        Returns:
            True when this holder ended the lease, now or before; False when it had expired or been revoked.
        """
        pool, how = self._pool, self._pool._how(used, closed)
        shut_down_all(self)
        return pool._run(pool.protocol.release_one(self, how), also_closed=True)

    def wait_lost(self, timeout: float | None = None) -> bool:
        """Waits until the lease is lost, `timeout` seconds at most; tells whether it is."""
        until = None if timeout is None else boottime() + timeout
        told: SimpleQueue[None] = SimpleQueue()
        self._pool._told.add(told)
        try:
            while not self.lost and self.ended is None and (until is None or boottime() < until):
                left = self.remaining() if until is None else min(self.remaining(), until - boottime())
                with suppress(Empty):
                    told.get(timeout=max(0.001, left))
        finally:
            self._pool._told.discard(told)
        return self.lost

    def socket(self, *, source_address: str | None = None, close_on_loss: bool = False) -> LeasedSocket:
        """A TCP socket bound to the port; closing it leaves the lease as it is.

        Args:
            source_address: the IPv4 address to bind to, where this host has several; default: that of the route.
            close_on_loss: whether its connection ends when the lease does: reads find the end, writes fail.

        Raises:
            OSError: the system refuses the port.
        """
        self.check()
        return self._pool._bound(self, source_address, close_on_loss)

    def connect(
        self,
        address: Address,
        timeout: float | None = None,
        *,
        source_address: str | None = None,
        close_on_loss: bool = False,
    ) -> LeasedSocket:
        """A TCP connection from the port, to the first IPv4 address of the host that answers.

        Closing it leaves the lease as it is. One port may have connections to several servers at a time, but only one
        to the same address and port.

        Args:
            address: host and port.
            timeout: seconds to wait for each address, and the socket's timeout then; None: the system's.
            source_address, close_on_loss: as for `socket`.

        Raises:
            OSError: it failed.
        """
        self.check()
        dial = Dial.of(address, timeout, 1, source_address, close_on_loss)
        result = sockets.connect(self.port, sockets.resolve(dial.address), timeout, dial.source_address)
        return self._pool._connected(self, result, close_on_loss)


class AsyncLease(LeaseState):
    """The right to one port until `expires_at`; an async context manager that gives it back."""

    def __init__(self, pool: AsyncWanPortPool, grant: Grant) -> None:
        super().__init__(grant, boottime)
        self._pool = pool
        self._loop = asyncio.get_running_loop()

    async def __aenter__(self) -> AsyncLease:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.ended is not None:
            return
        try:
            await self.release()
        except WanpoolError as error:  # the heartbeat goes on trying; what the block raised matters more
            logger.warning("%r: will be released later: %s", self, error)

    async def renew(self, ttl: float | None = None) -> None:
        """As `Lease.renew`."""
        try:
            await self._pool._run(self._pool.protocol.renew_one(self, self.ttl if ttl is None else ttl))
        finally:
            self._pool._watch_soon(self)

    async def release(self, *, used: bool = True, closed: str = "fin") -> bool:
        """As `Lease.release`."""
        pool, how = self._pool, self._pool._how(used, closed)
        shut_down_all(self)
        return await pool._run(pool.protocol.release_one(self, how), also_closed=True)

    async def wait_lost(self, timeout: float | None = None) -> bool:
        """As `Lease.wait_lost`."""
        until = None if timeout is None else boottime() + timeout
        while not self.lost and self.ended is None and (until is None or boottime() < until):
            told = asyncio.get_running_loop().create_future()
            self._pool._told.add(told)
            try:
                left = self.remaining() if until is None else min(self.remaining(), until - boottime())
                await asyncio.wait([told], timeout=max(0.001, left))
            finally:
                self._pool._told.discard(told)
        return self.lost

    def socket(self, *, source_address: str | None = None, close_on_loss: bool = False) -> LeasedSocket:
        """As `Lease.socket`, and non-blocking."""
        self.check()
        sock = self._pool._bound(self, source_address, close_on_loss)
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
        dial = Dial.of(address, timeout, 1, source_address, close_on_loss)
        targets = await sockets.resolve_async(dial.address)
        result = await sockets.connect_async(self.port, targets, timeout, dial.source_address)
        return await asyncio.open_connection(sock=self._pool._connected(self, result, close_on_loss))


class Leasing:
    """What `acquire` answers: await it for a lease, or enter it with `async with`."""

    def __init__(self, acquiring: Coroutine[Any, Any, AsyncLease]) -> None:
        self._acquiring = acquiring
        self._lease: AsyncLease | None = None

    def __await__(self) -> Generator[Any, Any, AsyncLease]:
        return self._acquiring.__await__()

    async def __aenter__(self) -> AsyncLease:
        self._lease = await self._acquiring
        return self._lease

    async def __aexit__(self, *raised: object) -> None:
        if self._lease is not None:
            await self._lease.__aexit__(*raised)
