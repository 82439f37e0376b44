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
                "a primary that is cut off may go on for longer than a grace, or two thirds of a lease, allow for",
                "被隔离的主节点继续工作的时间，可能超过宽限期余量或租约三分之二时长所允许的范围",
            )
            cure = said(f"at the prompt of redis-cli: {shorter}", f"在 redis-cli 提示符下执行：{shorter}")
            yield Finding(WARN, "grace-margin", (wan.wan_idx,), seen, means, cure)


def _twice() -> str:
    return said(
        'on a WAN with on_failover = "continue" their ports may be granted twice; with "grace" holders re-assert them',
        '在 on_failover = "continue" 的 WAN 上，这些端口可能被重复发放；在 "grace" 下由持有者重新申明',
    )


def _persistence(facts: ServerFacts) -> Iterator[Finding]:
    if facts.is_aof is None:
        return
    if facts.writes_fail:
        seen = said("Redis could not write its data to disk the last time", "Redis 上次未能把数据写入磁盘")
        means = said(
            "it refuses writes until it can: no leases, no renewals", "在恢复之前它拒绝写入：无法租用，也无法续期"
        )
        cure = said("see its log; most often its disk is full", "请查看其日志；多半是磁盘已满")
        yield Finding(FAIL, "persistence", (), seen, means, cure)
        return
    fsync = facts.settings.get("appendfsync")
    if facts.embedded:
        seen = said("the embedded server logs every grant to disk", "内置服务器把每次发放都记入磁盘")
        yield Finding(OK, "persistence", (), seen)
    elif not facts.is_aof:
        snapshots = facts.settings.get("save")
        seen = "appendonly no" + (f', save "{snapshots}"' if snapshots is not None else "")
        lost = {
            None: said(
                "a restart forgets the grants since the last snapshot, or everything; ",
                "重启会忘记上次快照之后的发放，甚至全部；",
            ),
            "": said("a restart forgets all WANs and grants; ", "重启会忘记所有 WAN 和发放；"),
        }.get(
            snapshots, said("a restart forgets the grants since the last snapshot; ", "重启会忘记上次快照之后的发放；")
        )
        cure = config_set("appendonly yes")
        yield Finding(WARN, "persistence", (), seen, lost + _twice(), cure)
    elif fsync == "no":
        means = said(
            "a crash of its machine forgets what the system had not written yet, commonly up to 30 s of grants; ",
            "其主机崩溃会丢失系统尚未写入的内容，通常可达 30 秒的发放；",
        )
        cure = config_set("appendfsync everysec")
        yield Finding(WARN, "persistence", (), "appendonly yes, appendfsync no", means + _twice(), cure)
    else:
        seen = "appendonly yes" + (f", appendfsync {fsync}" if fsync else "")
        if fsync == "everysec":
            seen += said(
                ": a crash of its machine forgets up to 1 s of grants, one of Redis alone none",
                "：其主机崩溃最多丢失 1 秒的发放，仅 Redis 崩溃则不丢失",
            )
        yield Finding(OK, "persistence", (), seen)


def _replicas(facts: ServerFacts) -> Iterator[Finding]:
    wanted, lag = facts.setting("min-replicas-to-write"), facts.setting("min-replicas-max-lag")
    if facts.replicas is None:
        return
    count = said(f"{facts.replicas} replicas", f"{facts.replicas} 个副本")
    if wanted and facts.enough_replicas is not None and facts.enough_replicas < wanted:
        seen = said(
            f"{facts.enough_replicas} replicas keep up, and min-replicas-to-write is {wanted}",
            f"{facts.enough_replicas} 个副本跟得上，而 min-replicas-to-write 为 {wanted}",
        )
        means = said("Redis refuses writes: no leases, no renewals", "Redis 拒绝写入：无法租用，也无法续期")
        cure = said("bring a replica back, or lower min-replicas-to-write", "请恢复副本，或调低 min-replicas-to-write")
        yield Finding(FAIL, "replicas", (), seen, means, cure)
    elif facts.replicas == 0:
        yield Finding(OK, "replicas", (), said("no replicas: no failover", "没有副本：不会故障切换"))
    elif facts.cluster and not wanted:
        means = said(
            f"a failover forgets what no replica has yet (now {facts.lag} s); " + _twice(),
            f"故障切换会丢失副本尚未收到的内容（当前 {facts.lag} 秒）；" + _twice(),
        )
        yield Finding(OK, "replicas", (), count, means)
    elif wanted or facts.enough_replicas is not None:
        means = said(
            f"a failover forgets the grants of the moment, of {lag or 10} s at most; " + _twice(),
            f"故障切换会丢失最后时刻的发放，最多 {lag or 10} 秒；" + _twice(),
        )
        yield Finding(OK, "replicas", (), f"{count}, min-replicas-to-write {wanted or '?'}", means)
    else:
        means = said(
            f"a failover forgets what no replica has yet (now {facts.lag} s), and a primary that is cut off goes on "
            "granting without a limit; " + _twice(),
            f"故障切换会丢失副本尚未收到的内容（当前 {facts.lag} 秒），被隔离的主节点会无限期继续发放；" + _twice(),
        )
        cure = config_set("min-replicas-to-write 1", "min-replicas-max-lag 10")
        seen = count + ("" if wanted is None else ", min-replicas-to-write 0")
        yield Finding(WARN, "replicas", (), seen, means, cure)
