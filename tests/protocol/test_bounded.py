"""However much is due at once, a call does a bounded part of it."""

from __future__ import annotations

from typing import Any

import pytest
from by_hand import run_script
from chance import LONG
from private_server import SERVERS

from redis_wanpool import WanPortPool

PREFIX = "wanpool:{test:0}:"
PORTS = 60_000 if LONG >= 1 else 6_000
IN_ACQUIRE, IN_ACQUIRE_AT_MOST, IN_RENEW = 8 + 1, 128 + 1, 64


@pytest.fixture
def expired(server: Any) -> Any:
    """A pool object beside thousands of leases that have just expired."""
    with WanPortPool(server.url, namespace="test", rest=0, network="late") as pool:
        pool.define_wan(0, f"2000-{2000 + PORTS - 1}", cooldown=0, lease_ttl=600)
        for first in range(0, PORTS, 1000):
            ids = [f"dead:1:x/{number}" for number in range(first, first + 1000)]
            granted = run_script(
                server.admin, "acquire", "dead:1:x", "gone", 0, "dead", 1, "", "", "", "", "", 1000, 8, "", "", *ids
            )
            assert len(granted) == 7 + 2000
        assert server.admin.zcard(PREFIX + "leased") == PORTS
        server.admin.zunionstore(PREFIX + "leased", {PREFIX + "leased": 0})  # expired, long ago
        server.admin.hset(PREFIX + "grants", "due_ms", 0)
        assert pool.snapshot(0).free == PORTS
        yield pool


@pytest.mark.longer
@pytest.mark.parametrize("server", SERVERS[:1], indirect=True)
def test_thousands_of_leases_that_expire_at_once_stall_nobody(expired: WanPortPool, server: Any) -> None:
    unsettled = PORTS
    for _ in range(20):
        lease = expired.acquire(0)
        left = server.admin.zcard(PREFIX + "leased")
        assert unsettled - IN_ACQUIRE <= left - 1 < unsettled, "each acquire settles its part, and no more"
        assert expired.snapshot(0).free == PORTS - 1, "people see what is, settled or not"
        assert lease.release() is True
        unsettled = server.admin.zcard(PREFIX + "leased")
    args = ("late:1:x", "late", 0, "late", 1, "", "", "", "", "", 1)
    run_script(server.admin, "acquire", *args, 1_000_000, "", "", "late:1:x/greedy")
    assert server.admin.zcard(PREFIX + "leased") == unsettled - IN_ACQUIRE_AT_MOST + 1, "whatever the caller says"
    unsettled = server.admin.zcard(PREFIX + "leased")
    settled = run_script(server.admin, "renew", "nobody:1:x", "late", 0, "nobody", 1)[3]
    assert settled == IN_RENEW
    assert server.admin.zcard(PREFIX + "leased") == unsettled - settled
