"""http.client from leased ports."""

import http.client
from typing import Any

from redis_wanpool.http.line import Line, chosen, connect, seconds_of
from redis_wanpool.model.address import Address
from redis_wanpool.model.request import WanChoice
from redis_wanpool.sockets.leased import LeasedSocket
from redis_wanpool.sync.pool import WanPortPool


def is_idle(connection: http.client.HTTPConnection) -> bool:
    """Whether it is connected, and no answer is still to be read: http.client's own view of it."""
    response = getattr(connection, "_HTTPConnection__response", None)
    return connection.sock is not None and (response is None or response.isclosed())


class WanHTTPConnection(http.client.HTTPConnection):
    """An HTTPConnection from a leased port of a WAN; closing it, and its response, gives the port back.

    It connects again, from another port, for a request after it was closed, or for which `over_wan` chooses other WANs.

    Args:
        wan: a WAN, several, or ANY.
        wait: seconds to wait for a port; None: without limit.
        source_address: an IPv4 address of this host.
        sticky: a key, such as an account's name, whose WAN it is to be.
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
        sticky: str | None = None,
        **others: Any,
    ) -> None:
        super().__init__(host, port, **others)
        self._line = Line(pool, wan, wait, source_address, sticky)
        self._leads = leads = [self._line]  #: the line of the connection; the function below must not hold self

        def connect_leased(address: Address, timeout: Any, source_address: None) -> LeasedSocket:
            return connect(leads[0], address, seconds_of(timeout))

        self._create_connection = connect_leased  # http.client itself keeps a function to replace here

    def connect(self) -> None:
        self._leads[0] = chosen(self._line)
        super().connect()

    def putrequest(self, *args: Any, **kwargs: Any) -> None:
        if is_idle(self) and self._leads[0].wans != chosen(self._line).wans:
            self.close()
        super().putrequest(*args, **kwargs)


class WanHTTPSConnection(WanHTTPConnection, http.client.HTTPSConnection):
    """The same with TLS; `context` as for http.client.HTTPSConnection."""
