"""Judges whether a Redis can keep the promises while it runs: version, role, memory, speed, clock, what it shows."""

from collections.abc import Iterator
from statistics import median

from redis_wanpool.doctor import FAIL, OK, WARN, Finding
from redis_wanpool.doctor.server import ServerFacts, config_set
from redis_wanpool.model.lease import margin
from redis_wanpool.protocol.requirements import evicts_any_key, is_replica, is_too_old
from redis_wanpool.terminal.language import said

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
    yield from _role(facts)
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
        means = said("the scripts need 6.2 or newer: programs are refused (UnsafeRedis)")
        cure = said("upgrade it; any Valkey will do")
        yield Finding(FAIL, "version", (), name, means, cure)
    elif facts.version < fixed:
        means = said(
            "who may run scripts, as every user of a pool may, can run anything on its machine (CVE-2025-49844), "
            "unless a distribution has patched it"
        )
        wanted = ".".join(map(str, fixed))
        cure = said("upgrade it to {wanted} or newer", wanted=wanted)
        yield Finding(WARN, "version", (), name, means, cure)
    else:
        yield Finding(OK, "version", (), name)


def _role(facts: ServerFacts) -> Iterator[Finding]:
    if is_replica(facts.role):
        seen = said("this Redis is a replica")
        means = said("it takes no writes, and what it tells may be old: programs are refused (UnsafeRedis)")
        cure = said("give the URL of the primary")
        yield Finding(FAIL, "replica", (), seen, means, cure)


def _eviction(facts: ServerFacts) -> Iterator[Finding]:
    policy = facts.eviction
    if policy is None:
        return
    seen = f"maxmemory-policy {policy}"
    if evicts_any_key(policy):
        means = said(
            "it may evict any key, and so forget who holds a port and grant it twice: programs are refused "
            "(UnsafeRedis) unless they insist"
        )
        yield Finding(FAIL, "eviction", (), seen, means, config_set("maxmemory-policy noeviction"))
    elif policy.startswith("volatile-"):
        means = said("keys with a ttl may go: what people look at (lease:PORT) and hints, never what decides")
        yield Finding(OK, "eviction", (), seen, means)
    else:
        yield Finding(OK, "eviction", (), seen)


def _memory(facts: ServerFacts) -> Iterator[Finding]:
    if not facts.max_memory:
        return
    share = facts.used_memory / facts.max_memory
    used, most = facts.used_memory / 2**20, facts.max_memory / 2**20
    seen = said("{used:.0f} of {most:.0f} MB (maxmemory) are used", used=used, most=most)
    evicts = facts.eviction is not None and facts.eviction != "noeviction"
    if share < NEARLY_FULL:
        yield Finding(OK, "memory", (), seen)
    elif share < 1 or evicts:
        means = said(
            "when it is full, new leases are refused, or keys evicted; leases that run are renewed and released"
        )
        yield Finding(WARN, "memory", (), seen, means, _more_memory())
    else:
        means = said("it is full: new leases are refused; leases that run are renewed and released")
        yield Finding(FAIL, "memory", (), seen, means, _more_memory())


def _more_memory() -> str:
    return said("free memory there, or raise maxmemory")


def _cluster(facts: ServerFacts) -> Iterator[Finding]:
    if not facts.cluster:
        return
    count = "?" if facts.shards is None else str(facts.shards)
    seen = said("a cluster of {count} shards", count=count)
    if facts.whole_cluster or (facts.shards is not None and facts.shards <= 1):
        yield Finding(OK, "cluster", (), seen)
        yield from _coverage(facts)
        return
    means = said("the pool talks to one node: WANs that live on another shard are refused (MOVED)")
    cure = said("give the URL of the whole cluster: redis+cluster://")
    yield Finding(FAIL, "cluster", (), seen, means, cure)


def _coverage(facts: ServerFacts) -> Iterator[Finding]:
    name = "cluster-require-full-coverage"
    if facts.settings.get(name) == "yes":
        means = said("while one shard has no primary, all WANs on all shards are refused")
        yield Finding(WARN, "cluster-coverage", (), f"{name} yes", means, config_set(f"{name} no"))


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
        yield Finding(OK, "latency", (), seen)
        return
    if limit < SLOW * 1000:
        means = said(
            "more than {limit:.0f} ms, the margin of a lease of {shortest_ttl:g} s: a lease counts from before its "
            "request, so that its holder loses more of it by waiting than by the margin",
            limit=limit,
            shortest_ttl=shortest_ttl,
        )
    else:
        means = said(
            "more than {limit:.0f} ms, a tenth of the {timeout:g} s after which a call is given up; every lease costs "
            "a round trip or more",
            limit=limit,
            timeout=TIMEOUT,
        )
    cure = said("see what else that Redis does (SLOWLOG GET, LATENCY DOCTOR), and the way there; or give longer ttls")
    yield Finding(WARN, "latency", (), seen, means, cure)


def _clock(facts: ServerFacts) -> Iterator[Finding]:
    if facts.ahead is None:
        return
    by = f"{abs(facts.ahead):.1f}"
    seen = said("the clock of Redis is {by} s ahead of this machine's", by=by)
    if facts.ahead < 0:
        seen = said("the clock of Redis is {by} s behind this machine's", by=by)
    means = said("leases do not depend on that; the ISO times that people read are of its clock")
    yield Finding(OK, "clock", (), seen, means if abs(facts.ahead) >= 1 else "")


def _exposure(facts: ServerFacts) -> Iterator[Finding]:
    if not facts.is_here and not facts.is_encrypted:
        seen = said("Redis is on another machine, and spoken to in the clear")
        means = said("who listens on the way reads the password and lease ids, and can end leases with them")
        cure = said("use TLS (rediss://), or a network that nobody else listens on")
        yield Finding(WARN, "unencrypted", (), seen, means, cure)
    if facts.embedded or facts.has_password:
        return
    bind = facts.settings.get("bind")
    listens = bind is not None and any(not _is_loopback(address) for address in bind.split() or ["*"])
    if not facts.is_here or (listens and facts.settings.get("protected-mode") == "no"):
        seen = said("Redis wants no password, and listens beyond loopback")
        seen += said(" (bind {bind})", bind=bind) if bind else ""
        means = said("who reaches it can end leases, and erase the books")
        cure = said("set a password (requirepass, or users of its ACL), and put it into WANPOOL_URL or a private file")
        yield Finding(WARN, "no-password", (), seen, means, cure)


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
        seen = said("{name} is not told to this user: {why}", name=name, why=why)
        means = said("so these are not judged: {what}", what=judged[name])
        cure = said("run the doctor as a user who may {name}", name=name)
        yield Finding(WARN, "unseen", (), seen, means, cure)
