"""One client's connection to the proxy."""

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from redis_wanpool.errors import WanpoolError
from redis_wanpool.proxy import socks
from redis_wanpool.proxy.forwarding import Forwarder, Gone
from redis_wanpool.proxy.lines import Line, UnknownName
from redis_wanpool.proxy.refusal import SOON, Refusal
from redis_wanpool.proxy.tunnel import Tunnel
from redis_wanpool.proxy.upstream import Upstream
from redis_wanpool.proxy.wire import Wire
from redis_wanpool.terminal.format import one_line

if TYPE_CHECKING:
    from redis_wanpool.proxy.server import Proxy

logger = logging.getLogger("redis_wanpool.proxy")


class Visitor:
    """A client, from its first byte to its end.

    Args:
        proxy: the proxy to which it came.
        wire: its connection.
        line: the line of the port to which it came; None: the user name says it.
    """

    def __init__(self, proxy: "Proxy", wire: Wire, line: Line | None) -> None:
        self.proxy = proxy
        self.wire = wire
        self.is_busy = False  #: whether it waits for an answer
        self._line = line
        peer = wire.transport.get_extra_info("peername") or ("?", 0)
        self.name = f"{peer[0]}:{peer[1]}"

    async def run(self) -> None:
        """Serves the client."""
        try:
            async with asyncio.timeout(self.proxy.head_timeout):
                first = await self.wire.peek()
            if first == socks.VERSION:
                await self._speak_socks()
            elif first is not None:
                await Forwarder(self).run()
        except (ConnectionError, TimeoutError, Gone, socks.GoneWrong) as error:
            self.said(str(error) or "gone")
        except asyncio.CancelledError:
            self.wire.reset() if self.is_busy else self.wire.close()
            if not (self.wire.ended or self.proxy.draining):
                raise
        except Exception:
            logger.exception("%s: a mistake of the proxy's own", self.name)
            self.wire.reset()
        finally:
            self.wire.close()

    def said(self, what: str) -> None:
        """Logs what became of the client."""
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s: %s", self.name, one_line(what))

    async def _speak_socks(self) -> None:
        wire = self.wire
        self.is_busy = True
        refused: Refusal | None = None
        try:
            async with asyncio.timeout(self.proxy.head_timeout):
                given = await socks.greet(wire, needs_user=self._line is None or bool(self.proxy.access.passwords))
                try:
                    line = await self.line_of(None if given is None else (given.user, given.password))
                except Refusal as error:
                    refused = error
                if given is not None:
                    await socks.welcome(wire, known=refused is None or refused.status != 407)
                host, port = await socks.wanted(wire)
            if refused is not None:
                raise refused
            upstream = await self.connect(line, host, port)
        except Refusal as error:
            self.said(str(error))
            await socks.reply(wire, error.reply)
            await wire.finish()
            return
        try:
            await socks.reply(wire, 0, upstream.local)
        except BaseException:
            upstream.wire.reset()
            raise
        await self.tunnel(upstream, b"")

    async def line_of(self, given: tuple[str, str] | None) -> Line:
        """By which line the client goes, given its user name and password; raises Refusal."""
        proxy, user = self.proxy, given[0] if given else ""
        if proxy.access.passwords and not (given and proxy.access.knows(given[1])):
            raise Refusal(407, "a password is needed, and a user name that chooses the WAN")
        if self._line is not None and (not user or self._line.takes_any_user):
            return self._line
        try:
            line = await proxy.lines.of(user)
        except UnknownName as error:
            raise Refusal(407, f"the user name chooses the WAN (wan1, its name, or any): {error}") from None
        except WanpoolError as error:
            raise Refusal(503, str(error), retry_after=SOON) from error
        if self._line not in (None, line):
            raise Refusal(407, f"this port is for {self._line}, and the user name chooses {line}")
        return line

    async def connect(self, line: Line, host: str, port: int) -> Upstream:
        """A connection to a server; raises Refusal. A client that goes away meanwhile ends it."""
        task = asyncio.current_task()
        assert task is not None
        if self.wire.ended:
            raise Gone
        self.wire.at_end = task.cancel
        try:
            upstream = await self.proxy.dialer.connect(line, host, port, self.proxy.label or self.name)
        finally:
            self.wire.at_end = None
        self.said(f"{host}:{port} by WAN {upstream.lease.wan_idx} from port {upstream.lease.port}")
        return upstream

    async def tunnel(self, upstream: Upstream, early: bytes) -> None:
        """Connects the client with the server until either ends."""
        with suppress(ConnectionError):
            await self.wire.flush()
        tunnel = Tunnel(self.wire, upstream.wire, early, self.proxy.idle_timeout, upstream.is_lost)
        there, back = await tunnel.run()
        self.said(f"{there} bytes there, {back} bytes back")
