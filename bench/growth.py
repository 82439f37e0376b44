"""What a call costs when a site has grown: beside the same on a small one, in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

from bench import talk
from bench.results import Row, Size
from bench.servers import Server, private_server
from redis_wanpool import WanPortPool
from redis_wanpool.protocol import Conversation
from redis_wanpool.system.clock import boottime

PART = "Growth"
SMALL = "on 1 WAN of 100 ports, with 1 lease"
GOAL = ("<=", 1.5)
PORTS = 100
ROUNDS = 15
LEASES = 10_000

Growth = Callable[[Server, WanPortPool, int], object]


def measure(size: Size) -> Iterator[Row]:
    """Server time and calls of Redis commands for a pair, as WANs, ports, holders and leases grow; and a large beat."""
    some, many = (10, 100) if size.rounds > ROUNDS else (3, 10)
    large = 6 * size.ports if size.rounds > ROUNDS else size.ports
    held = min(LEASES, large // 2)
    grown: list[tuple[str, Growth, int]] = [
        (f"{some} WANs", _wans, some),
        (f"{many} WANs", _wans, many),
        (f"{large // 20:,} ports", _ports, large // 20),
        (f"{large:,} ports", _ports, large),
        (f"{large:,} ports, {held // 10:,} holders of a lease each", _holders, held // 10),
        (f"{large:,} ports, {held // 10:,} leases of one holder", _leases, held // 10),
        (f"{large:,} ports, {held:,} leases of one holder", _leases, held),
    ]
    with ExitStack() as stack:
        small = _site(stack, _ports, PORTS, large)
        for what, grow, count in grown:
            with ExitStack() as of_it:
                yield from _beside(small, _site(of_it, grow, count, large), what, size)
        yield from _looks(held // 10, size)
        yield from _beat(small, _site(stack, _leases, held, large), held, size)


def _site(stack: ExitStack, grow: Growth, count: int, large: int) -> tuple[Server, WanPortPool]:
    server = stack.enter_context(private_server())
    pool = stack.enter_context(WanPortPool(server.url, rest=0, reap=False))
    if grow in (_holders, _leases):
        _ports(server, pool, large)
    grow(server, pool, count)
    talk.acquire(server.client, pool, 0, 1, ttl=60)
    return server, pool


def _wans(server: Server, pool: WanPortPool, count: int) -> None:
    for wan_idx in range(count):
        first = 1024 + wan_idx * PORTS
        pool.define_wan(wan_idx, f"{first}-{first + PORTS - 1}", cooldown=0, fresh=True)
        talk.acquire(server.client, pool, wan_idx, 1)


def _ports(server: Server, pool: WanPortPool, count: int) -> None:
    pool.define_wan(0, f"1024-{1023 + count}", cooldown=0, max_ttl=3600, fresh=True)


def _holders(server: Server, pool: WanPortPool, count: int) -> None:
    own = pool._engine.protocol.holder
    for number in range(count):
        pool._engine.protocol.holder = replace(own, id=f"{own.id}{number:06}")
        pool._engine.protocol.registered = False
        talk.acquire(server.client, pool, 0, 1, ttl=3600)
        pool._engine.protocol.leases.clear()
    pool._engine.protocol.holder, pool._engine.protocol.registered = own, False


def _leases(server: Server, pool: WanPortPool, count: int) -> None:
    for first in range(0, count, 1_000):
        talk.acquire(server.client, pool, 0, 1, count=min(1_000, count - first), ttl=3600)


def _beside(
    small: tuple[Server, WanPortPool], large: tuple[Server, WanPortPool], what: str, size: Size
) -> Iterator[Row]:
    ours, theirs = [], []
    for _ in range(min(ROUNDS, size.rounds)):
        ours.append(_pair_us(*large, size))
        theirs.append(_pair_us(*small, size))
    yield Row.of(PART, f"pair, {what}", "us", ours, SMALL, theirs, GOAL)
    calls = [float(_calls(*site)) for site in (large, small)]
    yield Row.of(PART, f"pair, {what}", "commands", calls[:1], SMALL, calls[1:])


def _pair_us(server: Server, pool: WanPortPool, size: Size) -> float:
    server.begin_statistics()
    talk.release(server.client, pool, talk.acquire(server.client, pool, 0, min(50, size.pairs)))
    return server.script_us() / min(50, size.pairs)


def _calls(server: Server, pool: WanPortPool) -> int:
    """The commands that the scripts of a pair call."""
    with server.client.monitor() as monitor:
        talk.release(server.client, pool, talk.acquire(server.client, pool, 0, 1))
        server.client.echo("over")
        called = 0
        while not (seen := monitor.next_command())["command"].endswith("over"):
            called += seen["client_type"] == "lua"
    return called


def _looks(holders: int, size: Size) -> Iterator[Row]:
    """A look at the processes beside this one, as each takes every five seconds, and its word that it lives."""
    costs: dict[tuple[str, int], list[float]] = {}
    with ExitStack() as stack:
        sites = {count: _site(stack, _holders, count, PORTS + count) for count in (1, holders)}
        for _ in range(min(ROUNDS, size.rounds)):
            for count, (server, pool) in sites.items():
                costs.setdefault(("look", count), []).append(
                    _each_us(server, partial(pool._engine.protocol.neighbours, "", 32))
                )
                costs.setdefault(("word", count), []).append(_each_us(server, pool._engine.protocol.introduce))
    for name, what in (("look", "a look at the processes beside"), ("word", "a word that a process lives")):
        yield Row.of(PART, f"{what}, {holders:,} there", "us", costs[name, holders], "one there", costs[name, 1])


def _each_us(server: Server, of_it: Callable[[], Conversation[Any]]) -> float:
    server.begin_statistics()
    talk.lead(server.client, [of_it() for _ in range(50)])
    return server.script_us() / 50


def _beat(small: tuple[Server, WanPortPool], large: tuple[Server, WanPortPool], held: int, size: Size) -> Iterator[Row]:
    """All leases of a process renewed at once, for each of them; beside what one alone costs."""
    ours, theirs, calls = [], [], []
    for _ in range(min(ROUNDS, size.rounds)):
        ours.append(_renewal_us(*large))
        calls.append(float(large[0].script_calls()))
        theirs.append(_renewal_us(*small))
    yield Row.of(PART, f"a beat of a process with {held:,} leases, per lease", "us", ours, "with 1 lease", theirs)
    yield Row.of(PART, f"a beat of a process with {held:,} leases", "calls", calls)


def _renewal_us(server: Server, pool: WanPortPool) -> float:
    for lease in pool._engine.protocol.leases.values():
        lease.renew_at = 0.0
    server.begin_statistics()
    talk.lead(server.client, [pool._engine.protocol.beat(boottime())], busy=False)
    return server.script_us() / len(pool._engine.protocol.leases)
