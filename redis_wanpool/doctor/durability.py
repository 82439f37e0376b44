"""Judges what a Redis remembers after a crash, and after a failover."""

from collections.abc import Iterator, Sequence

from redis_wanpool.doctor import FAIL, OK, WARN, Finding
from redis_wanpool.doctor.server import ServerFacts, config_set
from redis_wanpool.model.views import WanSnapshot
from redis_wanpool.protocol.requirements import is_replica
from redis_wanpool.terminal.language import said


def judge(facts: ServerFacts) -> Iterator[Finding]:
    if not is_replica(facts.role):
        yield from _persistence(facts)
        yield from _replicas(facts)


def judge_margins(facts: ServerFacts, wans: Sequence[WanSnapshot]) -> Iterator[Finding]:
    """Whether a grace is longer than an old primary can go on beside the new one."""
    name, lag, step = "min-replicas-max-lag", facts.setting("min-replicas-max-lag"), 1
    if facts.cluster:  # where the primary of a minority stops by itself, half of this after the new one at the latest
        name, lag, step = "cluster-node-timeout", (facts.setting("cluster-node-timeout") or 0) // 2000, 2000
    if not facts.replicas or not lag:
        return
    for wan in wans:
        margin = int(wan.config["failover_margin_ms"]) / 1000
        left = int(wan.config["lease_ttl_ms"]) / 1500  # of a lease whose holder has gone to a new primary
        shorter = f"CONFIG SET {name} {step * max(1, int(min(margin, left - 2)))}, CONFIG REWRITE"
        if wan.config["on_failover"] == "grace" and min(margin, left - 2) < lag:
            margins = f"failover_margin {margin:g} s, lease_ttl {1.5 * left:g} s"
            seen = f"WAN {wan.wan_idx}: {margins}, {name} {lag * max(1, step // 1000)} s"
            means = said(
                "a primary that is cut off may go on for longer than a grace, or two thirds of a lease, allow for"
            )
            cure = said("at the prompt of redis-cli: {shorter}", shorter=shorter)
            yield Finding(WARN, "grace-margin", (wan.wan_idx,), seen, means, cure)


def _twice() -> str:
    return said(
        'on a WAN with on_failover = "continue" their ports may be granted twice; with "grace" holders re-assert them'
    )


def _persistence(facts: ServerFacts) -> Iterator[Finding]:
    if facts.is_aof is None:
        return
    if facts.writes_fail:
        seen = said("Redis could not write its data to disk the last time")
        means = said("it refuses writes until it can: no leases, no renewals")
        cure = said("see its log; most often its disk is full")
        yield Finding(FAIL, "persistence", (), seen, means, cure)
        return
    fsync = facts.settings.get("appendfsync")
    if facts.embedded:
        seen = said("the embedded server logs every grant to disk")
        yield Finding(OK, "persistence", (), seen)
    elif not facts.is_aof:
        snapshots = facts.settings.get("save")
        seen = "appendonly no" + (f', save "{snapshots}"' if snapshots is not None else "")
        lost = {
            None: said("a restart forgets the grants since the last snapshot, or everything; "),
            "": said("a restart forgets all WANs and grants; "),
        }.get(snapshots, said("a restart forgets the grants since the last snapshot; "))
        cure = config_set("appendonly yes")
        yield Finding(WARN, "persistence", (), seen, lost + _twice(), cure)
    elif fsync == "no":
        means = said(
            "a crash of its machine forgets what the system had not written yet, commonly up to 30 s of grants; "
        )
        cure = config_set("appendfsync everysec")
        yield Finding(WARN, "persistence", (), "appendonly yes, appendfsync no", means + _twice(), cure)
    else:
        seen = "appendonly yes" + (f", appendfsync {fsync}" if fsync else "")
        if fsync == "everysec":
            seen += said(": a crash of its machine forgets up to 1 s of grants, one of Redis alone none")
        yield Finding(OK, "persistence", (), seen)


def _replicas(facts: ServerFacts) -> Iterator[Finding]:
    wanted, lag = facts.setting("min-replicas-to-write"), facts.setting("min-replicas-max-lag")
    if facts.replicas is None:
        return
    count = said("{replicas} replicas", replicas=facts.replicas)
    if wanted and facts.enough_replicas is not None and facts.enough_replicas < wanted:
        seen = said(
            "{enough_replicas} replicas keep up, and min-replicas-to-write is {wanted}",
            enough_replicas=facts.enough_replicas,
            wanted=wanted,
        )
        means = said("Redis refuses writes: no leases, no renewals")
        cure = said("bring a replica back, or lower min-replicas-to-write")
        yield Finding(FAIL, "replicas", (), seen, means, cure)
    elif facts.replicas == 0:
        yield Finding(OK, "replicas", (), said("no replicas: no failover"))
    elif facts.cluster and not wanted:
        means = said("a failover forgets what no replica has yet (now {lag} s); ", lag=facts.lag) + _twice()
        yield Finding(OK, "replicas", (), count, means)
    elif wanted or facts.enough_replicas is not None:
        means = said("a failover forgets the grants of the moment, of {lag} s at most; ", lag=lag or 10) + _twice()
        yield Finding(OK, "replicas", (), f"{count}, min-replicas-to-write {wanted or '?'}", means)
    else:
        means = (
            said(
                "a failover forgets what no replica has yet (now {lag} s), and a primary that is cut off goes on "
                "granting without a limit; ",
                lag=facts.lag,
            )
            + _twice()
        )
        cure = config_set("min-replicas-to-write 1", "min-replicas-max-lag 10")
        seen = count + ("" if wanted is None else ", min-replicas-to-write 0")
        yield Finding(WARN, "replicas", (), seen, means, cure)
