"""Data of the protocol before this one, taken to this one with everything leased."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from by_hand import age_wan, run_script
from invariant import check_invariant

from redis_wanpool import Operator, WanPortPool
from redis_wanpool.errors import WanMismatch

pytestmark = pytest.mark.per_server

PREFIX = "wanpool:{test:0}:"
WRITTEN = json.loads((Path(__file__).parent / "protocol3.json").read_text(encoding="utf-8"))
"""what protocol 3 wrote: 3 of 20 ports leased by net-a and 1 by net-b for 600 s, 2 cooling, 1 withheld, 13 free"""


def write(admin: Any) -> None:
    """Writes that data as if it were of this moment."""
    seconds, micros = admin.time()
    later_ms = seconds * 1000 + micros // 1000 - WRITTEN["taken_at_ms"]

    def later(text: Any) -> str:
        return re.sub(r"\b1[0-9]{12}\b", lambda match: str(int(match[0]) + later_ms), str(text))

    for name, (kind, content) in WRITTEN["data"].items():
        if kind == "hash":
            admin.hset(name, mapping={field: later(value) for field, value in content.items()})
        elif kind == "set":
            admin.sadd(name, *content)
        else:
            admin.zadd(name, {member: score + later_ms if score > 1e12 else score for member, score in content.items()})
    admin.hset(PREFIX + "config", "source", admin.info("replication")["master_replid"])
    admin.hset(PREFIX + "config", "run_id", admin.info("server")["run_id"])


@pytest.fixture
def operator(server: Any) -> Any:
    write(server.admin)
    with Operator(server.url, namespace="test") as operator:
        yield operator
    if server.admin.hget(PREFIX + "config", "protocol") != "4":  # what holds of all data holds of none that is old
        server.admin.flushall()


def migrated(admin: Any, a_call: int) -> int:
    """How many calls it took."""
    calls = 0
    while True:
        calls += 1
        if run_script(admin, "migrate", a_call)[0] == "MIGRATED":
            return calls


def test_until_then_it_is_refused_and_told_what_to_do(operator: Operator, server: Any) -> None:
    before = server.admin.hgetall(PREFIX + "config")
    with WanPortPool(server.url, namespace="test", network="net-c") as pool:
        for asked in (lambda: pool.acquire(0), lambda: operator.snapshot(0), lambda: operator.drain(0)):
            with pytest.raises(WanMismatch, match=r"protocol 3\).*wanpool migrate 0"):
                asked()
    assert server.admin.hgetall(PREFIX + "config") == before


def test_all_is_as_it_was(operator: Operator, server: Any) -> None:
    live = set(server.admin.zrange(PREFIX + "leased", 0, -1))
    cooling = server.admin.zrange(PREFIX + "cooling", 0, -1, withscores=True)
    assert operator.migrate(0) is True and operator.migrate(0) is False
    check_invariant(server.admin)
    seen = operator.snapshot(0, leases=True)
    assert (seen.free, seen.leased, seen.cooling, seen.withheld) == (13, 4, 2, 1)
    assert {str(lease.port) for lease in seen.leases} == live
    assert server.admin.zrange(PREFIX + "cooling", 0, -1, withscores=True) == cooling
    assert not server.admin.exists(PREFIX + "ids")
    assert seen.config["granted"] == "6", "what was counted goes on"


def test_no_port_twice_and_no_cool_down_cut_short(operator: Operator, server: Any) -> None:
    operator.migrate(0)
    live = set(map(int, server.admin.zrange(PREFIX + "leased", 0, -1)))
    cooling = set(map(int, server.admin.zrange(PREFIX + "cooling", 0, -1)))
    with WanPortPool(server.url, namespace="test", network="net-c") as pool:
        taken = {lease.port for lease in pool.acquire_many(0, 13, reuse_address=True)}
        assert not taken & (live | cooling)
        age_wan(server.admin, 601 + 125)  # the leases of the older version expire and cool, as ever
        assert pool.snapshot(0).free >= 6
        check_invariant(server.admin)


def test_in_the_middle_neither_version_does_anything(operator: Operator, server: Any) -> None:
    assert run_script(server.admin, "migrate", 1)[0] in ("MIGRATING", "MIGRATED")
    server.admin.hset(PREFIX + "config", "protocol", "3 to 4")  # a small one is done at once
    with pytest.raises(WanMismatch, match="wanpool migrate 0"):
        operator.snapshot(0)
    assert operator.migrate(0) is True
    check_invariant(server.admin)


def test_many_leases_take_many_calls(operator: Operator, server: Any) -> None:
    ids = {f"h:1:many/{number:x}": str(30_000 + number) for number in range(5_000)}
    server.admin.hset(PREFIX + "ids", mapping=ids)
    assert 5 < migrated(server.admin, 500) < 50
    assert server.admin.hlen(PREFIX + "held:h:1:many") == 5_000
    server.admin.delete(PREFIX + "held:h:1:many")  # they were leased in that index only


@pytest.mark.parametrize("version", ["2", "5", "x"])
def test_other_versions_are_left_alone(operator: Operator, server: Any, version: str) -> None:
    server.admin.hset(PREFIX + "config", "protocol", version)
    with pytest.raises(WanMismatch, match=f"protocol {version}"):
        operator.migrate(0)
    assert server.admin.hget(PREFIX + "config", "protocol") == version
