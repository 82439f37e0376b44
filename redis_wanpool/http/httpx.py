"""httpx from leased ports, blocking and with asyncio."""

import importlib.util
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import httpcore
import httpx

from redis_wanpool.aio.pool import AsyncWanPortPool
from redis_wanpool.errors import InvalidValue
from redis_wanpool.http.httpcore import AsyncLeasedBackend, LeasedBackend
from redis_wanpool.http.line import Line, PoolT, Wans, chosen, chosen_async
from redis_wanpool.model.lease import OfThisProcess
from redis_wanpool.model.request import WanChoice
from redis_wanpool.protocol import ANY
from redis_wanpool.sync.pool import WanPortPool

LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20)  #: the default of httpx
TransportT = TypeVar("TransportT", httpx.HTTPTransport, httpx.AsyncHTTPTransport)


class _ByWans(OfThisProcess, Generic[PoolT, TransportT]):
    """One transport of httpx for each choice of WANs, all with the same options."""

    _make: Callable[[Line[PoolT], dict[str, Any]], TransportT]

    def __init__(
        self,
        pool: PoolT,
        wan: WanChoice = ANY,
        *,
        wait: float | None = 0.0,
        source_address: str | None = None,
        sticky: str | None = None,
        verify: Any = True,
        cert: Any = None,
        trust_env: bool = True,
        http1: bool = True,
        http2: bool = False,
        limits: httpx.Limits = LIMITS,
        retries: int = 0,
    ) -> None:
        if http2 and importlib.util.find_spec("h2") is None:
            raise InvalidValue('http2=True needs the package h2; install it with: pip install "httpx[http2]"')
        self._line: Line[PoolT] = Line(pool, wan, wait, source_address, sticky)
        self._options = {
            "ssl_context": httpx.create_ssl_context(verify=verify, cert=cert, trust_env=trust_env),
            "max_connections": limits.max_connections,
            "max_keepalive_connections": limits.max_keepalive_connections,
            "keepalive_expiry": limits.keepalive_expiry,
            "http1": http1,
            "http2": http2,
            "retries": retries,
        }
        self._by_wans: dict[Wans, TransportT] = {}

    def _by(self, line: Line[PoolT]) -> TransportT:
        return self._by_wans.get(line.wans) or self._by_wans.setdefault(line.wans, self._make(line, self._options))


class _Leased(httpx.HTTPTransport):
    def __init__(self, line: Line[WanPortPool], options: dict[str, Any]) -> None:
        self._pool = httpcore.ConnectionPool(network_backend=LeasedBackend(line), **options)


class _AsyncLeased(httpx.AsyncHTTPTransport):
    def __init__(self, line: Line[AsyncWanPortPool], options: dict[str, Any]) -> None:
        self._pool = httpcore.AsyncConnectionPool(network_backend=AsyncLeasedBackend(line), **options)


class WanTransport(_ByWans[WanPortPool, httpx.HTTPTransport], httpx.BaseTransport):
    """For `httpx.Client(transport=...)`: connections from leased ports of a WAN.

    httpx ignores the environment's proxies when it is given a transport; requests that `proxy=` or `mounts=` sends
    elsewhere do not use it.

    Args:
        wan: a WAN, several, or ANY; `over_wan` chooses for a request.
        wait: seconds to wait for a port; None: without limit.
        source_address: an IPv4 address of this host.
        sticky: a key, such as an account's name, whose WAN it is to be.
        others: as for httpx.HTTPTransport; its limits apply to each choice of WANs.
    """

    _make = _Leased

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._by(chosen(self._line)).handle_request(request)

    def close(self) -> None:
        for transport in list(self._by_wans.values()):
            transport.close()


class AsyncWanTransport(_ByWans[AsyncWanPortPool, httpx.AsyncHTTPTransport], httpx.AsyncBaseTransport):
    """For `httpx.AsyncClient(transport=...)`; arguments as for WanTransport. It runs on asyncio, not on trio."""

    _make = _AsyncLeased

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._by(await chosen_async(self._line)).handle_async_request(request)

    async def aclose(self) -> None:
        for transport in list(self._by_wans.values()):
            await transport.aclose()
