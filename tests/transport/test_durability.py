"""Grants that replicas, or disks, must have confirmed before they count."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
from by_hand import heard
from faces import Loop, make, maker
from invariant import check_invariant
from nodes import free_ports
from private_server import SERVERS, Server
from proxy import Proxy
from waiting import wait_for

from redis_wanpool import ANY, BackendUnavailable, InvalidValue, UnsafeRedis, WanPortPool
from redis_wanpool.model import durability
from redis_wanpool.model.durability import Durability
from redis_wanpool.protocol import Request

PREFIX = "wanpool:{test:0}:"
PATIENCE = 3.0
"""seconds, where too few will confirm"""
OLD = ["redis-6.2"] + [name for name in SERVERS if name == "redis-7.0"]
WITH_DISKS = [name for name in SERVERS if name not in OLD]
"""those that can tell of disks"""
AT_ONCE = ("--appendonly", "yes", "--appendfsync", "always")


class Group:
    """A primary, which clients reach by a unix socket, and replicas that follow it by loopback."""

    def __init__(self, name: str, folder: Path) -> None:
        self._name, self._folder = name, folder
        (self._port,) = free_ports(1)
        self.replicas: list[Server] = []
        self.primary = self._start("--port", str(self._port), "--bind", "127.0.0.1")

    def _start(self, *options: str) -> Server:
        folder = self._folder / str(len(self.replicas))
        folder.mkdir()
        return Server(self._name, folder, *AT_ONCE, "--repl-diskless-sync-delay", "0", *options)

    def add_replica(self) -> Server:
        self.replicas.append(self.primary)  # so that its folder has another number
        replica = self._start("--replicaof", "127.0.0.1", str(self._port))
        self.replicas[-1] = replica

        def has_its_log() -> bool:
            seen = replica.admin.info()
            busy = seen["aof_rewrite_in_progress"] or seen["aof_rewrite_scheduled"]
            return seen["master_link_status"] == "up" and not busy

        wait_for(has_its_log)
        wait_for(self.keeps_up)
        return replica

    def keeps_up(self) -> bool:
        """Whether all replicas confirm what is written."""
        with self.primary.admin.client() as one:
            one.publish("anything", "")
            return bool(one.wait(len(self.replicas), 100) == len(self.replicas))

    def close(self) -> None:
        for server in [*self.replicas, self.primary]:
            server.process.send_signal(signal.SIGCONT)
            server.close()


@pytest.fixture(params=["valkey-9.1"])
def group(request: Any, tmp_path: Path) -> Iterator[Group]:
    group = Group(request.param, tmp_path)
    yield group
    group.close()


@pytest.fixture
def new_pool(face: str, loop: Loop, group: Group) -> Iterator[Callable[..., Any]]:
    with maker(face, loop, group.primary.url) as new:
        yield new
    check_invariant(group.primary.admin)


@pytest.fixture
def proxy(group: Group, tmp_path: Path) -> Iterator[Proxy]:
    proxy = Proxy(tmp_path / "p", group.primary.socket)
    yield proxy
    proxy.close()


@pytest.fixture
def time_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever confirms, and the answer that says how many did, has half of the patience: a machine may be loaded."""
    monkeypatch.setattr(durability, "EARLIER", PATIENCE / 2)


def defined(pool: Any, ports: str = "20000-20009") -> Any:
    pool.define_wan(0, ports, cooldown=100)
    return pool


def leased(group: Group) -> int:
    return int(group.primary.admin.zcard(PREFIX + "leased"))


def commands(group: Group, action: Callable[[], Any]) -> list[str]:
    """What clients sent meanwhile of what waits."""
    sent = heard(group.primary.admin, action, "clients")
    return [" ".join(words[:-1]) for words in sent if words[0].upper() in ("WAIT", "WAITAOF")]


class TestConfirmed:
    @pytest.mark.parametrize("group", SERVERS, indirect=True)
    def test_a_grant_waits_for_replicas(self, new_pool: Any, group: Group) -> None:
        group.add_replica()
        group.add_replica()
        pool = defined(new_pool(min_replicas=2))
        ended: list[Any] = []

        def act() -> None:
            lease = pool.acquire(0)
            for replica in group.replicas:
                assert str(replica.admin.hget(PREFIX + "grants", lease.port)).startswith(lease.lease_id)
            lease.renew()
            ended.append(lease.release())

        assert commands(group, act) == ["WAIT 2"], "the grant waits; renewals and releases do not"
        assert ended == [True]

    @pytest.mark.parametrize("group", WITH_DISKS, indirect=True)
    def test_a_grant_waits_for_disks(self, new_pool: Any, group: Group) -> None:
        alone = defined(new_pool(fsync=True))
        assert commands(group, lambda: alone.acquire(0)) == ["WAITAOF 1 0"]
        group.add_replica()
        pool = new_pool(fsync=True, min_replicas=1, connect_timeout=10)
        assert commands(group, lambda: pool.acquire_many(0, 3)) == ["WAITAOF 1 1"]
        assert leased(group) == 4

    def test_without_the_options_nothing_waits(self, new_pool: Any, group: Group) -> None:
        pool = defined(new_pool())
        assert commands(group, lambda: pool.acquire(0).release()) == []
        zero = new_pool(min_replicas=0, fsync=False)
        assert commands(group, lambda: zero.acquire(0).release()) == []

    def test_a_refusal_waits_for_nobody(self, new_pool: Any, group: Group) -> None:
        pool = defined(new_pool(fsync=True))
        pool.drain(0)

        def act() -> None:
            with pytest.raises(Exception, match="draining"):
                pool.acquire(0)

        assert commands(group, act) == []

    def test_any_wan_and_connections_too(self, new_pool: Any, group: Group) -> None:
        group.add_replica()
        closed, *own = free_ports(6)
        pool = defined(new_pool(min_replicas=1), ",".join(map(str, own)))
        assert commands(group, lambda: pool.acquire(ANY)) == ["WAIT 1"]

        def connect() -> None:
            with pytest.raises(ConnectionRefusedError):
                pool.connect(0, ("127.0.0.1", closed))

        assert commands(group, connect) == ["WAIT 1"]
        assert commands(group, lambda: pool.allocate_port(0)) == ["WAIT 1"]

    def test_a_client_that_waits_for_ever_has_a_limit_here(
        self, new_pool: Any, group: Group, face: str, loop: Loop
    ) -> None:
        kind = redis.Redis if face == "sync" else redis.asyncio.Redis
        client = kind(unix_socket_path=str(group.primary.socket), socket_timeout=None)
        pool = defined(new_pool(None, client=client, fsync=True))
        sent = heard(group.primary.admin, lambda: pool.acquire(0), "clients")
        assert [words for words in sent if words[0].upper() == "WAITAOF"] == [["WAITAOF", "1", "0", "1750"]]
        loop.run(client.aclose()) if face == "aio" else client.close()


@pytest.mark.usefixtures("time_to_tell")
class TestTooFew:
    def short(self, group: Group, pool: Any, act: Callable[[], Any], confirmed: int, wanted: int) -> str:
        """The error; and nothing is left of the grant."""
        with pytest.raises(BackendUnavailable) as caught:
            act()
        assert (caught.value.confirmed, caught.value.wanted) == (confirmed, wanted)
        assert leased(group) == 0 and pool.snapshot(0).free == 10, "at once, and free for everybody"
        assert (
            not pool._engine.protocol.doubts
            and not pool._engine.protocol.ledger.in_flight
            and not pool._engine.protocol.leases
        )
        return str(caught.value)

    @pytest.mark.slow
    def test_the_grant_is_taken_back(self, new_pool: Any, group: Group) -> None:
        group.add_replica()
        pool = defined(new_pool(min_replicas=2, connect_timeout=PATIENCE))
        told = self.short(group, pool, lambda: pool.acquire(0), 1, 2)
        assert "1 of 2 replicas confirmed" in told and "min_replicas" in told and "INFO replication" in told
        self.short(group, pool, lambda: pool.acquire_many(0, 10, at_least=2), 1, 2)
        self.short(group, pool, lambda: pool.acquire(ANY, wait=0.1), 1, 2)
        self.short(group, pool, lambda: pool.connect(0, ("127.0.0.1", 9)), 1, 2)
        group.add_replica()
        assert pool.acquire(0).release()

    def test_a_thousand_ports_are_taken_back(self, new_pool: Any, group: Group) -> None:
        pool = defined(new_pool(min_replicas=1, connect_timeout=PATIENCE), "20000-20999")
        with pytest.raises(BackendUnavailable, match="0 of 1"):
            pool.acquire_many(0, 1000)
        assert pool.snapshot(0).free == 1000 and not pool._engine.protocol.doubts

    @pytest.mark.parametrize("group", SERVERS, indirect=True)
    def test_a_replica_that_stops_in_the_middle(self, new_pool: Any, group: Group) -> None:
        replica = group.add_replica()
        pool = defined(new_pool(min_replicas=1, connect_timeout=PATIENCE))
        assert pool.acquire(0).release(used=False)
        replica.process.send_signal(signal.SIGSTOP)
        self.short(group, pool, lambda: pool.acquire(0), 0, 1)
        replica.process.send_signal(signal.SIGCONT)
        wait_for(group.keeps_up)
        assert pool.acquire(0).release()

    def test_a_replica_without_a_log_is_not_on_disk(self, new_pool: Any, group: Group) -> None:
        replica = group.add_replica()
        replica.admin.config_set("appendonly", "no")
        pool = defined(new_pool(min_replicas=1, fsync=True, connect_timeout=PATIENCE))
        told = self.short(group, pool, lambda: pool.acquire(0), 1, 2)
        assert "1 of 2 servers" in told and "appendonly yes" in told

    @pytest.mark.parametrize("group", WITH_DISKS, indirect=True)
    def test_a_primary_that_does_not_sync_is_not_on_disk(self, new_pool: Any, group: Group) -> None:
        pool = defined(new_pool(fsync=True, connect_timeout=PATIENCE))
        group.primary.admin.config_set("appendfsync", "no")
        self.short(group, pool, lambda: pool.acquire(0), 0, 1)

    @pytest.mark.slow
    def test_a_waiter_is_told_when_its_grant_is_not_confirmed(self, new_pool: Any, group: Group) -> None:
        pool = defined(new_pool(min_replicas=1, connect_timeout=PATIENCE))
        held = new_pool().acquire_many(0, 10)
        with ThreadPoolExecutor() as threads:
            waiting = threads.submit(pool.acquire, 0, wait=5)
            wait_for(lambda: group.primary.admin.zcard(PREFIX + "waiting"))
            for lease in held:
                lease.release(used=False)
            with pytest.raises(BackendUnavailable, match=r"waited .* passed: .*0 of 1"):
                waiting.result(20)
        assert pool.snapshot(0).free == 10 and not pool._engine.protocol.doubts

    @pytest.mark.slow
    def test_what_cannot_be_taken_back_at_once_is_taken_back_soon(
        self, new_pool: Any, proxy: Proxy, group: Group
    ) -> None:
        defined(new_pool())
        pool = new_pool(proxy.url, min_replicas=1, connect_timeout=PATIENCE)
        with pytest.raises(BackendUnavailable, match="0 of 1"):
            pool.acquire(0)  # so that the scripts are there, and run by their names
        silent = ["silent"]
        proxy.plan = lambda name: silent.pop() if name == "release" and silent else "pass"
        with pytest.raises(BackendUnavailable) as caught:
            pool.acquire(0)
        assert caught.value.confirmed == 0 and not silent
        wait_for(lambda: not pool._engine.protocol.doubts)
        assert pool.snapshot(0).free == 10


@pytest.mark.usefixtures("time_to_tell")
class TestCut:
    """The connection is lost between the grant and its confirmation."""

    @pytest.fixture
    def pool(self, new_pool: Any, proxy: Proxy) -> Any:
        pool = defined(new_pool(proxy.url, min_replicas=1, connect_timeout=PATIENCE))
        with pytest.raises(BackendUnavailable, match="0 of 1"):
            pool.acquire(0)
        return pool

    @pytest.mark.parametrize("kind", ["unsent", "swallow", "partial"])
    def test_what_is_answered_again_is_confirmed_again(self, pool: Any, proxy: Proxy, group: Group, kind: str) -> None:
        group.add_replica()
        cut = [kind]
        proxy.plan = lambda name: cut.pop() if name == "WAIT" and cut else "pass"
        sent = commands(group, lambda: pool.acquire(0))
        assert not cut and sent[-1:] == ["WAIT 1"] and len(sent) == (1 if kind == "unsent" else 2)
        assert leased(group) == 1

    @pytest.mark.slow
    @pytest.mark.parametrize("group", SERVERS, indirect=True)
    def test_and_not_by_what_another_connection_wrote(self, pool: Any, proxy: Proxy, group: Group) -> None:
        replica = group.add_replica()
        assert pool.acquire(0).release(used=False)
        replica.process.send_signal(signal.SIGSTOP)
        cut = ["unsent"]
        proxy.plan = lambda name: cut.pop() if name == "WAIT" and cut else "pass"
        with pytest.raises(BackendUnavailable) as caught:
            pool.acquire(0)
        assert not cut and (caught.value.confirmed, caught.value.wanted) == (0, 1)
        wait_for(lambda: leased(group) == 0 and not pool._engine.protocol.doubts)

    @pytest.mark.slow
    def test_silence_leaves_nothing_behind(self, pool: Any, proxy: Proxy, group: Group) -> None:
        silent = ["silent"]
        proxy.plan = lambda name: silent.pop() if name == "WAIT" and silent else "pass"
        with pytest.raises(BackendUnavailable, match="does not answer") as caught:
            pool.acquire(0)
        assert caught.value.confirmed is None
        wait_for(lambda: leased(group) == 0 and not pool._engine.protocol.doubts)
        assert pool.snapshot(0).free == 10

    @pytest.mark.parametrize("group", WITH_DISKS, indirect=True)
    def test_a_log_that_is_switched_off_leaves_nothing_behind(self, new_pool: Any, group: Group) -> None:
        pool = defined(new_pool(fsync=True))
        assert pool.acquire(0).release(used=False)
        group.primary.admin.config_set("appendonly", "no")
        with pytest.raises(BackendUnavailable, match="WAITAOF"):
            pool.acquire(0)
        wait_for(lambda: leased(group) == 0 and not pool._engine.protocol.doubts)

    def test_a_cancelled_acquire_leaves_nothing_behind(self, group: Group, loop: Loop) -> None:
        import asyncio

        from redis_wanpool import AsyncWanPortPool

        async def cancelled() -> None:
            async with AsyncWanPortPool(group.primary.url, namespace="test", min_replicas=1, connect_timeout=9) as pool:
                await pool.define_wan(0, "20000-20009")
                task = asyncio.ensure_future(pool._lease(Request.of(0)))
                while not group.primary.admin.info("clients")["blocked_clients"]:
                    await asyncio.sleep(0.005)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                await asyncio.to_thread(wait_for, lambda: leased(group) == 0 and not pool._engine.protocol.doubts)

        loop.run(cancelled())


class TestServersThatCannot:
    @pytest.mark.parametrize("group", OLD, indirect=True)
    def test_old_ones_know_nothing_of_disks(self, new_pool: Any, group: Group) -> None:
        with pytest.raises(UnsafeRedis, match=r"Redis 7\.2 or newer"):
            new_pool(fsync=True).define_wan(0, "20000-20009")
        assert group.primary.admin.dbsize() == 0
        group.add_replica()
        assert defined(new_pool(min_replicas=1)).acquire(0).release()

    def test_one_without_a_log(self, group: Group, new_pool: Any) -> None:
        group.primary.admin.config_set("appendonly", "no")
        with pytest.raises(UnsafeRedis, match="appendonly yes"):
            new_pool(fsync=True).acquire(0)

    def test_one_that_no_replica_can_reach(self, own_server: Server, face: str, loop: Loop) -> None:
        with make(face, loop, own_server.url, min_replicas=1) as pool, pytest.raises(UnsafeRedis, match="unix socket"):
            pool.acquire(0)

    @pytest.mark.parametrize("wish", [{"fsync": True}, {"min_replicas": 1}])
    def test_the_stand_in(self, face: str, loop: Loop, wish: dict[str, Any]) -> None:
        with make(face, loop, "fake://", **wish) as pool, pytest.raises(UnsafeRedis, match="fake://"):
            pool.acquire(0)


class TestSettings:
    @pytest.mark.parametrize(
        "wish", [{"min_replicas": -1}, {"min_replicas": 101}, {"min_replicas": True}, {"min_replicas": "1"}]
    )
    def test_a_number_that_cannot_be(self, wish: dict[str, Any]) -> None:
        with pytest.raises(InvalidValue, match=r"min_replicas .* from 0 to 100"):
            WanPortPool("redis://h/0", **wish)

    @pytest.mark.parametrize("fsync", [1, "always"])
    def test_what_is_neither_true_nor_false(self, fsync: Any) -> None:
        with pytest.raises(InvalidValue, match=r"fsync .* true or false"):
            WanPortPool("redis://h/0", fsync=fsync)

    def test_the_file_may_say_it_and_arguments_come_first(self) -> None:
        Path("wanpool.toml").write_text("min_replicas = 2\nfsync = true\n")
        assert WanPortPool("redis://h/0")._engine.protocol.durability == Durability(2, True)
        assert WanPortPool("redis://h/0", min_replicas=0, fsync=False)._engine.protocol.durability is None
        assert WanPortPool("redis://h/0", fsync=False)._engine.protocol.durability == Durability(2, False)
        Path("wanpool.toml").write_text('fsync = "yes"\n')
        with pytest.raises(InvalidValue, match=r"wanpool\.toml: fsync 'yes'"):
            WanPortPool("redis://h/0")

    def test_no_patience_is_too_short_for_an_answer(self) -> None:
        assert Durability(1, False).command(0.001) == ("WAIT", 1, 1)
        assert Durability(1, True).command(2.0) == ("WAITAOF", 1, 1, 1750)
        assert Durability(2, True).confirmed([0, 5]) == 2, "another replica is no primary"
