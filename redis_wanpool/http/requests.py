"""requests from leased ports."""

from typing import Any

import requests
from requests.adapters import HTTPAdapter

from redis_wanpool.errors import InvalidValue
from redis_wanpool.http.line import Line
from redis_wanpool.http.urllib3 import WanPoolManager
from redis_wanpool.model.request import WanChoice
from redis_wanpool.protocol import ANY
from redis_wanpool.sync.pool import WanPortPool


class WanAdapter(HTTPAdapter):
    """For `session.mount`: connections from leased ports of a WAN.

    A proxy, which requests finds in the environment when `session.trust_env` is left on, is an error: the leased port
    would go to the proxy, and another one to the server.

    Args:
        wan: a WAN, several, or ANY; `over_wan` chooses for a request.
        wait: seconds to wait for a port; None: without limit.
        source_address: an IPv4 address of this host.
        others: as for requests.adapters.HTTPAdapter.
    """

    def __init__(
        self,
        pool: WanPortPool,
        wan: WanChoice = ANY,
        *,
        wait: float | None = 0.0,
        source_address: str | None = None,
        **others: Any,
    ) -> None:
        self._line = Line(pool, wan, wait, source_address)
        super().__init__(**others)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **others: Any) -> None:
        line = self._line
        self.poolmanager = WanPoolManager(
            line.pool,
            line.wan,
            wait=line.wait,
            source_address=line.source_address,
            num_pools=connections,
            maxsize=maxsize,
            block=block,
            **others,
        )

    def proxy_manager_for(self, proxy: str, **others: Any) -> Any:
        raise InvalidValue(
            "a proxy is set for this request, by the environment (HTTP_PROXY and the like) or by the session, and the "
            "leased port would go to the proxy; set session.trust_env = False, as WanSession does, and give no proxies"
        )


class WanSession(requests.Session):
    """A Session whose connections leave from leased ports of a WAN; arguments as for WanAdapter.

    It does not look into the environment (`trust_env` is False): no proxies, no netrc.
    """

    def __init__(
        self,
        pool: WanPortPool,
        wan: WanChoice = ANY,
        *,
        wait: float | None = 0.0,
        source_address: str | None = None,
        **others: Any,
    ) -> None:
        super().__init__()
        self.trust_env = False
        adapter = WanAdapter(pool, wan, wait=wait, source_address=source_address, **others)
        self.mount("http://", adapter)
        self.mount("https://", adapter)
