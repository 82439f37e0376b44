"""A bad network between client and Redis: no port is taken twice or leaked, and every answer is true."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from by_hand import age_wan, run_script
from chance import LONG, SEED
from faces import Blocking, Loop, maker
from invariant import check_invariant
from private_server import Server
from proxy import KINDS, Proxy
from waiting import wait_for

from redis_wanpool import BackendUnavailable, LeaseLost, PoolExhausted

PREFIX = "wanpool:{test:0}:"
OPERATIONS = max(250, round(350 * LONG))
PORTS, TTL, PATIENCE = 24, 6.0, 1.0
TROUBLE = 0.2
RARELY = 0.01
"""silence costs PATIENCE each time"""
UNDER_TEST = ("acquire", "renew", "release", "reject")


@pytest.fixture
def new_pool(face: str, loop: Loop, own_server: Server, proxy: Proxy) -> Iterator[Callable[..., Any]]:
    with maker(face, loop, proxy.url, connect_timeout=PATIENCE) as new:
        yield new
        proxy.plan = lambda name: "pass"
    proxy.flush()
    check_invariant(own_server.admin)


def once(proxy: Proxy, script: str, kind: str) -> None:
    """The next run of that script meets with this."""
    left = [kind]
    proxy.plan = lambda name: left.pop() if name == script and left else "pass"


def leased(server: Server) -> int:
    return int(server.admin.zcard(PREFIX + "leased"))


def is_live(server: Server, lease: Any) -> bool:
    grant = str(server.admin.hget(PREFIX + "grants", lease.port)).split(" ")
    return grant[0] == lease.lease_id and grant[5] == "live"


@pytest.fixture
def pool(new_pool: Callable[..., Any]) -> Any:
    pool = new_pool()
    pool.define_wan(0, "20000-20003", cooldown=0)
    pool.acquire(0).release()  # so that the scripts are there, and run by their names
    pool.acquire(0).renew()
    pool.release_port(0, next(iter(pool._engine.protocol.leases.values())).port)
    return pool


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "silent"])
def test_a_broken_exchange_is_made_up_for_unseen(pool: Any, proxy: Proxy, own_server: Server, kind: str) -> None:
    once(proxy, "acquire", kind)
    lease = pool.acquire(0)
    proxy.flush()
    assert is_live(own_server, lease) and leased(own_server) == 1
    once(proxy, "renew", kind)
    lease.renew()
    proxy.flush()
    assert is_live(own_server, lease)
    once(proxy, "release", kind)
    assert lease.release() is True
    proxy.flush()
    assert leased(own_server) == 0
    once(proxy, "acquire", kind)
    leases = pool.acquire_many(0, 3)
    proxy.flush()
    assert len({lease.port for lease in leases}) == leased(own_server) == 3
    assert proxy.happened[kind] == 4


@pytest.mark.slow
def test_silence_is_an_error_that_leaves_nothing_behind(pool: Any, proxy: Proxy, own_server: Server) -> None:
    pool._engine.protocol.ledger.suspects.clear()  # an earlier search for late duplicates would find this one, too
    once(proxy, "acquire", "silent")
    with pytest.raises(BackendUnavailable):
        pool.acquire(0)
    wait_for(lambda: leased(own_server) == 0)
    lease = pool.acquire(0)
    once(proxy, "renew", "silent")
    with pytest.raises(BackendUnavailable):
        lease.renew()
    assert not lease.lost and is_live(own_server, lease)
    once(proxy, "release", "silent")
    with pytest.raises(BackendUnavailable):
        lease.release()
    assert lease.release() is True


@pytest.mark.parametrize("kind", ["swallow", "silent"])
def test_a_release_is_true_though_its_port_went_on_before_it_was_told(
    pool: Any, new_pool: Any, proxy: Proxy, own_server: Server, kind: str
) -> None:
    other = new_pool(own_server.url)
    lease = pool.acquire(0)
    taken: list[Any] = []
    proxy.swallowed = lambda: taken.append(other.acquire(0, port=lease.port))
    once(proxy, "release", kind)
    if kind == "silent":
        with pytest.raises(BackendUnavailable):
            lease.release()
        if not taken:
            taken.append(other.acquire(0, port=lease.port, wait=5))
    assert lease.release() is True
    assert not lease.lost
    assert is_live(own_server, taken[0])


def test_upkeep_leaves_a_release_alone_that_is_on_its_way(pool: Any, own_server: Server) -> None:
    lease = pool.acquire(0)
    upkeep = pool._engine.performer.run
    release = pool._engine.protocol.release([lease])
    next(release)
    upkeep(pool._engine.protocol.beat(0.0))
    assert is_live(own_server, lease)
    release.close()  # it was interrupted
    upkeep(pool._engine.protocol.beat(0.0))
    assert not is_live(own_server, lease)


def test_a_release_is_true_though_upkeep_was_quicker(pool: Any, new_pool: Any, own_server: Server) -> None:
    lease = pool.acquire(0)
    engine = pool._engine
    release = engine.protocol.release([lease])
    step = next(release)
    engine.performer.run(engine.protocol._clear_up_everywhere())
    taken = new_pool(own_server.url).acquire(0, port=lease.port)
    with pytest.raises(StopIteration) as end:
        release.send(engine.performer.perform(step))
    assert end.value.value == {lease.lease_id: "released"}
    assert lease.ended == "released"
    assert is_live(own_server, taken)


def test_a_release_without_an_answer_is_known_to_a_renewal_too(
    pool: Any, new_pool: Any, proxy: Proxy, own_server: Server
) -> None:
    lease = pool.acquire(0)
    once(proxy, "release", "silent")
    with pytest.raises(BackendUnavailable):
        lease.release()
    new_pool(own_server.url).acquire(0, port=lease.port, wait=5)
    with pytest.raises(LeaseLost) as caught:
        lease.renew()
    assert caught.value.reason == "released" and not lease.lost
    assert lease.release() is True


def test_an_acquire_that_is_answered_late_has_the_ttl_of_the_wan(pool: Any, proxy: Proxy, own_server: Server) -> None:
    proxy.swallowed = lambda: age_wan(own_server.admin, 30)
    once(proxy, "acquire", "swallow")
    lease = pool.acquire(0)
    assert lease.ttl == 60 and 25 < lease.remaining() < 30


def test_a_renewal_whose_reply_is_overtaken_takes_nothing_back(pool: Any) -> None:
    lease = pool.acquire(0)
    expires_at, remaining = lease.expires_at, lease.remaining()
    lease.extend(expires_at - 50, lease.deadline - 50)
    assert lease.expires_at == expires_at and lease.remaining() > remaining - 5


def test_what_others_ended_and_granted_anew_is_not_called_released(
    pool: Any, new_pool: Any, own_server: Server
) -> None:
    lease = pool.acquire(0)
    run_script(own_server.admin, "revoke", lease.port, lease.lease_id)
    new_pool(own_server.url).acquire(0, port=lease.port)
    assert lease.release() is False
    assert lease.reason == "revoked"


class Storm:
    """Random operations under random trouble, and what must be true after each."""

    def __init__(self, pools: list[Any], server: Server, proxy: Proxy) -> None:
        self.random = random.Random(SEED)
        self.trouble = random.Random(SEED + 1)
        self.pools = pools
        self.server = server
        self.proxy = proxy
        self.leases: list[tuple[Any, Any]] = []
        self.unanswered = 0
        self.exhausted = 0

    def plan(self, name: str) -> str:
        if name not in UNDER_TEST or self.trouble.random() > TROUBLE:
            return "pass"
        if self.trouble.random() < RARELY:
            return "silent"
        return self.trouble.choice([kind for kind in KINDS if kind != "silent"])

    def step(self) -> None:
        pool = self.random.choice(self.pools)
        full = len(self.leases) > PORTS * 2 // 3
        action = self.random.choice(["release", "reject"] if full else ["acquire", "many", "renew", "release"])
        try:
            if action == "acquire":
                self.took(pool, [pool.acquire(0)])
            elif action == "many":
                self.took(pool, pool.acquire_many(0, self.random.randint(2, 5), at_least=self.random.randint(1, 2)))
            elif self.leases:
                pool, lease = self.random.choice(self.leases)
                getattr(self, action)(pool, lease)
        except BackendUnavailable:
            self.unanswered += 1
        except PoolExhausted:
            self.exhausted += 1

    def took(self, pool: Any, leases: list[Any]) -> None:
        for lease in leases:
            assert is_live(self.server, lease), lease
            assert lease.port not in {held.port for _, held in self.leases}, lease
            self.leases.append((pool, lease))

    def renew(self, pool: Any, lease: Any) -> None:
        before = lease.expires_at
        lease.renew()
        assert lease.expires_at >= before and is_live(self.server, lease)

    def release(self, pool: Any, lease: Any) -> None:
        assert not lease.lost, lease
        used = self.random.random() < 0.7
        while True:
            try:
                assert lease.release(used=used) is True, lease
                break
            except BackendUnavailable:
                self.unanswered += 1
        if is_live(self.server, lease):  # a late acquire may take a port for a lease that is over; upkeep gives it back
            assert any(lease.lease_id.encode() in request for request in self.proxy.came_late), lease
        assert lease.release() is True
        self.leases.remove((pool, lease))

    def reject(self, pool: Any, lease: Any) -> None:
        bare = pool._thing if isinstance(pool, Blocking) else pool
        lease_state = lease._thing if isinstance(lease, Blocking) else lease
        while True:
            try:
                words = bare._engine.performer.run(bare._engine.protocol.release([lease_state], "rejected"))
                break
            except BackendUnavailable:
                self.unanswered += 1
        assert words[lease.lease_id] in ("rejected", "unused"), "unused, where too many are in quarantine"
        self.leases.remove((pool, lease))


@pytest.mark.slow
@pytest.mark.longer
@pytest.mark.timeout(100 + 0.05 * OPERATIONS)
@pytest.mark.parametrize("cooldown", [0, 0.05])
def test_in_a_storm_no_port_is_taken_twice_or_leaked_and_every_answer_is_true(
    new_pool: Any, proxy: Proxy, own_server: Server, cooldown: float
) -> None:
    pools = [new_pool(network=network, rest=cooldown / 5) for network in ("a", "a", "b")]
    pools[0].define_wan(
        0, f"20000-{20000 + PORTS - 1}", cooldown=cooldown, quarantine=cooldown, lease_ttl=TTL, max_ttl=60
    )
    storm = Storm(pools, own_server, proxy)
    proxy.plan = storm.plan
    for _ in range(OPERATIONS):
        storm.step()
    proxy.plan = lambda name: "pass"
    proxy.flush()
    print(f"{OPERATIONS} operations, {storm.unanswered} unanswered, {storm.exhausted} exhausted;", proxy.happened)
    assert all(proxy.happened[kind] for kind in KINDS if kind != "silent"), proxy.happened
    for _, lease in list(storm.leases):
        assert is_live(own_server, lease), "a lease that nobody ended is kept"
    for pool, lease in list(storm.leases):
        storm.release(pool, lease)
    wait_for(lambda: pools[0].snapshot(0).leased == 0, within=3 * TTL)
    assert pools[0].snapshot(0).total == PORTS
    for pool in pools:
        wait_for(lambda pool=pool: not pool._engine.protocol.doubts and not pool._engine.protocol.ledger.in_flight)
