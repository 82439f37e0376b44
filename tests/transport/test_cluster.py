"""A cluster: WANs on several shards, slots that move, and nodes that are slow or unfit."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from clusters import SHARDS, Shards
from command_line import wanpool
from faces import Loop, make, maker
from invariant import check_invariant
from nodes import Node, Place, free_pairs
from private_server import SERVERS
from redis.crc import key_slot
from waiting import KEPT_TTL, wait_for

from redis_wanpool import AsyncWanPortPool, BackendUnavailable, InGrace, InvalidValue, UnsafeRedis, WanPortPool
from redis_wanpool.engine.fanout import side_by_side, side_by_side_async
from redis_wanpool.protocol.keys import WanKeys, namespace_keys
from redis_wanpool.protocol.scripts import script
from redis_wanpool.transport.cluster import Cluster, Slots

WANS = 6


@pytest.fixture(scope="module", params=SERVERS[:1])
def running_shards(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shards]:
    shards = Shards(request.param.removeprefix("cluster-"), tmp_path_factory.mktemp("cluster"))
    yield shards
    shards.close()


@pytest.fixture
def shards(running_shards: Shards) -> Iterator[Shards]:
    """Three primaries, empty."""
    running_shards.admin.flushall()
    yield running_shards
    check_invariant(running_shards.admin)


@pytest.fixture
def pools(shards: Shards, face: str, loop: Loop) -> Iterator[Callable[..., Any]]:
    with maker(face, loop, shards.url) as new:
        yield new


@pytest.fixture
def pool(pools: Callable[..., Any]) -> Any:
    """With WANs on all shards."""
    return with_wans(pools())


def with_wans(pool: Any, **options: Any) -> Any:
    for wan_idx in range(WANS):
        ports = f"{20000 + 100 * wan_idx}-{20009 + 100 * wan_idx}"
        pool.define_wan(wan_idx, ports, **{"cooldown": 0, "on_failover": "continue", **options})
    return pool


def home_of(shards: Shards, wan_idx: int) -> Any:
    return shards.primary_of(key_of(wan_idx))


def key_of(wan_idx: int) -> str:
    return WanKeys.of("test", wan_idx).declared[0]


def another(shards: Shards, than: Any) -> Any:
    return next(node for node in shards.primaries() if node is not than)


# -- URLs


@pytest.mark.parametrize(
    ("url", "seeds", "options"),
    [
        ("redis+cluster://10.0.0.2", [("10.0.0.2", 6379)], {}),
        ("redis+cluster://u:p%40x@a:7000,b:7001/0", [("a", 7000), ("b", 7001)], {"username": "u", "password": "p@x"}),
        ("rediss+cluster://[::1]:7000/?ssl_ca_certs=/x", [("::1", 7000)], {"ssl_ca_certs": "/x"}),
    ],
)
def test_a_url_names_some_of_the_nodes(url: str, seeds: list[tuple[str, int]], options: dict[str, Any]) -> None:
    parsed = Cluster.parse(url)
    assert list(parsed.seeds) == seeds and parsed.options == options and parsed.is_tls == url.startswith("rediss")


@pytest.mark.parametrize("wrong", ["", "a,", "a:0", "a:70000", "a:x", "a/1", "a/service", "a?colour=red", "a/?db=2"])
def test_what_is_no_such_url_is_refused_without_its_password(wrong: str) -> None:
    with pytest.raises(InvalidValue, match=r"write it like redis\+cluster://user") as caught:
        WanPortPool(f"redis+cluster://me:secret@{wrong}")
    assert "secret" not in str(caught.value)


def test_a_client_of_redis_py_for_clusters_is_refused_with_what_to_do(shards: Shards) -> None:
    with pytest.raises(InvalidValue, match=r"give the URL of the cluster: redis\+cluster://"):
        WanPortPool(client=shards.admin)


# -- WANs on several shards


def test_leases_on_all_shards(shards: Shards, pool: Any, pools: Callable[..., Any]) -> None:
    assert len({home_of(shards, wan_idx).port for wan_idx in range(WANS)}) == SHARDS
    leases = [pool.acquire(wan_idx) for wan_idx in range(WANS)]
    many = pool.acquire_many(3, 5)
    for lease in leases:
        lease.renew()
        lease.check()
    assert pool.acquire().wan_idx in range(WANS) and pool.acquire([1, 4]).wan_idx in (1, 4)
    other = pools()
    usage = other.get_port_usage_info()
    assert usage["total_allocated_ports"] == WANS + 5 + 2 and list(usage["wans"]) == list(range(WANS))
    assert other.acquire(2, wait=0).wan_idx == 2
    assert all(lease.release() for lease in [*leases, *many])
    pool.close()
    other.close()
    with WanPortPool(shards.url, namespace="test") as third:
        assert third.get_port_usage_info()["total_allocated_ports"] == 0
    assert not shards.admin.hkeys("wanpool:{test}:holders")


def test_a_waiter_on_any_shard_is_woken(shards: Shards, pool: Any) -> None:
    for wan_idx in range(WANS):
        held = pool.acquire_many(wan_idx, 10)
        waited: list[Any] = []
        waiter = threading.Thread(
            target=lambda wan_idx=wan_idx, waited=waited: waited.append(pool.acquire(wan_idx, wait=30))
        )
        waiter.start()
        wait_for(lambda wan_idx=wan_idx: shards.admin.zcard(f"wanpool:{{test:{wan_idx}}}:waiting"))
        held[4].release()
        waiter.join()
        assert waited[0].port == held[4].port


def test_the_heartbeat_keeps_leases_on_all_shards(pools: Callable[..., Any]) -> None:
    pool = with_wans(pools(), lease_ttl=KEPT_TTL)
    leases = [pool.acquire(wan_idx) for wan_idx in range(WANS)]
    first = [lease.expires_at for lease in leases]
    wait_for(lambda: all(lease.expires_at > before + 1 for lease, before in zip(leases, first, strict=True)))
    assert not any(lease.lost for lease in leases)


def test_one_nodes_own_url_says_what_to_do(shards: Shards) -> None:
    with_wans(WanPortPool(shards.url, namespace="test", rest=0)).close()
    told = pytest.raises(BackendUnavailable, match=r"one node of a cluster.*redis\+cluster://")
    with WanPortPool(f"redis://127.0.0.1:{shards.nodes[0].port}", namespace="test") as pool, told:
        for wan_idx in range(WANS):
            pool.acquire(wan_idx)


def test_nobody_is_there(face: str, loop: Loop) -> None:
    pool = make(face, loop, "redis+cluster://127.0.0.1:1,127.0.0.1:2", namespace="test")
    with pytest.raises(BackendUnavailable, match="does not answer"):
        pool.acquire(0)
    pool.close()


def test_a_node_that_was_taken_out_of_the_cluster_misleads_nobody(
    shards: Shards, pool: Any, face: str, loop: Loop, tmp_path: Path
) -> None:
    (port,) = free_pairs(1)
    options = ("--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path), "--cluster-enabled", "yes")
    node = Node(shards.name, tmp_path / "out", Place(), port, *options)
    with_it = make(face, loop, shards.url.replace("://", f"://127.0.0.1:{port},"), namespace="test", rest=0)
    alone = make(face, loop, f"redis+cluster://127.0.0.1:{port}", namespace="test", connect_timeout=1.0)
    try:
        assert all(with_it.acquire(wan_idx).release() for wan_idx in range(WANS))
        with pytest.raises(BackendUnavailable, match="no node knows of a slot"):
            alone.acquire(0)
    finally:
        with_it.close()
        alone.close()
        node.close()


def test_a_shard_that_may_evict_any_key_is_refused(shards: Shards, pools: Callable[..., Any]) -> None:
    node = shards.primaries()[-1]
    node.admin.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(UnsafeRedis, match="allkeys-lru"):
            pools().acquire(0)
    finally:
        node.admin.config_set("maxmemory-policy", "noeviction")


@pytest.mark.slow
def test_a_silent_shard_holds_up_no_other(shards: Shards, pools: Callable[..., Any], face: str) -> None:
    pool = with_wans(pools(connect_timeout=1.0), lease_ttl=KEPT_TTL)
    leases = [pool.acquire(wan_idx) for wan_idx in range(WANS)]
    says = shards.primary_of(namespace_keys("test")[0])
    silent_wan = next(wan_idx for wan_idx in range(WANS) if home_of(shards, wan_idx) is not says)
    silent = home_of(shards, silent_wan)
    others = [lease for lease in leases if home_of(shards, lease.wan_idx) is not silent]
    os.kill(silent.process.pid, signal.SIGSTOP)
    try:
        wait_for(lambda: leases[silent_wan].lost)
        assert leases[silent_wan].reason == "unreachable"
        for lease in others:
            lease.check()
        newcomer, wan_idx = pools(connect_timeout=1.0), others[0].wan_idx
        assert newcomer.acquire(wan_idx).wan_idx == wan_idx
        assert newcomer.acquire([silent_wan, wan_idx]).wan_idx == wan_idx
        assert newcomer.acquire().wan_idx in {lease.wan_idx for lease in others}
        with pytest.raises(BackendUnavailable, match="does not answer"):
            newcomer.acquire(silent_wan)
        if face == "sync":  # whoever looks on
            look_at_the_silent_one(shards, silent, wan_idx)
    finally:
        os.kill(silent.process.pid, signal.SIGCONT)
    shards.is_whole()
    pool.acquire(silent_wan, wait=10)


def look_at_the_silent_one(shards: Shards, silent: Any, wan_idx: int) -> None:
    env = {"WANPOOL_URL": shards.url, "WANPOOL_NAMESPACE": "test"}
    shown = wanpool("status", **env)
    assert shown.returncode == 1 and f"\n  {wan_idx} " in shown.stdout and "does not answer" in shown.stderr
    told = wanpool("doctor", "--json", **env)
    assert f"127.0.0.1:{silent.port}, the primary of a shard, does not answer" in told.stdout, told.stdout


def answers(wan_idx: int) -> Any:
    return wan_idx
    yield


def test_each_home_is_asked_at_the_same_time_as_the_others() -> None:
    """One after another would never come to an end."""
    together, seen = threading.Barrier(3, timeout=20), []

    def lead(conversation: Any) -> int:
        wan_idx: int = led(conversation)
        seen.append(wan_idx)
        if wan_idx < 3:
            together.wait()
        return wan_idx

    branches = [(str(wan_idx), answers(wan_idx)) for wan_idx in range(6)]
    assert side_by_side(branches, lambda key: int(key) % 3, lead) == list(range(6))
    assert sorted(seen[:3]) == [0, 1, 2]


async def test_the_same_for_asyncio() -> None:
    together = asyncio.Barrier(3)

    async def lead(conversation: Any) -> int:
        wan_idx: int = led(conversation)
        if wan_idx < 3:
            await together.wait()
        return wan_idx

    branches = [(str(wan_idx), answers(wan_idx)) for wan_idx in range(6)]
    assert await side_by_side_async(branches, lambda key: int(key) % 3, lead) == list(range(6))


def test_who_does_not_answer_is_asked_no_more_and_who_refuses_is() -> None:
    asked: list[int] = []

    def lead(conversation: Any) -> int:
        wan_idx: int = led(conversation)
        asked.append(wan_idx)
        if wan_idx in (0, 1):
            raise BackendUnavailable("?", answered=wan_idx == 1)
        return wan_idx

    results = side_by_side([(str(k), answers(k)) for k in range(6)], lambda key: int(key) % 2, lead)
    assert sorted(asked) == [0, 1, 3, 5] and results[3] == 3 and results[5] == 5
    assert all(results[k] is results[0] and not results[k].answered for k in (2, 4)) and results[1].answered


def led(conversation: Any) -> Any:
    try:
        next(conversation)
    except StopIteration as end:
        return end.value


# -- slots that move


def test_while_a_slot_moves_nothing_of_it_is_done_by_halves(shards: Shards, pools: Callable[..., Any]) -> None:
    pool = with_wans(pools(connect_timeout=1.0))
    lease, others = pool.acquire(0), pool.acquire_many(0, 3)
    old = home_of(shards, 0)
    elsewhere = next(wan_idx for wan_idx in range(WANS) if home_of(shards, wan_idx) is not old)
    tried: list[str] = []

    def attempt() -> None:
        if len(tried) < 3:
            for action in (lambda: pool.acquire(0), lease.renew, lambda: pool.snapshot(0), others[0].release):
                with pytest.raises(BackendUnavailable, match="move to another node"):
                    action()
                tried.append("refused")
        assert pool.acquire(elsewhere).release()

    assert shards.move(key_of(0), another(shards, old), attempt) > 5 and tried
    wait_for(lambda: not pool._engine.protocol.doubts)
    lease.renew()
    assert pool.snapshot(0).leased == 3
    pool.acquire(0)


def test_without_the_key_that_is_never_there_a_script_would_stop_halfway(shards: Shards) -> None:
    """The control of the test above: all other declared keys are there, and one of those that are not is missing."""
    with WanPortPool(shards.url, namespace="test", rest=0) as pool:
        with_wans(pool, cooldown=60)
        lease, _ = (pool.acquire(0, detached=True, ttl=60) for _ in range(2))
    keys = WanKeys.of("test", 0)
    old = home_of(shards, 0)
    slot, to = key_slot(keys.declared[0].encode()), another(shards, old)
    have = [name for name in keys.declared if not name.endswith(":nothing")]
    for name in have:
        if not old.admin.exists(name):
            if name.endswith((":cooling", ":waiting")):
                old.admin.zadd(name, {"20009": 9e15})
            elif name.endswith(":withheld"):
                old.admin.smove(keys.prefix + "free", name, old.admin.srandmember(keys.prefix + "free"))
            else:
                old.admin.hset(name, "x", "0")
    to.admin.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", shards.id_of(old))
    old.admin.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", shards.id_of(to))

    def release(*declared: str) -> None:
        arguments = ("", 0, "released", 0, lease.port, lease.lease_id)
        old.admin.eval(script("release").source, len(declared), *declared, *arguments)

    try:
        before = old.admin.zscore(keys.prefix + "leased", str(lease.port))
        with pytest.raises((redis.exceptions.TryAgainError, redis.exceptions.AskError)):
            release(*keys.declared)
        assert old.admin.zscore(keys.prefix + "leased", str(lease.port)) == before
        with pytest.raises(redis.ResponseError, match="non local key"):
            release(*have)
        assert old.admin.zscore(keys.prefix + "leased", str(lease.port)) is None
        assert old.admin.zscore(keys.prefix + "cooling", str(lease.port)), "it was taken back, and rests nowhere"
    finally:
        for node in (to, old):
            node.admin.execute_command("CLUSTER", "SETSLOT", slot, "STABLE")
        shards.admin.flushall()


@pytest.mark.slow
def test_a_moved_slot_is_followed_and_begins_a_grace(shards: Shards, pools: Callable[..., Any]) -> None:
    pool, other = with_wans(pools(), on_failover="grace", lease_ttl=KEPT_TTL, failover_margin=0.5), pools()
    lease = pool.acquire(0)
    other.snapshot(0)
    shards.move(key_of(0), another(shards, home_of(shards, 0)))
    with pytest.raises(InGrace) as caught:
        other.acquire(0)
    assert caught.value.retry_after <= KEPT_TTL + 0.5
    taken = other.acquire(0, wait=20)
    assert taken.port != lease.port
    lease.check()


def test_slots_move_under_load(shards: Shards, face: str, loop: Loop) -> None:
    """Nobody is told anything but that it takes a while, and no port has two holders."""
    with WanPortPool(shards.url, namespace="test", rest=0) as judge:
        with_wans(judge)
        seen, wrong, over = dict.fromkeys(range(WANS), 0), [], threading.Event()

        def use(number: int) -> None:
            pool = make(face, loop, shards.url, namespace="test", rest=0, network=f"n{number}", connect_timeout=5.0)
            while not over.is_set():
                for wan_idx in range(WANS):
                    try:
                        lease = pool.acquire(wan_idx, wait=10)
                        key = WanKeys.of("test", wan_idx).lease(lease.port)
                        if shards.admin.hget(key, "lease_id") != lease.lease_id:
                            wrong.append(f"{lease!r} is another's")
                        lease.release()
                        seen[wan_idx] += 1
                    except Exception as error:
                        wrong.append(repr(error))
            pool.close()

        users = [threading.Thread(target=use, args=(number,)) for number in range(3)]
        for user in users:
            user.start()
        try:
            for wan_idx in range(WANS):
                before = dict(seen)
                move = shards.move_as_a_whole if wan_idx % 2 else shards.move
                move(key_of(wan_idx), another(shards, home_of(shards, wan_idx)))
                wait_for(lambda before=before: wrong or all(seen[k] > before[k] for k in seen))
        finally:
            over.set()
            for user in users:
                user.join()
        assert wrong == []
        wait_for(lambda: judge.get_port_usage_info()["total_allocated_ports"] == 0)


# -- what a node tells


def test_redirections_and_what_a_node_tells_of_itself() -> None:
    slots = Slots([("seed", 1)])
    assert slots.is_stale and slots.owner(5) is None and list(slots.to_ask()) == [("seed", 1)]
    slots.learn([[0, 99, [b"", 7000, b"id"]], [100, 16383, ["b", 7001, "id"], ["replica", 7002, "id"]]], ("a", 1))
    assert (slots.owner(99), slots.owner(100), slots.is_stale) == (("a", 7000), ("b", 7001), False)
    assert slots.moved(redis.exceptions.MovedError("5 :7001"), ("a", 7000)) == ("a", 7001)
    assert slots.owner(5) == ("a", 7001) and slots.owner(6) == ("a", 7000) and slots.is_stale
    slots.learn([[0, 16383, ["b", 7001, "id"]]], ("b", 7001))
    assert slots.owner(5) == ("b", 7001) and slots.primaries == (("b", 7001),)
    slots.failed(("b", 7001))
    assert slots.is_stale and list(slots.to_ask()) == [("seed", 1), ("b", 7001)]


async def cancelled(url: str) -> None:
    async with AsyncWanPortPool(url, namespace="test", rest=0) as pool:
        for delay in [n / 2000 for n in range(40)]:
            task = asyncio.ensure_future(pool.get_port_usage_info())
            await asyncio.sleep(delay)
            task.cancel()
            await asyncio.wait([task])
        assert (await pool.get_port_usage_info())["total_allocated_ports"] == 0
        assert (await pool.acquire(3)).wan_idx == 3


def test_a_cancellation_of_what_goes_on_side_by_side_breaks_nothing(shards: Shards) -> None:
    with_wans(WanPortPool(shards.url, namespace="test", rest=0)).close()
    asyncio.run(cancelled(shards.url))


# -- operators


def test_the_command_line(shards: Shards) -> None:
    env = {"WANPOOL_URL": shards.url, "WANPOOL_NAMESPACE": "test"}
    defined = [word for k in range(WANS) for word in ("--wan", f"{k}={20000 + 100 * k}-{20009 + 100 * k}")]
    assert wanpool("init", *defined, "--max-ttl", "1h", **env).returncode == 0
    taken = wanpool("acquire", "--wan", "2", "--ttl", "1h", **env)
    port, lease_id = taken.stdout.split()
    assert "shards 3" in wanpool("status", **env).stdout
    assert port in wanpool("leases", **env).stdout
    assert "leased" in wanpool("explain", port, **env).stdout
    assert wanpool("release", port, lease_id, **env).returncode == 0
    told = wanpool("doctor", **env)
    assert "a cluster of 3 shards" in told.stdout and " 0 fail" in told.stdout, told.stdout
    assert wanpool("remove", "--all", "--force", **env).returncode == 0


def test_under_the_rights_that_acl_prints(shards: Shards, face: str, loop: Loop) -> None:
    printed = wanpool("acl", "holder", "--user", "holder", WANPOOL_URL=shards.url, WANPOOL_NAMESPACE="test").stdout
    line = next(line for line in printed.splitlines() if line.startswith("ACL SETUSER holder"))
    for node in shards.nodes:
        node.admin.execute_command(*line.replace("PASSWORD", "secret").split(" "))
    try:
        with_wans(WanPortPool(shards.url, namespace="test", rest=0)).close()
        url = shards.url.replace("://", "://holder:secret@")
        pool = make(face, loop, url, namespace="test", rest=0)
        leases = [pool.acquire(wan_idx) for wan_idx in range(WANS)]
        assert all(lease.release() for lease in leases)
        pool.close()
    finally:
        for node in shards.nodes:
            node.admin.acl_deluser("holder")
