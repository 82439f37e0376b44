"""Judges the router, by what a probe saw of its lines."""

from collections.abc import Collection, Iterator, Sequence

from redis_wanpool.doctor.finding import FAIL, OK, WARN, Finding, found
from redis_wanpool.doctor.probe import NO_PORT, Line
from redis_wanpool.terminal.language import said

FAILURES = ("refused", "timeout", "unreachable", "strange")  #: of a connection, the kinds that tell of the router


def judge(default: Line, lines: Sequence[Line], leasable: Collection[int] = ()) -> list[Finding]:
    """What these lines tell of the router; `leasable` are the ports of all WANs."""
    findings = [*_no_port(lines), *_no_answer(default, lines)]
    seen = [line for line in lines if line.answers]
    answers = [one for line in [default, *seen] for one in line.answers]
    if answers and all(one.own == one.seen for one in answers):
        addresses = ", ".join(sorted({one.own[0] for one in answers}))
        return [*findings, found(WARN, "untranslated", _indexes(seen), addresses=addresses)]
    usual = default.addresses
    if default.answers and default.answers[0].own[1] in leasable:
        usual = []
        findings.append(found(WARN, "kernel-port", port=default.answers[0].own[1]))
    return [*findings, *_addresses(seen, usual), *_ports(seen, usual), *_healthy(seen, usual)]


def _no_port(lines: Sequence[Line]) -> Iterator[Finding]:
    for line in lines:
        for kind, text in line.failures:
            if kind in NO_PORT.values():
                severity = WARN if kind == "draining" or line.answers else FAIL
                name = "port/some" if line.answers else "port/none"
                yield found(severity, name, _indexes([line]), code=f"port-{kind}", line=line, text=text)


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
            yield found(FAIL, "unsteady", _indexes([line]), line=line, text=text)
        else:
            silent.setdefault(kind, []).append(line)
            why[kind] = text
    answered = any(line.answers for line in everyone)
    for kind, group in silent.items():
        everywhere = not answered and (kind == "refused" or len(silent) == 1)
        severity = WARN if group == [default] and not everywhere else FAIL
        seen = said("no answer by {names}: {why}", names=_names(group), why=why[kind])
        name = f"no-answer/{kind}-everywhere" if everywhere else f"no-answer/{kind}-here"
        yield found(severity, name, _indexes(group), code=kind, seen=seen)


def _addresses(lines: Sequence[Line], usual: list[str]) -> Iterator[Finding]:
    for line in lines:
        if len(line.addresses) > 1:
            of_default = said(" (the default line's)")
            told = ", ".join(address + (of_default if address in usual else "") for address in line.addresses)
            yield found(FAIL, "several-addresses", _indexes([line]), line=line, told=told)
    for address, group in _shared(lines).items():
        seen = said("{names} were all seen as {address}", names=_names(group), address=address)
        if address in usual:
            seen += said(", and so was the default line")
            yield found(FAIL, "same-address/of-the-default-line", _indexes(group), seen=seen)
            continue
        seen += said("; the default line as {usual}", usual=usual[0]) if usual else ""
        yield found(FAIL, "same-address", _indexes(group), seen=seen)


def _ports(lines: Sequence[Line], usual: list[str]) -> Iterator[Finding]:
    for line in lines:
        lost = [one for one in line.answers if not one.kept]
        if not lost:
            continue
        told = ", ".join(said("{own} as {seen}", own=one.own[1], seen=one.seen[1]) for one in lost[:3])
        if line.kept == 0:
            name = "rewritten/on-its-own-line" if _is_own(line, lines, usual) else "rewritten"
            yield found(FAIL, name, _indexes([line]), line=line, told=told)
        else:
            yield found(FAIL, "collisions", _indexes([line]), line=line, lost=len(lost), told=told)


def _healthy(lines: Sequence[Line], usual: list[str]) -> Iterator[Finding]:
    bad = {id(line) for group in _shared(lines).values() for line in group}
    good = [line for line in lines if id(line) not in bad and line.kept == line.tried]
    good = [line for line in good if len(line.addresses) == 1]
    if good:
        told = ", ".join(said("{line} as {address}", line=line, address=line.addresses[0]) for line in good)
        alone = len(lines) == 1 and not _is_own(good[0], lines, usual)
        yield found(OK, "kept/alone" if alone else "kept", _indexes(good), told=told)


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
