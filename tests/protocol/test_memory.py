"""A Redis that runs out of memory: one that evicts keys with a ttl loses no lease, one that evicts nothing refuses."""

from __future__ import annotations

import errno
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from chance import SEED
from faces import make, maker
from invariant import check_invariant
from private_server import SERVERS, Server
from waiting import KEPT_TTL, wait_for

from redis_wanpool import BackendUnavailable, PoolExhausted, PortRejected, UnsafeRedis, WanpoolError
from redis_wanpool.sockets import dial
from redis_wanpool.sockets.leased import LeasedSocket

PREFIX = "wanpool:{test:0}:"
FACES = ("sync", "aio")


@pytest.fixture(params=SERVERS)
def small(request: Any, tmp_path: Path) -> Iterator[Server]:
    """A server whose memory the test may limit."""
    server = Server(request.param, tmp_path)
    yield server
    server.admin.config_set("maxmemory", 0)
    check_invariant(server.admin)
    server.close()


@pytest.fixture
def pool_of(small: Server, loop: Any) -> Iterator[Callable[..., Any]]:
    """Makes pool objects of a face on that server; the first one defines WAN 0."""
    with maker("sync", loop, small.url) as new, maker("aio", loop, small.url) as new_async:

        def defined(face: str, ports: str | None = None, **rules: Any) -> Any:
            pool = new() if face == "sync" else new_async()
            if ports:
                pool.define_wan(0, ports, **{"cooldown": 0, **rules})
            return pool

        yield defined


def limit(server: Server, policy: str, headroom: int) -> None:
    """From now on the server may use so many bytes more than it does."""
    server.admin.config_set("maxmemory-policy", policy)
    server.admin.config_set("maxmemory", server.admin.info("memory")["used_memory"] + headroom)


def hashes(server: Server) -> set[int]:
    """The ports whose readable lease is there."""
    return {int(name.rpartition(":")[2]) for name in server.admin.scan_iter(PREFIX + "lease:*", count=1000)}


class Crowd:
    """Other users of the server, who write keys with a ttl."""

    def __init__(self, server: Server) -> None:
        self._admin = server.admin
        self._written = 0

    def write(self, count: int = 100) -> None:
        with self._admin.pipeline(transaction=False) as batch:
            for number in range(self._written, self._written + count):
                batch.set(f"crowd:{number}", "x" * 1000, ex=3600)
            batch.execute()
        self._written += count

    def leave(self) -> None:
        for name in self._admin.scan_iter("crowd:*", count=1000):
            self._admin.delete(name)


@pytest.mark.parametrize("policy", ["volatile-ttl", "volatile-lru"])
class TestEviction:
    """The server evicts the readable leases, which no script reads."""

    def test_every_lease_outlives_its_readable_hash(self, small: Server, pool_of: Any, policy: str) -> None:
        pools = [pool_of("sync", "20000-20399"), pool_of("aio")]
        leases = [lease for pool in pools for lease in pool.acquire_many(0, 150)]
        limit(small, policy, 1_000_000)
        crowd = Crowd(small)

        def evicted() -> bool:
            crowd.write()
            return len(hashes(small)) <= len(leases) // 2

        wait_for(evicted)
        assert small.admin.info("stats")["evicted_keys"] > 0
        leases += [lease for pool in pools for lease in pool.acquire_many(0, 50)]
        assert sorted(lease.port for lease in leases) == list(range(20000, 20400))
        for pool in pools:
            with pytest.raises(PoolExhausted):
                pool.acquire(0)

        for lease in leases:
            lease.renew()
            lease.check()
        counts = pools[0].snapshot(0)
        assert (counts.leased, counts.free, counts.cooling) == (400, 0, 0)
        check_invariant(small.admin)

        crowd.leave()
        small.admin.config_set("maxmemory", 0)
        for lease in leases:
            lease.renew()
        assert hashes(small) == {lease.port for lease in leases}
        for lease in leases:
            written = small.admin.hgetall(f"{PREFIX}lease:{lease.port}")
            assert (written["lease_id"], int(written["fence"])) == (lease.lease_id, lease.fence)
            assert 0 < small.admin.pttl(f"{PREFIX}lease:{lease.port}") <= 60_000

        assert all(lease.release() is True for lease in leases)
        counts = pools[1].snapshot(0)
        assert (counts.leased, counts.free, counts.cooling) == (0, 400, 0)
        assert hashes(small) == set()

    def test_no_port_is_granted_twice_while_keys_vanish(self, small: Server, pool_of: Any, policy: str) -> None:
        chance = random.Random(SEED)
        pools = [pool_of("sync", "20000-20059"), pool_of("aio")]
        held = {lease.port: lease for pool in pools for lease in pool.acquire_many(0, 20)}
        assert len(held) == 40
        limit(small, policy, 1_000_000)
        crowd = Crowd(small)
        vanished: set[str] = set()
        for turn in range(400):
            if turn % 4 == 0:
                crowd.write(60)
                present = hashes(small)
                vanished |= {lease.lease_id for port, lease in held.items() if port not in present}
            if held and (len(held) == 60 or chance.random() < 0.5):
                lease = held[chance.choice(sorted(held))]
                if chance.random() < 0.4:
                    lease.renew()
                else:
                    assert lease.release(used=chance.random() < 0.5) is True
                    del held[lease.port]
            else:
                with suppress(BackendUnavailable):  # nothing left to evict: refused, and nothing taken
                    lease = chance.choice(pools).acquire(0)
                    assert lease.port not in held
                    held[lease.port] = lease
        assert small.admin.info("stats")["evicted_keys"] > 0 and vanished
        wait_for(lambda: not any(pool._engine.protocol.doubts for pool in pools))
        counts = pools[0].snapshot(0)
        assert (counts.leased, counts.free) == (len(held), 60 - len(held))
        check_invariant(small.admin)
        for lease in held.values():
            assert lease.release() is True
        assert pools[1].snapshot(0).free == 60


def fill(server: Server) -> None:
    """Fills the memory with what stays until the server refuses a write, and somewhat more than that."""
    if server.admin.config_get("maxmemory")["maxmemory"] == "0":
        limit(server, "noeviction", 300_000)
    number = server.admin.dbsize()
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        while True:
            server.admin.set(f"full:{number}", "x" * 1000)
            number += 1
    # as if other programs' buffers grew: what is given back meanwhile does not make room at once
    server.admin.config_set("maxmemory", server.admin.info("memory")["used_memory"] - 500_000)


def make_room(server: Server) -> None:
    server.admin.config_set("maxmemory", 0)
    for name in server.admin.scan_iter("full:*", count=1000):
        server.admin.delete(name)


READERS: dict[str, Callable[[Any, str], Any]] = {
    "hash": lambda admin, name: admin.hgetall(name),
    "set": lambda admin, name: admin.smembers(name),
    "zset": lambda admin, name: admin.zrange(name, 0, -1, withscores=True),
    "list": lambda admin, name: admin.lrange(name, 0, -1),
    "string": lambda admin, name: admin.get(name),
    "stream": lambda admin, name: admin.xrange(name),
}


def dump(server: Server) -> dict[str, Any]:
    """All that wanpool has written."""
    return {name: READERS[server.admin.type(name)](server.admin, name) for name in server.admin.scan_iter("wanpool:*")}


@pytest.mark.parametrize("face", FACES)
class TestFull:
    """With noeviction and all memory taken, leases are kept and given back as ever, and new ones refused."""

    @pytest.mark.slow
    def test_running_leases_live_on(self, small: Server, pool_of: Any, face: str) -> None:
        pool = pool_of(face, "20000-20009", lease_ttl=KEPT_TTL)
        leases = pool.acquire_many(0, 3)
        fill(small)
        first = [lease.expires_at for lease in leases]
        wait_for(lambda: all(lease.expires_at > before + 2 for lease, before in zip(leases, first, strict=True)))
        for lease in leases:
            lease.check()
            before = lease.expires_at
            lease.renew()
            assert lease.expires_at >= before and not lease.lost
        assert {int(port) for port in small.admin.zrange(PREFIX + "leased", 0, -1)} == {x.port for x in leases}

    def test_leases_are_given_back(self, small: Server, pool_of: Any, face: str) -> None:
        pool = pool_of(face, "20000-20009", cooldown=100)
        used, unused, drained, kept = pool.acquire_many(0, 4)
        fill(small)
        assert used.release() is True
        assert unused.release(used=False) is True
        assert drained.release(closed="drained") is True
        assert used.release() is True
        assert small.admin.zrange(PREFIX + "leased", 0, -1) == [str(kept.port)]
        assert set(small.admin.zrange(PREFIX + "cooling", 0, -1)) == {str(used.port), str(drained.port)}
        assert small.admin.sismember(PREFIX + "free", unused.port)
        counts = pool.snapshot(0)
        assert (counts.free, counts.leased, counts.cooling) == (7, 1, 2)
        check_invariant(small.admin)

    def test_a_refused_port_goes_into_quarantine(
        self, small: Server, pool_of: Any, face: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pool = pool_of(face, "20000-20009", cooldown=100)
        kept = pool.acquire(0)
        tried: list[int] = []

        def taken(port: int, source_address: str) -> LeasedSocket:
            tried.append(port)
            fill(small)
            raise OSError(errno.EADDRINUSE, "somebody listens there")

        monkeypatch.setattr(dial, "new_socket", taken)
        with pytest.raises(PortRejected):
            pool.connect(0, ("127.0.0.1", 9), attempts=1)
        assert len(tried) == 1
        assert small.admin.zrange(PREFIX + "leased", 0, -1) == [str(kept.port)]
        assert small.admin.zrange(PREFIX + "cooling", 0, -1) == [str(tried[0])]
        assert small.admin.hget(PREFIX + "grants", tried[0]).endswith(" rejected")
        check_invariant(small.admin)

    @pytest.mark.slow
    def test_what_expired_is_settled(self, small: Server, pool_of: Any, face: str) -> None:
        pool = pool_of(face, "20000-20009", cooldown=0.5, lease_ttl=KEPT_TTL)
        kept = pool.acquire(0)
        for _ in range(3):
            pool.acquire(0, ttl=3, detached=True)
        assert small.admin.zcard(PREFIX + "leased") == 4
        fill(small)
        wait_for(lambda: small.admin.zrange(PREFIX + "leased", 0, -1) == [str(kept.port)])
        wait_for(lambda: small.admin.scard(PREFIX + "free") == 9)
        kept.check()
        check_invariant(small.admin)

    def test_an_acquire_is_refused_and_changes_nothing(self, small: Server, pool_of: Any, face: str) -> None:
        pool, stranger = pool_of(face, "20000-20009", cooldown=100), pool_of(face)
        kept, released = pool.acquire_many(0, 2)
        assert released.release() is True
        fill(small)
        before = dump(small)
        for asking in (pool, stranger):
            with pytest.raises(WanpoolError) as caught:
                asking.acquire(0)
            assert type(caught.value) is BackendUnavailable
            with pytest.raises(BackendUnavailable):
                asking.acquire_many(0, 5, at_least=1)
            wait_for(lambda asking=asking: not asking._engine.protocol.doubts and not asking._engine.protocol.abandoned)
        assert dump(small) == before
        kept.check()
        make_room(small)
        for asking in (pool, stranger):
            assert asking.acquire(0).port != kept.port

    def test_the_refusal_says_what_is_wrong_and_what_to_do(self, small: Server, pool_of: Any, face: str) -> None:
        pool = pool_of(face, "20000-20009")
        pool.acquire(0).release()
        fill(small)
        with pytest.raises(WanpoolError) as caught:
            pool.acquire(0)
        said = str(caught.value)
        assert "out of memory" in said, said
        assert "raise maxmemory" in said, said

    @pytest.mark.parametrize("frees", [False, True], ids=["stays-full", "room-again"])
    def test_a_waiter_gets_an_error_or_a_port(self, small: Server, pool_of: Any, face: str, frees: bool) -> None:
        pool = pool_of(face, "20000")
        holding = pool.acquire(0)
        came: list[Any] = []

        def wait() -> None:
            try:
                came.append(pool.acquire(0, wait=30))
            except WanpoolError as error:
                came.append(error)

        waiter = threading.Thread(target=wait)
        waiter.start()
        wait_for(lambda: small.admin.zcard(PREFIX + "waiting") == 1)
        fill(small)
        if frees:
            make_room(small)
        assert holding.release() is True
        waiter.join(20)
        assert not waiter.is_alive()
        if frees:
            assert came[0].port == 20000 and came[0].release() is True
        else:
            assert type(came[0]) is BackendUnavailable
        wait_for(lambda: small.admin.zcard(PREFIX + "waiting") == 0)
        make_room(small)
        assert pool.acquire(0, wait=10).port == 20000


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("policy", ["allkeys-lfu", "allkeys-random"])
def test_a_server_that_may_evict_what_has_no_ttl_is_refused(small: Server, loop: Any, face: str, policy: str) -> None:
    small.admin.config_set("maxmemory-policy", policy)
    with make(face, loop, small.url, namespace="test") as pool:
        for _ in range(2):
            with pytest.raises(UnsafeRedis, match=policy):
                pool.define_wan(0, "20000-20009")
    assert small.admin.dbsize() == 0
    with make(face, loop, small.url, namespace="test", allow_eviction=True) as insisting:
        insisting.define_wan(0, "20000-20009")
        assert insisting.acquire(0).release() is True
