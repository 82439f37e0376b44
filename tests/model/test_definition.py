"""How WANs come to be, what refuses them, and what is said when their data is gone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from redis_wanpool import PoolExhausted, WanMismatch, WanNotDefined
from redis_wanpool.model.wan import WanDefinition
from redis_wanpool.protocol import Protocol

KEY = "wanpool:{test:0}:"
WANS = "wanpool:{test}:wans"
CLAIM, DEFINE_TWICE = 1, 2
PORTS, STEPS = "20000-22999", 5
"""WAN 0 of three thousand ports: a claim, three calls that fill, and a claim that says it is ready."""


def test_defining_is_true_once_and_then_false(pools: Callable[..., Any], backends: Any) -> None:
    pool, other = pools(), pools()
    assert pool.define_wan(0, "20000-20009", name="telecom") is True
    assert pool.define_wan(0, "20000-20009", name="telecom") is False
    assert other.define_wan(0, "20000-20004, 20005-20009", name="telecom") is False, "the same ports, written otherwise"
    assert len(backends.admin.smembers(KEY + "free")) == 10
    assert pool.wans() == (0,)


def test_defining_again_leaves_leases_alone(pool: Any) -> None:
    lease = pool.acquire(0)
    assert pool.define_wan(0, "20000-20009", cooldown=0) is False
    lease.renew()
    assert pool.snapshot(0).leased == 1


def test_a_different_definition_names_the_difference(pool: Any, backends: Any) -> None:
    before = backends.admin.hgetall(KEY + "config")
    with pytest.raises(WanMismatch, match=r"cooldown_ms is '0', not '5000'") as raised:
        pool.define_wan(0, "20000-20009", cooldown=5, weight=3)
    assert raised.value.wan_idx == 0
    assert raised.value.differences == {"cooldown_ms": ("5000", "0"), "weight": ("3", "1")}
    assert backends.admin.hgetall(KEY + "config") == before


def test_different_ports_name_the_difference(pool: Any) -> None:
    with pytest.raises(WanMismatch, match="20000-20009") as raised:
        pool.define_wan(0, "20000-20010", cooldown=0)
    assert raised.value.differences == {"ports": ("20000-20010", "20000-20009")}
    assert pool.snapshot(0).total == 10


@pytest.mark.parametrize("ports", ["20009-20019", "19990-20000", "19000-21000", "20005", "1-5,20003-20004"])
def test_an_overlap_names_the_other_wan_and_defines_nothing(ports: str, pool: Any, backends: Any) -> None:
    with pytest.raises(WanMismatch, match="belongs to WAN 0") as raised:
        pool.define_wan(1, ports)
    assert raised.value.differences == {"ports": (ports, "20000-20009")}
    assert pool.wans() == (0,)
    assert not backends.admin.exists("wanpool:{test:1}:config")


def test_neighbours_and_other_namespaces_do_not_overlap(pool: Any, pools: Callable[..., Any]) -> None:
    assert pool.define_wan(1, "19990-19999,20010-20019") is True
    assert pools(namespace="other").define_wan(0, "20000-20009") is True


def test_many_ports_are_defined_in_bounded_calls(pools: Any, backends: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    original = Protocol.call

    def counted(self: Protocol, name: str, *args: Any, **kwargs: Any) -> Any:
        called.append(name)
        return original(self, name, *args, **kwargs)

    monkeypatch.setattr(Protocol, "call", counted)
    pool = pools()
    assert pool.define_wan(0, "2000-61999") is True
    assert called == ["define"] * 60
    assert backends.admin.scard(KEY + "free") == pool.snapshot(0).total == 60_000


def test_of_many_concurrent_definers_one_makes_the_wan(pools: Callable[..., Any], backends: Any) -> None:
    definers = [pools() for _ in range(10)]
    with ThreadPoolExecutor(10) as threads:
        made = list(threads.map(lambda pool: pool.define_wan(0, "20000-29999"), definers))
    assert made.count(True) == 1
    assert backends.admin.smembers(KEY + "free") == {str(port) for port in range(20000, 30000)}
    assert definers[0].snapshot(0).total == 10_000


@pytest.mark.parametrize("steps", range(1, STEPS))
def test_a_definer_that_died_is_completed_by_the_next(steps: int, pools: Callable[..., Any], backends: Any) -> None:
    dead, next_one = pools(), pools()
    conversation = dead._engine.protocol.define_wan(WanDefinition.of(0, PORTS))
    step = next(conversation)
    for n in range(steps):
        answer = dead._engine.performer.perform(step)
        if n < steps - 1:
            step = conversation.send(answer)
    conversation.close()
    if steps < STEPS - 1:
        with pytest.raises(WanNotDefined):
            next_one.acquire(0)
    assert next_one.define_wan(0, PORTS) is (steps == CLAIM)
    assert next_one.snapshot(0).free == 3000
    assert backends.admin.hget(WANS, "0").endswith(" ready")
    assert next_one.define_wan(0, PORTS) is False


def test_a_definition_interrupted_by_another_stays_what_it_was(pools: Callable[..., Any]) -> None:
    dead, next_one = pools(), pools()
    conversation = dead._engine.protocol.define_wan(WanDefinition.of(0, PORTS))
    step = next(conversation)
    for _ in range(DEFINE_TWICE):
        step = conversation.send(dead._engine.performer.perform(step))
    conversation.close()
    with pytest.raises(WanMismatch) as raised:
        next_one.define_wan(0, PORTS, cooldown=5)
    assert raised.value.differences == {"cooldown_ms": ("5000", "125000")}
    assert next_one.define_wan(0, PORTS) is False


def lose(admin: Any) -> None:
    assert admin.delete(*admin.scan_iter(KEY + "*"))  # a cluster asks one node only for KEYS


def test_lost_data_is_never_made_anew(pool: Any, backends: Any) -> None:
    lose(backends.admin)
    for asked in (lambda: pool.acquire(0), lambda: pool.define_wan(0, "20000-20009", cooldown=0)):
        with pytest.raises(WanNotDefined, match="the data is gone") as raised:
            asked()
        assert (raised.value.wan_idx, raised.value.namespace) == (0, "test")
    assert not backends.admin.exists(KEY + "config")


@pytest.mark.parametrize("verb", ["define_wan", "acquire"])
def test_lost_data_is_told_to_a_new_pool_object(verb: str, pool: Any, pools: Callable[..., Any], backends: Any) -> None:
    lose(backends.admin)
    fresh = pools()
    with pytest.raises(WanNotDefined, match="the data is gone"):
        fresh.acquire(0) if verb == "acquire" else fresh.define_wan(0, "20000-20009", cooldown=0)
    assert not backends.admin.exists(KEY + "config")


def test_lost_data_is_told_to_a_pool_object_that_only_acquired(pool: Any, pools: Any, backends: Any) -> None:
    other = pools()
    other.acquire(0).release()
    lose(backends.admin)
    with pytest.raises(WanNotDefined, match="the data is gone"):
        other.acquire(0)


def test_the_advice_for_lost_data_works(pool: Any, pools: Callable[..., Any], backends: Any) -> None:
    lose(backends.admin)
    with pytest.raises(WanNotDefined, match="wanpool init --recover --wan 0=PORTS"):
        pool.define_wan(0, "20000-20009", cooldown=0)
    operator = pools()
    with pytest.raises(WanNotDefined, match="the data is gone"):
        operator._run(operator._engine.protocol.remove(0, force=False))
    assert operator._run(operator._engine.protocol.remove(0, force=True)) == 0
    assert pools().define_wan(0, "20000-20009", cooldown=0) is True


def test_data_that_vanished_with_its_claim_is_not_made_anew_by_who_knew_it(pool: Any, backends: Any) -> None:
    backends.admin.flushall()
    with pytest.raises(WanNotDefined, match="the data is gone"):
        pool.define_wan(0, "20000-20009", cooldown=0)
    assert not backends.admin.exists(KEY + "config")


def test_another_version_of_the_protocol_is_refused(pool: Any, pools: Callable[..., Any], backends: Any) -> None:
    lease = pool.acquire(0)
    backends.admin.hset(KEY + "config", "protocol", "99")
    before = backends.admin.hgetall(KEY + "config")
    for asked in (
        lambda: pool.acquire(0),
        lambda: pool.define_wan(0, "20000-20009", cooldown=0),
        lambda: pools().define_wan(0, "20000-20009", cooldown=0),
        lambda: pool.snapshot(0),
        lambda: pool.drain(0),
        lambda: lease.renew(),  # noqa: PLW0108  # the five read alike
    ):
        with pytest.raises(WanMismatch, match="protocol 99") as raised:
            asked()
        assert raised.value.differences == {"protocol": ("4", "99")}
    assert backends.admin.hgetall(KEY + "config") == before
    backends.admin.hset(KEY + "config", "protocol", "4")
    assert lease.release() is True


@pytest.mark.parametrize("verb", ["acquire", "acquire_many", "drain", "open", "snapshot", "allocate_port"])
def test_an_undefined_wan_says_how_to_define_it(verb: str, pools: Callable[..., Any], backends: Any) -> None:
    pool = pools()
    args = (7, 2) if verb == "acquire_many" else (7,)
    with pytest.raises(WanNotDefined, match="wanpool init --fresh --wan 7=") as raised:
        getattr(pool, verb)(*args)
    assert raised.value.wan_idx == 7
    assert not list(backends.admin.scan_iter("wanpool:{test:7}:*"))


def test_one_port_is_a_wan_too(pools: Callable[..., Any]) -> None:
    pool = pools()
    assert pool.define_wan(999_999, "65535") is True
    assert pool.acquire(999_999).port == 65535
    with pytest.raises(PoolExhausted):
        pool.acquire(999_999)
