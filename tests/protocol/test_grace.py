"""A Redis that may have forgotten grants: holders re-assert their leases, and nothing is granted twice."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from by_hand import change_rules, run_script
from faces import make, maker
from invariant import check_invariant
from private_server import SERVERS, Server
from waiting import wait_for

from redis_wanpool import ANY, InGrace, InvalidValue, LeaseLost, PoolExhausted, WanMismatch, WanNotDefined
from redis_wanpool.system.clock import boottime

PREFIX = "wanpool:{test:0}:"
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
TTL, MARGIN = 30.0, 5.0
GRACE_MS = round(1000 * (TTL + MARGIN))


class Forgetful(Server):
    """A durable server that can be taken back to an earlier moment, as by a failover or a restore."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name, folder, *DURABLE)
        self._then: dict[str, tuple[bytes, int]] = {}
        self._raw = type(self.admin)(unix_socket_path=str(self.socket))

    def restart(self) -> None:
        self.stop()
        self.start(*DURABLE)

    def remember(self) -> None:
        """Notes what is there now."""
        self._then = {key: (self._raw.dump(key), max(0, self._raw.pttl(key))) for key in self._raw.scan_iter()}

    def forget(self) -> None:
        """Goes back to what was noted, as another server."""
        self.go_back()
        self.restart()

    def go_back(self) -> None:
        """Goes back to what was noted, and is the same server."""
        self._raw.flushall()
        for key, (dump, ttl) in self._then.items():
            self._raw.restore(key, ttl, dump, replace=True)

    def end_grace(self, wan_idx: int = 0) -> None:
        """Lets the grace be over, instead of waiting."""
        self.admin.hset(f"wanpool:{{test:{wan_idx}}}:config", "grace_until_ms", 0)

    def close(self) -> None:
        self._raw.close()
        super().close()


@pytest.fixture(params=SERVERS)
def forgetful(request: Any, tmp_path: Path) -> Iterator[Forgetful]:
    server = Forgetful(request.param, tmp_path)
    yield server
    check_invariant(server.admin)
    server.close()


@pytest.fixture
def pool_of(forgetful: Forgetful, face: str, loop: Any) -> Iterator[Callable[..., Any]]:
    with maker(face, loop, forgetful.url) as new:
        yield lambda network: new(network=network)


@pytest.fixture
def pool(pool_of: Callable[..., Any]) -> Any:
    """A pool object that has defined WAN 0, of four ports."""
    pool = pool_of("here")
    define(pool)
    return pool


def define(pool: Any, ports: str = "20000-20003", **kwargs: Any) -> None:
    pool.define_wan(0, ports, **{"cooldown": 0, "lease_ttl": TTL, "failover_margin": MARGIN, **kwargs})


def config(server: Server, name: str) -> str:
    return str(server.admin.hget(PREFIX + "config", name))


def grants(server: Server, name: str) -> str:
    return str(server.admin.hget(PREFIX + "grants", name))


class TestBegin:
    def test_after_a_restart_nothing_is_granted_for_a_while(self, forgetful: Forgetful, pool_of: Any) -> None:
        holder, other = pool_of("here"), pool_of("there")
        define(holder)
        lease = holder.acquire(0)
        forgetful.restart()
        with pytest.raises(InGrace) as caught:
            other.acquire(0)
        assert caught.value.wan_idx == 0 and 0 < caught.value.retry_after <= TTL + MARGIN
        assert "20000" not in str(caught.value) and "WAN 0" in str(caught.value)
        lease.renew()
        lease.check()
        forgetful.end_grace()
        assert other.acquire(0).port != lease.port

    def test_it_lasts_as_long_as_a_lease_and_the_margin_and_begins_once(self, forgetful: Forgetful, pool: Any) -> None:
        pool.acquire(0)
        forgetful.restart()
        ends = []
        for _ in range(3):
            with pytest.raises(InGrace):
                pool.acquire(0)
            ends.append(int(config(forgetful, "grace_until_ms")))
        seen = int(grants(forgetful, "seen_ms"))
        assert ends == ends[:1] * 3 and seen - 5_000 < ends[0] - GRACE_MS <= seen

    def test_a_second_restart_begins_it_anew(self, forgetful: Forgetful, pool: Any) -> None:
        forgetful.restart()
        with pytest.raises(InGrace):
            pool.acquire(0)
        forgetful.end_grace()
        pool.acquire(0)
        forgetful.restart()
        with pytest.raises(InGrace):
            pool.acquire(0)

    def test_a_restart_in_a_grace_begins_it_anew(self, forgetful: Forgetful, pool: Any) -> None:
        forgetful.restart()
        with pytest.raises(InGrace):
            pool.acquire(0)
        forgetful.admin.hincrby(PREFIX + "config", "grace_until_ms", -20_000)  # as if it had gone on for so long
        forgetful.restart()
        with pytest.raises(InGrace) as caught:
            pool.acquire(0)
        assert caught.value.retry_after > TTL + MARGIN - 15, "and not 20 s less"

    def test_who_waits_is_served_when_it_is_over(self, forgetful: Forgetful, pool_of: Any) -> None:
        pool = pool_of("here")
        define(pool, lease_ttl=0.5, failover_margin=0.2)
        forgetful.restart()
        assert pool.acquire(0, wait=20).port

    def test_a_wan_is_not_in_grace_when_it_is_new(self, forgetful: Forgetful, pool: Any) -> None:
        assert pool.acquire(0).port and pool.snapshot(0).grace_ms == 0

    def test_another_wan_serves_meanwhile(self, forgetful: Forgetful, pool: Any) -> None:
        pool.define_wan(1, "21000-21001", cooldown=0, on_failover="continue")
        forgetful.restart()
        assert {pool.acquire(ANY).wan_idx for _ in range(2)} == {1}
        with pytest.raises(PoolExhausted) as caught:
            pool.acquire(ANY)
        assert "grace" in str(caught.value) and caught.value.free_in <= TTL + MARGIN
        with pytest.raises(InGrace):
            pool.acquire(0)

    def test_continue_goes_on_at_once(self, forgetful: Forgetful, pool_of: Any) -> None:
        pool = pool_of("here")
        define(pool, on_failover="continue")
        forgetful.restart()
        assert pool.acquire(0).port

    def test_what_was_not_granted_as_far_as_the_data_knows_may_have_been(
        self, forgetful: Forgetful, pool_of: Any
    ) -> None:
        holder, other = pool_of("here"), pool_of("there")
        define(holder, "20000")
        forgetful.remember()
        lease = holder.acquire(0)
        forgetful.forget()
        with pytest.raises(InGrace):
            other.acquire(0)
        lease.renew()
        forgetful.end_grace()
        with pytest.raises(PoolExhausted):
            other.acquire(0)

    def test_a_look_changes_nothing(self, forgetful: Forgetful, pool: Any) -> None:
        lease = pool.acquire(0)
        forgetful.restart()
        before = forgetful.admin.hgetall(PREFIX + "config")
        seen = pool.snapshot(0, leases=True)
        assert 0 < seen.grace_ms <= GRACE_MS
        assert [listed.port for listed in seen.leases] == [lease.port]
        assert forgetful.admin.hgetall(PREFIX + "config") == before


class TestReassertion:
    def test_a_grant_that_was_lost_comes_back_to_its_holder(self, forgetful: Forgetful, pool_of: Any) -> None:
        holder, other = pool_of("here"), pool_of("there")
        define(holder)
        forgetful.remember()
        leases = holder.acquire_many(0, 3)
        forgetful.forget()
        for lease in leases:
            lease.renew()
            lease.check()
        check_invariant(forgetful.admin)
        assert holder.snapshot(0).leased == 3
        forgetful.end_grace()
        rest = other.acquire(0)
        assert rest.port not in {lease.port for lease in leases}
        assert rest.fence > max(lease.fence for lease in leases)
        assert all(lease.release() for lease in leases)

    def test_holders_re_assert_at_once(self, forgetful: Forgetful, pool_of: Any) -> None:
        holder = pool_of("here")
        define(holder, lease_ttl=3600)
        forgetful.remember()
        lease = holder.acquire(0)
        forgetful.forget()
        with pytest.raises(InGrace):
            holder.acquire(0)  # its holder hears of it so, and its next tick is far away
        wait_for(lambda: forgetful.admin.zscore(PREFIX + "leased", lease.port))

    def test_a_renewal_that_was_lost_lets_no_lease_expire(self, forgetful: Forgetful, pool_of: Any, age: Any) -> None:
        holder = pool_of("here")
        define(holder)
        lease = holder.acquire(0)
        forgetful.remember()
        forgetful.restart()
        for port in forgetful.admin.zrange(PREFIX + "leased", 0, -1):
            forgetful.admin.zincrby(PREFIX + "leased", -3_600_000, port)  # as far as this server knows
        with pytest.raises(InGrace):
            holder.acquire(0)
        assert holder.snapshot(0).leased == 1
        lease.renew()
        lease.check()

    def test_a_release_after_a_renewal_that_was_lost_counts_from_now(self, forgetful: Forgetful, pool_of: Any) -> None:
        holder = pool_of("here")
        define(holder, "20000", cooldown=125)
        lease = holder.acquire(0)
        forgetful.remember()
        forgetful.restart()
        forgetful.admin.zincrby(PREFIX + "leased", -3_600_000, 20000)  # as far as this server knows
        assert lease.release(closed="fin") is True
        left_ms = forgetful.admin.zscore(PREFIX + "cooling", 20000) - int(
            forgetful.admin.hget(PREFIX + "grants", "seen_ms")
        )
        assert left_ms == 125_000

    def test_a_release_that_was_lost_leaves_a_ghost_that_gives_way(self, forgetful: Forgetful, pool_of: Any) -> None:
        first, second = pool_of("here"), pool_of("there")
        define(first, "20000")
        ghost = first.acquire(0)
        forgetful.remember()
        assert ghost.release()
        lease = second.acquire(0)
        forgetful.forget()
        lease.renew()
        check_invariant(forgetful.admin)
        holder, secret = ghost.lease_id.rsplit("/", 1)
        assert not forgetful.admin.hexists(PREFIX + "held:" + holder, secret)
        assert forgetful.admin.hget(PREFIX + "lease:20000", "lease_id") == lease.lease_id
        assert second.snapshot(0).leased == 1

    def test_a_release_that_is_known_does_not_come_back_to_life(self, forgetful: Forgetful, pool_of: Any) -> None:
        pool = pool_of("here")
        define(pool, "20000")
        lease = pool.acquire(0)
        assert lease.release()
        forgetful.restart()
        words = ("here", 0, "host", 1, 20000, lease.lease_id, lease.fence, 5000, "", "")
        late = run_script(forgetful.admin, "renew", pool.holder, *words)
        assert late[7] == "released" and forgetful.admin.zcard(PREFIX + "leased") == 0

    def test_an_earlier_grant_is_lost_to_a_later_one(self, forgetful: Forgetful, pool_of: Any) -> None:
        first, second = pool_of("here"), pool_of("there")
        define(first, "20000")
        lost = first.acquire(0)
        run_script(forgetful.admin, "revoke", "", lost.lease_id)
        lease = second.acquire(0)
        forgetful.restart()
        with pytest.raises(LeaseLost):
            lost.renew()
        lease.renew()

    def test_a_release_of_a_lost_grant_lets_its_port_cool(self, forgetful: Forgetful, pool_of: Any) -> None:
        pool = pool_of("here")
        define(pool, "20000", cooldown=60)
        forgetful.remember()
        lease = pool.acquire(0)
        forgetful.forget()
        assert lease.release() is True
        assert forgetful.admin.zscore(PREFIX + "cooling", 20000)
        assert forgetful.admin.hget(PREFIX + "grants", 20000).split(" ")[0] == lease.lease_id

    def test_a_ghost_that_its_holder_gives_back_cools(self, forgetful: Forgetful, pool_of: Any) -> None:
        """The holder knows nothing of it any more: its release is lost."""
        pool = pool_of("here")
        define(pool, "20000-20001", cooldown=60)
        lease, ghost = pool.acquire_many(0, 2)
        forgetful.remember()
        assert ghost.release()
        forgetful.forget()
        with pytest.raises(InGrace):
            pool.acquire(0)  # and the heartbeat compares what it holds
        wait_for(lambda: forgetful.admin.zscore(PREFIX + "cooling", ghost.port))
        lease.check()

    def test_a_withheld_port_is_withheld_again_after_its_lease(self, forgetful: Forgetful, pool_of: Any) -> None:
        pool = pool_of("here")
        define(pool, "20000")
        run_script(forgetful.admin, "withhold", 20000)
        forgetful.remember()
        run_script(forgetful.admin, "restore", 20000)
        lease = pool.acquire(0)
        forgetful.forget()
        lease.renew()
        check_invariant(forgetful.admin)
        assert lease.release() and pool.snapshot(0).withheld == 1

    def test_what_a_network_may_hold_is_counted(self, forgetful: Forgetful, pool_of: Any) -> None:
        pool = pool_of("here")
        define(pool, max_per_network=2)
        forgetful.remember()
        leases = pool.acquire_many(0, 2)
        forgetful.forget()
        for lease in leases:
            lease.renew()
        check_invariant(forgetful.admin)
        forgetful.end_grace()
        with pytest.raises(PoolExhausted):
            pool.acquire(0)

    def test_data_that_went_back_shows_by_itself(self, forgetful: Forgetful, pool_of: Any) -> None:
        """The same server, with older data: the fence of a lease tells."""
        holder, other = pool_of("here"), pool_of("there")
        define(holder)
        forgetful.remember()
        lease = holder.acquire(0)
        forgetful.go_back()
        lease.renew()
        lease.check()
        with pytest.raises(InGrace):
            other.acquire(0)

    def test_continue_gives_such_a_lease_up(self, forgetful: Forgetful, pool_of: Any) -> None:
        pool = pool_of("here")
        define(pool, on_failover="continue")
        forgetful.remember()
        lease = pool.acquire(0)
        forgetful.forget()
        with pytest.raises(LeaseLost):
            lease.renew()

    def test_fences_go_on_beyond_what_was_forgotten(self, forgetful: Forgetful, pool_of: Any) -> None:
        pool = pool_of("here")
        define(pool, "20000")
        forgetful.remember()
        lost = pool.acquire(0)
        ahead = lost.fence + 5_000_000
        forgetful.forget()  # to a server whose clock is late
        forgetful.admin.hset(PREFIX + "grants", "fence", ahead)
        with pytest.raises(InGrace):
            pool.acquire(0, port=20000)
        assert int(grants(forgetful, "fence")) >= ahead + 1000 * GRACE_MS


class TestRefused:
    def test_an_operator_takes_no_port_away_meanwhile(self, forgetful: Forgetful, pool: Any) -> None:
        forgetful.restart()
        for script, *words in [("withhold", 20000), ("resize", "20000", 1, "lose", 20001), ("remove", "", 10)]:
            reply = run_script(forgetful.admin, script, *words)
            assert reply[0] == "GRACE" and 0 < reply[1] <= GRACE_MS
        assert forgetful.admin.scard(PREFIX + "free") == 4

    @pytest.mark.parametrize("value", ["Grace", "", 1, True])
    def test_what_on_failover_cannot_be(self, pool_of: Any, value: Any) -> None:
        with pytest.raises(InvalidValue, match="continue"):
            pool_of("here").define_wan(0, "20000", on_failover=value)

    def test_the_stand_in_has_no_failover(self, face: str, loop: Any) -> None:
        pool = make(face, loop, "fake://grace", namespace="test")
        with pytest.raises(InvalidValue, match="stand-in"):
            define(pool, on_failover="grace")
        assert pool.wans() == ()
        pool.close()

    def test_a_different_trade_is_a_different_definition(self, pool: Any) -> None:
        assert pool.define_wan(0, "20000-20003", cooldown=0, lease_ttl=TTL, failover_margin=MARGIN) is False
        with pytest.raises(WanMismatch) as caught:
            define(pool, on_failover="continue")
        assert caught.value.differences == {"on_failover": ("continue", "grace")}


class TestLostData:
    def test_is_not_made_anew_silently_and_recovers_in_grace(self, forgetful: Forgetful, pool_of: Any) -> None:
        holder, other = pool_of("here"), pool_of("there")
        define(holder)
        lease = holder.acquire(0)
        forgetful.admin.flushall()
        with pytest.raises(WanNotDefined, match="init --recover"):
            holder.acquire(0)
        with pytest.raises(WanNotDefined, match="init --recover"):
            define(holder)
        define(other, recover=True)
        with pytest.raises(InGrace):
            other.acquire(0)
        lease.renew()
        lease.check()
        forgetful.end_grace()
        assert {one.port for one in other.acquire_many(0, 3)} == set(range(20000, 20004)) - {lease.port}

    def test_another_generation_begins_a_grace_once(self, forgetful: Forgetful, pool_of: Any) -> None:
        old, new = pool_of("here"), pool_of("there")
        define(old)
        forgetful.admin.flushall()
        define(new)
        assert new.acquire(0).port
        for pool in (old, new):
            with pytest.raises(InGrace):
                pool.acquire(0)
        forgetful.end_grace()
        assert old.acquire(0).port

    def test_recover_leaves_what_is_there(self, forgetful: Forgetful, pool: Any) -> None:
        assert (
            pool.define_wan(0, "20000-20003", cooldown=0, lease_ttl=TTL, failover_margin=MARGIN, recover=True) is False
        )
        assert pool.acquire(0).port


def test_the_embedded_server_goes_on_at_once(embedded: Any, loop: Any, face: str) -> None:
    pool = make(face, loop, None, namespace="test", network="here", rest=0)
    define(pool)
    lease = pool.acquire(0)
    embedded.stop()
    assert pool.acquire(0).port != lease.port
    lease.renew()
    pool.close()


def test_a_killed_server_that_comes_back_keeps_every_lease(forgetful: Forgetful, pool: Any) -> None:
    lease = pool.acquire(0)
    forgetful.stop(signal.SIGKILL)
    forgetful.start(*DURABLE)
    lease.renew()
    assert lease.release()


class TestReplicas:
    """A primary takes a new replication id by itself when its first replica comes."""

    @pytest.fixture(params=SERVERS[:1])
    def replicated(self, request: Any, tmp_path: Path) -> Iterator[Callable[[], Server]]:
        """A primary on a port of its own, and what attaches a replica to it."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        folders = [tmp_path / name for name in ("primary", "replica")]
        for folder in folders:
            folder.mkdir()
        options = ("--port", port, "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0")
        self.primary = Server(request.param, folders[0], *options)
        made = [self.primary]

        def attach() -> Server:
            made.append(Server(request.param, folders[1], "--replicaof", "127.0.0.1", port))
            wait_for(lambda: made[-1].admin.info("replication")["master_link_status"] == "up")
            return made[-1]

        yield attach
        for server in made:
            server.close()

    def test_that_begins_no_grace(self, replicated: Callable[[], Server], face: str, loop: Any) -> None:
        pool = make(face, loop, self.primary.url, namespace="test", network="here", rest=0)
        define(pool)
        before = config(self.primary, "source")
        replicated()
        lease = pool.acquire(0)
        assert config(self.primary, "source") != before
        assert pool.snapshot(0).grace_ms == 0
        assert lease.release()
        pool.close()

    def test_one_on_which_nothing_happened_for_long_is_asked_twice(self, replicated: Callable[[], Server]) -> None:
        """It may have been stopped, and find out only after the first request that another took its place."""
        pool = make("sync", None, self.primary.url, namespace="test", rest=0)
        pool.define_wan(0, "20000-20001", on_failover="grace", failover_margin=60)
        pool.close()
        admin = self.primary.admin
        long_ago = int(admin.hget(f"{PREFIX}grants", "seen_ms")) - 61_000

        def asked(again: str = "", *, quiet: bool = True) -> str:
            if quiet:
                admin.hset(f"{PREFIX}grants", "seen_ms", long_ago)
            return run_script(admin, "open", clock=("fedcba987654" + again, round(1000 * boottime())))[0]

        assert asked() == "OPENED", "without a replica nobody can take its place"
        replicated()
        assert asked(quiet=False) == "OPENED"
        assert asked() == "STEPPED"
        assert int(admin.hget(f"{PREFIX}grants", "seen_ms")) == long_ago, "nothing was done"
        assert asked("!") == "OPENED"
        change_rules(admin, on_failover="continue")
        assert asked() == "OPENED"

    def test_unless_nobody_used_the_wan_of_late(self, replicated: Callable[[], Server], face: str, loop: Any) -> None:
        pool = make(face, loop, self.primary.url, namespace="test", network="here", rest=0)
        define(pool)
        replicated()
        self.primary.admin.hincrby(PREFIX + "grants", "seen_ms", -61_000)
        with pytest.raises(InGrace):
            pool.acquire(0)
        pool.close()

    def test_a_primary_that_was_a_replica_meanwhile_is_not_what_it_was(
        self, replicated: Callable[[], Server], face: str, loop: Any
    ) -> None:
        pool = make(face, loop, self.primary.url, namespace="test", network="here", rest=0)
        define(pool)
        other = replicated()
        lease = pool.acquire(0)
        wait_for(lambda: other.admin.hexists(PREFIX + "grants", lease.port))
        self.primary.admin.replicaof("127.0.0.1", "1")
        self.primary.admin.replicaof("NO", "ONE")
        with pytest.raises(InGrace):
            pool.acquire(0)
        pool.close()
