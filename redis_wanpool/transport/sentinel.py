"""Connects to the primary of a service, as named by Sentinel."""

from dataclasses import dataclass
from typing import Any, Self

import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel

from redis_wanpool.model.address import Address
from redis_wanpool.transport.both import Steps, awaited, blocking
from redis_wanpool.transport.strict import left, limited, no_retry, place, strict
from redis_wanpool.transport.url import Several, public_url

SCHEMES = ("redis+sentinel", "rediss+sentinel")
PORT = 26379
LIKE = "redis+sentinel://user:password@10.0.0.2:26379,10.0.0.3:26379/SERVICE/0"
NO_PRIMARY = (redis.sentinel.MasterNotFoundError, redis.asyncio.sentinel.MasterNotFoundError)


@dataclass(frozen=True)
class Watched:
    """A service that Sentinels watch, and how to talk to them and to its primary."""

    service: str
    sentinels: tuple[Address, ...]
    is_tls: bool
    options: dict[str, Any]  #: options of the connections to the primary, as redis-py has them
    sentinel_options: dict[str, Any]  #: further options of the connections to the Sentinels

    @classmethod
    def parse(cls, url: str) -> Self:
        """Reads a URL like `LIKE`; what follows a "?" is as in redis://, and `sentinel_username`, `sentinel_password`.

        Raises:
            ValueError, TypeError: it is no such URL, or an option is unknown; the message may show a password.
        """
        named = Several.parse(url, SCHEMES, PORT, ("sentinel_username", "sentinel_password"))
        service, database = named.path if len(named.path) == 2 else (*named.path, "")
        if database and not database.isdecimal():
            raise ValueError("a database that is no number")
        if database:
            named.options["db"] = int(database)
        tls = {name: value for name, value in named.options.items() if name.startswith("ssl_")}
        login = {name.removeprefix("sentinel_"): value for name, value in named.own.items()}
        _kind(redis.sentinel, named.is_tls)(connection_pool=None, **named.options)  # as the client will
        return cls(service, named.addresses, named.is_tls, named.options, {**login, **tls})

    def pool(self, options: dict[str, Any], *, blocking: bool) -> Any:
        """A pool of connections to the primary."""
        module: Any = redis.sentinel if blocking else redis.asyncio.sentinel
        retry = no_retry(blocking=blocking)
        shared = "socket_timeout", "socket_connect_timeout", "socket_keepalive", "socket_keepalive_options"
        timeouts = {name: options[name] for name in shared if name in options}
        ours: dict[str, Any] = {"retry": retry, "protocol": 2, "ssl": self.is_tls}
        watchers = {**self.sentinel_options, **timeouts, **ours}
        manager = (_Asking if blocking else _AsyncAsking)(self.sentinels, sentinel_kwargs=watchers)
        for watcher in manager.sentinels:
            pool: Any = watcher.connection_pool
            pool.connection_class = strict(pool.connection_class, blocking=blocking)
        kind = strict(_kind(module, self.is_tls), blocking=blocking)
        return (_Pool if blocking else _AsyncPool)(
            self.service, manager, connection_class=kind, **{**self.options, **options, "retry": retry}
        )


def _primary(manager: Any, service: str, *, blocking: bool) -> Steps[Address]:
    """Where the first Sentinel that knows says that the primary is; it is the first to be asked the next time."""
    asked, causes = list(manager.sentinels), []
    for number, watcher in enumerate(asked):
        try:
            seconds = left(parts=len(asked) - number + 1)
            services = yield limited(watcher.sentinel_masters, seconds, blocking=blocking)
        except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
            causes.append(f"{place()[0]}: {error or type(error).__name__}")
            continue
        state = services.get(service)
        if state and manager.check_master_state(state, service):
            manager.sentinels = [watcher, *asked[:number], *asked[number + 1 :]]
            return state["ip"], state["port"]
        causes.append(f"{place()[0]} knows no primary of {service!r}")
    raise redis.sentinel.MasterNotFoundError("; ".join(causes))


class _Asking(redis.sentinel.Sentinel):
    """Asks Sentinels one after another, each with its part of the time."""

    def discover_master(self, service_name: str) -> Address:
        return blocking(_primary(self, service_name, blocking=True))


class _AsyncAsking(redis.asyncio.sentinel.Sentinel):
    """The same for asyncio."""

    async def discover_master(self, service_name: str) -> Address:
        return await awaited(_primary(self, service_name, blocking=False))


class _Pool(redis.sentinel.SentinelConnectionPool):
    """Ends its connections to the Sentinels together with the others."""

    def disconnect(self, inuse_connections: bool = True) -> None:
        super().disconnect(inuse_connections)
        for watcher in self.sentinel_manager.sentinels:
            watcher.connection_pool.disconnect(inuse_connections)


class _AsyncPool(redis.asyncio.sentinel.SentinelConnectionPool):
    """The same for asyncio."""

    async def disconnect(self, inuse_connections: bool = True) -> None:
        await super().disconnect(inuse_connections)
        for watcher in self.sentinel_manager.sentinels:
            await watcher.connection_pool.disconnect(inuse_connections)


def why(error: Exception) -> str:
    """What may be wrong when no Sentinel knows a primary; redis-py would name all options of its connections."""
    if "Authentication" in str(error):
        return "they want other credentials; put sentinel_username and sentinel_password behind the ? of the URL"
    return f"{public_url(error)}; check the name of the service, and that the Sentinels run and can be reached"


def blocking_twin(pool: Any, options: dict[str, Any]) -> Any:
    """A blocking pool for the service of a user's asyncio pool, with these options of the connections."""
    nodes = [sentinel.connection_pool.connection_kwargs for sentinel in pool.sentinel_manager.sentinels]
    is_tls = issubclass(pool.connection_class, redis.asyncio.SSLConnection)
    names = [name for name in nodes[0] if name in ("username", "password") or name.startswith("ssl_")]
    login = {name: nodes[0][name] for name in names}
    addresses = tuple((node["host"], node["port"]) for node in nodes)
    return Watched(pool.service_name, addresses, is_tls, {}, login).pool(options, blocking=True)


def _kind(module: Any, is_tls: bool) -> Any:
    return module.SentinelManagedSSLConnection if is_tls else module.SentinelManagedConnection
