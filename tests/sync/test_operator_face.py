"""The face for operators: it sees and changes everything, and is no holder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clusters import Shards
from command_line import tells

from redis_wanpool import Operator, WanPortPool
from redis_wanpool.errors import (
    BackendUnavailable,
    InvalidValue,
    LeaseLost,
    PoolClosed,
    PortNotInRange,
    UnsafeRedis,
    WanInUse,
    WanMismatch,
    WanNotDefined,
    WanpoolError,
)
from redis_wanpool.model.views import WanStatus

WANS = {0: "20000-20009", 1: "21000-21004"}


@pytest.fixture
def pool(backends: Any) -> Iterator[WanPortPool]:
    with WanPortPool(backends.url, namespace="test", network="n", rest=1) as pool:
        yield pool


@pytest.fixture
def operator(backends: Any) -> Iterator[Operator]:
    with Operator(backends.url, namespace="test") as operator:
        for wan_idx, ports in WANS.items():
            assert operator.define_wan(wan_idx, ports, cooldown=15, name=f"line {wan_idx}")
        yield operator


class TestLooks:
    """What it sees."""

    def test_at_wans(self, operator: Operator, pool: WanPortPool) -> None:
        pool.acquire_many(1, 2)
        assert operator.wans() == (0, 1) and operator.claims() == WANS
        assert operator.ports_by_wan()[1] == [21000, 21001, 21002, 21003, 21004]
        assert operator.wan_of(21004) == 1
        assert (operator.snapshot(1).leased, operator.snapshot(1).leases) == (2, ())
        assert {lease.holder for lease in operator.snapshot(1, leases=True).leases} == {pool.holder}
        assert [seen.free for seen in operator.snapshots().values()] == [10, 3]
        assert list(operator.snapshots([1, 1])) == [1]

    def test_at_their_pace_and_what_will_be_free(self, operator: Operator, pool: WanPortPool) -> None:
        pool.acquire_many(0, 4)
        pool.acquire(0).release()
        status = operator.status(looks_ahead=[10, 20])
        assert list(status) == [0, 1]
        seen = status[0]
        assert isinstance(seen, WanStatus)
        assert (seen.seen.leased, seen.seen.cooling, seen.frees, seen.quarantined) == (4, 1, (5, 6), 0)
        assert seen.hold > 0 and list(operator.status([1])) == [1]

    def test_at_a_wan_that_is_lost_beside_others(self, operator: Operator, backends: Any) -> None:
        backends.admin.delete("wanpool:{test:0}:config")
        status = operator.status()
        assert isinstance(status[0], WanNotDefined) and not isinstance(status[1], WanpoolError)
        with pytest.raises(WanNotDefined, match="WAN 0"):
            operator.snapshots()

    def test_at_ports_leases_and_holders(self, operator: Operator, pool: WanPortPool) -> None:
        lease, other = pool.acquire(0, port=20003, label="nightly"), pool.acquire(0, ttl=5)
        seen = operator.explain(20003)
        assert (seen.wan_idx, seen.state, seen.holder, seen.lease["label"]) == (0, "leased", pool.holder, "nightly")
        assert operator.explain(21000).state == "free"
        assert [one.lease_id for one in operator.leases(0)] == [other.lease_id, lease.lease_id]
        assert [one.port for one in operator.leases(0, within=30)] == [other.port]
        assert operator.census() == {0: {(pool.holder, "n"): 2}, 1: {}}
        (holder,) = operator.holders()
        assert holder.id == pool.holder and operator.holder_of(seen) == holder
        assert operator.holder_of(operator.explain(21000)) is None

    def test_at_more_leases_than_a_page_has(self, operator: Operator, pool: WanPortPool) -> None:
        operator.resize(0, "20000-20009,30000-32000")
        for count in (1000, 700):
            pool.acquire_many(0, count)
        pages = list(operator.lease_pages(0))
        assert [len(page) for page in pages] == [1000, 700]
        assert len({lease.port for lease in operator.leases(0)}) == 1700

    def test_at_redis(self, operator: Operator, backends: Any) -> None:
        facts = operator.server_facts()
        assert facts == {} if operator.is_fake else facts["role"] == "primary"
        assert operator.ask("HGET", "wanpool:{test}:wans", "0").startswith("20000-20009 ")
        assert operator.shards == [""] and operator.url == backends.url and not operator.is_embedded


class TestActs:
    """What it does."""

    def test_on_wans(self, operator: Operator, pool: WanPortPool) -> None:
        assert not operator.define_wan(0, WANS[0], cooldown=15, name="line 0"), "it was there, the same"
        with pytest.raises(WanMismatch, match="cooldown"):
            operator.define_wan(0, WANS[0], cooldown=16)
        operator.drain(0)
        assert operator.snapshot(0).state == "draining"
        operator.open(0)
        assert operator.snapshot(0).state == "open"
        pool.acquire(0, port=20009)
        assert operator.resize(0, "20000-20004,20020") == 1
        assert operator.snapshot(0).config["ports"] == "20000-20004,20020"
        with pytest.raises(WanInUse):
            operator.remove(0)
        assert operator.remove(0, force=True) == 1 and operator.wans() == (1,)

    def test_on_ports(self, operator: Operator, pool: WanPortPool) -> None:
        pool.acquire(0, port=20001)
        assert operator.withhold("20001,21000-21001") == {0: {20001: "leased"}, 1: {21000: "free", 21001: "free"}}
        assert operator.restore("21000") == {1: {21000: "withheld"}}
        assert (operator.explain(21000).state, operator.explain(21001).state) == ("cooling", "withheld")
        with pytest.raises(PortNotInRange, match="20010"):
            operator.withhold("20002,20010")
        assert operator.explain(20002).state == "free", "nothing was done"

    def test_on_leases_of_others(self, operator: Operator, pool: WanPortPool) -> None:
        mine, other = pool.acquire(0, port=20000), pool.acquire(0, port=20001)
        revoked = [lease for lease in operator.leases(0) if lease.port == 20001]
        assert operator.revoke(0, revoked) == {20001: "revoked"}
        with pytest.raises(LeaseLost, match="an operator revoked the lease"):
            other.renew()
        assert operator.renew(0, 20000, mine.lease_id, 60) == pytest.approx(mine.expires_at, abs=30)
        assert operator.release(0, 20000, mine.lease_id, closed="drained") == "drained"
        with pytest.raises(LeaseLost, match="the lease was released") as lost:
            operator.renew(0, 20000, mine.lease_id, 60)
        assert (lost.value.reason, lost.value.port, lost.value.wan_idx) == ("drained", 20000, 0)
        with pytest.raises(LeaseLost, match="no such lease lives") as lost:
            operator.renew(0, 20000, mine.lease_id + "x", 60)
        assert lost.value.reason == "gone"
        assert operator.release(0, 20002, "host:0:detached/x") == "gone"

    def test_on_a_lease_that_was_never_used(self, operator: Operator, pool: WanPortPool) -> None:
        lease = pool.acquire(0)
        assert operator.release(0, lease.port, lease.lease_id, used=False) == "unused"
        assert operator.snapshot(0).free == 10

    def test_on_the_dead(self, operator: Operator, pool: WanPortPool, backends: Any) -> None:
        lease = pool.acquire(0)
        words = backends.admin.hget("wanpool:{test}:holders", pool.holder).split(" ")
        words[4] = "1"  # as if another process had had this pid
        backends.admin.hset("wanpool:{test}:holders", pool.holder, " ".join(words))
        (seen,) = operator.reap(dry_run=True)
        assert (seen.verdict, seen.ports) == ("dead", {0: (lease.port,)}) and operator.snapshot(0).leased == 1
        (seen,) = operator.reap()
        assert (seen.verdict, seen.ports) == ("dead", {0: (lease.port,)}) and operator.snapshot(0).leased == 0

    def test_with_a_pool_of_its_namespace(self, operator: Operator, tmp_path: Path) -> None:
        Path("wanpool.toml").write_text('[wan.0]\nports = "20000-20004"\n')
        lost: list[int] = []
        told = threading.Event()

        def on_lost(lease: Any) -> None:
            lost.append(lease.port)
            told.set()

        with operator.pool(on_lost=on_lost) as pool:
            lease = pool.acquire(0)
            operator.revoke(0, operator.leases(0))
            with pytest.raises(LeaseLost):
                lease.renew()
            assert told.wait(20) and lost == [lease.port]
        assert operator.claims() == WANS, "the configuration wants others"


class TestStaysOut:
    """What it is not."""

    def test_is_no_holder_and_runs_nothing(self, operator: Operator, backends: Any) -> None:
        before = threading.active_count()
        for look in (operator.status, operator.reap, operator.census, operator.server_facts, operator.holders):
            look()
        operator.withhold("20000")
        operator.restore("20000")
        assert not backends.admin.exists("wanpool:{test}:holders") and threading.active_count() == before

    def test_leaves_the_wans_of_the_configuration(self, operator: Operator) -> None:
        Path("wanpool.toml").write_text('namespace = "test"\n[wan.7]\nports = "27000"\n')
        assert operator.wans() == (0, 1)

    def test_closed_is_closed(self, backends: Any) -> None:
        operator = Operator(backends.url)
        operator.close()
        for use in (operator.wans, operator.reap, lambda: operator.ask("INFO")):
            with pytest.raises(PoolClosed):
                use()

    def test_takes_a_client(self, backends: Any) -> None:
        with Operator(client=backends.admin, namespace="test") as operator:
            assert operator.define_wan(0, "20000") and operator.url == "the given client's Redis"
        assert backends.admin.ping(), "who made the client closes it"
        with pytest.raises(InvalidValue, match="not both"):
            Operator(backends.url, client=backends.admin)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda one: one.drain(-1), "wan_idx"),
        (lambda one: one.snapshot("0"), "wan_idx"),
        (lambda one: one.snapshots([0, True]), "wan_idx"),
        (lambda one: one.status(looks_ahead=[-1]), "looks_ahead"),
        (lambda one: one.leases("x"), "wan_idx"),
        (lambda one: one.leases(0, within="1m"), "within"),
        (lambda one: one.explain(0), "port"),
        (lambda one: one.wan_of(65_536), "port"),
        (lambda one: one.withhold("9-1"), "ports"),
        (lambda one: one.resize(0, ""), "ports"),
        (lambda one: one.define_wan(2, "22000", cooldown=-1), "cooldown"),
        (lambda one: one.renew(0, 20000, "h:1:x/y", 0), "ttl"),
        (lambda one: one.release(0, 20000, "h:1:x/y", closed="shut"), "closed"),
        (lambda one: one.release(0, 20000, "x"), "lease_id"),
        (lambda one: one.renew(0, 20000, "1:x", 60), "lease_id"),
    ],
)
def test_values_that_cannot_be_are_refused(operator: Operator, call: Callable[[Operator], Any], match: str) -> None:
    with pytest.raises(InvalidValue, match=match):
        call(operator)


@pytest.mark.parametrize(
    "call",
    [
        lambda one: one.snapshot(9),
        lambda one: one.drain(9),
        lambda one: one.resize(9, "29000"),
        lambda one: one.remove(9),
        lambda one: one.census([9]),
        lambda one: list(one.leases(9)),
    ],
)
def test_a_wan_that_is_not_there_is_said(operator: Operator, call: Callable[[Operator], Any]) -> None:
    with pytest.raises(WanNotDefined, match="WAN 9"):
        call(operator)


def test_a_redis_that_is_not_safe_is_refused_but_to_examiners(own_server: Any) -> None:
    own_server.admin.config_set("maxmemory", "100mb")
    own_server.admin.config_set("maxmemory-policy", "allkeys-lru")
    with Operator(own_server.url) as operator:
        for _ in range(2):
            with pytest.raises(UnsafeRedis):
                operator.wans()
        assert operator.ask("HGETALL", "wanpool:{default}:wans") == {}
    for options in ({"allow_unsafe": True}, {"allow_eviction": True}):
        with Operator(own_server.url, **options) as operator:  # type: ignore[arg-type]
            assert operator.wans() == ()


def test_a_redis_that_is_away_is_said(own_server: Any) -> None:
    with Operator(own_server.url, connect_timeout=1) as operator:
        assert operator.wans() == ()
        own_server.stop()
        with pytest.raises(BackendUnavailable):
            operator.wans()
        own_server.start()
        assert operator.wans() == (), "it finds it again"


def test_on_a_cluster_shards_are_asked_at_once(tmp_path: Path) -> None:
    shards = Shards("valkey-9.1", tmp_path)
    try:
        with Operator(shards.url, namespace="test") as operator:
            for wan_idx in range(6):
                operator.define_wan(wan_idx, f"{20000 + 10 * wan_idx}-{20009 + 10 * wan_idx}")
            assert len(operator.shards) == 3 and operator.server_facts()["shards"] == "3"
            assert [seen.free for seen in operator.snapshots().values()] == [10] * 6
            assert all(isinstance(one, WanStatus) for one in operator.status().values())
            assert sum(operator.ask("DBSIZE", at=shard) for shard in operator.shards) > 6
            for wan_idx in operator.wans():
                operator.remove(wan_idx)
    finally:
        shards.close()


@pytest.mark.parametrize("role", ["operator", "viewer"])
def test_works_under_the_least_rights(own_server: Any, role: str) -> None:
    (user,) = tells("acl", role, "--namespace", "test")["users"]
    own_server.admin.execute_command(*user["setuser"].replace(">PASSWORD", ">sesame").split(" "))
    with Operator(own_server.url, namespace="test") as operator:
        operator.define_wan(0, WANS[0])
    with WanPortPool(own_server.url, namespace="test") as pool:
        lease = pool.acquire(0)
        own_server.admin.acl_log_reset()
        with Operator(f"unix://{user['user']}:sesame@{own_server.socket}", namespace="test") as operator:
            seen = operator.explain(lease.port)
            assert operator.wans() == (0,) and operator.claims() == {0: WANS[0]} and operator.holder_of(seen)
            for look in (operator.status, operator.census, operator.server_facts, lambda: list(operator.leases(0))):
                assert look()
            assert not own_server.admin.acl_log()
            if role == "viewer":
                for act in (lambda: operator.drain(0), lambda: operator.withhold("20000")):
                    with pytest.raises(BackendUnavailable, match=r"does not let this user run .*wanpool acl"):
                        act()
                return
            assert operator.holders() and operator.reap()
            operator.drain(0)
            operator.open(0)
            operator.withhold("20009")
            operator.restore("20009")
            operator.resize(0, "20000-20010")
            assert operator.renew(0, lease.port, lease.lease_id, 60)
            assert operator.revoke(0, operator.leases(0)) == {lease.port: "revoked"}
            assert operator.remove(0, force=True) == 0
            assert not own_server.admin.acl_log()
