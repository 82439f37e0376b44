"""What a call costs the server: script time by its own count, without the round trip."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bench import talk
from bench.results import Row, Size
from bench.servers import Server, private_server
from bench.unsafe import Unsafe
from redis_wanpool import WanPortPool
from redis_wanpool.model.lease import LeaseState
from redis_wanpool.system.clock import boottime

PART = "Server time"
UNIT = "us"
BATCH = 64
MANY = 1_000
PORTS = "20000-21999"


def measure(size: Size) -> Iterator[Row]:
    """Pairs against the unsafe pair, a batch against single pairs, and renewals."""
    for cooldown, rest, named in (
        (0, 0, "no rest, no cool-down"),
        (125, 1, "rest 1 s, cool-down 125 s"),
    ):
        with private_server() as server, WanPortPool(server.url, rest=rest) as pool:
            pool.define_wan(0, PORTS, cooldown=cooldown, fresh=True)
            unsafe = Unsafe(server.client, _lease_fields(server, pool), range(20_000, 22_000))
            yield from _pairs(server, pool, unsafe, size, named)
            if not cooldown:
                yield _batches(server, pool, size)
                yield from _renewals(server, pool, unsafe, size)


def _lease_fields(server: Server, pool: WanPortPool) -> dict[str, str]:
    """A lease as people see it, so that the unsafe pair writes no less."""
    with pool.acquire(0) as lease:
        fields: dict[str, str] = server.client.hgetall(pool._engine.protocol.wan_keys(0).lease(lease.port))
        return fields


def _pairs(server: Server, pool: WanPortPool, unsafe: Unsafe, size: Size, named: str) -> Iterator[Row]:
    first = talk.acquire(server.client, pool, 0, size.pairs, reuse_address=True)
    mine = {lease.port for lease in first} if pool._engine.protocol.rest_ms else set()
    talk.release(server.client, pool, first)
    for busy in (False, True):

        def ours(busy: bool = busy) -> None:
            leases = talk.acquire(server.client, pool, 0, size.pairs, busy=busy, reuse_address=True)
            talk.release(server.client, pool, leases, busy=busy)
            if mine and {lease.port for lease in leases} != mine:
                raise RuntimeError("others than the network's own rested ports were granted")

        def theirs(busy: bool = busy) -> None:
            unsafe.release(unsafe.acquire(size.pairs, busy=busy), busy=busy)

        our_us, their_us = [], []
        for _ in range(size.rounds):
            _let_rest(server)
            our_us.append(_cost(server, ours) / size.pairs)
            their_us.append(_cost(server, theirs) / size.pairs)
        how = "back to back" if busy else "one by one"
        yield Row.of(
            PART, f"pair, calls {how}; {named}", UNIT, our_us, "the smallest unsafe pair", their_us, ("<=", 2.5)
        )


def _cost(server: Server, work: Callable[[], object]) -> float:
    server.begin_statistics()
    work()
    return server.script_us()


def _let_rest(server: Server) -> None:
    """Makes resting ports older, instead of sleeping."""
    pipeline = server.client.pipeline(transaction=False)
    for name in list(server.client.scan_iter("wanpool:*:resting:*", count=10_000)):
        for port, _ in server.client.zrange(name, 0, -1, withscores=True):
            pipeline.zincrby(name, -2_000, port)
    pipeline.execute()


def _batches(server: Server, pool: WanPortPool, size: Size) -> Row:
    def single() -> None:
        talk.release(server.client, pool, talk.acquire(server.client, pool, 0, BATCH, busy=False), busy=False)

    def batch() -> None:
        leases = talk.acquire(server.client, pool, 0, 1, busy=False, count=BATCH)
        _release_together(server, pool, leases)

    shares, singles = [], []
    for _ in range(size.rounds):
        shares.append(_cost(server, batch) / BATCH)
        singles.append(_cost(server, single) / BATCH)
    return Row.of(
        PART, f"pair, {BATCH} ports in one call each, per port", UNIT, shares, "single pairs", singles, ("<=", 0.35)
    )


def _release_together(server: Server, pool: WanPortPool, leases: list[LeaseState]) -> None:
    talk.lead(server.client, [pool._engine.protocol.release(leases)], busy=False)


def _renewals(server: Server, pool: WanPortPool, unsafe: Unsafe, size: Size) -> Iterator[Row]:
    leases = talk.acquire(server.client, pool, 0, 1, count=MANY)
    ports = unsafe.acquire(MANY, busy=True)
    our_ms, their_ms, calls = [], [], []

    def beat() -> None:
        for lease in leases:
            lease.renew_at = 0.0
        talk.lead(server.client, [pool._engine.protocol.beat(boottime())], busy=False)

    for _ in range(size.rounds):
        our_ms.append(_cost(server, beat) / 1_000)
        calls.append(server.script_calls())
        their_ms.append(_cost(server, lambda: unsafe.renew(ports)) / 1_000)
    _release_together(server, pool, leases)
    yield Row.of(PART, f"renewing {MANY:,} leases", "ms", our_ms, "an unsafe script, one call", their_ms)
    yield Row.of(PART, f"renewing {MANY:,} leases", "calls", [float(count) for count in calls])
