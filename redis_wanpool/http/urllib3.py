"""urllib3 from leased ports."""

import socket
import sys
from typing import Any

from urllib3 import PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import ConnectTimeoutError, LocationParseError, NameResolutionError, NewConnectionError

from redis_wanpool.errors import InvalidValue
from redis_wanpool.http.line import Line, OnLine, chosen, connect
from redis_wanpool.sync.pool import WanPortPool


class _Leased(HTTPConnection):
    _line: Line[WanPortPool]

    def _new_conn(self) -> socket.socket:
        try:
            sock = connect(self._line, (self._dns_host, self.port), self.timeout)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except InvalidValue as error:
            raise LocationParseError(f"{self.host!r}, label empty or too long") from error
        except TimeoutError as error:
            text = f"connecting to {self.host} took more than {self.timeout} s"
            raise ConnectTimeoutError(self, text) from error
        except OSError as error:
            raise NewConnectionError(self, f"cannot connect: {error}") from error
        for option in self.socket_options or ():
            sock.setsockopt(*option)
        sys.audit("http.client.connect", self, self.host, self.port)
        return sock


class _LeasedTls(_Leased, HTTPSConnection):
    pass


class WanPoolManager(OnLine[WanPortPool], PoolManager):
    """A PoolManager whose connections leave from leased ports of a WAN.

    A retry or redirect that needs a new connection takes a new lease. A connection that is kept alive keeps its port:
    `clear()` closes them.

    Args:
        wan: a WAN, several, or ANY; `over_wan` chooses for a request.
        wait: seconds to wait for a port; None: without limit.
        source_address: an IPv4 address of this host.
        sticky: a key, such as an account's name, whose WAN it is to be.
        others: as for urllib3.PoolManager.
    """

    def clear(self) -> None:
        """Closes all idle connections at once; urllib3 alone leaves that to the garbage collector."""
        for made in [self.pools.get(key) for key in self.pools.keys()]:  # noqa: SIM118  # it refuses to be iterated
            if made is not None:
                made.close()
        super().clear()

    def connection_from_pool_key(self, pool_key: Any, request_context: dict[str, Any]) -> HTTPConnectionPool:
        line = chosen(self._line)
        return super().connection_from_pool_key((pool_key, line.wans), {**request_context, "line": line})  # type: ignore[arg-type]

    def _new_pool(self, scheme: str, host: str, port: int, request_context: Any = None) -> HTTPConnectionPool:
        line = request_context.pop("line")
        made = super()._new_pool(scheme, host, port, request_context)
        kind = _LeasedTls if scheme == "https" else _Leased
        made.ConnectionCls = type(kind.__name__, (kind,), {"_line": line})
        return made
