"""Ports that a pool object keeps between leases: leased again without a word to Redis, given back when they must be."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from faces import Loop, maker
from invariant import check_invariant
from listening import listening
from private_server import Server
from waiting import wait_for

from redis_wanpool import LeaseLost, Operator, PoolExhausted, WanPortPool
from redis_wanpool.model.address import Failure
from redis_wanpool.protocol.scripts import script

PREFIX = "wanpool:{test:0}:"


@pytest.fixture
def new(face: str, loop: Loop, own_server: Server) -> Iterator[Callable[..., Any]]:
    with maker(face, loop, f"unix://{own_server.socket}", max_idle=8, idle_timeout=3600.0) as new:
        yield new
    check_invariant(own_server.admin)


@pytest.fixture
def pool(new: Callable[..., Any]) -> Any:
    pool = new()
    pool.define_wan(0, "24000-24039", cooldown=60, lease_ttl=600, fresh=True)
    return pool


def use(pool: Any, **how: Any) -> Any:
    """A lease that was used and has ended."""
    lease = pool.acquire(0, reuse_address=True)
    lease.release(**{"closed": "fin", **how})
    return lease


def leased(server: Server) -> list[int]:
    return [int(port) for port in server.admin.zrange(PREFIX + "leased", 0, -1)]


def cooling(server: Server) -> list[int]:
    return [int(port) for port in server.admin.zrange(PREFIX + "cooling", 0, -1)]


def scripts_run(server: Server, name: str) -> int:
    """How often a script has run since the statistics began."""
    return sum(script(name).sha in str(entry) for entry in server.admin.slowlog_get(1_000))


def test_a_port_is_leased_again_without_a_word_to_redis(pool: Any, own_server: Server) -> None:
    own_server.admin.config_set("slowlog-log-slower-than", 0)
    leases = [use(pool) for _ in range(20)]
    assert len({lease.port for lease in leases}) == 1 and leased(own_server) == [leases[0].port]
    first = leases[0].lease_id
    assert [lease.lease_id for lease in leases] == [first, *(f"{first}.{serial}" for serial in range(1, 20))]
    assert [lease.fence - leases[0].fence for lease in leases] == list(range(20))
    assert own_server.admin.hget(PREFIX + f"lease:{leases[0].port}", "lease_id") == first
    assert scripts_run(own_server, "acquire") == 1 and scripts_run(own_server, "release") == 0
    assert all(lease.ended == "released" and not lease.lost and lease.release() for lease in leases)


def test_a_pool_that_is_told_to_keep_none_keeps_none(new: Callable[..., Any], own_server: Server) -> None:
    pool = new(max_idle=0)
    pool.define_wan(0, "24000-24039", cooldown=0, fresh=True)
    use(pool)
    assert leased(own_server) == []


def test_it_rests_before_it_is_leased_again(new: Callable[..., Any], own_server: Server) -> None:
    pool = new(rest=3600.0)
    pool.define_wan(0, "24000-24039", cooldown=60, lease_ttl=600, fresh=True)
    ports = [use(pool).port for _ in range(3)]
    assert len(set(ports)) == 3
    drained = use(pool, closed="drained").port  # which needs no rest
    assert use(pool, closed="drained").port == drained
    unused = pool.acquire(0, reuse_address=True)
    assert unused.port == drained
    unused.release(used=False)
    assert use(pool).port == drained


def test_what_this_system_refuses_for_a_minute_goes_back_at_once(pool: Any, own_server: Server) -> None:
    use(pool)
    lease = use(pool, closed="time_wait")
    assert leased(own_server) == [] and cooling(own_server) == [lease.port]


def test_no_more_are_kept_than_the_pool_may(pool: Any, own_server: Server) -> None:
    leases = pool.acquire_many(0, 20, reuse_address=True)
    for lease in leases:
        lease.release(closed="fin")
    assert len(leased(own_server)) == 8 and len(cooling(own_server)) == 12


@pytest.mark.slow
def test_what_nobody_needs_goes_back_and_cools_from_its_use(new: Callable[..., Any], own_server: Server) -> None:
    pool = new(idle_timeout=1.5)
    pool.define_wan(0, "24000-24039", cooldown=60, lease_ttl=600, fresh=True)
    use(pool)
    before = now_ms(own_server)
    port = use(pool, used=False).port  # the use before that counts
    wait_for(lambda: cooling(own_server) == [port])
    assert own_server.admin.zscore(PREFIX + "cooling", port) <= before + 60_000 + 50
    assert leased(own_server) == []


def now_ms(server: Server) -> int:
    seconds, us = server.admin.time()
    return int(seconds) * 1000 + int(us) // 1000


def test_what_was_never_used_is_free_at_once(new: Callable[..., Any], own_server: Server) -> None:
    pool = new(idle_timeout=0.0)
    pool.define_wan(0, "24000-24039", cooldown=60, lease_ttl=600, fresh=True)
    use(pool, used=False)
    wait_for(lambda: not leased(own_server))
    assert cooling(own_server) == [] and own_server.admin.scard(PREFIX + "free") == 40


def test_a_drained_wan_gets_them_back(pool: Any, new: Callable[..., Any], own_server: Server) -> None:
    use(pool)
    new().drain(0)
    wait_for(lambda: not leased(own_server))


def test_a_revoked_one_is_not_leased_again(pool: Any, own_server: Server) -> None:
    lost: list[Any] = []
    pool._on_lost = lost.append
    lease = use(pool)
    with Operator(f"unix://{own_server.socket}", namespace="test") as operator:
        operator.revoke(0, list(operator.leases(0)))
    shelf = pool._engine.protocol.shelf
    wait_for(lambda: not shelf.to_ask(float("inf")))
    assert use(pool).granted_id != lease.granted_id and lost == []


def test_one_that_is_revoked_while_it_is_leased_again_tells_its_user(pool: Any, own_server: Server) -> None:
    use(pool)
    lease = pool.acquire(0, reuse_address=True)
    assert lease.lease_id.endswith(".1")
    with Operator(f"unix://{own_server.socket}", namespace="test") as operator:
        operator.revoke(0, list(operator.leases(0)))
    wait_for(lambda: lease.lost)
    with pytest.raises(LeaseLost) as caught:
        lease.check()
    assert caught.value.reason == "revoked"


def test_a_waiter_gets_one_that_is_kept(new: Callable[..., Any], own_server: Server) -> None:
    pool = new()
    pool.define_wan(0, "24000-24003", cooldown=0, fresh=True)
    leases = pool.acquire_many(0, 4, reuse_address=True)
    kept = leases.pop()
    kept.release(closed="fin")
    assert len(leased(own_server)) == 4
    assert new(max_idle=0).acquire(0, wait=30, reuse_address=True).port == kept.port


def test_none_is_kept_where_few_are_free(new: Callable[..., Any], own_server: Server) -> None:
    """Fewer than a tenth, which others may need soon."""
    pool = new()
    pool.define_wan(0, "24000-24009", cooldown=0, fresh=True)
    leases = pool.acquire_many(0, 10, reuse_address=True)
    leases.pop().release(closed="fin")
    wait_for(lambda: len(leased(own_server)) == 9)
    leases.pop().release(closed="fin")
    assert len(leased(own_server)) == 8


def test_the_worst_end_of_all_uses_counts(pool: Any, own_server: Server) -> None:
    """A reset alone would cool for 15 s at most."""
    own_server.admin.config_set("slowlog-log-slower-than", 0)
    use(pool, closed="reset")
    use(pool, closed="drained")
    use(pool, used=False)
    pool.close()
    (request,) = (entry["command"] for entry in own_server.admin.slowlog_get(1_000) if is_release(entry))
    assert b" released " in request


def is_release(entry: dict[str, Any]) -> bool:
    return script("release").sha.encode() in entry["command"]


def test_a_withheld_one_goes_out_of_service(pool: Any, own_server: Server) -> None:
    lease = use(pool)
    with Operator(f"unix://{own_server.socket}", namespace="test") as operator:
        operator.withhold(str(lease.port))
    wait_for(lambda: str(lease.port) in own_server.admin.smembers(PREFIX + "withheld"))


def test_they_are_in_the_way_of_no_request_of_their_own_pool(new: Callable[..., Any], own_server: Server) -> None:
    """One for many ports, for a certain one, or for one before any has rested."""
    pool = new(rest=3600.0)
    pool.define_wan(0, "24000-24099", cooldown=0, max_per_network=40, fresh=True)
    leases = pool.acquire_many(0, 40, reuse_address=True)
    for lease in leases[:4]:
        lease.release(used=False)
    wanted = leases[0].port
    assert pool.acquire(0, port=wanted).port == wanted
    assert len(pool.acquire_many(0, 3, reuse_address=True)) == 3
    leases[4].release(closed="fin")
    assert pool.acquire(0).port != leases[4].port
    assert len(leased(own_server)) == 40


def test_an_idle_port_is_held_by_nobody(pool: Any) -> None:
    lease = use(pool)
    assert pool.release_port(0, lease.port) is False


def test_the_end_of_the_pool_gives_them_back(pool: Any, own_server: Server) -> None:
    use(pool)
    pool.close()
    assert leased(own_server) == [] and len(cooling(own_server)) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_none_of_them(own_server: Server) -> None:
    with WanPortPool(f"unix://{own_server.socket}", namespace="test", rest=0, max_idle=8) as pool:
        pool.define_wan(0, "24000-24039", cooldown=60, lease_ttl=600, fresh=True)
        port = use(pool).port
        child = os.fork()
        if not child:
            with suppress(BaseException):
                os._exit(0 if use(pool).port != port else 1)
            os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
        assert use(pool).port == port


def test_none_is_leased_again_when_redis_is_silent(pool: Any, own_server: Server) -> None:
    lease = use(pool)
    shelf = pool._engine.protocol.shelf
    shelf._places[0].heard -= 2.1
    assert not list(shelf.candidates(0, "", reuse_address=True))
    assert lease.ended == "released"


def test_the_port_of_a_connection_is_kept_when_the_other_side_has_closed(
    pool: Any, own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection leaves nothing behind here, so the next one may have the port at once."""
    monkeypatch.setattr("redis_wanpool.protocol.shelf.TRUSTED", 60.0)  # however slow the machine is
    with listening(lambda visitor: None) as address:
        ports = []
        for _ in range(5):
            ports.append(connect_and_read(pool, address))
            wait_for(lambda: pool._engine.protocol.shelf._places[0])
    assert len(set(ports)) == 1 and leased(own_server) == [ports[0]]


def connect_and_read(pool: Any, address: Any) -> int:
    """The port of a connection that was read to its end and closed."""
    if isinstance(pool, WanPortPool):
        with pool.connect(0, address, timeout=10) as sock:
            while sock.recv(100):
                pass
            return int(sock.lease.port)

    async def there() -> int:
        reader, writer = await pool._thing.connect(0, address, timeout=10)
        await reader.read()
        writer.close()
        await writer.wait_closed()
        return int(writer.lease.port)

    return int(pool._loop.run(there()))


def test_the_loss_of_an_idle_one_is_nobodys(pool: Any, own_server: Server) -> None:
    lost: list[Any] = []
    pool._on_lost = lost.append
    lease = use(pool)
    ledger = pool._engine.protocol.ledger
    idle = ledger.leases[lease.granted_id]
    idle.deadline = 0.0
    pool._engine.loss_watch.watch()
    assert lease.granted_id not in ledger.leases
    again = pool.acquire(0, reuse_address=True)
    assert again.granted_id != lease.granted_id
    again.deadline = 0.0
    pool._engine.loss_watch.watch()
    wait_for(lambda: lost)
    assert [one.lease_id for one in lost] == [again.lease_id]


def test_one_that_plain_sockets_cannot_have_is_not_handed_out_to_them(
    pool: Any, own_server: Server, monkeypatch: Any
) -> None:
    lease = use(pool)
    refusal = Failure(OSError(), port_at_fault=True, why="EADDRINUSE at bind")
    with monkeypatch.context() as patch:
        patch.setattr("redis_wanpool.engine.performer.look", lambda port, **_: refusal if port == lease.port else None)
        assert pool.acquire(0).port != lease.port
    assert lease.port in cooling(own_server)


def test_plain_leases_are_kept_too(pool: Any) -> None:
    first = pool.acquire(0)
    first.release()
    assert pool.acquire(0).port == first.port


def test_a_lease_that_nobody_ends_is_not_kept(pool: Any, own_server: Server) -> None:
    """Its connections may still be open."""
    use(pool)
    ledger = pool._engine.protocol.ledger
    lease = pool.acquire(0, reuse_address=True)
    port, granted_id = lease.port, lease.granted_id
    ledger.anchors.pop(granted_id)
    del lease
    gc.collect()
    pool._engine.heartbeat.due(0.0)
    wait_for(lambda: port in cooling(own_server))


def test_two_that_release_at_once_end_it_once(pool: Any, own_server: Server) -> None:
    """The second looked at the lease before the first had ended it; the port is on the shelf, and stays there."""
    lease = use(pool)
    lease.ended = None
    assert lease.release(closed="fin")
    assert leased(own_server) == [lease.port] and len(pool._engine.protocol.shelf._places[0]) == 1


def test_a_release_that_failed_may_be_tried_again(pool: Any, own_server: Server) -> None:
    lease = pool.acquire(0, reuse_address=True)
    assert not pool._engine.protocol.shelf.keeps(getattr(lease, "_thing", lease), "time_wait")
    assert lease.release(closed="fin")
    assert leased(own_server) == [] and cooling(own_server) == [lease.port]


def test_threads_share_them_and_nobody_holds_what_another_holds(own_server: Server) -> None:
    with WanPortPool(f"unix://{own_server.socket}", namespace="test", rest=0, max_idle=8) as pool:
        pool.define_wan(0, "24000-24009", cooldown=60, fresh=True)
        held: set[int] = set()
        wrong: list[int] = []
        again = [0]

        def work() -> None:
            for _ in range(200):
                with suppress(PoolExhausted):
                    lease = pool.acquire(0, reuse_address=True)
                    again[0] += "." in lease.lease_id.rpartition("/")[2]
                    if lease.port in held:
                        wrong.append(lease.port)
                    held.add(lease.port)
                    held.discard(lease.port)
                    lease.release(closed="fin")

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong and again[0] > 500
    check_invariant(own_server.admin)
