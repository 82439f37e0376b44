"""Connects to Redis: to which server, and with which options."""

import socket
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import redis
import redis.asyncio
import redis.asyncio.sentinel
from redis.crc import key_slot

from redis_wanpool.errors import BackendUnavailable, InvalidValue
from redis_wanpool.transport import cluster, embedded, idle, sentinel
from redis_wanpool.transport.both import blocking as run_steps
from redis_wanpool.transport.strict import client_of, no_retry, strict
from redis_wanpool.transport.translate import translated
from redis_wanpool.transport.url import check_options, public_url

SCHEMES = ("redis", "rediss", "unix", "fake", *sentinel.SCHEMES, *cluster.SCHEMES)
_IDLE, _INTERVAL, _PROBES = 10, 3, 3
_KEEPALIVE_OPTIONS = {
    **dict.fromkeys(("TCP_KEEPIDLE", "TCP_KEEPALIVE"), _IDLE),  # the latter on macOS
    "TCP_KEEPINTVL": _INTERVAL,
    "TCP_KEEPCNT": _PROBES,
    "TCP_USER_TIMEOUT": 1000 * (_IDLE + _PROBES * _INTERVAL),  # Linux: else data on its way stops the probes
}
KEEPALIVE: dict[str, Any] = {
    "socket_keepalive": True,
    "socket_keepalive_options": {
        getattr(socket, name): value for name, value in _KEEPALIVE_OPTIONS.items() if hasattr(socket, name)
    },
}
"""A path that is dead is found in 19 s, before the next renewal of a lease of 60 s needs it (redis-py 8: in 45 s). On
TCP_USER_TIMEOUT see https://blog.cloudflare.com/when-tcp-sockets-refuse-to-die/
"""
_fakes: dict[str, Any] = {}


class Backend:
    """One Redis, by URL or by a client that the user made."""

    def __init__(self, url: str | None, *, client: Any = None, timeout: float = 2.0) -> None:
        self.timeout = timeout
        self._given = client
        self._url = url
        self.given = client is not None  #: whether the user made the client, and so closes it
        self.is_embedded = url is None and client is None  #: whether it is the server that the package starts itself
        if url is not None:
            checked_url(url)

    def __repr__(self) -> str:
        return f"<backend {self.name}>"

    @property
    def url(self) -> str:
        """The URL; without one the embedded server is started."""
        if self._url is None:
            self._url = embedded.ensure(self.timeout)
        return self._url

    def take_part(self) -> None:
        """Before this process holds leases: the embedded server knows from then on whether it lives."""
        if self.is_embedded:
            embedded.take_part()

    def remembers(self) -> bool | None:
        """Whether a WAN that the data lacks surely never was; None if the server is not one that can tell."""
        return embedded.knows_all() if self.is_embedded else None

    @property
    def name(self) -> str:
        """The server's name for messages, without a password."""
        if self._given is not None:
            return "the given client's Redis"
        return "the embedded server" if self._url is None else public_url(self._url)

    @cached_property
    def is_fake(self) -> bool:
        if self._given is None:
            return self.url.startswith("fake:")
        return type(self._given).__module__.startswith("fakeredis")

    @property
    def is_watched(self) -> bool:
        """Whether Sentinels tell where it is."""
        return self._given is None and self.url.startswith(sentinel.SCHEMES)

    @property
    def is_named(self) -> bool:
        """Whether Sentinels or nodes of a cluster name the primary."""
        if self._given is not None:
            return hasattr(self._given.connection_pool, "sentinel_manager")
        return self.is_watched or self.is_cluster

    @property
    def is_cluster(self) -> bool:
        """Whether the keys are spread over the nodes of a cluster."""
        return self._given is None and self.url.startswith(cluster.SCHEMES)

    @cached_property
    def _slots(self) -> cluster.Slots:
        return cluster.Slots(cluster.Cluster.parse(self.url).seeds)

    def node_of(self, key: str) -> object:
        """The node that has a key, as far as is known; requests to one node go one after another."""
        return self._slots.owner(key_slot(key.encode())) if self.is_cluster else None

    @property
    def shards(self) -> list[str]:
        """The addresses of a cluster's primaries, as far as is known; "" for a single server."""
        return [f"{host}:{port}" for host, port in self._slots.primaries] if self.is_cluster else [""]

    @property
    def database(self) -> int:
        """The number of the database that the URL names."""
        if self.is_cluster:
            return 0
        parse: Any = redis.connection.parse_url
        options = sentinel.Watched.parse(self.url).options if self.is_watched else parse(self.url)
        return int(options.get("db", 0))

    def sync_client(self) -> Any:
        """A blocking client; for a given asyncio client, its blocking twin."""
        if self._given is not None:
            return self._given if isinstance(self._given, redis.Redis) else _blocking_twin(self._given)
        return self._client(blocking=True)

    def async_client(self) -> Any:
        """An asyncio client; it belongs to the loop in which it is used first."""
        return self._client(blocking=False) if self._given is None else self._given

    def _client(self, *, blocking: bool) -> Any:
        if self.is_fake:
            import fakeredis

            fake = fakeredis.FakeRedis if blocking else fakeredis.FakeAsyncRedis
            return fake(server=_fake_server(self.url), decode_responses=True)
        options = {
            "decode_responses": True,
            "socket_connect_timeout": self.timeout,
            "socket_timeout": self.timeout,
            "retry": no_retry(blocking=blocking),
            "max_connections": 10_000,
            **({} if self.url.startswith("unix:") else KEEPALIVE),
            "protocol": 2,  # with 3, redis-py 8 asks for more at each connect, for which users would need rights
        }
        if self.is_cluster:
            kind = cluster.Client if blocking else cluster.AsyncClient
            return kind(cluster.Cluster.parse(self.url), self._slots, options)
        if self.is_watched:
            pool = sentinel.Watched.parse(self.url).pool(options, blocking=blocking)
        else:
            module: Any = redis if blocking else redis.asyncio
            pool = module.ConnectionPool.from_url(self.url, **options)
            pool.connection_class = strict(pool.connection_class, blocking=blocking)
        return client_of(pool, blocking=blocking)

    @staticmethod
    def servers(client: Any) -> list[Any]:
        """A client of each server behind a blocking client."""
        return client.primaries() if isinstance(client, cluster.Client) else [client]

    def disconnect(self, client: Any) -> None:
        """Closes the idle connections of a blocking client, unless the user made it."""
        if client is not None and client is not self._given:
            for one in client.all() if isinstance(client, cluster.Client) else [client]:
                run_steps(idle.close(one.connection_pool))

    @staticmethod
    def client_timeout(client: Any) -> float | None:
        """Seconds that a client waits for an answer; None: without limit."""
        if isinstance(client, cluster.Client):
            return client.timeout
        seconds: float | None = client.connection_pool.connection_kwargs.get("socket_timeout")
        return seconds

    def should_retry(self, error: BackendUnavailable) -> bool:
        """Whether a step that failed like this is performed once more; only this decides what is sent again.

        Yes after a broken connection, as a restarted server leaves it: all scripts are idempotent on lease_id. No after
        a timeout: the time is used up. An embedded server is started again before.

        Raises:
            BackendUnavailable: the embedded server hangs, or does not start again.
        """
        broken = isinstance(error.__cause__, (redis.ConnectionError, OSError))
        if not broken or isinstance(error.__cause__, TimeoutError):
            return False
        if self.is_embedded:
            embedded.ensure(self.timeout)
        return True

    def translated(self, error: Exception, keys: Sequence[str] = ()) -> BackendUnavailable:
        """An error of redis-py in our words, after a request with these keys."""
        if self.is_embedded and "MISCONF" in str(error):
            return BackendUnavailable(embedded.unwritable(error), passing=True)
        return translated(error, keys, name=self.name, timeout=self.timeout)


def checked_url(url: object) -> str:
    """The URL, if it is valid; the message never shows a password."""
    if not isinstance(url, str):
        raise InvalidValue(f"url {type(url).__name__}: must be text like redis://10.0.0.2:6379/0")
    shown = public_url(url) if "://" in url or ":" not in url else "***"
    for module, parse in ((sentinel, sentinel.Watched.parse), (cluster, cluster.Cluster.parse)):
        if url.startswith(tuple(f"{scheme}://" for scheme in module.SCHEMES)):
            _try(parse, url, f"url {shown!r}", f": write it like {module.LIKE}, with options of redis-py only")
            return url
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidValue(
            f"url {shown!r} does not parse; write it like redis://user:password@10.0.0.2:6379/0"
        ) from None
    if parts.scheme not in SCHEMES:
        raise InvalidValue(f"url {shown!r}: the scheme must be one of {', '.join(SCHEMES)}")
    if parts.scheme in ("redis", "rediss"):
        database = parts.path.strip("/")
        if not parts.hostname or port == 0 or (database and not database.isdecimal()):
            raise InvalidValue(f"url {shown!r}: write it like {parts.scheme}://10.0.0.2:6379/0 (host, port, database)")
    if parts.scheme == "unix" and not parts.path:
        raise InvalidValue(f"url {shown!r}: write it like unix:///run/redis/redis.sock?db=0")
    if parts.scheme != "fake":
        _try(_connected_to_nothing, url, f"url {shown!r}", ": one of its options is unknown, or has an invalid value")
    return url


def _try(parse: Callable[[str], object], url: str, where: str, otherwise: str) -> None:
    try:
        parse(url)
    except InvalidValue as error:
        raise InvalidValue(f"{where}: {error}") from None
    except (TypeError, ValueError):
        raise InvalidValue(where + otherwise) from None


def _connected_to_nothing(url: str) -> None:
    """Makes a connection object, as the client will, which refuses what it does not know."""
    check_options(url)
    pool = redis.ConnectionPool.from_url(url)
    pool.connection_class(**pool.connection_kwargs)


def given_client(client: Any, *, blocking: bool) -> Any:
    """The client, if it is of the right kind."""
    kinds = (redis.Redis,) if blocking else (redis.asyncio.Redis,)
    if client is None or isinstance(client, kinds):
        return client
    wanted = "redis.Redis" if blocking else "redis.asyncio.Redis"
    if type(client).__name__ == "RedisCluster":
        raise InvalidValue("client RedisCluster: give the URL of the cluster: redis+cluster://")
    raise InvalidValue(f"client {type(client).__name__}: this pool needs a {wanted}")


def _fake_server(url: str) -> Any:
    import fakeredis

    return _fakes.setdefault(url, fakeredis.FakeServer())


def _blocking_twin(client: Any) -> Any:
    """A blocking client to the server of an asyncio client, for work outside its loop."""
    if type(client).__module__.startswith("fakeredis"):
        import fakeredis

        return fakeredis.FakeRedis(server=client.connection_pool.connection_kwargs["server"])
    pool = client.connection_pool
    kwargs = {name: value for name, value in pool.connection_kwargs.items() if name in _SHARED_OPTIONS}
    blocking: dict[type, type] = {
        redis.asyncio.SSLConnection: redis.SSLConnection,
        redis.asyncio.UnixDomainSocketConnection: redis.UnixDomainSocketConnection,
    }
    if isinstance(pool, redis.asyncio.sentinel.SentinelConnectionPool):
        return redis.Redis(connection_pool=sentinel.blocking_twin(pool, kwargs))
    kind = strict(blocking.get(pool.connection_class, redis.Connection), blocking=True)
    return redis.Redis(connection_pool=redis.ConnectionPool(connection_class=kind, **kwargs))


_SHARED_OPTIONS = {
    *("host", "port", "path", "db", "username", "password", "credential_provider", "protocol", "client_name"),
    *("socket_timeout", "socket_connect_timeout", "socket_keepalive", "socket_keepalive_options", "decode_responses"),
    *("ssl_keyfile", "ssl_certfile", "ssl_cert_reqs", "ssl_ca_certs", "ssl_ca_data", "ssl_ca_path"),
    *("ssl_check_hostname", "ssl_min_version", "ssl_ciphers"),
}


def plain(reply: Any) -> Any:
    """A reply with text in place of bytes."""
    if isinstance(reply, list):
        return [plain(item) for item in reply]
    return reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
