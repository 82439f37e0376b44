"""A WAN that is defined where it may have been before: Redis cannot tell whether it is new or lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from itertools import count
from typing import Any

import pytest
from by_hand import change_rules, run_script
from faces import maker
from invariant import check_invariant
from nodes import free_pairs
from private_server import SERVERS, Server
from waiting import wait_for

from redis_wanpool import InGrace, InvalidValue, LeaseLost, PoolExhausted, WanNotDefined

pytestmark = pytest.mark.usefixtures("as_asked")

PREFIX = "wanpool:{test:0}:"
TTL, MARGIN = 30.0, 5.0
WHOLE = TTL + MARGIN
SHORT: Any = {"lease_ttl": 0.5, "failover_margin": 0.2}
"""of a WAN whose grace is shorter than its server has been up"""
DOINGS: dict[str, list[tuple[Any, ...]]] = {
    "nothing": [],
    "a refused FLUSHALL": [("ACL", "SETUSER", "default", "-flushall"), ("FLUSHALL",)],
    "FLUSHALL": [("FLUSHALL",)],
    "FLUSHDB": [("FLUSHDB",)],
    "SWAPDB": [("SWAPDB", 0, 1)],
    "FLUSHALL in a script": [("EVAL", "return redis.call('FLUSHALL')", 0)],
    "FLUSHALL that is no longer told of": [("FLUSHALL",), ("CONFIG", "RESETSTAT")],
    "RESTORE": [("SET", "x", 1), ("EVAL", "redis.call('RESTORE', 'y', 0, redis.call('DUMP', 'x'))", 0)],
    "a promotion": [("REPLICAOF", "127.0.0.1", 1), ("REPLICAOF", "NO", "ONE")],
    "a cluster": [("CLUSTER", "ADDSLOTS", *range(16384))],
}
"""what a server did since it was started; after all but the first two it may have lost data of another one's time"""
NAMES = count()


def define(pool: Any, ports: str = "20000-20003", **kwargs: Any) -> bool:
    return bool(pool.define_wan(0, ports, **{"cooldown": 0, "lease_ttl": TTL, "failover_margin": MARGIN, **kwargs}))


def up(server: Any) -> float:
    return float(server.admin.info("server")["uptime_in_seconds"])


@pytest.fixture(scope="module", params=SERVERS)
def aged(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """doing -> a server that has been up for two seconds, and has done that."""
    with ExitStack() as stack:
        (port,) = free_pairs(1)
        options = {"a cluster": ("--cluster-enabled", "yes", "--bind", "127.0.0.1", "--port", str(port))}
        made = {
            doing: Server(request.param, tmp_path_factory.mktemp("aged"), *options.get(doing, ())) for doing in DOINGS
        }
        made["a cluster"].url = f"redis+cluster://127.0.0.1:{port}"
        for doing, server in made.items():
            stack.enter_context(closing(server))
            for words in DOINGS[doing]:
                try:
                    server.admin.execute_command(*words)
                except Exception as error:
                    assert "permission" in str(error)
        wait_for(lambda: min(map(up, made.values())) >= 2)
        wait_for(lambda: made["a cluster"].admin.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
        yield made


@pytest.fixture
def pool_on(face: str, loop: Any) -> Iterator[Callable[..., Any]]:
    """Makes pool objects on a server, in a namespace where nothing is."""
    with maker(face, loop, None) as new:
        yield lambda server, **kwargs: new(server.url, **{"namespace": f"new-{next(NAMES)}", **kwargs})


@pytest.fixture(params=SERVERS)
def forgetful(request: Any, tmp_path: Any) -> Iterator[Server]:
    """A server that keeps nothing on disk."""
    with closing(Server(request.param, tmp_path)) as server:
        yield server
        check_invariant(server.admin)


@pytest.fixture
def pool_of(forgetful: Server, face: str, loop: Any) -> Iterator[Callable[..., Any]]:
    with maker(face, loop, forgetful.url) as new:
        yield lambda network: new(network=network)


def end_grace(server: Server) -> None:
    """Lets the grace be over, instead of waiting."""
    server.admin.hset(PREFIX + "config", "grace_until_ms", 0)


def emptied(server: Server, how: str) -> None:
    if how == "restart":
        server.restart()
    else:
        server.admin.flushall()


class TestBegin:
    def test_on_a_server_that_has_been_up_for_long_it_grants_at_once(self, aged: Any, pool_on: Any) -> None:
        pool = pool_on(aged["nothing"])
        define(pool, **SHORT)
        assert pool.snapshot(0).grace_ms == 0
        assert pool.acquire(0).port

    @pytest.mark.parametrize("doing", DOINGS)
    def test_unless_that_may_have_lost_data_meanwhile(self, aged: Any, pool_on: Any, doing: str) -> None:
        pool = pool_on(aged[doing])
        define(pool, **SHORT)
        grace = pool.snapshot(0).grace_ms
        assert grace == 0 if list(DOINGS).index(doing) < 2 else 0 < grace <= 700

    def test_it_counts_from_the_start_of_the_server(self, aged: Any, pool_on: Any) -> None:
        server = aged["nothing"]
        pool = pool_on(server)
        before = up(server)
        define(pool)
        with pytest.raises(InGrace) as caught:
            pool.acquire(0)
        assert WHOLE - up(server) - 3 < caught.value.retry_after <= WHOLE - (before - 1)
        assert "fresh=True" in str(caught.value) and "wanpool init --fresh" in str(caught.value)

    def test_somebodys_word_is_enough(self, aged: Any, pool_on: Any) -> None:
        pool = pool_on(aged["FLUSHALL"])
        assert define(pool, fresh=True) is True
        assert pool.acquire(0).port

    def test_what_is_said_to_be_lost_has_a_whole_grace(self, aged: Any, pool_on: Any) -> None:
        pool = pool_on(aged["nothing"])
        define(pool, **SHORT, recover=True)
        assert 0 < pool.snapshot(0).grace_ms <= 700

    def test_and_no_later_word_ends_that(self, aged: Any, pool_on: Any) -> None:
        pool = pool_on(aged["nothing"])
        define(pool, recover=True)
        define(pool, fresh=True)
        with pytest.raises(InGrace) as caught:
            pool.acquire(0)
        assert "fresh" not in str(caught.value)

    def test_on_failover_continue_needs_none(self, aged: Any, pool_on: Any) -> None:
        pool = pool_on(aged["FLUSHALL"])
        define(pool, on_failover="continue")
        assert pool.acquire(0).port

    def test_who_waits_is_served_when_it_is_over(self, aged: Any, pool_on: Any) -> None:
        pool = pool_on(aged["FLUSHALL"])
        define(pool, **SHORT)
        assert pool.acquire(0, wait=20).port

    def test_a_word_contradicts_another(self, aged: Any, pool_on: Any) -> None:
        with pytest.raises(InvalidValue, match="contradict"):
            define(pool_on(aged["nothing"]), recover=True, fresh=True)

    def test_the_word_may_come_later(self, forgetful: Server, pool_of: Any) -> None:
        pool = pool_of("here")
        define(pool)
        with pytest.raises(InGrace):
            pool.acquire(0)
        assert define(pool, fresh=True) is False
        assert pool.acquire(0).port

    def test_but_not_when_a_lease_proves_it_wrong(self, forgetful: Server, pool_of: Any) -> None:
        holder, other = pool_of("here"), pool_of("there")
        define(holder, fresh=True)
        lease = holder.acquire(0)
        forgetful.restart()
        define(other)
        lease.renew()
        define(other, fresh=True)
        with pytest.raises(InGrace):
            other.acquire(0)

    def test_nor_in_the_grace_of_a_restart(self, forgetful: Server, pool_of: Any) -> None:
        pool = pool_of("here")
        define(pool)
        change_rules(forgetful.admin, source="0" * 40, run_id="another")
        define(pool, fresh=True)
        with pytest.raises(InGrace) as caught:
            pool.acquire(0)
        assert "restarted or failed over" in str(caught.value)

    def test_what_was_begun_by_one_and_finished_by_another_has_it(self, forgetful: Server, pool_of: Any) -> None:
        flat = [item for pair in DEFINITION.items() for item in pair]
        assert run_script(forgetful.admin, "define", "g", "new", 2, "grace", *flat) == ["FILLING", 1]
        assert run_script(forgetful.admin, "define", "g", "fresh", 2, "grace", *flat) == ["DEFINED", 0, "g"]
        assert pool_of("here").snapshot(0).grace_ms > 0


DEFINITION = {
    **{"lease_ttl_ms": 30000, "max_ttl_ms": 30000, "cooldown_ms": 0, "quarantine_ms": 65000},
    **{"max_per_network": 0, "failover_margin_ms": 5000, "weight": 1, "ports": "20000-20003", "name": ""},
}


@pytest.mark.parametrize("how", ["restart", "FLUSHALL"])
class TestLivingHolders:
    def test_keep_their_leases(self, forgetful: Server, pool_of: Any, how: str) -> None:
        holder, other = pool_of("here"), pool_of("there")
        define(holder, fresh=True)
        leases = holder.acquire_many(0, 3)
        emptied(forgetful, how)
        define(other)
        with pytest.raises(InGrace):
            other.acquire(0)
        for lease in leases:
            lease.renew()
            lease.check()
        check_invariant(forgetful.admin)
        end_grace(forgetful)
        rest = other.acquire(0)
        assert rest.port not in {lease.port for lease in leases} and rest.fence > max(lease.fence for lease in leases)
        with pytest.raises(PoolExhausted):
            other.acquire(0)
        assert holder.snapshot(0).grace_ms == 0, "that the data is another one was known"
        assert all(lease.release() for lease in leases)

    def test_re_assert_by_themselves(self, forgetful: Server, pool_of: Any, how: str) -> None:
        holder, other = pool_of("here"), pool_of("there")
        define(holder, fresh=True, lease_ttl=1.5)
        lease = holder.acquire(0)
        emptied(forgetful, how)
        wait_for(lambda: lease.reason_at_deadline == "data_lost")
        lease.check()
        define(other, lease_ttl=1.5)
        wait_for(lambda: forgetful.admin.zscore(PREFIX + "leased", lease.port))
        lease.check()
        wait_for(lambda: lease.reason_at_deadline == "expired")

    def test_go_on_until_their_deadline_while_the_wan_is_not_defined(
        self, forgetful: Server, pool_of: Any, how: str
    ) -> None:
        holder = pool_of("here")
        define(holder, fresh=True)
        lease = holder.acquire(0)
        emptied(forgetful, how)
        with pytest.raises(WanNotDefined, match="init --recover"):
            lease.renew()
        lease.check()
        holder._engine.protocol.renew_soon()
        holder._engine.heartbeat.due(0.0)
        wait_for(lambda: lease.reason_at_deadline == "data_lost")
        lease.deadline -= TTL
        with pytest.raises(LeaseLost, match="Redis lost the data") as caught:
            lease.check()
        assert caught.value.reason == "data_lost"

    def test_refuse_to_define_what_they_knew(self, forgetful: Server, pool_of: Any, how: str) -> None:
        pool = pool_of("here")
        define(pool, fresh=True)
        emptied(forgetful, how)
        for word in ({}, {"fresh": True}):
            with pytest.raises(WanNotDefined, match="init --recover"):
                define(pool, **word)
        assert define(pool, recover=True) is True
        with pytest.raises(InGrace):
            pool.acquire(0)

    def test_are_told_that_the_data_was_lost(self, forgetful: Server, pool_of: Any, how: str) -> None:
        """The port does not belong to the WAN as it was defined then."""
        holder, other = pool_of("here"), pool_of("there")
        define(holder, "20003", fresh=True)
        lease = holder.acquire(0)
        emptied(forgetful, how)
        define(other, "20000-20002")
        with pytest.raises(LeaseLost) as caught:
            lease.renew()
        assert caught.value.reason == lease.reason == "data_lost"

    @pytest.mark.parametrize("action", ["renew", "release"])
    def test_also_when_the_port_is_another_ones_by_then(
        self, forgetful: Server, pool_of: Any, how: str, action: str
    ) -> None:
        holder, other = pool_of("here"), pool_of("there")
        define(holder, "20000", on_failover="continue")
        lease = holder.acquire(0)
        emptied(forgetful, how)
        define(other, "20000", on_failover="continue")
        rival = other.acquire(0)
        if action == "renew":
            with pytest.raises(LeaseLost):
                lease.renew()
        else:
            assert lease.release() is False
        assert lease.reason == "data_lost"
        rival.renew()

    def test_give_back_what_the_data_does_not_know(self, forgetful: Server, pool_of: Any, how: str) -> None:
        holder, other = pool_of("here"), pool_of("there")
        define(holder, "20000", fresh=True, cooldown=60)
        lease = holder.acquire(0)
        emptied(forgetful, how)
        define(other, "20000", cooldown=60)
        end_grace(forgetful)
        assert lease.release() is True
        assert forgetful.admin.zscore(PREFIX + "cooling", 20000), "it was used, and cools"
        assert other.snapshot(0).grace_ms > 0, "the word that began no grace, or a shorter one, was wrong"


class TestOrdinaryGrace:
    """Of a server that has kept its data."""

    DURABLE = ("--appendonly", "yes", "--appendfsync", "always")

    @pytest.fixture(params=SERVERS)
    def durable(self, request: Any, tmp_path: Any) -> Iterator[Server]:
        with closing(Server(request.param, tmp_path, *self.DURABLE)) as server:
            yield server

    @pytest.mark.slow
    @pytest.mark.parametrize(("doing", "grace"), [("nothing", False), ("RESTORE", True)])
    def test_it_counts_from_the_start_of_the_server(
        self, durable: Server, pool_on: Any, doing: str, grace: bool
    ) -> None:
        pool = pool_on(durable, namespace="test")
        define(pool, **SHORT, fresh=True)
        first = pool.acquire(0)
        pool.close()
        durable.restart(*self.DURABLE)
        for words in DOINGS[doing]:
            durable.admin.execute_command(*words)
        wait_for(lambda: up(durable) >= 2)
        other = pool_on(durable, namespace="test")
        before = (durable.admin.hget(PREFIX + "config", "source"), durable.admin.hget(PREFIX + "grants", "fence"))
        if grace:
            with pytest.raises(InGrace):
                other.acquire(0)
        else:
            assert other.acquire(0).fence > first.fence
        source, fence = (
            durable.admin.hget(PREFIX + "config", "source"),
            durable.admin.hget(PREFIX + "grants", "fence"),
        )
        assert source != before[0] and int(fence) >= int(before[1]) + 700_000
        assert len(str(durable.admin.hget(PREFIX + "config", "graces")).split()) == grace

    def test_those_of_the_last_hour_are_counted(self, durable: Server, pool_on: Any) -> None:
        pool = pool_on(durable, namespace="test")
        define(pool, fresh=True)
        assert pool.snapshot(0).graces == 0
        for number in (1, 2):
            durable.restart(*self.DURABLE)
            with pytest.raises(InGrace):
                pool.acquire(0)
            assert pool.snapshot(0).graces == number
        record = durable.admin.hget(PREFIX + "config", "graces").split()
        aged = [str(int(ms) - 3_600_000) for ms in record]
        durable.admin.hset(PREFIX + "config", "graces", " ".join((record[0], aged[1], *["x", "-1"])))
        assert pool.snapshot(0).graces == 1
        durable.admin.hset(PREFIX + "config", "graces", " ".join(record[:1] * 100))
        durable.restart(*self.DURABLE)
        with pytest.raises(InGrace):
            pool.acquire(0)
        assert pool.snapshot(0).graces == 60, "and no more are kept"
