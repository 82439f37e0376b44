"""Whether a Redis can keep the promises, judged by what it says of itself."""

from __future__ import annotations

import re
from collections.abc import Mapping

from redis_wanpool.errors import UnsafeRedis

OLDEST = (6, 2)


def check_server(info: Mapping[str, object], allow_eviction: bool) -> None:
    """Does nothing if a server with this INFO is fit.

    Raises:
        UnsafeRedis: it is too old, a replica, or evicts keys without a ttl.
    """
    version = str(info.get("redis_version", ""))
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if numbers and numbers < OLDEST:
        raise UnsafeRedis(f"Redis {version} is too old: 6.2 or newer is needed (any Valkey will do)")
    if info.get("role") == "slave":
        raise UnsafeRedis("this Redis is a replica and takes no writes; give the URL of the primary")
    policy = str(info.get("maxmemory_policy", ""))
    if policy.startswith("allkeys-") and not allow_eviction:
        raise UnsafeRedis(
            f"this Redis may evict any key (maxmemory-policy {policy}), and so forget who holds a port and give it out "
            "twice; set maxmemory-policy to noeviction (or a volatile-* policy), or insist with allow_eviction=True"
        )
