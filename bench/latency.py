"""How long an acquire takes: on an idle WAN, at its last port, refused, and with very many leases just expired."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from bench import talk
from bench.results import Row, Size
from bench.servers import Server, private_server
from bench.spread import quantile
from redis_wanpool import PoolExhausted, WanPortPool
from redis_wanpool.model.checks import MOST_PORTS_A_CALL
from redis_wanpool.sockets.dial import look

PART = "Round trip of one acquire"
BARE = "a bare EVALSHA of `return 1`"
TTL = 8.0
"""seconds: longer than it takes to grant them all"""


def measure(size: Size) -> Iterator[Row]:
    """The median and the 99th percentile of each situation, round by round."""
    with private_server() as server, WanPortPool(server.url, rest=0) as pool:
        bare = _bare(server)
        pool.define_wan(0, "20000-21999", cooldown=0, fresh=True)
        yield from _rows("2,000 of 2,000 ports free", lambda: _acquires(pool, size.pairs), bare, size)
        yield _of_the_look(pool, size)
        taken = pool.acquire_many(0, 1_000) + pool.acquire_many(0, 999)
        yield from _rows("1 of 2,000 ports free", lambda: _acquires(pool, size.pairs), bare, size)
        taken.append(pool.acquire(0))
        yield from _rows("0 of 2,000 ports free (refused)", lambda: _refusals(pool, size.pairs), bare, size)
    yield from _after_many_expired(size)


def _of_the_look(pool: WanPortPool, size: Size) -> Row:
    """What it adds to see with a plain bind that anybody can bind the port: see redis_wanpool/protocol/handing.py."""
    looks, acquires = [], []
    for _ in range(size.rounds):
        looks.append(quantile(sorted(_us(lambda: look(20000))[0] for _ in range(size.pairs)), 0.5))
        acquires.append(quantile(sorted(_acquires(pool, size.pairs, reuse_address=True)), 0.5))
    against = "an acquire that does without (reuse_address=True), p50"
    return Row.of(PART, "the look at a port for plain sockets, p50", "us", looks, against, acquires, ("<=", 0.1))


def _rows(
    named: str, work: Callable[[], list[float]], bare: Callable[[int], list[float]], size: Size, rounds: int = 0
) -> Iterator[Row]:
    ours, theirs = [], []
    for _ in range(rounds or size.rounds):
        ours.append(sorted(work()))
        theirs.append(sorted(bare(size.pairs)))
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        yield Row.of(
            PART,
            f"{named}, {name}",
            "us",
            [quantile(round_, share) for round_ in ours],
            f"{BARE}, {name}",
            [quantile(round_, share) for round_ in theirs],
        )


def _bare(server: Server) -> Callable[[int], list[float]]:
    sha = server.client.script_load("return 1")
    return lambda times: [_us(lambda: server.client.execute_command("EVALSHA", sha, 0))[0] for _ in range(times)]


def _us(work: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.perf_counter()
    result = work()
    return (time.perf_counter() - begun) * 1e6, result


def _acquires(pool: WanPortPool, times: int, **how: Any) -> list[float]:
    took = []
    for _ in range(times):
        us, lease = _us(lambda: pool.acquire(0, **how))
        took.append(us)
        lease.release()
    return took


def _refusals(pool: WanPortPool, times: int) -> list[float]:
    def refused() -> None:
        with suppress(PoolExhausted):
            pool.acquire(0)
            raise RuntimeError("a port was granted from a full WAN")

    return [_us(refused)[0] for _ in range(times)]


def _after_many_expired(size: Size) -> Iterator[Row]:
    """All leases of a holder that died run out, and nobody has looked since."""
    named = f"just after {size.expired:,} leases expired"
    with private_server() as server, WanPortPool(server.url, rest=0) as pool:
        bare = _bare(server)
        _let_expire(server, size.expired, cooldown=0)
        pool.snapshot(0)  # connects
        yield _first(f"{named}, first", lambda: pool.acquire(0).release(), bare, size)
        rounds = max(1, size.expired // 33 // size.pairs)
        yield from _rows(named, lambda: _acquires(pool, size.pairs), bare, size, rounds)
    with private_server() as server, WanPortPool(server.url, rest=0, network="late") as pool:
        bare = _bare(server)
        _let_expire(server, size.expired, cooldown=125)
        pool.snapshot(0)
        yield _first(
            f"{named}, first of a network for which all cool (refused)", lambda: _refusals(pool, 1), bare, size
        )


def _let_expire(server: Server, count: int, cooldown: float) -> None:
    """Leases that nobody renews or releases, by another holder; waits until all have run out."""
    with WanPortPool(server.url, rest=0, network="dead") as dead:
        dead.define_wan(0, f"5000-{4_999 + count}", cooldown=cooldown, fresh=True)
        calls = count // MOST_PORTS_A_CALL
        granted = talk.acquire(
            server.client, dead, 0, calls, busy=False, count=MOST_PORTS_A_CALL, ttl=TTL, detached=True
        )
    time.sleep(max(0.0, max(lease.expires_at for lease in granted) - time.time()) + 0.05)


def _first(what: str, work: Callable[[], object], bare: Callable[[int], list[float]], size: Size) -> Row:
    us, _ = _us(work)
    return Row.of(PART, what, "us", [us], f"{BARE}, p50", [quantile(sorted(bare(size.pairs)), 0.5)])
