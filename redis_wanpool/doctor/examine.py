"""All checks that need nothing but Redis and this machine, in order."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from redis_wanpool.doctor import durability, fitness, lines, linux, occupied, permission, process, server, wans, windows
from redis_wanpool.doctor.finding import FAIL, WARN, Finding, found
from redis_wanpool.doctor.server import was_refused
from redis_wanpool.errors import BackendUnavailable, WanpoolError
from redis_wanpool.model.ports import port_numbers
from redis_wanpool.settings import Settings
from redis_wanpool.sync.operator import Operator
from redis_wanpool.system.identity import this_holder
from redis_wanpool.transport.translate import is_denial

DEFAULT_TTL = 60.0
LONGEST = 240  #: letters of an error


@dataclass(frozen=True, slots=True)
class Examined:
    """What is found in Redis."""

    findings: tuple[Finding, ...]
    reached: bool
    wans: tuple[wans.WanFacts, ...] | None = None  #: None: it does not tell


def examine_redis(operator: Operator, settings: Settings) -> Examined:
    """Redis, and the WANs in it beside those of this machine's wanpool.toml."""
    findings: list[Finding] = []
    try:
        shards = None if operator.is_fake else server.look(operator, settings.url)
        seen: tuple[wans.WanFacts, ...] | None = None
        try:
            seen = wans.look(operator)
        finally:
            findings += _judge_server(operator, settings, shards, seen or ())
        findings += wans.judge(settings.namespace, seen, settings.wans, settings.rest)
        findings += lines.judge(operator.health())
    except BackendUnavailable as error:
        return no_redis(error, findings)
    return Examined(tuple(findings), True, seen)


def no_redis(error: WanpoolError, findings: Sequence[Finding] = ()) -> Examined:
    """A Redis that does not answer, or not what was asked."""
    reached = was_refused(error)
    name = "redis/unreached"
    if reached:
        name = "redis/denied" if is_denial(str(error)) else "redis/refused"
    seen = textwrap.shorten(str(error), LONGEST, placeholder=" ...")
    return Examined((*findings, found(FAIL, name, seen=seen)), reached)


def examine_machine(operator: Operator | None, settings: Settings, redis: Examined) -> list[Finding]:
    """This machine, with regard to the ports of all WANs that are known; without an Operator if there can be none."""
    stand = redis.wans or ()
    ports = {port for wan in stand if wan.ports for port in port_numbers(wan.ports)}
    known = {wan.wan_idx for wan in stand}
    ports.update(port for wan in settings.wans if wan.wan_idx not in known for port in port_numbers(wan.ports))
    findings: list[Finding] = []
    if not ports and redis.wans is None:
        findings.append(found(WARN, "unseen/ports"))
    findings += _judge_system(ports)
    if ports:
        before = occupied.look(ports)
        used = {one.port for one in before or ()}
        leased = None if operator is None or redis.wans is None else _leased_here(operator, redis.wans, used)
        after = occupied.look(ports)
        if leased is None:  # then what is not listening may have a lease
            leased = {one.port for one in before or () if not one.listens}
        findings += occupied.judge(before, leased, after)
    return [*findings, *process.judge(process.look(settings.network), len(ports))]


def _judge_server(
    operator: Operator, settings: Settings, shards: Sequence[server.ServerFacts] | None, seen: Sequence[wans.WanFacts]
) -> Iterator[Finding]:
    if shards is None:
        yield found(WARN, "fake")
        return
    whole = [wan.snapshot for wan in seen if wan.snapshot is not None]
    shortest = min((int(wan.config["lease_ttl_ms"]) / 1000 for wan in whole), default=DEFAULT_TTL)
    shards_of: dict[Finding, list[str]] = {}
    for facts in shards:
        if not facts.answers:
            yield found(FAIL, "shard", shard=facts.shard)
            continue
        for judged in (fitness.judge(facts, shortest), durability.judge(facts), durability.judge_margins(facts, whole)):
            for finding in judged:
                shards_of.setdefault(finding, []).append(facts.shard)
    for finding, where in shards_of.items():
        if len(where) == sum(facts.answers for facts in shards):
            yield finding
        else:
            yield replace(finding, seen=f"{', '.join(where)}: {finding.seen}")
    unseen = [one for facts in shards for one in facts.unseen]
    yield from permission.judge(
        permission.look(operator, unseen, whole[0].wan_idx if whole else None, settings.durability)
    )


def _judge_system(ports: set[int]) -> Iterator[Finding]:
    if sys.platform.startswith("linux"):
        yield from linux.judge(linux.look(), ports)
    elif sys.platform == "win32":
        yield from windows.judge(windows.look(), ports)
    else:
        yield found(WARN, "unseen/system", platform=sys.platform)


def _leased_here(operator: Operator, seen: Sequence[wans.WanFacts], used: set[int]) -> set[int] | None:
    """What this machine leases of the WANs that have these ports; None if that is not known."""
    host = this_holder().host
    leased: set[int] = set()
    try:
        for wan in seen:
            if wan.snapshot is not None and wan.ports and not used.isdisjoint(port_numbers(wan.ports)):
                leases = operator.snapshot(wan.wan_idx, leases=True).leases
                leased.update(one.port for one in leases if one.network == operator.network or one.host == host)
    except WanpoolError:  # gone since it was seen
        return None
    return leased
