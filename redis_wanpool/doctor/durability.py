"""Judges what a Redis remembers after a crash, and after a failover."""

from collections.abc import Iterator, Sequence

from redis_wanpool.doctor.finding import FAIL, OK, WARN, Finding, found
from redis_wanpool.doctor.server import ServerFacts, config_set
from redis_wanpool.model.views import WanSnapshot
from redis_wanpool.protocol.requirements import is_replica
from redis_wanpool.terminal.language import said
from redis_wanpool.transport import embedded


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
            yield found(WARN, "grace-margin", (wan.wan_idx,), seen=seen, shorter=shorter)


def _twice() -> str:
    return said(
        'on a WAN with on_failover = "continue" their ports may be granted twice; with "grace" holders re-assert them'
    )


def _persistence(facts: ServerFacts) -> Iterator[Finding]:
    if facts.is_aof is None:
        return
    if facts.embedded:
        yield from _embedded(facts)
        return
    if facts.writes_fail:
        yield found(FAIL, "persistence/unwritable")
        return
    fsync = facts.settings.get("appendfsync")
    if not facts.is_aof:
        snapshots = facts.settings.get("save")
        seen = "appendonly no" + (f', save "{snapshots}"' if snapshots is not None else "")
        lost = {
            None: said("a restart forgets the grants since the last snapshot, or everything; "),
            "": said("a restart forgets all WANs and grants; "),
        }.get(snapshots, said("a restart forgets the grants since the last snapshot; "))
        cure = config_set("appendonly yes")
        yield found(WARN, "persistence", seen=seen, means=lost + _twice(), cure=cure)
    elif fsync == "no":
        seen, cure = "appendonly yes, appendfsync no", config_set("appendfsync everysec")
        yield found(WARN, "persistence/not-synced", seen=seen, cure=cure, twice=_twice())
    else:
        seen = "appendonly yes" + (f", appendfsync {fsync}" if fsync else "")
        if fsync == "everysec":
            seen += said(": a crash of its machine forgets up to 1 s of grants, one of Redis alone none")
        yield found(OK, "persistence", seen=seen)


def _embedded(facts: ServerFacts) -> Iterator[Finding]:
    if facts.writes_fail:
        at = embedded.disk()
        yield found(
            FAIL, "persistence/embedded-unwritable", folder=at.folder, mount=at.mount, free=at.free, total=at.total
        )
    else:
        yield found(OK, "persistence/embedded")
    if copies := embedded.status().copies:
        yield found(WARN, "persistence/embedded-mended", copies=said(", ").join(map(str, copies)))


def _replicas(facts: ServerFacts) -> Iterator[Finding]:
    wanted, lag = facts.setting("min-replicas-to-write"), facts.setting("min-replicas-max-lag")
    if facts.replicas is None:
        return
    count = said("{replicas} replicas", replicas=facts.replicas)
    if wanted and facts.enough_replicas is not None and facts.enough_replicas < wanted:
        yield found(FAIL, "replicas/too-few", enough_replicas=facts.enough_replicas, wanted=wanted)
    elif facts.replicas == 0:
        yield found(OK, "replicas/none")
    elif facts.cluster and not wanted:
        yield found(OK, "replicas/of-a-cluster", seen=count, lag=facts.lag, twice=_twice())
    elif wanted or facts.enough_replicas is not None:
        seen = f"{count}, min-replicas-to-write {wanted or '?'}"
        yield found(OK, "replicas/with-a-limit", seen=seen, lag=lag or 10, twice=_twice())
    else:
        cure = config_set("min-replicas-to-write 1", "min-replicas-max-lag 10")
        seen = count + ("" if wanted is None else ", min-replicas-to-write 0")
        yield found(WARN, "replicas/without-a-limit", seen=seen, cure=cure, lag=facts.lag, twice=_twice())
