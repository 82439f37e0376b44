"""Looks at Redis: what it says of itself to this user, and how long it takes to answer."""

import ipaddress
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import psutil
import redis

from redis_wanpool.errors import BackendUnavailable
from redis_wanpool.sync.operator import Operator
from redis_wanpool.system.clock import boottime
from redis_wanpool.terminal.language import said
from redis_wanpool.transport.strict import NotPrimary
from redis_wanpool.transport.url import has_password

ROUND_TRIPS = 20
_TIME = "return redis.call('TIME')"
_SETTINGS = ("appendfsync", "save", "min-replicas-to-write", "min-replicas-max-lag", "bind", "protected-mode")
_OF_CLUSTERS = ("cluster-node-timeout", "cluster-require-full-coverage")
_UNREACHED = re.compile(r"^(-?DENIED|-?NOAUTH)\b")


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What is known of a Redis; None is what it did not tell."""

    embedded: bool = False
    is_here: bool = True  #: on this machine
    is_encrypted: bool = False  #: or needs no encryption: a unix socket
    has_password: bool = False
    version: tuple[int, ...] | None = None
    is_valkey: bool = False
    role: str | None = None
    eviction: str | None = None
    max_memory: int = 0
    used_memory: int = 0  #: bytes, of those that count against `max_memory`
    is_aof: bool | None = None
    writes_fail: bool = False  #: the last write of its log, or its last snapshot, failed
    replicas: int | None = None
    lag: int = 0  #: seconds by which the slowest replica is behind
    enough_replicas: int | None = None  #: how many keep up, where it counts them
    shard: str = ""  #: which of a cluster it is, by its primary's address
    answers: bool = True
    cluster: bool = False
    shards: int | None = None
    whole_cluster: bool = False  #: whether the pool asks all of them
    settings: Mapping[str, str] = field(default_factory=dict)  #: those of `CONFIG GET` that it tells
    round_trips: tuple[float, ...] = ()  #: seconds
    ahead: float | None = None  #: seconds that its clock is ahead of this machine's
    unseen: tuple[tuple[str, str], ...] = ()  #: what was asked for, and why it was not told

    def setting(self, name: str) -> int | None:
        """A setting that is a number."""
        value = self.settings.get(name, "")
        return int(value) if value.isdecimal() else None


class Asking:
    """Asks Redis, or a certain one of its shards, and notes what it does not tell this user."""

    def __init__(self, operator: Operator, shard: str = "") -> None:
        self._operator = operator
        self._shard = shard
        self.unseen: dict[str, str] = {}

    def __call__(self, *words: str) -> Any:
        """The reply, or None. Raises BackendUnavailable: there is no talking with this Redis."""
        try:
            return self._operator.ask(*words, at=self._shard)
        except BackendUnavailable as error:
            if not was_refused(error):
                raise
            self.unseen[words[0]] = str(error.__cause__)
            return None


def was_refused(error: Exception) -> bool:
    """Whether Redis answered, and said no to that one request; a replica does so to what writes."""
    answered = isinstance(error.__cause__, (redis.ResponseError, NotPrimary))
    return answered and not _UNREACHED.match(str(error.__cause__))


def config_set(*settings: str) -> str:
    """How somebody gives a Redis these settings, to last."""
    commands = said(", ").join(f"CONFIG SET {setting}" for setting in settings)
    return said("at the prompt of redis-cli: {commands}, then CONFIG REWRITE", commands=commands)


def look(operator: Operator, url: str | None) -> list[ServerFacts]:
    """Asks this Redis, whatever it is, or each of its shards; `url` None is the embedded server.

    Raises:
        BackendUnavailable: there is no talking with it.
    """
    Asking(operator)("INFO")  # a cluster tells then which shards it has
    return [_look(operator, url, shard) for shard in operator.shards]


def _look(operator: Operator, url: str | None, shard: str) -> ServerFacts:
    ask = Asking(operator, shard)
    try:
        info: dict[str, Any] = ask("INFO") or {}
    except BackendUnavailable:
        if not shard:
            raise
        return ServerFacts(shard=shard, answers=False, cluster=True, whole_cluster=True)
    settings: dict[str, str] = {}
    cluster = bool(info.get("cluster_enabled"))
    for name in (*_SETTINGS, *(_OF_CLUSTERS if cluster else ())):
        if "CONFIG GET" not in ask.unseen:
            settings.update(ask("CONFIG GET", name) or {})
    shards = (ask("CLUSTER INFO") or {}).get("cluster_size") if cluster else None
    round_trips, ahead = _timed(ask)
    parts = urlsplit(url or "unix:")
    host = shard.rpartition(":")[0] or parts.hostname or ""
    valkey = info.get("valkey_version")
    version = re.findall(r"\d+", str(valkey or info.get("redis_version", "")))[:3]
    followers = [value for name, value in info.items() if re.fullmatch(r"slave\d+", name) and isinstance(value, dict)]
    snapshots = settings.get("save") != "" and info.get("rdb_last_bgsave_status") == "err"
    return ServerFacts(
        embedded=url is None,
        is_here=parts.scheme == "unix" or _is_here(host),
        is_encrypted=parts.scheme not in ("redis", "redis+sentinel", "redis+cluster"),
        has_password=has_password(url or ""),
        version=tuple(map(int, version)) or None,
        is_valkey=valkey is not None,
        role=info.get("role"),
        eviction=info.get("maxmemory_policy"),
        max_memory=info.get("maxmemory", 0),
        used_memory=info.get("used_memory", 0) - info.get("mem_not_counted_for_evict", 0),
        is_aof=bool(info["aof_enabled"]) if "aof_enabled" in info else None,
        writes_fail=info.get("aof_last_write_status") == "err" or snapshots,
        replicas=info.get("connected_slaves"),
        lag=max((int(one.get("lag", 0)) for one in followers), default=0),
        enough_replicas=info.get("min_slaves_good_slaves"),
        shard=shard,
        cluster=cluster,
        whole_cluster=bool(shard),
        shards=None if shards is None else int(shards),
        settings=settings,
        round_trips=round_trips,
        ahead=ahead,
        unseen=tuple(ask.unseen.items()),
    )


def _timed(ask: Asking) -> tuple[tuple[float, ...], float | None]:
    """Some round trips of a bare script, and what the quickest tells of the clocks."""
    took: list[float] = []
    quickest: float | None = None
    ahead: float | None = None
    for _ in range(ROUND_TRIPS):
        sent = boottime()
        told = ask("EVAL", _TIME, "0")
        here = time.time()
        if told is None:
            break
        took.append(boottime() - sent)
        if quickest is None or took[-1] < quickest:
            quickest = took[-1]
            ahead = int(told[0]) + int(told[1]) / 1_000_000 - (here - quickest / 2)
    return tuple(took), ahead


def _is_here(host: str) -> bool:
    """Whether one of the host's addresses is this machine's."""
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    own = {entry.address.partition("%")[0] for entries in psutil.net_if_addrs().values() for entry in entries}
    return any(ipaddress.ip_address(address.partition("%")[0]).is_loopback or address in own for address in found)
