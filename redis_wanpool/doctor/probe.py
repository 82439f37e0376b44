"""The probe: how an echo endpoint beyond the router sees connections from leased ports, and what that tells."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

from redis_wanpool.clock import boottime
from redis_wanpool.doctor import FAIL, OK, WARN, Finding
from redis_wanpool.errors import PoolExhausted, PortRejected, WanDraining, WanNotDefined
from redis_wanpool.pool import WanPortPool

TIMEOUT = 5.0
"""seconds for a connection, and again for its line"""
WAIT = 3.0
"""seconds to wait for a port: more than it rests"""
ENOUGH = 2
"""failures in a row"""
MOST_AT_A_TIME = 50
"""connections that stay open, so that the next one gets another port; and no more than half of what is free"""
LONGEST = 64
"""bytes to read of an answer"""
_ANSWER = re.compile(rb"((?:\d{1,3}\.){3}\d{1,3}):(\d{1,5})\n")

NO_PORT = {PoolExhausted: "exhausted", WanDraining: "draining", WanNotDefined: "undefined", PortRejected: "rejected"}


class NotAnEcho(Exception):
    """The far end said something else."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One connection, by its own address and port, and by those that the far end saw."""

    own: tuple[str, int]
    seen: tuple[str, int]

    @property
    def kept(self) -> bool:
        return self.own[1] == self.seen[1]


@dataclass(slots=True)
class Line:
    """What was seen of a WAN; without `wan_idx`, of the line that connections without a lease take."""

    wan_idx: int | None
    tried: int = 0
    answers: list[Seen] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    """kind and text: exhausted, draining, undefined, rejected; refused, timeout, unreachable; strange"""

    def __str__(self) -> str:
        return "the default line" if self.wan_idx is None else f"WAN {self.wan_idx}"

    @property
    def kept(self) -> int:
        return sum(one.kept for one in self.answers)

    @property
    def addresses(self) -> list[str]:
        return sorted({one.seen[0] for one in self.answers})

    def facts(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "wan_idx": self.wan_idx,
            **{"tried": self.tried, "answered": len(self.answers), "kept": self.kept, "addresses": self.addresses},
            "connections": [{"own": list(one.own), "seen": list(one.seen)} for one in self.answers],
            "failures": [{"kind": kind, "text": text} for kind, text in self.failures],
        }


# -- looking


def look(pool: WanPortPool, target: tuple[str, int], wans: Sequence[int], count: int) -> Iterator[Line]:
    """The default line, by one connection from a port of the kernel's; then each WAN, by `count` from leased ports."""
    yield _look(Line(None), lambda: socket.create_connection(target, TIMEOUT), 1, 1)
    for wan_idx in wans:
        at_a_time = MOST_AT_A_TIME
        with suppress(WanNotDefined):  # which is said later
            at_a_time = max(1, min(pool.snapshot(wan_idx).free // 2, MOST_AT_A_TIME))

        def connect(wan_idx: int = wan_idx) -> socket.socket:
            return pool.connect(wan_idx, target, wait=WAIT, timeout=TIMEOUT)

        yield _look(Line(wan_idx), connect, count, at_a_time)


def _look(line: Line, connect: Callable[[], socket.socket], count: int, at_a_time: int) -> Line:
    """Ends early where more would not tell more: without a port, with a stranger, after failures in a row."""
    with ExitStack() as opened:
        failed = 0
        while line.tried < count and failed < ENOUGH:
            if line.tried % at_a_time == 0:
                opened.close()
            failed = _look_once(line, lambda: opened.enter_context(connect()), failed)
    return line


def _look_once(line: Line, connect: Callable[[], socket.socket], failed: int) -> int:
    """Asks once; how many failures in a row that makes, or `ENOUGH` of them."""
    line.tried += 1
    try:
        line.answers.append(_ask(connect()))
    except tuple(NO_PORT) as error:
        line.tried -= 1
        line.failures.append((NO_PORT[type(error)], str(error)))
        return ENOUGH
    except NotAnEcho as error:
        line.failures.append(("strange", str(error)))
        return ENOUGH
    except OSError as error:
        refused, late = isinstance(error, ConnectionRefusedError), isinstance(error, TimeoutError)
        kind = "refused" if refused else "timeout" if late else "unreachable"
        line.failures.append((kind, error.strerror or str(error)))
        return failed + 1
    return 0


def _ask(sock: socket.socket) -> Seen:
    until = boottime() + TIMEOUT
    own: tuple[str, int] = sock.getsockname()
    said = b""
    with suppress(OSError):  # what it said before counts
        while len(said) <= LONGEST:
            sock.settimeout(max(0.001, until - boottime()))
            more = sock.recv(LONGEST)
            if not more:
                break
            said += more
            if b"\n" in said:
                sock.shutdown(socket.SHUT_WR)
    answer = _ANSWER.fullmatch(said)
    if answer is None:
        raise NotAnEcho(f"it said {said[:40]!r}" if said else "it said nothing")
    return Seen(own, (answer[1].decode(), int(answer[2])))


# -- judging

EVERYWHERE = {
    "refused": ("nothing listens there", "start it there: wanpool echo --bind ADDRESS --port PORT"),
    "timeout": ("nothing has that address, or a firewall drops what is sent there", "see what filters that port there"),
    "unreachable": ("this machine, or its router, has no way there", "check the address, and the routes to it"),
    "strange": (
        "what listens there is no echo endpoint, or something on the way answers in its place",
        "start one on a port that is free: wanpool echo --bind ADDRESS --port PORT",
    ),
}
HERE = {
    "refused": ("something on this line refuses in its place", "see what filters on this line"),
    "timeout": (
        "the line is down (a router need not say so each time), its rule leads nowhere, or its NAT has no port left",
        "see whether the line carries anything; check the gateway of its rule, and the range of its NAT",
    ),
    "unreachable": ("the line is down and its rule fails closed, or its rule leads nowhere", "see to line and rule"),
    "strange": ("something on this line answers in its place, like a proxy or a login page", "see what does"),
}


def judge(default: Line, lines: Sequence[Line], leasable: Collection[int] = ()) -> list[Finding]:
    """What these lines tell of the router; `leasable` are the ports of all WANs."""
    findings = [*_no_port(lines), *_no_answer(default, lines)]
    seen = [line for line in lines if line.answers]
    answers = [one for line in [default, *seen] for one in line.answers]
    if answers and all(one.own == one.seen for one in answers):
        seen_as = f"every connection was seen as it left here, as {', '.join(sorted({one.own[0] for one in answers}))}"
        means = "nothing was translated on the way, so this proves nothing about the router"
        cure = "run the endpoint on a machine beyond the router: wanpool echo --bind ADDRESS"
        return [*findings, Finding(WARN, "untranslated", _indexes(seen), seen_as, means, cure)]
    usual = default.addresses
    if default.answers and default.answers[0].own[1] in leasable:
        usual = []
        text = f"the kernel gave port {default.answers[0].own[1]}, which belongs to a WAN, to an ordinary connection"
        cure = "keep it out of the ranges of the WANs: net.ipv4.ip_local_reserved_ports"
        findings.append(Finding(WARN, "kernel-port", (), text, "so the default line's address is not known", cure))
    return [*findings, *_addresses(seen, usual), *_ports(seen, usual), *_healthy(seen, usual)]


def _no_port(lines: Sequence[Line]) -> Iterator[Finding]:
    for line in lines:
        for kind, text in line.failures:
            if kind in NO_PORT.values():
                severity = WARN if kind == "draining" or line.answers else FAIL
                means = "so it was asked less than wanted" if line.answers else "so the router was not asked about it"
                yield Finding(severity, f"port-{kind}", _indexes([line]), f"{line}: no port; {text}", means)


def _no_answer(default: Line, lines: Sequence[Line]) -> Iterator[Finding]:
    everyone = [default, *lines]
    silent: dict[str, list[Line]] = {}
    why: dict[str, str] = {}
    for line in everyone:
        troubles = [(kind, text) for kind, text in line.failures if kind in HERE]
        if not troubles:
            continue
        kind, text = troubles[-1]
        if line.answers:
            seen = f"{line}: {len(line.answers)} of {line.tried} connections were answered; the last failure: {text}"
            means, cure = "the line is unsteady, or the endpoint is", "ask more often: --count 50"
            yield Finding(FAIL, "unsteady", _indexes([line]), seen, means, cure)
        else:
            silent.setdefault(kind, []).append(line)
            why[kind] = text
    answered = any(line.answers for line in everyone)
    for kind, group in silent.items():
        everywhere = not answered and (kind == "refused" or len(silent) == 1)
        severity = WARN if group == [default] and not everywhere else FAIL
        seen = f"no answer by {_names(group)}: {why[kind]}"
        yield Finding(severity, kind, _indexes(group), seen, *(EVERYWHERE if everywhere else HERE)[kind])


def _addresses(lines: Sequence[Line], usual: list[str]) -> Iterator[Finding]:
    for line in lines:
        if len(line.addresses) > 1:
            told = ", ".join(
                address + (" (the default line's)" if address in usual else "") for address in line.addresses
            )
            means = "no one rule routes all of its ports (see the borders of its range), or the router balances load"
            cure = "one rule for exactly the ports of the WAN, before any that balances"
            yield Finding(FAIL, "several-addresses", _indexes([line]), f"{line} was seen as {told}", means, cure)
    for address, group in _shared(lines).items():
        seen = f"{_names(group)} were all seen as {address}"
        means = "the rule of one leads to the line of another, or these lines share one address"
        if address in usual:
            seen += ", and so was the default line"
            means = (
                "of all but one the rule is missing, so that they leave by the default line; or they share one address"
            )
        elif usual:
            seen += f"; the default line as {usual[0]}"
        yield Finding(FAIL, "same-address", _indexes(group), seen, means, "one rule for each WAN, to a line of its own")


def _ports(lines: Sequence[Line], usual: list[str]) -> Iterator[Finding]:
    for line in lines:
        lost = [one for one in line.answers if not one.kept]
        if not lost:
            continue
        told = ", ".join(f"{one.own[1]} as {one.seen[1]}" for one in lost[:3])
        if line.kept == 0:
            means = (
                "the NAT chooses ports anew (random, fully-random, pf without static-port), or there is a second NAT"
            )
            cure = (
                "have the NAT keep ports; take the programs out of a container's bridge; ask the provider about CGNAT"
            )
            if _is_own(line, lines, usual):
                means = f"the rule works, the address is the WAN's own; but {means}"
            yield Finding(FAIL, "rewritten", _indexes([line]), f"{line}: every port was rewritten: {told}", means, cure)
        else:
            seen = f"{line}: {len(lost)} of {len(line.answers)} ports were rewritten: {told}"
            means = "others use these ports too, or get them from the NAT, or before the router has forgotten them"
            cure = (
                "reserve the range on all machines (net.ipv4.ip_local_reserved_ports), keep the NAT from giving its "
                "ports to other traffic, and make the cool-down longer than the router's memory"
            )
            yield Finding(FAIL, "collisions", _indexes([line]), seen, means, cure)


def _healthy(lines: Sequence[Line], usual: list[str]) -> Iterator[Finding]:
    bad = {id(line) for group in _shared(lines).values() for line in group}
    good = [line for line in lines if id(line) not in bad and line.kept == line.tried]
    good = [line for line in good if len(line.addresses) == 1]
    if good:
        told = ", ".join(f"{line} as {line.addresses[0]}" for line in good)
        alone = len(lines) == 1 and not _is_own(good[0], lines, usual)
        means = "whether a rule does that, or the default line, one WAN alone cannot tell" if alone else ""
        yield Finding(OK, "kept", _indexes(good), f"every port was kept: {told}", means)


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
    return " and ".join(map(str, lines))


def _indexes(lines: Sequence[Line]) -> tuple[int, ...]:
    return tuple(line.wan_idx for line in lines if line.wan_idx is not None)
