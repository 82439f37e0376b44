"""requests from leased ports."""

from typing import Any

import requests
from requests.adapters import HTTPAdapter

from redis_wanpool.errors import InvalidValue
from redis_wanpool.http.line import OnLine
from redis_wanpool.http.urllib3 import WanPoolManager
from redis_wanpool.model.lease import OfThisProcess
from redis_wanpool.model.request import WanChoice
from redis_wanpool.protocol import ANY
from redis_wanpool.sync.pool import WanPortPool


class WanAdapter(OnLine[WanPortPool], HTTPAdapter):
    """For `session.mount`: connections from leased ports of a WAN.

    A proxy, which requests finds in the environment when `session.trust_env` is left on, is an error: the leased port
    would go to the proxy, and another one to the server.

    Args:
        wan: a WAN, several, or ANY; `over_wan` chooses for a request.
        wait: seconds to wait for a port; None: without limit.
        source_address: an IPv4 address of this host.
        sticky: a key, such as an account's name, whose WAN it is to be.
        others: as for requests.adapters.HTTPAdapter.
    """

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **others: Any) -> None:
        how = {**self._line.arguments(), **others}
        self.poolmanager = WanPoolManager(num_pools=connections, maxsize=maxsize, block=block, **how)

    def proxy_manager_for(self, proxy: str, **others: Any) -> Any:
        raise InvalidValue(
            "a proxy is set for this request, by the environment (HTTP_PROXY and the like) or by the session, and the "
            "leased port would go to the proxy; use a WanSession, or set session.trust_env = False, and give no proxies"
        )


class WanSession(OfThisProcess, requests.Session):
    """A Session whose connections leave from leased ports of a WAN; arguments as for WanAdapter.

    It differs from a plain one in its ports, and in that the environment's proxies are not used.
    """

    def __init__(self, pool: WanPortPool, wan: WanChoice = ANY, **others: Any) -> None:
        super().__init__()
        adapter = WanAdapter(pool, wan, **others)
        self.mount("http://", adapter)
        self.mount("https://", adapter)

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        merged: Any = super().merge_environment_settings(url, dict(proxies or {}), stream, verify, cert)
        return {**merged, "proxies": {**self.proxies, **(proxies or {})}}

    def rebuild_proxies(self, prepared_request: Any, proxies: Any) -> Any:
        return dict(proxies or {})

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        kwargs.setdefault("proxies", self.proxies)
        return super().send(request, **kwargs)
