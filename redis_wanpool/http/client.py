"""http.client from leased ports."""

from __future__ import annotations

import http.client
import socket
from typing import Any

from redis_wanpool.http.line import Line, connect
from redis_wanpool.pool import WanPortPool
from redis_wanpool.protocol.request import WanChoice
from redis_wanpool.sockets import Address, LeasedSocket


class WanHTTPConnection(http.client.HTTPConnection):
    """An HTTPConnection from a leased port of a WAN; closing it, and its response, gives the port back.

    It connects anew, from another port, when it is used again after it was closed.

    Args:
        wan: a WAN, several, or ANY.
        wait: seconds to wait for a port; None: without limit.
        source_address: an IPv4 address of this host.
        others: as for http.client.HTTPConnection.
    """

    def __init__(
        self,
        pool: WanPortPool,
        wan: WanChoice,
        host: str,
        port: int | None = None,
        *,
        wait: float | None = 0.0,
        source_address: str | None = None,
        **others: Any,
    ) -> None:
        super().__init__(host, port, **others)
        self._line = Line(pool, wan, wait, source_address)
        self._create_connection = self._connect_leased  # where http.client, too, has a function to be replaced

    def _connect_leased(self, address: Address, timeout: Any, source_address: None) -> LeasedSocket:
        seconds = timeout if timeout is None or isinstance(timeout, (int, float)) else socket.getdefaulttimeout()
        return connect(self._line.chosen(), address, seconds)


class WanHTTPSConnection(WanHTTPConnection, http.client.HTTPSConnection):
    """The same with TLS; `context` as for http.client.HTTPSConnection."""
