"""A cluster: which node has which keys, and requests that follow them when they move or their node fails.

redis-py has clients for clusters. They send a request again after a timeout, on another connection. But waiting for
replicas (WAIT) needs the connection that wrote, and the faces decide what is sent again. So the routing is here.
"""

import asyncio
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import redis
import redis.asyncio
from redis.crc import key_slot

from redis_wanpool.model.address import Address
from redis_wanpool.protocol.requirements import is_replica
from redis_wanpool.system.clock import boottime
from redis_wanpool.transport.both import Steps, T, blocking
from redis_wanpool.transport.strict import NotPrimary, client_of, left, limited, strict
from redis_wanpool.transport.url import Several

SCHEMES = ("redis+cluster", "rediss+cluster")
PORT = 6379
LIKE = "redis+cluster://user:password@10.0.0.2:6379,10.0.0.3:6379"
PAUSE = 0.05  #: seconds before a cluster that cannot yet say where the keys are is asked again
NOT_NOW = (redis.exceptions.AskError, redis.exceptions.TryAgainError, redis.exceptions.ClusterDownError)
"""answers of a cluster that executed nothing: the keys are moving, or have no primary. A script needs all keys of its
WAN in one place, so there is no following a slot (ASK) before it has moved as a whole."""
_SILENCE = (redis.ConnectionError, redis.TimeoutError, OSError)


@dataclass(frozen=True)
class Cluster:
    """The nodes that a URL names, and how to talk to them and to all others."""

    seeds: tuple[Address, ...]
    is_tls: bool
    options: dict[str, Any]

    @classmethod
    def parse(cls, url: str) -> Self:
        """Reads a URL like `LIKE`; raises ValueError or TypeError, and the message may show a password."""
        named = Several.parse(url, SCHEMES, PORT)
        if named.path not in ((), ("0",)) or named.options.pop("db", 0):
            raise ValueError("a cluster has database 0 only")
        _kind(redis, named.is_tls)(**named.options)  # as the client will: it connects to nothing
        return cls(named.addresses, named.is_tls, named.options)


class Slots:
    """Which node has which slot, as far as nodes told; all clients of a pool object share it."""

    def __init__(self, seeds: Sequence[Address]) -> None:
        self._seeds = tuple(seeds)
        self._ranges: tuple[list[int], list[Address]] = [], []
        """the first slot of each range, ascending, and the nodes that have the ranges"""
        self._moved: dict[int, Address] = {}
        self._doubted: dict[Address, None] = {}
        """the nodes that did not answer, or misled us, the last one at the end"""
        self._told_by: Address | None = None
        self.is_stale = True  #: whether a node is to be asked before the next request

    def owner(self, slot: int) -> Address | None:
        if slot in self._moved:
            return self._moved[slot]
        firsts, owners = self._ranges
        place = bisect_right(firsts, slot) - 1
        return owners[place] if place >= 0 else None

    @property
    def primaries(self) -> tuple[Address, ...]:
        """All that have slots."""
        return tuple(dict.fromkeys((*self._ranges[1], *self._moved.values())))

    def to_ask(self) -> Iterable[Address]:
        """The nodes that may know, first those that are likely to answer, and to be right."""
        doubted = list(self._doubted)
        known = dict.fromkeys((*self.primaries, *self._seeds))
        return sorted(known, key=lambda node: doubted.index(node) if node in doubted else -1)

    def learn(self, reply: Iterable[Any], told_by: Address) -> None:
        """Learns from a reply to CLUSTER SLOTS: https://redis.io/docs/latest/commands/cluster-slots/."""
        ranges = sorted((int(first), _text(node[0]) or told_by[0], int(node[1])) for first, _, node, *_ in reply)
        self._ranges = [first for first, _, _ in ranges], [(host, port) for _, host, port in ranges]
        self._moved, self.is_stale, self._told_by = {}, False, told_by

    def moved(self, error: Any, told_by: Address) -> Address:
        """The new owner, from a redirection; more slots may have moved."""
        self._moved[error.slot_id] = owner = (error.host or told_by[0], error.port)
        self.is_stale = True
        return owner

    def failed(self, node: Address) -> None:
        """Notes that a node does not answer; another may have taken its place."""
        self._doubted.pop(node, None)
        self._doubted[node], self.is_stale = None, True

    def misled(self, node: Address) -> None:
        """Notes that a node is no primary: the one that told so has not heard of a failover."""
        for one in (node, self._told_by):
            if one is not None:
                self.failed(one)


class Nodes:
    """What both clients share: which node to ask, and what to do about the answer; `transport.both` leads its steps."""

    is_blocking: bool

    def __init__(self, cluster: Cluster, slots: Slots, options: dict[str, Any]) -> None:
        self.cluster = cluster
        self.slots = slots
        self.timeout: float = options["socket_timeout"]
        self._options = {**cluster.options, **options}
        self._clients: dict[Address, Any] = {}

    def at(self, node: Address) -> Any:
        """The client of a node."""
        if node not in self._clients:
            module: Any = redis if self.is_blocking else redis.asyncio
            kind = strict(_kind(module, self.cluster.is_tls), blocking=self.is_blocking)
            pool = module.ConnectionPool(connection_class=kind, host=node[0], port=node[1], **self._options)
            made = client_of(pool, blocking=self.is_blocking)
            return self._clients.setdefault(node, made)  # another thread may have been quicker
        return self._clients[node]

    def named(self, name: str) -> Any:
        """The client of the node with this name in `on_all_primaries`."""
        host, _, port = name.rpartition(":")
        return self.at((host, int(port)))

    def follow(self, keys: Sequence[str], request: Callable[[Any], Steps[T]]) -> Steps[T]:
        """The result of a request at the node that has these keys, and after a redirection at the next."""
        until = boottime() + self.timeout / 2  # so that there is time for the request
        node: Address | None = None
        while True:
            try:
                if node is None and self.slots.is_stale:
                    yield from self.looking()
                node = node or self._place(keys)
                try:
                    return (yield from request(self.at(node)))
                except redis.exceptions.MovedError as error:
                    node = self.slots.moved(error, node)  # others may not have heard of it: they are not asked again
                    if boottime() > until:
                        raise
                except _SILENCE as error:
                    (self.slots.misled if isinstance(error, NotPrimary) else self.slots.failed)(node)
                    raise
            except NOT_NOW:
                if boottime() > until:
                    raise
                node, self.slots.is_stale = None, True
                yield (time if self.is_blocking else asyncio).sleep(PAUSE)

    def _place(self, keys: Sequence[str]) -> Address:
        """The node that has these keys; any node if there are none."""
        owner = self.slots.owner(key_slot(keys[0].encode())) if keys else next(iter(self.slots.primaries), None)
        if owner is None:
            raise redis.exceptions.ClusterDownError("CLUSTERDOWN Hash slot not served")
        return owner

    def on_all_primaries(self, words: Sequence[str]) -> Steps[list[list[Any]]]:
        """The results of a command at each primary: pairs of its name and its reply, None if it does not answer."""
        yield from self.looking()
        found, why = [], None
        for node, parts in _with_parts(self.slots.primaries):
            try:
                reply = yield self._asked(node, words, left(parts=parts))
            except _SILENCE as error:
                self.slots.failed(node)
                reply, why = None, error
            if isinstance(reply, dict) and is_replica(reply.get("role")):
                self.slots.misled(node)
            found.append([f"{node[0]}:{node[1]}", reply])
        if why is not None and all(reply is None for _, reply in found):
            raise why
        return found

    def _asked(self, node: Address, words: Sequence[str], seconds: float | None) -> Any:
        return limited(lambda: self.at(node).execute_command(*words), seconds, blocking=self.is_blocking)

    def looking(self) -> Steps[None]:
        """Asks which node has which slot."""
        why: Exception = redis.exceptions.ClusterDownError("CLUSTERDOWN no node knows of a slot")
        for node, parts in _with_parts(self.slots.to_ask()):
            try:
                reply = yield self._asked(node, ("CLUSTER", "SLOTS"), left(parts=parts))
            except (redis.RedisError, OSError) as error:
                why = error
                continue
            if reply:  # a node that was taken out of the cluster knows of no slot
                return self.slots.learn(reply, node)
        raise why


class Client(Nodes):
    """A blocking client.

    All its methods raise redis.RedisError or OSError.
    """

    is_blocking = True

    def blpop(self, keys: Sequence[str], timeout: float) -> Any:
        def request(node: Any) -> Steps[Any]:
            return (yield node.blpop(keys, timeout=timeout))

        return blocking(self.follow(keys, request))

    def primaries(self) -> list[Any]:
        """A client of each primary."""
        blocking(self.looking())
        return [self.at(node) for node in self.slots.primaries]

    def all(self) -> list[Any]:
        """The clients of all nodes that were asked."""
        return list(self._clients.values())


class AsyncClient(Nodes):
    """The same for asyncio."""

    is_blocking = False

    async def disconnect(self) -> None:
        for client in list(self._clients.values()):
            await client.connection_pool.disconnect()

    async def aclose(self) -> None:
        for client in list(self._clients.values()):
            with suppress(redis.RedisError, OSError):
                await client.aclose()


def _with_parts(nodes: Iterable[Address]) -> list[tuple[Address, int]]:
    """Nodes that are asked one after another, each with the parts that the time has then, the last for what follows."""
    asked = list(nodes)
    return list(zip(asked, range(len(asked) + 1, 1, -1), strict=True))


def _kind(module: Any, is_tls: bool) -> Any:
    return module.SSLConnection if is_tls else module.Connection


def _text(word: Any) -> str:
    return word.decode() if isinstance(word, bytes) else str(word or "")
