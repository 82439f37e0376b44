"""Judges the router, by what a probe saw of its lines."""

from collections.abc import Collection, Iterator, Sequence

from redis_wanpool.doctor import FAIL, OK, WARN, Finding
from redis_wanpool.doctor.probe import NO_PORT, Line
from redis_wanpool.terminal.language import said

FAILURES = ("refused", "timeout", "unreachable", "strange")  #: of a connection, the kinds that tell of the router


def _everywhere(kind: str) -> tuple[str, str]:
    """What a failure of all lines means, and its cure."""
    return {
        "refused": (
            said("nothing listens there", "那里没有程序在监听"),
            said(
                "start it there: wanpool echo --bind ADDRESS --port PORT",
                "请在那里启动：wanpool echo --bind ADDRESS --port PORT",
            ),
        ),
        "timeout": (
            said(
                "nothing has that address, or a firewall drops what is sent there",
                "没有主机使用该地址，或防火墙丢弃了发往那里的数据",
            ),
            said("see what filters that port there", "检查那里是什么过滤了该端口"),
        ),
        "unreachable": (
            said("this machine, or its router, has no way there", "本机或路由器没有到那里的路由"),
            said("check the address, and the routes to it", "检查该地址及其路由"),
        ),
        "strange": (
            said(
                "what listens there is no echo endpoint, or something on the way answers in its place",
                "那里监听的不是 echo 端点，或途中有设备代答",
            ),
            said(
                "start one on a port that is free: wanpool echo --bind ADDRESS --port PORT",
                "请在空闲端口上启动一个：wanpool echo --bind ADDRESS --port PORT",
            ),
        ),
    }[kind]


def _here(kind: str) -> tuple[str, str]:
    """What a failure of some lines means, and its cure."""
    return {
        "refused": (
            said("something on this line refuses in its place", "这条线路上有设备代为拒绝"),
            said("see what filters on this line", "检查这条线路上的过滤设备"),
        ),
        "timeout": (
            said(
                "the line is down (a router need not say so each time), its rule leads nowhere, or its NAT has no port "
                "left",
                "线路断开（路由器不一定每次都会告知），或其规则没有出口，或其 NAT 端口已用完",
            ),
            said(
                "see whether the line carries anything; check the gateway of its rule, and the range of its NAT",
                "检查线路是否通畅、其规则的网关以及其 NAT 的端口范围",
            ),
        ),
        "unreachable": (
            said(
                "the line is down and its rule fails closed, or its rule leads nowhere",
                "线路断开且规则禁止改道，或规则无出口",
            ),
            said("see to line and rule", "检查线路和规则"),
        ),
        "strange": (
            said(
                "something on this line answers in its place, like a proxy or a login page",
                "这条线路上有设备代答，如代理或登录页面",
            ),
            said("see what does", "检查是什么设备"),
        ),
    }[kind]


def judge(default: Line, lines: Sequence[Line], leasable: Collection[int] = ()) -> list[Finding]:
    """What these lines tell of the router; `leasable` are the ports of all WANs."""
    findings = [*_no_port(lines), *_no_answer(default, lines)]
    seen = [line for line in lines if line.answers]
    answers = [one for line in [default, *seen] for one in line.answers]
    if answers and all(one.own == one.seen for one in answers):
        addresses = ", ".join(sorted({one.own[0] for one in answers}))
        seen_as = said(
            f"every connection was seen as it left here, as {addresses}",
            f"每个连接看到的都是离开本机时的样子：{addresses}",
        )
        means = said(
            "nothing was translated on the way, so this proves nothing about the router",
            "途中没有地址转换，因此不能说明路由器的情况",
        )
        cure = said(
            "run the endpoint on a machine beyond the router: wanpool echo --bind ADDRESS",
            "请在路由器外侧的机器上运行：wanpool echo --bind ADDRESS",
        )
        return [*findings, Finding(WARN, "untranslated", _indexes(seen), seen_as, means, cure)]
    usual = default.addresses
    if default.answers and default.answers[0].own[1] in leasable:
        usual = []
        port = default.answers[0].own[1]
        text = said(
            f"the kernel gave port {port}, which belongs to a WAN, to an ordinary connection",
            f"内核把属于 WAN 的端口 {port} 分给了普通连接",
        )
        means = said("so the default line's address is not known", "因此不知道默认线路的地址")
        cure = said(
            "keep it out of the ranges of the WANs: net.ipv4.ip_local_reserved_ports",
            "让内核避开各 WAN 的端口：net.ipv4.ip_local_reserved_ports",
        )
        findings.append(Finding(WARN, "kernel-port", (), text, means, cure))
    return [*findings, *_addresses(seen, usual), *_ports(seen, usual), *_healthy(seen, usual)]


def _no_port(lines: Sequence[Line]) -> Iterator[Finding]:
    for line in lines:
        for kind, text in line.failures:
            if kind in NO_PORT.values():
                severity = WARN if kind == "draining" or line.answers else FAIL
                means = said("so the router was not asked about it", "因此未检查路由器对它的处理")
                if line.answers:
                    means = said("so it was asked less than wanted", "因此检查的次数少于要求")
                seen = said(f"{line}: no port; {text}", f"{line}：没有端口；{text}")
                yield Finding(severity, f"port-{kind}", _indexes([line]), seen, means)


def _no_answer(default: Line, lines: Sequence[Line]) -> Iterator[Finding]:
    everyone = [default, *lines]
    silent: dict[str, list[Line]] = {}
    why: dict[str, str] = {}
    for line in everyone:
        troubles = [(kind, text) for kind, text in line.failures if kind in FAILURES]
        if not troubles:
            continue
        kind, text = troubles[-1]
        if line.answers:
            seen = said(
                f"{line}: {len(line.answers)} of {line.tried} connections were answered; the last failure: {text}",
                f"{line}：{line.tried} 个连接中有 {len(line.answers)} 个得到应答；最后一次失败：{text}",
            )
            means = said("the line is unsteady, or the endpoint is", "线路或端点不稳定")
            cure = said("ask more often: --count 50", "多检查几次：--count 50")
            yield Finding(FAIL, "unsteady", _indexes([line]), seen, means, cure)
        else:
            silent.setdefault(kind, []).append(line)
            why[kind] = text
    answered = any(line.answers for line in everyone)
    for kind, group in silent.items():
        everywhere = not answered and (kind == "refused" or len(silent) == 1)
        severity = WARN if group == [default] and not everywhere else FAIL
        seen = said(f"no answer by {_names(group)}: {why[kind]}", f"{_names(group)} 没有应答：{why[kind]}")
        yield Finding(severity, kind, _indexes(group), seen, *(_everywhere if everywhere else _here)(kind))


def _addresses(lines: Sequence[Line], usual: list[str]) -> Iterator[Finding]:
    for line in lines:
        if len(line.addresses) > 1:
            of_default = said(" (the default line's)", "（默认线路的地址）")
            told = ", ".join(address + (of_default if address in usual else "") for address in line.addresses)
            seen = said(f"{line} was seen as {told}", f"{line} 被看到的地址有 {told}")
            means = said(
                "no one rule routes all of its ports (see the borders of its range), or the router balances load",
                "没有一条规则覆盖它的全部端口（检查端口范围的两端），或路由器在做负载均衡",
            )
            cure = said(
                "one rule for exactly the ports of the WAN, before any that balances",
                "为该 WAN 的端口单独设一条规则，放在负载均衡规则之前",
            )
            yield Finding(FAIL, "several-addresses", _indexes([line]), seen, means, cure)
    for address, group in _shared(lines).items():
        seen = said(f"{_names(group)} were all seen as {address}", f"{_names(group)} 看到的都是 {address}")
        means = said(
            "the rule of one leads to the line of another, or these lines share one address",
            "其中一个的规则指向了另一个的线路，或这些线路共用一个地址",
        )
        if address in usual:
            seen += said(", and so was the default line", "，默认线路也是")
            means = said(
                "of all but one the rule is missing, so that they leave by the default line; or they share one address",
                "除一个之外都缺少规则，因此从默认线路出去；或它们共用一个地址",
            )
        elif usual:
            seen += said(f"; the default line as {usual[0]}", f"；默认线路为 {usual[0]}")
        cure = said("one rule for each WAN, to a line of its own", "为每个 WAN 设一条规则，各走各的线路")
        yield Finding(FAIL, "same-address", _indexes(group), seen, means, cure)


def _ports(lines: Sequence[Line], usual: list[str]) -> Iterator[Finding]:
    for line in lines:
        lost = [one for one in line.answers if not one.kept]
        if not lost:
            continue
        told = ", ".join(said(f"{one.own[1]} as {one.seen[1]}", f"{one.own[1]} 变为 {one.seen[1]}") for one in lost[:3])
        if line.kept == 0:
            seen = said(f"{line}: every port was rewritten: {told}", f"{line}：所有端口都被改写：{told}")
            means = said(
                "the NAT chooses ports anew (random, fully-random, pf without static-port), or there is a second NAT",
                "NAT 重新选择端口（random、fully-random、pf 未设 static-port），或存在第二层 NAT",
            )
            cure = said(
                "have the NAT keep ports; take the programs out of a container's bridge; ask the provider about CGNAT",
                "让 NAT 保留端口；让程序离开容器网桥；向运营商询问 CGNAT",
            )
            if _is_own(line, lines, usual):
                means = said(
                    f"the rule works, the address is the WAN's own; but {means}",
                    f"规则有效，地址是该 WAN 自己的；但是{means}",
                )
            yield Finding(FAIL, "rewritten", _indexes([line]), seen, means, cure)
        else:
            seen = said(
                f"{line}: {len(lost)} of {len(line.answers)} ports were rewritten: {told}",
                f"{line}：{len(line.answers)} 个端口中有 {len(lost)} 个被改写：{told}",
            )
            means = said(
                "others use these ports too, or get them from the NAT, or before the router has forgotten them",
                "其他程序也在用这些端口，或 NAT 把它们给了别人，或在路由器忘记之前就再次使用",
            )
            cure = said(
                "reserve the range on all machines (net.ipv4.ip_local_reserved_ports), keep the NAT from giving its "
                "ports to other traffic, and make the cool-down longer than the router's memory",
                "在所有机器上保留该范围（net.ipv4.ip_local_reserved_ports），让 NAT 不把这些端口分给其他流量，"
                "并让冷却时间长于路由器的记忆",
            )
            yield Finding(FAIL, "collisions", _indexes([line]), seen, means, cure)


def _healthy(lines: Sequence[Line], usual: list[str]) -> Iterator[Finding]:
    bad = {id(line) for group in _shared(lines).values() for line in group}
    good = [line for line in lines if id(line) not in bad and line.kept == line.tried]
    good = [line for line in good if len(line.addresses) == 1]
    if good:
        told = ", ".join(said(f"{line} as {line.addresses[0]}", f"{line} 为 {line.addresses[0]}") for line in good)
        alone = len(lines) == 1 and not _is_own(good[0], lines, usual)
        means = said(
            "whether a rule does that, or the default line, one WAN alone cannot tell",
            "只有一个 WAN 时，无法分辨这是规则的作用还是默认线路",
        )
        seen = said(f"every port was kept: {told}", f"所有端口都被保留：{told}")
        yield Finding(OK, "kept", _indexes(good), seen, means if alone else "")


def _shared(lines: Sequence[Line]) -> dict[str, list[Line]]:
    """Addresses that are the only one of several WANs."""
    found: dict[str, list[Line]] = {}
    for line in lines:
        if len(line.addresses) == 1:
            found.setdefault(line.addresses[0], []).append(line)
    return {address: group for address, group in found.items() if len(group) > 1}


def _is_own(line: Line, lines: Sequence[Line], usual: list[str]) -> bool:
    """Whether the WAN has one address, which no other WAN has; of a WAN alone, nor the default line."""
    others = {address for other in lines if other is not line for address in other.addresses}
    return len(line.addresses) == 1 and line.addresses[0] not in (others or usual or line.addresses)


def _names(lines: Sequence[Line]) -> str:
    return said(" and ", " 和 ").join(map(str, lines))


def _indexes(lines: Sequence[Line]) -> tuple[int, ...]:
    return tuple(line.wan_idx for line in lines if line.wan_idx is not None)
