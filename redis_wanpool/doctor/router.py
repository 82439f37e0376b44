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
            said("nothing listens there"),
            said("start it there: wanpool echo --bind ADDRESS --port PORT"),
        ),
        "timeout": (
            said("nothing has that address, or a firewall drops what is sent there"),
            said("see what filters that port there"),
        ),
        "unreachable": (
            said("this machine, or its router, has no way there"),
            said("check the address, and the routes to it"),
        ),
        "strange": (
            said("what listens there is no echo endpoint, or something on the way answers in its place"),
            said("start one on a port that is free: wanpool echo --bind ADDRESS --port PORT"),
        ),
    }[kind]


def _here(kind: str) -> tuple[str, str]:
    """What a failure of some lines means, and its cure."""
    return {
        "refused": (
            said("something on this line refuses in its place"),
            said("see what filters on this line"),
        ),
        "timeout": (
            said(
                "the line is down (a router need not say so each time), its rule leads nowhere, or its NAT has no "
                "port left"
            ),
            said("see whether the line carries anything; check the gateway of its rule, and the range of its NAT"),
        ),
        "unreachable": (
            said("the line is down and its rule fails closed, or its rule leads nowhere"),
            said("see to line and rule"),
        ),
        "strange": (
            said("something on this line answers in its place, like a proxy or a login page"),
            said("see what does"),
        ),
    }[kind]


def judge(default: Line, lines: Sequence[Line], leasable: Collection[int] = ()) -> list[Finding]:
    """What these lines tell of the router; `leasable` are the ports of all WANs."""
    findings = [*_no_port(lines), *_no_answer(default, lines)]
    seen = [line for line in lines if line.answers]
    answers = [one for line in [default, *seen] for one in line.answers]
    if answers and all(one.own == one.seen for one in answers):
        addresses = ", ".join(sorted({one.own[0] for one in answers}))
        seen_as = said("every connection was seen as it left here, as {addresses}", addresses=addresses)
        means = said("nothing was translated on the way, so this proves nothing about the router")
        cure = said("run the endpoint on a machine beyond the router: wanpool echo --bind ADDRESS")
        return [*findings, Finding(WARN, "untranslated", _indexes(seen), seen_as, means, cure)]
    usual = default.addresses
    if default.answers and default.answers[0].own[1] in leasable:
        usual = []
        port = default.answers[0].own[1]
        text = said("the kernel gave port {port}, which belongs to a WAN, to an ordinary connection", port=port)
        means = said("so the default line's address is not known")
        cure = said("keep it out of the ranges of the WANs: net.ipv4.ip_local_reserved_ports")
        findings.append(Finding(WARN, "kernel-port", (), text, means, cure))
    return [*findings, *_addresses(seen, usual), *_ports(seen, usual), *_healthy(seen, usual)]


def _no_port(lines: Sequence[Line]) -> Iterator[Finding]:
    for line in lines:
        for kind, text in line.failures:
            if kind in NO_PORT.values():
                severity = WARN if kind == "draining" or line.answers else FAIL
                means = said("so the router was not asked about it")
                if line.answers:
                    means = said("so it was asked less than wanted")
                seen = said("{line}: no port; {text}", line=line, text=text)
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
                "{line}: {answered} of {tried} connections were answered; the last failure: {text}",
                line=line,
                answered=len(line.answers),
                tried=line.tried,
                text=text,
            )
            means = said("the line is unsteady, or the endpoint is")
            cure = said("ask more often: --count 50")
            yield Finding(FAIL, "unsteady", _indexes([line]), seen, means, cure)
        else:
            silent.setdefault(kind, []).append(line)
            why[kind] = text
    answered = any(line.answers for line in everyone)
    for kind, group in silent.items():
        everywhere = not answered and (kind == "refused" or len(silent) == 1)
        severity = WARN if group == [default] and not everywhere else FAIL
        seen = said("no answer by {names}: {why}", names=_names(group), why=why[kind])
        yield Finding(severity, kind, _indexes(group), seen, *(_everywhere if everywhere else _here)(kind))


def _addresses(lines: Sequence[Line], usual: list[str]) -> Iterator[Finding]:
    for line in lines:
        if len(line.addresses) > 1:
            of_default = said(" (the default line's)")
            told = ", ".join(address + (of_default if address in usual else "") for address in line.addresses)
            seen = said("{line} was seen as {told}", line=line, told=told)
            means = said(
                "no one rule routes all of its ports (see the borders of its range), or the router balances load"
            )
            cure = said("one rule for exactly the ports of the WAN, before any that balances")
            yield Finding(FAIL, "several-addresses", _indexes([line]), seen, means, cure)
    for address, group in _shared(lines).items():
        seen = said("{names} were all seen as {address}", names=_names(group), address=address)
        means = said("the rule of one leads to the line of another, or these lines share one address")
        if address in usual:
            seen += said(", and so was the default line")
            means = said(
                "of all but one the rule is missing, so that they leave by the default line; or they share one address"
            )
        elif usual:
            seen += said("; the default line as {usual}", usual=usual[0])
        cure = said("one rule for each WAN, to a line of its own")
        yield Finding(FAIL, "same-address", _indexes(group), seen, means, cure)


def _ports(lines: Sequence[Line], usual: list[str]) -> Iterator[Finding]:
    for line in lines:
        lost = [one for one in line.answers if not one.kept]
        if not lost:
            continue
        told = ", ".join(said("{own} as {seen}", own=one.own[1], seen=one.seen[1]) for one in lost[:3])
        if line.kept == 0:
            seen = said("{line}: every port was rewritten: {told}", line=line, told=told)
            means = said(
                "the NAT chooses ports anew (random, fully-random, pf without static-port), or there is a second NAT"
            )
            cure = said(
                "have the NAT keep ports; take the programs out of a container's bridge; ask the provider about CGNAT"
            )
            if _is_own(line, lines, usual):
                means = said("the rule works, the address is the WAN's own; but {means}", means=means)
            yield Finding(FAIL, "rewritten", _indexes([line]), seen, means, cure)
        else:
            seen = said(
                "{line}: {lost} of {answered} ports were rewritten: {told}",
                line=line,
                lost=len(lost),
                answered=len(line.answers),
                told=told,
            )
            means = said(
                "others use these ports too, or get them from the NAT, or before the router has forgotten them"
            )
            cure = said(
                "reserve the range on all machines (net.ipv4.ip_local_reserved_ports), keep the NAT from giving its "
                "ports to other traffic, and make the cool-down longer than the router's memory"
            )
            yield Finding(FAIL, "collisions", _indexes([line]), seen, means, cure)


def _healthy(lines: Sequence[Line], usual: list[str]) -> Iterator[Finding]:
    bad = {id(line) for group in _shared(lines).values() for line in group}
    good = [line for line in lines if id(line) not in bad and line.kept == line.tried]
    good = [line for line in good if len(line.addresses) == 1]
    if good:
        told = ", ".join(said("{line} as {address}", line=line, address=line.addresses[0]) for line in good)
        alone = len(lines) == 1 and not _is_own(good[0], lines, usual)
        means = said("whether a rule does that, or the default line, one WAN alone cannot tell")
        seen = said("every port was kept: {told}", told=told)
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
    return said(" and ").join(map(str, lines))


def _indexes(lines: Sequence[Line]) -> tuple[int, ...]:
    return tuple(line.wan_idx for line in lines if line.wan_idx is not None)
