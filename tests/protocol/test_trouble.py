"""The trouble of one WAN stays its own, and whatever stands in Redis is read as data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from faces import Loop, make
from waiting import KEPT_TTL, wait_for

from redis_wanpool import ANY, BackendUnavailable, Operator, WanpoolError

WANS = (0, 1)


def key(name: str, wan_idx: int = 0) -> str:
    return f"wanpool:{{test:{wan_idx}}}:{name}"


@pytest.fixture
def pool(own_server: Any, face: str, loop: Loop) -> Iterator[Any]:
    with make(face, loop, own_server.url, namespace="test", rest=0) as pool:
        for wan_idx in WANS:
            pool.define_wan(wan_idx, f"2{wan_idx}000-2{wan_idx}009", cooldown=0, lease_ttl=KEPT_TTL)
        yield pool


@pytest.mark.slow
def test_foreign_contents_of_one_wan_cost_no_lease(pool: Any, own_server: Any, caplog: Any) -> None:
    leases = [pool.acquire(wan_idx) for wan_idx in WANS]
    held = key(f"held:{pool.holder}")
    own_server.admin.hset(held, "abc", "abc")
    own_server.admin.hset(key("grants"), "abc", "h:1:x/y 1 net 0 0 live")
    own_server.admin.zadd(key("leased"), {"abc": 8e15})
    before = [lease.expires_at for lease in leases]
    wait_for(lambda: all(lease.expires_at > then + 4 for lease, then in zip(leases, before, strict=True)))
    for lease in leases:
        lease.check()
    assert caplog.text.count(held) == 1


def test_renewals_come_before_clearing_up(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, called = pool._engine, list[str]()
    lease = pool.acquire(0)
    talk = engine.performer.talk

    def noted(step: Any) -> Any:
        called.append(step.script.name)
        return talk(step)

    engine.protocol.doubts[0, f"{pool.holder}/unanswered"] = "", "unused"
    engine.protocol.abandoned[0, "ticket"] = None
    monkeypatch.setattr(engine.performer, "talk", noted)
    getattr(lease, "_thing", lease).renew_at = 0.0
    engine.heartbeat.beat()
    assert called[:3] == ["renew", "release", "leave"]


BREAKS: dict[str, Callable[[Any], object]] = {
    "its config": lambda admin: admin.hset(key("config"), "weight", "abc"),
    "its state": lambda admin: admin.hdel(key("config"), "name"),
    "its data is gone": lambda admin: admin.delete(key("config")),
    "no WAN at all": lambda admin: admin.hset("wanpool:{test}:wans", "abc", "20000 x ready"),
    "a key of another type": lambda admin: (admin.delete(key("cooling")), admin.set(key("cooling"), "abc")),
}


@pytest.mark.parametrize("what", BREAKS)
def test_any_passes_by_a_broken_wan_and_says_so_once(
    pool: Any, own_server: Any, what: str, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redis_wanpool.protocol.choosing.LOOKS_LAST", -1.0)
    BREAKS[what](own_server.admin)
    found = {pool.acquire(ANY).wan_idx for _ in range(10 if what != "no WAN at all" else 1)}
    assert found == {1} or what == "no WAN at all"
    assert caplog.text.count("cannot ") == 1
    if what != "no WAN at all":
        BREAKS[what](own_server.admin)
        own_server.admin.hset(key("config", 1), "weight", "abc")
        with pytest.raises(WanpoolError):
            pool.acquire(ANY)


READS: dict[str, tuple[Callable[[Any, int], object], Callable[[Any], object], str]] = {
    "config": (
        lambda admin, port: admin.hset(key("config"), "weight", "abc"),
        lambda operator: operator.snapshot(0),
        key("config"),
    ),
    "a number of config": (
        lambda admin, port: admin.hset(key("config"), "cooldown_ms", "abc"),
        lambda operator: operator.snapshot(0),
        key("config"),
    ),
    "grant": (
        lambda admin, port: admin.hset(key("grants"), str(port), "h:1:x/y abc net 0 0 live"),
        lambda operator: operator.explain(20_000),
        key("grants"),
    ),
    "claim": (
        lambda admin, port: admin.hset("wanpool:{test}:wans", "1", "1-99999999999 x ready"),
        lambda operator: operator.wan_of(20_000),
        "wanpool:{test}:wans",
    ),
}


@pytest.mark.parametrize("what", READS)
def test_what_cannot_be_read_is_an_error_that_names_its_key(pool: Any, own_server: Any, what: str) -> None:
    spoil, read, name = READS[what]
    pool.acquire(0, port=20_000)
    spoil(own_server.admin, 20_000)
    with Operator(own_server.url, namespace="test") as operator, pytest.raises(WanpoolError) as caught:
        read(operator)
    assert name in str(caught.value)


def test_bytes_that_are_no_text_are_an_error_too(pool: Any, own_server: Any) -> None:
    own_server.admin.hset(key("lease:20005"), mapping={"host": b"\xff", "pid": "1", "label": ""})
    with pytest.raises(BackendUnavailable, match=r"no text.*lease:20005"):
        pool.release_port(0, 20_005)
    assert pool.acquire(0).release() is True


@pytest.mark.parametrize("record", ["x", "h:1:x/y abc net 0 0 live", "h:1:x 1 net 0 0 live", ""])
def test_a_port_whose_record_cannot_be_read_is_set_aside_and_no_other_pays(
    pool: Any, own_server: Any, record: str, caplog: Any
) -> None:
    spoiled, innocent = pool.acquire(0, port=20_000), pool.acquire(0, port=20_001)
    own_server.admin.hset(key("grants"), "20000", record)
    own_server.admin.zadd(key("leased"), {"20000": 1})
    own_server.admin.hset(key("grants"), "due_ms", 1)
    with Operator(own_server.url, namespace="test") as operator:
        assert operator.snapshot(0).leased == 1
        innocent.renew()
        assert "20000" in caplog.text and key("grants") in caplog.text and ascii(record) in caplog.text
        seen = operator.snapshot(0)
        assert (seen.withheld, seen.leased, seen.free) == (1, 1, 8)
        assert 20_000 not in {lease.port for lease in pool.acquire_many(0, 8)}
        with pytest.raises(WanpoolError):
            spoiled.renew()
        innocent.check()


def test_a_cooling_port_whose_record_cannot_be_read_goes_to_nobody(pool: Any, own_server: Any) -> None:
    pool.define_wan(2, "22000-22001", cooldown=1000)
    for lease in [pool.acquire(2), pool.acquire(2)]:
        lease.release(closed="reset")
    own_server.admin.hset(key("grants", 2), "22000", "x")
    own_server.admin.zadd(key("cooling", 2), {"22000": 1})
    own_server.admin.hset(key("grants", 2), "due_ms", 1)
    with Operator(own_server.url, namespace="test") as operator:
        assert [lease.port for lease in pool.acquire_many(2, 2, at_least=1, reuse_address=True)] == [22_001]
        assert (operator.snapshot(2).withheld, operator.snapshot(2).leased) == (1, 1)


def test_a_holder_mends_the_record_of_its_lease(pool: Any, own_server: Any) -> None:
    lease = pool.acquire(0, port=20_000)
    record = own_server.admin.hget(key("grants"), "20000")
    own_server.admin.hset(key("grants"), "20000", "x")
    lease.renew()
    lease.check()
    assert own_server.admin.hget(key("grants"), "20000").split()[:2] == record.split()[:2]
    assert pool.acquire(0).release(), "no grace has begun"
