"""Judges whether a Redis can keep the promises while it runs: version, role, memory, speed, clock, what it shows."""

from collections.abc import Iterator
from statistics import median

from redis_wanpool.doctor.finding import FAIL, OK, WARN, Finding, found
from redis_wanpool.doctor.server import ServerFacts, config_set
from redis_wanpool.model.lease import margin
from redis_wanpool.protocol.requirements import evicts_any_key, is_replica, is_too_old
from redis_wanpool.terminal.language import said
from redis_wanpool.transport.translate import is_denial

_REDIS = {
    (6, 2): (6, 2, 20),
    (7, 0): (7, 2, 11),
    (7, 2): (7, 2, 11),
    (7, 4): (7, 4, 6),
    (8, 0): (8, 0, 4),
    (8, 2): (8, 2, 2),
}
_VALKEY = {(7, 2): (7, 2, 11), (8, 0): (8, 0, 6), (8, 1): (8, 1, 4)}
FIXED = {False: _REDIS, True: _VALKEY}
"""whether it is Valkey -> line -> the first version without CVE-2025-49844, of that line or the next"""
NEARLY_FULL = 0.9
TIMEOUT = 2.0  #: seconds after which a call to Redis is given up, by default
SLOW = TIMEOUT / 10


def judge(facts: ServerFacts, shortest_ttl: float) -> Iterator[Finding]:
    """What these facts mean; `shortest_ttl` is that of all WANs, in seconds."""
    yield from _version(facts)
    if is_replica(facts.role):
        yield found(FAIL, "replica")
    yield from _eviction(facts)
    yield from _memory(facts)
    yield from _cluster(facts)
    yield from _latency(facts, shortest_ttl)
    yield from _clock(facts)
    yield from _exposure(facts)
    yield from _unseen(facts)


def _version(facts: ServerFacts) -> Iterator[Finding]:
    if facts.version is None:
        return
    name = f"{'Valkey' if facts.is_valkey else 'Redis'} {'.'.join(map(str, facts.version))}"
    fixed = FIXED[facts.is_valkey].get((facts.version[0], facts.version[1]), (0, 0, 0))
    if is_too_old(facts.version):
        yield found(FAIL, "version/too-old", seen=name)
    elif facts.version < fixed:
        yield found(WARN, "version/unpatched", seen=name, wanted=".".join(map(str, fixed)))
    else:
        yield found(OK, "version", seen=name)


def _eviction(facts: ServerFacts) -> Iterator[Finding]:
    policy = facts.eviction
    if policy is None:
        return
    seen = f"maxmemory-policy {policy}"
    if evicts_any_key(policy):
        yield found(FAIL, "eviction/any-key", seen=seen, cure=config_set("maxmemory-policy noeviction"))
    else:
        yield found(OK, "eviction/volatile" if policy.startswith("volatile-") else "eviction", seen=seen)


def _memory(facts: ServerFacts) -> Iterator[Finding]:
    if not facts.max_memory:
        return
    share = facts.used_memory / facts.max_memory
    used, most = facts.used_memory / 2**20, facts.max_memory / 2**20
    seen = said("{used:.0f} of {most:.0f} MB (maxmemory) are used", used=used, most=most)
    evicts = facts.eviction is not None and facts.eviction != "noeviction"
    if share < NEARLY_FULL:
        yield found(OK, "memory", seen=seen)
    elif share < 1 or evicts:
        yield found(WARN, "memory/nearly-full", seen=seen)
    else:
        yield found(FAIL, "memory/full", seen=seen)


def _cluster(facts: ServerFacts) -> Iterator[Finding]:
    if not facts.cluster:
        return
    count = "?" if facts.shards is None else str(facts.shards)
    seen = said("a cluster of {count} shards", count=count)
    if not facts.whole_cluster and (facts.shards is None or facts.shards > 1):
        yield found(FAIL, "cluster/one-node", seen=seen)
        return
    yield found(OK, "cluster", seen=seen)
    name = "cluster-require-full-coverage"
    if facts.settings.get(name) == "yes":
        yield found(WARN, "cluster-coverage", seen=f"{name} yes", cure=config_set(f"{name} no"))


def _latency(facts: ServerFacts, shortest_ttl: float) -> Iterator[Finding]:
    if not facts.round_trips:
        return
    usual, worst = median(facts.round_trips) * 1000, max(facts.round_trips) * 1000
    seen = said(
        "a round trip to Redis takes {usual:.1f} ms, {worst:.1f} ms at worst of {count}",
        usual=usual,
        worst=worst,
        count=len(facts.round_trips),
    )
    limit = min(SLOW, margin(shortest_ttl)) * 1000
    if worst <= limit:
        yield found(OK, "latency", seen=seen)
        return
    name = "latency/more-than-the-margin" if limit < SLOW * 1000 else "latency/slow"
    yield found(WARN, name, seen=seen, limit=limit, shortest_ttl=shortest_ttl, timeout=TIMEOUT)


def _clock(facts: ServerFacts) -> Iterator[Finding]:
    if facts.ahead is None:
        return
    by = f"{abs(facts.ahead):.1f}"
    seen = said("the clock of Redis is {by} s ahead of this machine's", by=by)
    if facts.ahead < 0:
        seen = said("the clock of Redis is {by} s behind this machine's", by=by)
    means = said("leases do not depend on that; the ISO times that people read are of its clock")
    yield found(OK, "clock", seen=seen, means=means if abs(facts.ahead) >= 1 else "")


def _exposure(facts: ServerFacts) -> Iterator[Finding]:
    if not facts.is_here and not facts.is_encrypted:
        yield found(WARN, "unencrypted")
    if facts.embedded or facts.has_password:
        return
    bind = facts.settings.get("bind")
    listens = bind is not None and any(not _is_loopback(address) for address in bind.split() or ["*"])
    if not facts.is_here or (listens and facts.settings.get("protected-mode") == "no"):
        seen = said("Redis wants no password, and listens beyond loopback")
        seen += said(" (bind {bind})", bind=bind) if bind else ""
        yield found(WARN, "no-password", seen=seen)


def _is_loopback(address: str) -> bool:
    return address.lstrip("-").startswith("127.") or address.lstrip("-") in ("::1", "localhost")


def _unseen(facts: ServerFacts) -> Iterator[Finding]:
    judged = {
        "INFO": said("version, role, eviction, memory, persistence, replicas"),
        "CONFIG GET": said("appendfsync, min-replicas, bind"),
        "CLUSTER INFO": said("how many shards"),
        "EVAL": said("latency, clock"),
    }
    for name, why in facts.unseen:
        yield found(
            WARN, "unseen/server" if is_denial(why) else "unseen/refused", name=name, why=why, what=judged[name]
        )
