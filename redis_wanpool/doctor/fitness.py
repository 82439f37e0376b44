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
        means = said(
            "the scripts need 6.2 or newer: programs are refused (UnsafeRedis)",
            "脚本需要 6.2 或更新版本：程序会被拒绝（UnsafeRedis）",
        )
        cure = said("upgrade it; any Valkey will do", "请升级；任何版本的 Valkey 都可以")
        yield Finding(FAIL, "version", (), name, means, cure)
    elif facts.version < fixed:
        means = said(
            "who may run scripts, as every user of a pool may, can run anything on its machine (CVE-2025-49844), "
            "unless a distribution has patched it",
            "能执行脚本的用户（端口池的每个用户都能）可以在其主机上执行任意代码（CVE-2025-49844），除非发行版已打补丁",
        )
        wanted = ".".join(map(str, fixed))
        cure = said(f"upgrade it to {wanted} or newer", f"请升级到 {wanted} 或更新版本")
        yield Finding(WARN, "version", (), name, means, cure)
    else:
        yield Finding(OK, "version", (), name)


def _role(facts: ServerFacts) -> Iterator[Finding]:
    if is_replica(facts.role):
        seen = said("this Redis is a replica", "此 Redis 是副本")
        means = said(
            "it takes no writes, and what it tells may be old: programs are refused (UnsafeRedis)",
            "它不接受写入，数据也可能过时：程序会被拒绝（UnsafeRedis）",
        )
        cure = said("give the URL of the primary", "请使用主节点的 URL")
        yield Finding(FAIL, "replica", (), seen, means, cure)


def _eviction(facts: ServerFacts) -> Iterator[Finding]:
    policy = facts.eviction
    if policy is None:
        return
    seen = f"maxmemory-policy {policy}"
    if evicts_any_key(policy):
        means = said(
            "it may evict any key, and so forget who holds a port and grant it twice: programs are refused "
            "(UnsafeRedis) unless they insist",
            "它可能淘汰任何键，从而忘记端口由谁持有并重复发放：程序会被拒绝（UnsafeRedis），除非强制使用",
        )
        yield Finding(FAIL, "eviction", (), seen, means, config_set("maxmemory-policy noeviction"))
    elif policy.startswith("volatile-"):
        means = said(
            "keys with a ttl may go: what people look at (lease:PORT) and hints, never what decides",
            "带 ttl 的键可能被淘汰：只影响供人查看的键（lease:PORT）和提示，不影响判定",
        )
        yield Finding(OK, "eviction", (), seen, means)
    else:
        yield Finding(OK, "eviction", (), seen)


def _memory(facts: ServerFacts) -> Iterator[Finding]:
    if not facts.max_memory:
        return
    share = facts.used_memory / facts.max_memory
    used, most = facts.used_memory / 2**20, facts.max_memory / 2**20
    seen = said(
        f"{used:.0f} of {most:.0f} MB (maxmemory) are used", f"已用 {used:.0f} MB，上限（maxmemory）{most:.0f} MB"
    )
    evicts = facts.eviction is not None and facts.eviction != "noeviction"
    if share < NEARLY_FULL:
        yield Finding(OK, "memory", (), seen)
    elif share < 1 or evicts:
        means = said(
            "when it is full, new leases are refused, or keys evicted; leases that run are renewed and released",
            "写满后会拒绝新租约或淘汰键；已有租约照常续期和释放",
        )
        yield Finding(WARN, "memory", (), seen, means, _more_memory())
    else:
        means = said(
            "it is full: new leases are refused; leases that run are renewed and released",
            "已写满：新租约被拒绝；已有租约照常续期和释放",
        )
        yield Finding(FAIL, "memory", (), seen, means, _more_memory())


def _more_memory() -> str:
    return said("free memory there, or raise maxmemory", "请在该处释放内存，或调大 maxmemory")


def _cluster(facts: ServerFacts) -> Iterator[Finding]:
    if not facts.cluster:
        return
    count = "?" if facts.shards is None else str(facts.shards)
    seen = said(f"a cluster of {count} shards", f"有 {count} 个分片的集群")
    if facts.whole_cluster or (facts.shards is not None and facts.shards <= 1):
        yield Finding(OK, "cluster", (), seen)
        yield from _coverage(facts)
        return
    means = said(
        "the pool talks to one node: WANs that live on another shard are refused (MOVED)",
        "端口池只与一个节点通信：位于其他分片的 WAN 会被拒绝（MOVED）",
    )
    cure = said("give the URL of the whole cluster: redis+cluster://", "请给出整个集群的 URL：redis+cluster://")
    yield Finding(FAIL, "cluster", (), seen, means, cure)


def _coverage(facts: ServerFacts) -> Iterator[Finding]:
    name = "cluster-require-full-coverage"
    if facts.settings.get(name) == "yes":
        means = said(
            "while one shard has no primary, all WANs on all shards are refused",
            "只要有一个分片没有主节点，所有分片上的全部 WAN 都会被拒绝",
        )
        yield Finding(WARN, "cluster-coverage", (), f"{name} yes", means, config_set(f"{name} no"))


def _latency(facts: ServerFacts, shortest_ttl: float) -> Iterator[Finding]:
    if not facts.round_trips:
        return
    usual, worst = median(facts.round_trips) * 1000, max(facts.round_trips) * 1000
    seen = said(
        f"a round trip to Redis takes {usual:.1f} ms, {worst:.1f} ms at worst of {len(facts.round_trips)}",
        f"一次往返 {usual:.1f} 毫秒，{len(facts.round_trips)} 次中最慢 {worst:.1f} 毫秒",
    )
    limit = min(SLOW, margin(shortest_ttl)) * 1000
    if worst <= limit:
        yield Finding(OK, "latency", (), seen)
        return
    if limit < SLOW * 1000:
        means = said(
            f"more than {limit:.0f} ms, the margin of a lease of {shortest_ttl:g} s: a lease counts from before its "
            "request, so that its holder loses more of it by waiting than by the margin",
            f"超过 {limit:.0f} 毫秒，即 {shortest_ttl:g} 秒租约的余量：租约从发出请求前算起，等待造成的损失已大于余量",
        )
    else:
        means = said(
            f"more than {limit:.0f} ms, a tenth of the {TIMEOUT:g} s after which a call is given up; every lease "
            "costs a round trip or more",
            f"超过 {limit:.0f} 毫秒，即调用放弃时限 {TIMEOUT:g} 秒的十分之一；每个租约至少要一次往返",
        )
    cure = said(
        "see what else that Redis does (SLOWLOG GET, LATENCY DOCTOR), and the way there; or give longer ttls",
        "检查该 Redis 还在做什么（SLOWLOG GET、LATENCY DOCTOR）以及网络路径；或使用更长的 ttl",
    )
    yield Finding(WARN, "latency", (), seen, means, cure)


def _clock(facts: ServerFacts) -> Iterator[Finding]:
    if facts.ahead is None:
        return
    by = f"{abs(facts.ahead):.1f}"
    seen = said(
        f"the clock of Redis is {by} s {'behind' if facts.ahead < 0 else 'ahead of'} this machine's",
        f"Redis 的时钟比本机{'慢' if facts.ahead < 0 else '快'} {by} 秒",
    )
    means = said(
        "leases do not depend on that; the ISO times that people read are of its clock",
        "租约不依赖它；供人阅读的 ISO 时间以它的时钟为准",
    )
    yield Finding(OK, "clock", (), seen, means if abs(facts.ahead) >= 1 else "")


def _exposure(facts: ServerFacts) -> Iterator[Finding]:
    if not facts.is_here and not facts.is_encrypted:
        seen = said("Redis is on another machine, and spoken to in the clear", "Redis 在另一台机器上，且通信未加密")
        means = said(
            "who listens on the way reads the password and lease ids, and can end leases with them",
            "途中的监听者能读到密码和 lease_id，并可据此结束租约",
        )
        cure = said(
            "use TLS (rediss://), or a network that nobody else listens on",
            "请使用 TLS（rediss://），或无人能监听的网络",
        )
        yield Finding(WARN, "unencrypted", (), seen, means, cure)
    if facts.embedded or facts.has_password:
        return
    bind = facts.settings.get("bind")
    listens = bind is not None and any(not _is_loopback(address) for address in bind.split() or ["*"])
    if not facts.is_here or (listens and facts.settings.get("protected-mode") == "no"):
        seen = said(
            "Redis wants no password, and listens beyond loopback" + (f" (bind {bind})" if bind else ""),
            "Redis 不要求密码，且监听在回环地址之外" + (f"（bind {bind}）" if bind else ""),
        )
        means = said("who reaches it can end leases, and erase the books", "能连到它的人可以结束租约、清空账本")
        cure = said(
            "set a password (requirepass, or users of its ACL), and put it into WANPOOL_URL or a private file",
            "请设置密码（requirepass 或 ACL 用户），并写入 WANPOOL_URL 或仅自己可读的 wanpool.toml",
        )
        yield Finding(WARN, "no-password", (), seen, means, cure)


def _is_loopback(address: str) -> bool:
    return address.lstrip("-").startswith("127.") or address.lstrip("-") in ("::1", "localhost")


def _unseen(facts: ServerFacts) -> Iterator[Finding]:
    judged = {
        "INFO": said(
            "version, role, eviction, memory, persistence, replicas", "版本、角色、淘汰策略、内存、持久化、副本"
        ),
        "CONFIG GET": said("appendfsync, min-replicas, bind", "appendfsync、min-replicas、bind"),
        "CLUSTER INFO": said("how many shards", "分片数量"),
        "EVAL": said("latency, clock", "延迟、时钟"),
    }
    for name, why in facts.unseen:
        seen = said(f"{name} is not told to this user: {why}", f"此用户看不到 {name}：{why}")
        means = said(f"so these are not judged: {judged[name]}", f"因此未判断：{judged[name]}")
        cure = said(f"run the doctor as a user who may {name}", f"请用有权执行 {name} 的用户运行 doctor")
        yield Finding(WARN, "unseen", (), seen, means, cure)
