"""The asyncio face. Leases are kept by threads of the pool, so a busy loop loses none."""

import asyncio
import logging
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any, Self, Unpack, cast

from redis_wanpool.aio.caller import AsyncCaller
from redis_wanpool.aio.lease import AsyncLease, Leasing, Streams
from redis_wanpool.aio.loops import in_thread, on_loop
from redis_wanpool.engine.pool_object import PoolObject
from redis_wanpool.engine.reaper import HolderSeen
from redis_wanpool.model.address import Address
from redis_wanpool.model.checks import checked_wan
from redis_wanpool.model.lease import Grant, LeaseState
from redis_wanpool.model.request import ANY, WanChoice
from redis_wanpool.model.views import WanSnapshot
from redis_wanpool.model.wan import WanDefinition, WanOptions
from redis_wanpool.protocol import Conversation, Dial, Protocol, Request
from redis_wanpool.protocol.steps import T
from redis_wanpool.sockets.leased import LeasedSocket

logger = logging.getLogger("redis_wanpool")


class AsyncWanPortPool(PoolObject):
    """Leases source ports of WANs, coordinated by Redis, with the names and arguments of `WanPortPool`.

    `client` is a redis.asyncio.Redis; `on_lost` is called on the loop that acquired the lease.
    """

    blocking = False

    @cached_property
    def _caller(self) -> AsyncCaller:
        return AsyncCaller(self._engine)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Gives everything back; the object is of no use afterwards."""
        await self._caller.close()

    # -- WANs

    async def define_wan(
        self, wan_idx: int, ports: str, *, recover: bool = False, fresh: bool = False, **options: Unpack[WanOptions]
    ) -> bool:
        """Defines a WAN, with the arguments of `WanPortPool.define_wan`; asking again for the same changes nothing."""
        definition = WanDefinition.of(wan_idx, ports, **options)
        return await self._run(self._engine.protocol.define_wan(definition, recover=recover, fresh=fresh))

    async def drain(self, wan_idx: int) -> None:
        """Grants nothing new on a WAN; running leases live on."""
        await self._run(self._engine.protocol.set_state(checked_wan(wan_idx), "drain"))

    async def open(self, wan_idx: int) -> None:
        """Ends a drain."""
        await self._run(self._engine.protocol.set_state(checked_wan(wan_idx), "open"))

    async def snapshot(self, wan_idx: int, *, leases: bool = False) -> WanSnapshot:
        """The counts of a WAN at one moment; with `leases`, who holds what."""
        return await self._run(self._engine.protocol.snapshot(checked_wan(wan_idx), leases=leases))

    async def wans(self) -> tuple[int, ...]:
        """The WANs of the namespace."""
        return await self._run(self._engine.protocol.wan_indexes())

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
        reuse_address: bool = False,
        sticky: str | None = None,
    ) -> Leasing:
        """Leases one port, and keeps the lease alive until it is released."""
        request = Request.of(
            wan,
            wait=wait,
            port=port,
            label=label,
            ttl=ttl,
            detached=detached,
            reuse_address=reuse_address,
            sticky=sticky,
        )
        return Leasing(self._lease(request), self._engine.protocol.ledger)

    async def acquire_many(
        self,
        wan: int,
        count: int,
        *,
        at_least: int | None = None,
        wait: float | None = 0.0,
        label: str = "",
        ttl: float | None = None,
        reuse_address: bool = False,
    ) -> list[AsyncLease]:
        """Leases up to 1,000 ports of one WAN in one round trip: all, or at least `at_least`, or none."""
        request = Request.of(
            checked_wan(wan),
            count=count,
            at_least=at_least,
            wait=wait,
            label=label,
            ttl=ttl,
            reuse_address=reuse_address,
        )
        return self._engine.protocol.ledger.anchored(await self._lease(request))

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
        sticky: str | None = None,
        label: str = "",
    ) -> Streams:
        """The streams of a TCP connection from a leased port; closing them releases it (`writer.lease`)."""
        dial = Dial.of(address, timeout, attempts, source_address, close_on_loss)
        sock = await connected_socket(self, Request.of(wan, wait=wait, sticky=sticky, label=label), dial)
        reader, writer = await asyncio.open_connection(sock=sock)
        writer.lease = sock.lease  # type: ignore[attr-defined]
        return reader, writer

    async def allocate_port(self, wan_idx: int) -> int:
        """The old name of `acquire`: leases a port of the WAN until `release_port`."""
        return (await self.acquire(checked_wan(wan_idx))).port

    async def release_port(self, wan_idx: int, port: int) -> bool:
        """The old name of `release`; False if this object does not hold the port: then nothing changes."""
        return await self._run(self._engine.releasing_port(wan_idx, port))

    async def get_port_usage_info(self) -> dict[str, Any]:
        """The ports that each process uses, on all machines."""
        return await self._run(self._engine.protocol.usage())

    async def reap(self, *, dry_run: bool = False) -> list[HolderSeen]:
        """As `WanPortPool.reap`."""
        return await in_thread(lambda: self._engine.reap_now(dry_run))

    async def _lease(self, request: Request) -> list[AsyncLease]:
        leasing = self._engine.patiently(request, self._engine.protocol.lease)
        return cast("list[AsyncLease]", self._engine.leased(await self._caller.run(leasing)))

    def _make_lease(self, grant: Grant) -> AsyncLease:
        return AsyncLease(self._caller, grant)

    def _tell_loss(self, lease: LeaseState) -> None:
        assert isinstance(lease, AsyncLease)
        if self._on_lost is not None and not on_loop(lease.loop, lambda: self._on_lost and self._on_lost(lease)):
            logger.warning("%r is lost, and its loop has closed: on_lost was not called", lease)

    async def _run(self, conversation: Conversation[T]) -> T:
        return await self._caller.run(self._engine.prepared(conversation))


async def connected_socket(pool: AsyncWanPortPool, request: Request, dial: Dial) -> LeasedSocket:
    """A connected, non-blocking socket from a leased port: what `AsyncWanPortPool.connect` makes its streams of."""
    connecting = partial(pool._engine.protocol.connect, dial=dial)
    return await pool._caller.run(pool._engine.patiently(request, connecting))


async def wans_for(pool: AsyncWanPortPool, request: Request) -> tuple[int, ...] | None:
    """The WANs to ask for, as a client that keeps connections needs them: of a request with a key, its one WAN."""
    return await pool._caller.run(pool._engine.patiently(request, pool._engine.protocol.wans_for))


async def led(pool: AsyncWanPortPool, talk: Callable[[Protocol], Conversation[T]]) -> T:
    """The result of a conversation that is about no lease, such as that of a health check."""
    return await pool._run(talk(pool._engine.protocol))
