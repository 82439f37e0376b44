"""Connections to servers, from leased ports."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from ipaddress import IPv6Address

from redis_wanpool.aio.loops import resolve
from redis_wanpool.aio.pool import AsyncWanPortPool, connected_socket
from redis_wanpool.errors import WanpoolError
from redis_wanpool.model.address import Address, Dial, checked_address
from redis_wanpool.proxy.access import Access
from redis_wanpool.proxy.lines import Line
from redis_wanpool.proxy.refusal import KIND, NOT_ALLOWED, Refusal, refusal
from redis_wanpool.proxy.wire import Wire
from redis_wanpool.sockets.leased import LeasedSocket

_LOOKUPS = 32  #: names that are looked up at a time: each takes a thread
_TURNS = 32  #: clients for which a port is leased at a time: each takes a connection to Redis
_TURN = 0.25  #: seconds after which the next may begin, though one waits for a port, or for its server


class Upstream:
    """A connection to a server; its end gives the port back."""

    def __init__(self, wire: Wire, sock: LeasedSocket) -> None:
        self.wire = wire
        self.lease = sock.lease
        self.local: Address = sock.getsockname()
        self.timed_out = False

    def expire(self) -> None:
        """Ends it, as nothing came for too long."""
        self.timed_out = True
        self.wire.reset()

    def is_lost(self) -> bool:
        """Whether its lease was lost, so that its end is not the server's."""
        return bool(self.lease.lost)


class Dialer:
    """Connects where clients may connect to."""

    def __init__(
        self, pool: AsyncWanPortPool, access: Access, own: set[int], wait: float | None, connect_timeout: float
    ) -> None:
        self._pool = pool
        self._access = access
        self._own = own
        self._wait = wait
        self._timeout = connect_timeout
        self._lookups = asyncio.Semaphore(_LOOKUPS)
        self._turns = asyncio.Semaphore(_TURNS)

    async def connect(self, line: Line, host: str, port: int, label: str) -> Upstream:
        """A connection by the line.

        Raises:
            Refusal: there is none, and why.
        """
        try:
            addresses = await self._addresses(host, port)
            dial = Dial.of(addresses[0], self._timeout, 3, None, True, tuple(addresses[1:]))
            async with self._turn():
                sock = await connected_socket(self._pool, line.request(self._wait, label), dial)
        except (WanpoolError, OSError) as error:
            raise refusal(error, host, port) from error
        upstream = Upstream(Wire(), sock)
        try:
            await asyncio.get_running_loop().create_connection(lambda: upstream.wire, sock=sock)
        except BaseException:
            if upstream.wire.is_connected:
                upstream.wire.reset()
            else:
                sock.close()
            raise
        return upstream

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Lets a thousand clients that come at once lease their ports in turns."""
        await self._turns.acquire()
        left = [self._turns.release]

        def give_back() -> None:
            while left:
                left.pop()()

        timer = asyncio.get_running_loop().call_later(_TURN, give_back)
        try:
            yield
        finally:
            timer.cancel()
            give_back()

    async def _addresses(self, host: str, port: int) -> list[Address]:
        with suppress(ValueError):
            IPv6Address(host)
            raise Refusal(501, f"{host} is an IPv6 address, and only IPv4 can leave by a leased port", KIND)
        checked_address((host, port))
        async with asyncio.timeout(self._timeout), self._lookups:
            found = await resolve((host, port))
        allowed = [address for address in dict.fromkeys(found) if self._access.may_reach(*address, self._own)]
        if not allowed:
            raise Refusal(403, f"{host}:{port} is not an address that this proxy may connect to", NOT_ALLOWED)
        return allowed
