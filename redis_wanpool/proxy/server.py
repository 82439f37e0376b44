"""The proxy: its ports, its clients, and its end."""

import asyncio
import errno
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial

from redis_wanpool.aio.pool import AsyncWanPortPool
from redis_wanpool.errors import InvalidValue, WanpoolError
from redis_wanpool.model.checks import checked_integer, checked_seconds, checked_text
from redis_wanpool.model.request import Request, WanChoice
from redis_wanpool.proxy.access import Access
from redis_wanpool.proxy.lines import Line, Lines
from redis_wanpool.proxy.upstream import Dialer
from redis_wanpool.proxy.visitor import Visitor
from redis_wanpool.proxy.wire import Wire

logger = logging.getLogger("redis_wanpool.proxy")

PORT = 7080
HEAD = 30.0  #: seconds in which the head of a request has to come
LOOK = 5.0  #: seconds between two looks for new WANs
_BACKLOG = 1024
_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Proxy:
    """A proxy that listens.

    Attributes:
        bind: the address at which it listens.
        port: where the user name chooses the WAN; or, of a proxy for given WANs, its only port.
        wan_ports: the port of each WAN.
        label: of its leases; "": the address of the client.
        draining: whether it is about to end.
    """

    def __init__(self, pool: AsyncWanPortPool, access: Access, bind: str, limits: "Limits") -> None:
        self.access = access
        self.bind = bind
        self.port = 0
        self.wan_ports: dict[int, int] = {}
        self.label = ""
        self.draining = False
        self.lines = Lines(pool)
        self.head_timeout = min(HEAD, limits.idle_timeout)
        self.idle_timeout = limits.idle_timeout
        self._limits = limits
        self._own: set[int] = set()
        self.dialer = Dialer(pool, access, self._own, limits.wait, limits.connect_timeout)
        self._servers: list[asyncio.Server] = []
        self._visitors: dict[asyncio.Task[None], Visitor] = {}
        self._told: set[int] = set()

    @property
    def clients(self) -> int:
        """How many clients are connected."""
        return len(self._visitors)

    async def listen(self, port: int, line: Line | None) -> int:
        """Listens at a port, 0 for one that the system chooses; which it is.

        Raises:
            InvalidValue: the port, or the address, cannot be had.
        """
        begun = partial(self._arrived, line)
        try:
            server = await asyncio.get_running_loop().create_server(
                lambda: Wire(begun), self.bind, port, backlog=_BACKLOG
            )
        except OSError as error:
            in_use = error.errno == errno.EADDRINUSE
            whose = "" if line is None else f" of {line}"
            why = "another program listens there (ss -ltnp shows which)" if in_use else error.strerror
            raise InvalidValue(
                f"port {port}{whose} at {self.bind}: {why}; choose another with --port (port=)"
            ) from error
        self._servers.append(server)
        found = int(server.sockets[0].getsockname()[1])
        self._own.add(found)
        return found

    async def listen_for_wans(self) -> None:
        """Listens at the port of each WAN that is known and has none yet."""
        first = self._limits.port and self._limits.port + 1
        for wan_idx in sorted(set(self.lines.names) - set(self.wan_ports)):
            port = first and first + wan_idx
            if port > 65_535:
                continue
            self.wan_ports[wan_idx] = await self.listen(port, Line(wan_idx))

    async def look(self) -> None:
        """Looks for WANs that were defined meanwhile, for ever."""
        while True:
            await asyncio.sleep(LOOK)
            try:
                await self.lines.look()
                await self.listen_for_wans()
            except WanpoolError as error:
                logger.debug("looking for new WANs: %s", error)

    def _arrived(self, line: Line | None, wire: Wire) -> None:
        peer = wire.transport.get_extra_info("peername")
        if peer is None or not self.access.admits(peer[0]):
            wire.transport.abort()
            return
        if self.clients >= self._limits.max_clients:
            logger.debug("%s: there are %s clients already", peer[0], self.clients)
            wire.transport.write(_TOO_MANY)
            wire.close()
            return
        visitor = Visitor(self, wire, line)
        task = asyncio.get_running_loop().create_task(visitor.run())
        self._visitors[task] = visitor
        task.add_done_callback(lambda task: self._visitors.pop(task, None))

    async def drain(self, seconds: float) -> None:
        """Takes no more clients, lets the others finish for a while, and breaks off what is left."""
        self.draining = True
        for server in self._servers:
            server.close()
        for task, visitor in list(self._visitors.items()):
            if not visitor.is_busy:
                task.cancel()
        if self._visitors and seconds > 0:
            await asyncio.wait(list(self._visitors), timeout=seconds)
        for task in list(self._visitors):
            task.cancel()
        if self._visitors:
            await asyncio.wait(list(self._visitors), timeout=5)


class Limits:
    """How many, and how long."""

    def __init__(
        self, port: int, wait: float | None, connect_timeout: float, idle_timeout: float, max_clients: int
    ) -> None:
        self.port = checked_integer("port", port, 0, 65_535)
        self.wait = wait if wait is None else checked_seconds("wait", wait)
        self.connect_timeout = checked_seconds("connect_timeout", connect_timeout, 0.001)
        self.idle_timeout = checked_seconds("idle_timeout", idle_timeout, 0.001)
        self.max_clients = checked_integer("max_clients", max_clients, 1, 1_000_000)


@asynccontextmanager
async def serve(
    pool: AsyncWanPortPool,
    *,
    bind: str = "127.0.0.1",
    port: int = PORT,
    wan: WanChoice | None = None,
    label: str = "",
    wait: float | None = 5.0,
    connect_timeout: float = 10.0,
    idle_timeout: float = 600.0,
    max_clients: int = 4_000,
    allow: Iterable[str] = (),
    allow_target: Iterable[str] = (),
    passwords: Iterable[str] = (),
    drain: float = 10.0,
) -> AsyncIterator[Proxy]:
    """Runs a proxy on this loop while the block lasts. Clients speak HTTP or SOCKS 5, and leave by leased ports.

    Args:
        pool: where the leases come from.
        bind: the IP address at which to listen.
        port: where the user name chooses the WAN; WAN K has the port behind it, `port + 1 + K`. 0: the system chooses
            all of them.
        wan: a WAN, several, or ANY: then there is one port, and it is for these.
        label: of the leases; "": the address of the client.
        wait: seconds for which a client waits for a port of a WAN; None: without limit.
        connect_timeout: seconds in which a server has to answer.
        idle_timeout: seconds after which a connection ends on which nothing passes.
        max_clients: how many clients there may be at a time.
        allow: networks whose clients may connect, beside this machine's own.
        allow_target: networks that clients may be connected to, though they are not public; needed beyond loopback.
        passwords: what clients have to say beside the user name, any one of them; needed beyond loopback.
        drain: seconds for which clients may finish at the end of the block.

    Raises:
        InvalidValue: a rule is missing, or a port is in use.
        BackendUnavailable: Redis does not answer.
    """
    limits = Limits(port, wait, connect_timeout, idle_timeout, max_clients)
    checked_seconds("drain", drain)
    proxy = Proxy(pool, Access.of(bind, allow, allow_target, passwords), bind, limits)
    proxy.label = checked_text("label", label)
    looking: asyncio.Task[None] | None = None
    try:
        if wan is not None:
            Request.of(wan)
            proxy.port = await proxy.listen(port, Line(wan, takes_any_user=True))
        else:
            await proxy.lines.look()
            proxy.port = await proxy.listen(port, None)
            await proxy.listen_for_wans()
            looking = asyncio.get_running_loop().create_task(proxy.look())
        yield proxy
    finally:
        if looking is not None:
            looking.cancel()
        await proxy.drain(drain)
