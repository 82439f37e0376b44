"""The WANs of a namespace: whether they are whole, what the configuration says of them, and whether they have ports."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from redis_wanpool.doctor import FAIL, OK, WARN, Finding
from redis_wanpool.errors import BackendUnavailable, InvalidValue, WanMismatch, WanNotDefined, WanpoolError
from redis_wanpool.model.ports import port_list, port_numbers, ports_text
from redis_wanpool.model.views import WanSnapshot
from redis_wanpool.model.wan import WanDefinition
from redis_wanpool.protocol.keys import namespace_keys
from redis_wanpool.sync.operator import Operator
from redis_wanpool.terminal.language import said


@dataclass(frozen=True, slots=True)
class WanFacts:
    """A WAN as Redis has it: a snapshot, or what is wrong with it."""

    wan_idx: int
    claimed: str  #: its ports, as the namespace has them
    snapshot: WanSnapshot | None = None
    trouble: str = ""  #: unfinished, lost, other-protocol or unreadable
    why: str = ""

    @property
    def ports(self) -> str:
        return self.claimed if self.snapshot is None else self.snapshot.config["ports"]


def look(operator: Operator) -> tuple[WanFacts, ...]:
    """The WANs of the namespace, ascending.

    Raises:
        BackendUnavailable: Redis does not answer, or does not let this user ask.
    """
    claims: dict[str, str] = operator.ask("HGETALL", namespace_keys(operator.namespace)[0])
    found = (_look(operator, index, claim) for index, claim in claims.items())
    return tuple(sorted(found, key=lambda wan: (wan.wan_idx, wan.why)))


def _look(operator: Operator, index: str, claim: str) -> WanFacts:
    words = claim.split(" ")
    try:
        wan_idx, claimed = int(index), ports_text(words[0])
    except (ValueError, InvalidValue):
        return WanFacts(-1, "", trouble="unreadable", why=f"{index}: {claim[:80]!r}")
    try:
        return WanFacts(wan_idx, claimed, operator.snapshot(wan_idx))
    except WanMismatch as error:
        return WanFacts(wan_idx, claimed, trouble="other-protocol", why=str(error))
    except WanNotDefined as error:
        return WanFacts(wan_idx, claimed, trouble="lost" if words[-1] == "ready" else "unfinished", why=str(error))
    except BackendUnavailable:
        raise
    except (WanpoolError, KeyError, ValueError) as error:
        return WanFacts(wan_idx, claimed, trouble="unreadable", why=f"WAN {wan_idx}: {error}")


# -- judging


def judge(namespace: str, wans: Sequence[WanFacts], configured: Sequence[WanDefinition], rest: float) -> list[Finding]:
    """What stands in Redis, beside what this machine's wanpool.toml wants; `rest` is this network's, in seconds."""
    findings = [*_troubles(wans), *_differences(wans, configured)]
    if not wans and not configured:
        seen = said(f"namespace {namespace!r} has no WAN", f"命名空间 {namespace!r} 没有 WAN")
        means = said("nothing can be leased, or the namespace is another", "无法租用端口，或命名空间写错了")
        cure = said(
            "define one: wanpool init --wan 0=20000-21999; or give --namespace",
            "请定义一个：wanpool init --wan 0=20000-21999；或指定 --namespace",
        )
        findings.append(Finding(FAIL, "no-wans", (), seen, means, cure))
    for wan in wans:
        if wan.snapshot is not None:
            findings += _judge_state(wan.snapshot, rest)
    return findings


def _troubles(wans: Sequence[WanFacts]) -> Iterator[Finding]:
    for wan in wans:
        wan_idxs = (wan.wan_idx,) if wan.wan_idx >= 0 else ()
        if wan.trouble == "unfinished":
            seen = said(
                f"the definition of WAN {wan.wan_idx} was begun and not finished", f"WAN {wan.wan_idx} 的定义没有完成"
            )
            cure = said("have it defined once more, the same: wanpool init", "请用相同内容再定义一次：wanpool init")
            yield Finding(FAIL, "wan-unfinished", wan_idxs, seen, said("it grants nothing", "它不发放任何端口"), cure)
        elif wan.trouble == "lost":
            seen = said(f"the data of WAN {wan.wan_idx} is gone", f"WAN {wan.wan_idx} 的数据已丢失")
            means = said(
                "it grants nothing: granting its ports anew could give them out twice",
                "它不再发放：重新发放其端口可能造成重复",
            )
            recover = f"wanpool init --recover --wan {wan.wan_idx}=PORTS"
            cure = said(
                f"restore the data; or define it anew, with a grace in which holders re-assert their leases: {recover}",
                f"请恢复数据；或重新定义并进入宽限期，由持有者重新申明租约：{recover}",
            )
            yield Finding(FAIL, "wan-lost", wan_idxs, seen, means, cure)
        elif wan.trouble:
            means = said(
                "another version wrote it, or it is not ours: programs are refused",
                "由其他版本写入，或不属于本软件：程序会被拒绝",
            )
            cure = said(
                "use the same version on all machines, or a namespace of your own",
                "请在所有机器上使用同一版本，或换用自己的命名空间",
            )
            yield Finding(FAIL, f"wan-{wan.trouble}", wan_idxs, wan.why, means, cure)


def _differences(wans: Sequence[WanFacts], configured: Sequence[WanDefinition]) -> Iterator[Finding]:
    stands = {wan.wan_idx: wan.snapshot for wan in wans}
    for wanted in configured:
        snapshot = stands.get(wanted.wan_idx)
        if snapshot is not None:
            told = [
                said(
                    f"{name} {ours} in wanpool.toml, {theirs} in Redis",
                    f"{name} 在 wanpool.toml 中为 {ours}，在 Redis 中为 {theirs}",
                )
                for name, ours, theirs in _different(wanted, snapshot)
            ]
        elif wanted.wan_idx not in stands:
            told = [
                said(
                    f"ports {wanted.ports} in wanpool.toml, of which {shared} belong to WAN {wan.wan_idx}",
                    f"wanpool.toml 中的端口 {wanted.ports} 与 WAN {wan.wan_idx} 共有 {shared}",
                )
                for wan in wans
                if (shared := common(wanted.ports, port_numbers(wan.claimed) if wan.claimed else []))
            ]
            if not told:
                seen = said(
                    f"WAN {wanted.wan_idx} stands in wanpool.toml only", f"WAN {wanted.wan_idx} 只存在于 wanpool.toml"
                )
                means = said("the first program that uses it defines it", "第一个使用它的程序会定义它")
                yield Finding(OK, "wan-new", (wanted.wan_idx,), seen, means)
        else:
            continue
        if told:
            means = said(
                "programs that read this file are refused (WanMismatch)", "读取该文件的程序会被拒绝（WanMismatch）"
            )
            cure = said(
                "have the file say what stands in Redis; other ports: wanpool resize",
                "让该文件与 Redis 一致；更换端口请用 wanpool resize",
            )
            seen = f"WAN {wanted.wan_idx}: {'; '.join(told)}"
            yield Finding(FAIL, "wan-differs", (wanted.wan_idx,), seen, means, cure)


def _different(wanted: WanDefinition, snapshot: WanSnapshot) -> Iterator[tuple[str, str, str]]:
    for name, ours in wanted.fields().items():
        theirs = snapshot.config.get(name, "")
        if ours != theirs:
            yield name.removesuffix("_ms"), _readable(name, ours), _readable(name, theirs)


def _readable(name: str, value: str) -> str:
    return f"{int(value) / 1000:g} s" if name.endswith("_ms") and value.isdecimal() else value or '""'


def common(ports: str, others: Sequence[int]) -> str:
    """The ports that a list of ports shares with others, as a list; "" if there are none."""
    return port_list(set(port_numbers(ports)).intersection(others))


def _judge_state(wan: WanSnapshot, rest: float) -> Iterator[Finding]:
    name = f"WAN {wan.wan_idx}" + (f" ({wan.name})" if wan.name else "")
    counts = said(
        f"{wan.total} ports: {wan.free} free, {wan.leased} leased, {wan.cooling} cooling, {wan.withheld} withheld",
        f"{wan.total} 个端口：空闲 {wan.free}，租出 {wan.leased}，冷却 {wan.cooling}，停用 {wan.withheld}",
    )
    refused_ms = int(wan.config.get("rejects_until") or 0) - wan.now_ms
    if wan.state == "draining":
        means = said("it grants nothing new; an operator said so", "它不再发放新租约；这是操作员设定的")
        cure = said(f"when it is to grant again: wanpool open {wan.wan_idx}", f"恢复发放：wanpool open {wan.wan_idx}")
        seen = said(f"{name} is draining; {counts}", f"{name} 正在排空；{counts}")
        yield Finding(WARN, "wan-draining", (wan.wan_idx,), seen, means, cure)
    elif wan.grace_ms:
        left = f"{wan.grace_ms / 1000:.0f} s"
        means = said("it grants nothing so long; holders re-assert their leases", "在此期间不发放；持有者重新申明租约")
        cure = said(
            "wait; see in Redis's log why it restarted or failed over", "请等待；并在 Redis 日志中查明重启或切换的原因"
        )
        seen = said(f"{name} is in grace for {left}; {counts}", f"{name} 处于宽限期，还有 {left}；{counts}")
        yield Finding(WARN, "wan-grace", (wan.wan_idx,), seen, means, cure)
    elif wan.free == wan.rested == 0:
        cooldown = max(int(wan.config["cooldown_ms"]) / 1000, rest)
        means = said(
            f"no port for this network now; ports that stay with a network make {wan.total} / (hold + {rest:g} s) "
            f"leases a second, ports that change networks {wan.total} / (hold + {cooldown:g} s)",
            f"本网络现在没有可用端口；留在同一网络的端口每秒可支持 {wan.total} /（占用 + {rest:g} 秒）个租约，"
            f"在网络间转移的端口 {wan.total} /（占用 + {cooldown:g} 秒）个",
        )
        cure = said(
            f"more ports: wanpool resize {wan.wan_idx}; or hold them for less long, or lease from fewer networks",
            f"增加端口：wanpool resize {wan.wan_idx}；或缩短占用时间，或减少租用的网络",
        )
        yield Finding(WARN, "wan-exhausted", (wan.wan_idx,), f"{name}: {counts}", means, cure)
    else:
        yield Finding(OK, "wan", (wan.wan_idx,), f"{name}: {counts}")
    if refused_ms > 0:
        seen = said(
            f"{name}: a network gets no free ports for {refused_ms / 1000:.0f} s",
            f"{name}：某个网络在 {refused_ms / 1000:.0f} 秒内得不到空闲端口",
        )
        means = said("its systems refused too many ports within a minute", "其系统在一分钟内拒绝了过多端口")
        cure = said(
            "run the doctor on its machines: something there has these ports, or the kernel keeps them",
            "请在其机器上运行 doctor：那里有程序占用这些端口，或内核保留了它们",
        )
        yield Finding(WARN, "wan-refusing", (wan.wan_idx,), seen, means, cure)
