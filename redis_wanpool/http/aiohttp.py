"""aiohttp from leased ports."""

import asyncio
import socket
from typing import Any

import aiohttp
from aiohttp.connector import Connection

from redis_wanpool.aio.pool import AsyncWanPortPool
from redis_wanpool.errors import InvalidValue
from redis_wanpool.http.line import OnLine, Wans, chosen_async, connect_async
from redis_wanpool.model.request import WanChoice
from redis_wanpool.protocol import ANY


class WanConnector(OnLine[AsyncWanPortPool], aiohttp.TCPConnector):
    """For `aiohttp.ClientSession(connector=...)`: connections from leased ports of a WAN.

    A proxy, which aiohttp finds in the environment with `trust_env=True`, is an error, as for WanAdapter.

    Args:
        wan: a WAN, several, or ANY; `over_wan` chooses for a request.
        wait: seconds to wait for a port; None: without limit. The session's timeouts end the waiting, too.
        source_address: an IPv4 address of this host.
        sticky: a key, such as an account's name, whose WAN it is to be.
        others: as for aiohttp.TCPConnector; its limits apply to each choice of WANs.
    """

    def __init__(self, pool: AsyncWanPortPool, wan: WanChoice = ANY, **others: Any) -> None:
        super().__init__(pool, wan, **{**others, "family": socket.AF_INET})
        self._others = others
        self._by_wans: dict[Wans, WanConnector] = {self._line.wans: self}

    async def connect(self, req: Any, traces: Any, timeout: aiohttp.ClientTimeout) -> Connection:
        if req.proxy is not None:
            raise InvalidValue(
                "a proxy is set for this request, by the environment (trust_env=True) or by proxy=, and the leased "
                "port would go to the proxy; make the session without trust_env, and give no proxy"
            )
        line = await chosen_async(self._line)
        if line.wans == self._line.wans:
            return await super().connect(req, traces, timeout)
        other = self._by_wans.get(line.wans)
        if other is None:
            other = self._by_wans[line.wans] = WanConnector(**{**self._others, **line.arguments()})
        return await other.connect(req, traces, timeout)

    async def close(self, **how: Any) -> None:
        for other in list(self._by_wans.values()):
            if other is not self:
                await other.close(**how)
        await super().close(**how)

    def _release(self, key: Any, protocol: Any, *, should_close: bool = False) -> None:
        transport = protocol.transport
        super()._release(key, protocol, should_close=should_close)
        if transport is None or not transport.is_closing():
            return
        # The other side may never read the rest, nor say goodbye in TLS, and until then the port would be leased
        if transport.get_write_buffer_size() or transport.get_extra_info("ssl_object"):
            transport.abort()

    async def _wrap_create_connection(
        self,
        *args: Any,
        addr_infos: list[Any],
        req: Any,
        timeout: aiohttp.ClientTimeout,
        client_error: type[Exception] = aiohttp.ClientConnectorError,
        **kwargs: Any,
    ) -> tuple[asyncio.Transport, Any]:
        addresses = [info[4][:2] for info in addr_infos]
        del addr_infos[1:]  # aiohttp tries one after another; all have the time now
        try:
            async with asyncio.timeout(timeout.sock_connect):
                sock = await connect_async(self._line, *addresses)
        except TimeoutError:
            raise
        except OSError as error:
            raise client_error(req.connection_key, error) from error
        return await self._wrap_existing_connection(
            *args, req=req, timeout=timeout, client_error=client_error, sock=sock, **kwargs
        )
