"""Leases, by the rules: each test runs on both faces, on real servers and on the in-process stand-in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from by_hand import run_script

from redis_wanpool import ANY
from redis_wanpool.engine import engine as engine_module
from redis_wanpool.errors import (
    InvalidValue,
    LeaseLost,
    PoolClosed,
    PoolExhausted,
    PortNotInRange,
    PortUnavailable,
    WanDraining,
    WanNotDefined,
)

Pools = Callable[..., Any]
LEASED = "wanpool:{test:0}:leased"


def counts(pool: Any, wan_idx: int = 0) -> dict[str, int]:
    seen = pool.snapshot(wan_idx)
    assert seen.free + seen.leased + seen.cooling + seen.withheld == seen.total
    return {name: getattr(seen, name) for name in ("free", "leased", "cooling", "withheld") if getattr(seen, name)}


def test_a_port_has_one_lease_at_a_time(pool: Any) -> None:
    leases = [pool.acquire(0) for _ in range(10)]
    assert sorted(lease.port for lease in leases) == list(range(20000, 20010))
    with pytest.raises(PoolExhausted) as caught:
        pool.acquire(0)
    assert caught.value.wan_idx == 0 and 0 < caught.value.free_in <= 60
    assert counts(pool) == {"leased": 10}


def test_a_block_gives_its_port_back_also_when_it_fails(pools: Pools, loop: Any, face: str) -> None:
    pool = pools()
    pool.define_wan(0, "20000", cooldown=0)
    if face == "sync":
        with pytest.raises(KeyError), pool.acquire(0):
            raise KeyError
    else:

        async def block() -> None:
            async with pool._thing.acquire(0):
                raise KeyError

        with pytest.raises(KeyError):
            loop.run(block())
    assert counts(pool) == {"free": 1}


def test_ports_that_a_system_keeps_for_itself_are_not_leased_there(pools: Pools, monkeypatch: Any) -> None:
    """As Hyper-V, WSL and Docker do on Windows: others may have them."""
    other = pools(network="other")
    other.define_wan(0, "20000-20009", cooldown=0)
    monkeypatch.setattr(engine_module, "kept_ports", lambda: ((19000, 20003), (20009, 20020)))
    pool = pools(network="windows")
    leases = pool.acquire_many(0, 5)
    assert sorted(lease.port for lease in leases) == [20004, 20005, 20006, 20007, 20008]
    with pytest.raises(PoolExhausted):
        pool.acquire(0)
    assert sorted(other.acquire(0).port for _ in range(5)) == [20000, 20001, 20002, 20003, 20009]
    leases[0].release()
    assert pool.acquire(0).port == leases[0].port


def test_after_a_resize_a_system_learns_which_ports_it_keeps(pools: Pools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "kept_ports", lambda: ((20010, 20020),))
    pool = pools()
    pool.define_wan(0, "20000-20001", cooldown=0)
    leases = pool.acquire_many(0, 2)
    operator = pool
    while hasattr(operator, "_thing"):
        operator = operator._thing
    operator._engine.performer.run(operator._engine.protocol.resize(0, "20000-20001,20010-20019"))
    assert pool.acquire(0).port >= 20010, "it does not know yet"
    with pytest.raises(PoolExhausted):
        pool.acquire(0)
    assert leases[0].release() is True and pool.acquire(0).port == leases[0].port


def test_a_system_that_keeps_more_than_an_acquire_can_avoid_is_told(
    pools: Pools, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engine_module, "kept_ports", lambda: ((20000, 29999),))
    pool = pools()
    pool.define_wan(0, "20000-21500", cooldown=0)
    assert pool.acquire(0).port >= 21000
    assert "keeps 1501 ports of WAN 0" in caplog.text


def test_releasing_twice_is_no_error(pool: Any) -> None:
    lease = pool.acquire(0)
    assert lease.release() is True
    assert lease.release() is True
    assert not lease.lost


def test_a_lease_that_expired_is_not_released_but_lost(pool: Any, age: Any) -> None:
    lease = pool.acquire(0)
    age(61)
    assert lease.release() is False


def test_a_late_release_does_no_harm_to_the_next_holder(pools: Pools, age: Any) -> None:
    first, second = pools(), pools()
    first.define_wan(0, "20000", cooldown=0)
    late = first.acquire(0)
    age(61)
    lease = second.acquire(0)
    assert late.release() is False
    assert counts(first) == {"leased": 1}
    lease.renew()


def test_the_fence_grows_with_every_grant_of_a_port(pools: Pools) -> None:
    pool = pools()
    pool.define_wan(0, "20000", cooldown=0)
    fences = []
    for _ in range(5):
        lease = pool.acquire(0)
        fences.append(lease.fence)
        lease.release()
    assert fences == sorted(set(fences))


def test_a_lease_ends_by_itself_and_its_port_cools(pools: Pools, age: Any, backends: Any) -> None:
    pool = pools(rest=0)
    pool.define_wan(0, "20000-20009", cooldown=125, lease_ttl=60)
    pool.acquire(0, detached=True)
    age(61)
    assert counts(pool) == {"free": 9, "cooling": 1}, "shown as what it is, though nobody settled it"
    assert backends.admin.zcard(LEASED) == 1
    age(125)
    assert counts(pool) == {"free": 10}
    assert len(pool.acquire_many(0, 10)) == 10


class TestTwoClocks:
    def test_a_released_port_rests_for_its_own_network(self, pools: Pools, age: Any) -> None:
        pool = pools(network="a", rest=1000)
        pool.define_wan(0, "20000", cooldown=12_500)
        pool.acquire(0).release()
        with pytest.raises(PoolExhausted) as caught:
            pool.acquire(0)
        assert 980 < caught.value.free_in <= 1000
        age(1000)
        assert pool.acquire(0).port == 20000

    def test_and_cools_for_every_other(self, pools: Pools, age: Any) -> None:
        a, b = pools(network="a", rest=1), pools(network="b", rest=1)
        a.define_wan(0, "20000", cooldown=12_500)
        a.acquire(0).release()
        age(12_480)
        with pytest.raises(PoolExhausted) as caught:
            b.acquire(0)
        assert 0 < caught.value.free_in <= 20
        age(20)
        assert b.acquire(0).port == 20000

    def test_a_rest_longer_than_the_cool_down_holds_for_all(self, pools: Pools, age: Any) -> None:
        a, b = pools(network="a", rest=1000), pools(network="b", rest=0)
        a.define_wan(0, "20000", cooldown=1)
        a.acquire(0).release()
        age(980)
        for pool in (a, b):
            with pytest.raises(PoolExhausted):
                pool.acquire(0)
        age(20)
        b.acquire(0)

    def test_a_port_that_is_restored_cools_on_as_before_it_was_withheld(
        self, pools: Pools, backends: Any, age: Any
    ) -> None:
        a, b = pools(network="a", rest=1000), pools(network="b", rest=0)
        a.define_wan(0, "20000", cooldown=1)
        a.acquire(0).release()
        for verb in ("withhold", "restore"):
            run_script(backends.admin, verb, 20000)
        age(980)
        for pool in (a, b):
            with pytest.raises(PoolExhausted):
                pool.acquire(0)
        age(20)
        b.acquire(0)

    def test_the_most_recently_rested_port_is_taken_first_and_before_free_ones(self, pools: Pools, age: Any) -> None:
        pool = pools(network="a", rest=1)
        pool.define_wan(0, "20000-20009", cooldown=125)
        first, second = pool.acquire_many(0, 2)
        first.release()
        age(5)
        second.release()
        age(5)
        assert [pool.acquire(0).port, pool.acquire(0).port] == [second.port, first.port]

    def test_zero_means_zero(self, pools: Pools) -> None:
        a, b = pools(network="a", rest=0), pools(network="b", rest=0)
        a.define_wan(0, "20000", cooldown=0)
        a.acquire(0).release()
        assert counts(a) == {"free": 1}
        b.acquire(0)

    def test_an_unused_port_is_free_for_all_at_once(self, pools: Pools) -> None:
        a, b = pools(network="a", rest=1), pools(network="b", rest=1)
        a.define_wan(0, "20000", cooldown=125)
        a.acquire(0).release(used=False)
        b.acquire(0)

    def test_but_not_before_its_earlier_use_has_cooled(self, pools: Pools, age: Any) -> None:
        a, b = pools(network="a", rest=1), pools(network="b", rest=1)
        a.define_wan(0, "20000", cooldown=125)
        a.acquire(0).release()
        age(2)
        a.acquire(0).release(used=False)
        assert counts(a) == {"cooling": 1}
        with pytest.raises(PoolExhausted):
            b.acquire(0)
        a.acquire(0).release(used=False)
        age(124)
        b.acquire(0)

    def test_a_plain_socket_gets_a_clean_port_behind_many_that_linger(self, pools: Pools) -> None:
        pool = pools(network="a", rest=0)
        pool.define_wan(0, "20000-20039", cooldown=1000)
        leases = pool.acquire_many(0, 40, reuse_address=True)
        clean = leases[:2]
        for lease in (*clean, *leases[2:]):
            lease.release(closed="reset" if lease in clean else "fin")
        assert {lease.port for lease in pool.acquire_many(0, 2)} == {lease.port for lease in clean}
        with pytest.raises(PoolExhausted) as caught:
            pool.acquire(0)
        assert caught.value.reusable == 38

    def test_a_drained_connection_needs_no_rest(self, pools: Pools) -> None:
        a, b = pools(network="a", rest=10), pools(network="b", rest=10)
        a.define_wan(0, "20000", cooldown=125)
        a.acquire(0).release(closed="drained")
        with pytest.raises(PoolExhausted):
            b.acquire(0)
        a.acquire(0)

    def test_after_a_reset_a_short_cool_down_will_do(self, pools: Pools, age: Any, backends: Any) -> None:
        a, b = pools(network="a", rest=1), pools(network="b", rest=1)
        a.define_wan(0, "20000", cooldown=125)
        lease, before = a.acquire(0), a.snapshot(0).now_ms
        lease.release(closed="reset")
        free_at = backends.admin.zscore("wanpool:{test:0}:cooling", lease.port)
        assert before + 15_000 <= free_at <= a.snapshot(0).now_ms + 15_000
        with pytest.raises(PoolExhausted):
            b.acquire(0)
        age(15)
        b.acquire(0)

    def test_a_dead_holders_port_rests_as_its_network_needs(self, pools: Pools, age: Any) -> None:
        dead, other = pools(network="a", rest=1000), pools(network="a", rest=0)
        dead.define_wan(0, "20000", cooldown=0, lease_ttl=60)
        dead.acquire(0, detached=True)
        age(60 + 980)
        with pytest.raises(PoolExhausted):
            other.acquire(0)
        age(20)
        other.acquire(0)


class TestMany:
    def test_all_or_nothing(self, pool: Any) -> None:
        assert len({lease.port for lease in pool.acquire_many(0, 8)}) == 8
        with pytest.raises(PoolExhausted):
            pool.acquire_many(0, 3)
        assert counts(pool) == {"free": 2, "leased": 8}

    def test_or_at_least_so_many(self, pool: Any) -> None:
        pool.acquire_many(0, 8)
        assert len(pool.acquire_many(0, 5, at_least=2)) == 2

    def test_own_rested_and_free_ports_together(self, pools: Pools, age: Any) -> None:
        pool = pools(rest=1)
        pool.define_wan(0, "20000-20009", cooldown=125)
        for lease in pool.acquire_many(0, 5):
            lease.release()
        age(1)
        assert len({lease.port for lease in pool.acquire_many(0, 10)}) == 10

    @pytest.mark.parametrize("count", [0, -1, 1001, 2.0, True])
    def test_a_count_out_of_bounds_is_refused(self, pool: Any, count: Any) -> None:
        with pytest.raises(InvalidValue):
            pool.acquire_many(0, count)


class TestWantedPort:
    def test_is_granted(self, pool: Any) -> None:
        assert pool.acquire(0, port=20007).port == 20007
        assert counts(pool) == {"free": 9, "leased": 1}

    def test_is_granted_when_it_has_rested(self, pools: Pools, age: Any) -> None:
        pool = pools(network="a", rest=20)
        pool.define_wan(0, "20000-20009", cooldown=125)
        pool.acquire(0, port=20003).release()
        with pytest.raises(PortUnavailable) as caught:
            pool.acquire(0, port=20003)
        assert caught.value.state == "cooling" and 0 < caught.value.free_in <= 20
        age(20)
        assert pool.acquire(0, port=20003).port == 20003

    def test_taken_says_so(self, pool: Any) -> None:
        pool.acquire(0, port=20003)
        with pytest.raises(PortUnavailable, match="port 20003 of WAN 0") as caught:
            pool.acquire(0, port=20003)
        assert (caught.value.port, caught.value.state) == (20003, "leased") and 50 < caught.value.free_in <= 60

    def test_withheld_says_so(self, pool: Any, backends: Any) -> None:
        backends.admin.smove("wanpool:{test:0}:free", "wanpool:{test:0}:withheld", "20003")
        with pytest.raises(PortUnavailable) as caught:
            pool.acquire(0, port=20003)
        assert (caught.value.state, caught.value.free_in) == ("withheld", None)
        assert counts(pool) == {"free": 9, "withheld": 1}

    def test_of_another_wan_is_not_in_range(self, pool: Any) -> None:
        with pytest.raises(PortNotInRange):
            pool.acquire(0, port=20010)

    def test_counts_for_the_share_of_its_network(self, pools: Pools) -> None:
        pool = pools(network="a")
        pool.define_wan(0, "20000-20009", cooldown=0, max_per_network=1)
        pool.acquire(0, port=20001)
        with pytest.raises(PoolExhausted, match="max_per_network"):
            pool.acquire(0, port=20002)


class TestSeveralWans:
    @pytest.fixture
    def pool(self, pools: Pools) -> Any:
        pool = pools()
        pool.define_wan(0, "20000-20001", cooldown=0)
        pool.define_wan(1, "21000-21001", cooldown=0)
        pool.define_wan(2, "22000-22001", cooldown=0)
        return pool

    def test_any_takes_from_all(self, pool: Any) -> None:
        assert Counter(pool.acquire(ANY).wan_idx for _ in range(6)) == {0: 2, 1: 2, 2: 2}
        with pytest.raises(PoolExhausted) as caught:
            pool.acquire()
        assert caught.value.wan_idx == (0, 1, 2)

    def test_several_takes_from_those(self, pool: Any) -> None:
        assert {pool.acquire([0, 2]).wan_idx for _ in range(4)} == {0, 2}
        with pytest.raises(PoolExhausted):
            pool.acquire([0, 2])

    def test_a_draining_one_is_passed_by(self, pool: Any) -> None:
        pool.drain(0)
        pool.drain(1)
        assert pool.acquire(ANY).wan_idx == 2
        pool.drain(2)
        with pytest.raises(WanDraining):
            pool.acquire(ANY)

    @pytest.mark.slow
    def test_weight_counts(self, pools: Pools) -> None:
        pool = pools(namespace="weights")
        pool.define_wan(0, "20000-20999", cooldown=0, weight=9)
        pool.define_wan(1, "21000-21999", cooldown=0, weight=1)
        seen = Counter(pool.acquire(ANY).wan_idx for _ in range(200))
        assert 140 < seen[0] < 199, seen

    def test_none_defined_says_what_to_do(self, pools: Pools) -> None:
        with pytest.raises(WanNotDefined, match="wanpool init --fresh --wan"):
            pools(namespace="empty").acquire()


def test_a_draining_wan_grants_nothing_and_keeps_what_runs(pool: Any) -> None:
    lease = pool.acquire(0)
    pool.drain(0)
    with pytest.raises(WanDraining, match="wanpool open 0"):
        pool.acquire(0)
    lease.renew()
    assert pool.snapshot(0).state == "draining"
    pool.open(0)
    pool.acquire(0)


def test_a_network_holds_no_more_than_its_share(pools: Pools, age: Any) -> None:
    a, b = pools(network="a"), pools(network="b")
    a.define_wan(0, "20000-20009", cooldown=0, max_per_network=3)
    held = a.acquire_many(0, 3)
    with pytest.raises(PoolExhausted, match="max_per_network"):
        a.acquire(0)
    b.acquire(0)
    held[0].release()
    a.acquire(0, detached=True)
    age(61)
    assert len(a.acquire_many(0, 5, at_least=1)) == 3, "expired leases count no longer"


class TestTtl:
    def test_of_a_lease_is_in_redis_and_in_the_hash(self, pool: Any, backends: Any) -> None:
        lease = pool.acquire(0, ttl=50, label="daily basic")
        key = f"wanpool:{{test:0}}:lease:{lease.port}"
        assert 40_000 < backends.admin.pttl(key) <= 50_000
        found = backends.admin.hgetall(key)
        assert found["lease_id"] == lease.lease_id and found["fence"] == str(lease.fence)
        assert found["holder"] == pool.holder and found["label"] == "daily basic"
        assert lease.lease_id.startswith(pool.holder + "/")
        times = [datetime.fromisoformat(found[name]) for name in ("acquired_at", "expires_at")]
        assert (times[1] - times[0]).total_seconds() == 50
        assert abs(times[1].timestamp() - lease.expires_at) < 0.002
        seconds, micros = backends.admin.time()
        assert 0 <= datetime.fromtimestamp(seconds + micros / 1e6, UTC).timestamp() - times[0].timestamp() < 30

    def test_may_be_longer_than_the_default_up_to_the_most(self, pools: Pools) -> None:
        pool = pools()
        pool.define_wan(0, "20000-20009", lease_ttl=60, max_ttl=600)
        assert 500 < pool.acquire(0, ttl=600).remaining() < 600
        with pytest.raises(InvalidValue, match="max_ttl"):
            pool.acquire(0, ttl=601)
        assert counts(pool) == {"free": 9, "leased": 1}

    def test_of_the_pool_object_is_the_default(self, pools: Pools) -> None:
        pool = pools(lease_ttl=2)
        pool.define_wan(0, "20000-20009")
        assert pool.acquire(0).remaining() < 2

    def test_a_renewal_never_shortens(self, pool: Any) -> None:
        lease = pool.acquire(0)
        before = lease.expires_at
        lease.renew(ttl=1)
        assert lease.expires_at >= before and lease.remaining() > 50

    def test_a_renewal_beyond_the_most_is_refused(self, pool: Any) -> None:
        with pytest.raises(InvalidValue):
            pool.acquire(0).renew(ttl=61)

    def test_a_lease_that_expired_is_not_renewed(self, pool: Any, age: Any) -> None:
        lease = pool.acquire(0)
        age(61)
        with pytest.raises(LeaseLost) as caught:
            lease.renew()
        assert caught.value.reason == "expired" and caught.value.port == lease.port
        assert lease.lost

    def test_an_evicted_hash_is_written_again_by_the_renewal(self, pool: Any, backends: Any) -> None:
        lease = pool.acquire(0, label="x")
        key = f"wanpool:{{test:0}}:lease:{lease.port}"
        before = backends.admin.hgetall(key)
        backends.admin.delete(key)
        lease.renew()
        after = backends.admin.hgetall(key)
        assert {name: after[name] for name in ("lease_id", "fence", "holder", "host", "pid", "label")} == {
            name: before[name] for name in ("lease_id", "fence", "holder", "host", "pid", "label")
        }
        assert 0 < backends.admin.pttl(key) <= 60_000


def test_a_detached_lease_has_no_process_and_outlives_its_maker(pools: Pools, backends: Any) -> None:
    pool = pools()
    pool.define_wan(0, "20000-20009", cooldown=0)
    lease = pool.acquire(0, detached=True)
    pool.close()
    other = pools()
    (listed,) = other.snapshot(0, leases=True).leases
    assert (listed.port, listed.pid) == (lease.port, 0)
    assert backends.admin.hget(f"wanpool:{{test:0}}:lease:{lease.port}", "pid") == "0"
    assert backends.admin.hgetall("wanpool:{test}:holders") == {}


class TestOldNames:
    def test_allocate_and_release(self, pool: Any) -> None:
        port = pool.allocate_port(wan_idx=0)
        assert pool.release_port(wan_idx=0, port=port) is True
        assert counts(pool) == {"free": 10}

    def test_a_port_of_somebody_else_is_not_released(self, pools: Pools, caplog: Any) -> None:
        mine, theirs = pools(), pools()
        mine.define_wan(0, "20000-20009", cooldown=0)
        port = theirs.allocate_port(0)
        assert mine.release_port(0, port) is False
        assert counts(mine) == {"leased": 1, "free": 9}
        assert f"port {port} of WAN 0" in caplog.text and "process" in caplog.text

    def test_usage_has_the_shape_of_old(self, pools: Pools) -> None:
        one, two = pools(), pools()
        one.define_wan(0, "20000-20009", cooldown=100, name="telecom")
        one.define_wan(1, "21000-21001")
        one.acquire(0, port=20001)
        two.acquire(0, port=20000)
        two.acquire(1, port=21000)
        one.acquire(0).release()
        info = one.get_port_usage_info()
        host, pid = one._engine.protocol.holder.host, one._engine.protocol.holder.pid
        assert info == {
            "total_allocated_ports": 3,
            "wans": {
                0: dict(name="telecom", state="open", total=10, free=7, leased=2, cooling=1, withheld=0),
                1: dict(name="", state="open", total=2, free=1, leased=1, cooling=0, withheld=0),
            },
            "processes": {f"{host}:{pid}": {"host": host, "pid": pid, "ports": {0: [20000, 20001], 1: [21000]}}},
        }


class TestBadInput:
    @pytest.mark.parametrize("wan", [-1, "0", 1.0, True, None, [], [0, -1], ["a"], 10**9])
    def test_wan(self, pool: Any, wan: Any) -> None:
        self._refused(pool, lambda: pool.acquire(wan))

    @pytest.mark.parametrize(
        "bad",
        [
            *({"wait": -1}, {"wait": "1"}, {"wait": float("nan")}, {"port": 0}, {"port": 65536}),
            *({"port": "20000"}, {"label": "a\nb"}, {"label": "x" * 129}, {"label": 3}, {"ttl": 0.4}),
            *({"ttl": 86_401}, {"ttl": "5"}, {"ttl": float("inf")}),
        ],
    )
    def test_acquire(self, pool: Any, bad: dict[str, Any]) -> None:
        self._refused(pool, lambda: pool.acquire(0, **bad))

    def test_a_wanted_port_needs_one_wan(self, pool: Any) -> None:
        self._refused(pool, lambda: pool.acquire(ANY, port=20000))

    @pytest.mark.parametrize(
        "bad",
        [
            {"wan_idx": -1},
            {"wan_idx": "1"},
            {"wan_idx": True},
            *(
                {"ports": ports}
                for ports in ("", "a", "0", "65536", "30-20", "1-5,5-9", "1,,2", "1-", "\u0661", None, 5)
            ),
            {"lease_ttl": 0.4},
            {"lease_ttl": 70, "max_ttl": 60},
            {"max_ttl": 86_401},
            {"cooldown": -1},
            {"cooldown": "1"},
            {"quarantine": -0.1},
            {"weight": 0},
            {"name": "a\tb"},
            {"max_per_network": 0},
        ],
    )
    def test_define(self, pool: Any, bad: dict[str, Any]) -> None:
        wanted: dict[str, Any] = {"wan_idx": 1, "ports": "30000-30009", **bad}
        self._refused(pool, lambda: pool.define_wan(wanted.pop("wan_idx"), wanted.pop("ports"), **wanted))

    def test_release(self, pool: Any) -> None:
        lease = pool.acquire(0)
        with pytest.raises(InvalidValue, match="fin, drained, reset"):
            lease.release(closed="x")
        lease.renew()

    @pytest.mark.parametrize("namespace", ["", "a b", "{a}", "a:b", "x" * 65, 3])
    def test_namespace(self, pools: Pools, namespace: Any) -> None:
        with pytest.raises(InvalidValue):
            pools(namespace=namespace)

    @staticmethod
    def _refused(pool: Any, action: Callable[[], Any]) -> None:
        keys = pool.wans(), counts(pool)
        with pytest.raises(InvalidValue) as caught:
            action()
        assert isinstance(caught.value, ValueError)
        assert (pool.wans(), counts(pool)) == keys


def test_closing_gives_everything_back_and_ends_the_object(pools: Pools, backends: Any) -> None:
    pool, other = pools(), pools()
    pool.define_wan(0, "20000-20009", cooldown=0)
    lease = pool.acquire_many(0, 5)[0]
    assert len(backends.admin.hgetall("wanpool:{test}:holders")) == 1
    pool.close()
    pool.close()
    assert counts(other) == {"free": 10}
    assert backends.admin.hgetall("wanpool:{test}:holders") == {}
    assert lease.release() is True and not lease.lost
    with pytest.raises(PoolClosed):
        pool.acquire(0)
