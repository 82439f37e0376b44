"""Judges by its INFO whether a Redis can keep the promises; the doctor applies the same rules."""

import re
from collections.abc import Mapping

from redis_wanpool.errors import BackendUnavailable, UnsafeRedis
from redis_wanpool.model.durability import Durability

OLDEST = (6, 2)
OLDEST_THAT_CONFIRMS_DISKS = (7, 2)


def is_too_old(version: tuple[int, ...]) -> bool:
    """Whether the scripts need a newer one."""
    return version < OLDEST


def is_replica(role: object) -> bool:
    """Whether a server with this role takes no writes."""
    return role == "slave"


def is_lookalike(info: Mapping[str, object]) -> bool:
    """Whether it speaks as Redis does, and lacks what the promises rest on."""
    has_id = re.fullmatch("[0-9a-f]{1,40}", str(info.get("master_replid")))  # redis-py makes numbers of digits
    return info.get("role") not in ("master", "slave") or not has_id


def evicts_any_key(policy: str) -> bool:
    """Whether a maxmemory-policy may evict keys without a ttl."""
    return policy.startswith("allkeys-")


def check_server(
    info: Mapping[str, object], allow_eviction: bool, durability: Durability | None = None, *, is_named: bool = False
) -> None:
    """Refuses a server whose INFO says that it is unfit.

    Args:
        is_named: whether Sentinels or nodes of a cluster named it as the primary, not the configuration.

    Raises:
        UnsafeRedis: it is too old, a replica, or evicts keys without a ttl; or it cannot confirm what it should.
        BackendUnavailable: it is a replica, and no configuration is at fault.
    """
    version = str(info.get("redis_version", ""))
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if numbers and is_too_old(numbers):
        raise UnsafeRedis(f"Redis {version} is too old: 6.2 or newer is needed (any Valkey will do)")
    if is_replica(info.get("role")):
        if is_named or info.get("master_link_status", "up") != "up":
            raise BackendUnavailable(
                "the Redis that was named as the primary is a replica and takes no writes: a failover is under way, or "
                "Sentinels or nodes have not heard of one; see what INFO replication says there",
                passing=True,
            )
        raise UnsafeRedis(
            "this Redis is a replica and takes no writes; give the URL of the primary", passing=True
        )  # for a name may move
    if is_lookalike(info):
        raise UnsafeRedis(
            f"this server is not Redis or Valkey: it says role {info.get('role')!r} and replication id "
            f"{info.get('master_replid')!r}, by which a failover is seen; use Redis 6.2 or newer, or Valkey"
        )
    policy = str(info.get("maxmemory_policy", ""))
    if evicts_any_key(policy) and not allow_eviction:
        raise UnsafeRedis(
            f"this Redis may evict any key (maxmemory-policy {policy}), and so forget who holds a port and give it out "
            "twice; set maxmemory-policy to noeviction (or a volatile-* policy), or insist with allow_eviction=True"
        )
    if durability is not None:
        _check_confirms(info, numbers, durability)


def _check_confirms(info: Mapping[str, object], version: tuple[int, ...], durability: Durability) -> None:
    if durability.fsync and version and version < OLDEST_THAT_CONFIRMS_DISKS:
        raise UnsafeRedis(
            f"Redis {info['redis_version']} cannot confirm that a grant is on disk (fsync): Redis 7.2 or newer or any "
            "Valkey can (WAITAOF); take one, or do without fsync"
        )
    if durability.fsync and not info.get("aof_enabled"):
        raise UnsafeRedis(
            "this Redis keeps no log that could be on disk (fsync): CONFIG SET appendonly yes, then CONFIG REWRITE; or "
            "do without fsync"
        )
    if durability.replicas and info.get("tcp_port") == 0 and not info.get("connected_slaves"):
        raise UnsafeRedis(
            f"this Redis listens on a unix socket only, so no replica can follow it (min_replicas "
            f"{durability.replicas}); take one that has replicas, or min_replicas 0"
        )


def no_server(durability: Durability | None) -> None:
    """Raises UnsafeRedis if the in-process stand-in should confirm something."""
    if durability is not None:
        raise UnsafeRedis(
            "an in-process stand-in (fake://) has neither replicas nor a disk: for min_replicas and fsync give the URL "
            "of a Redis"
        )
