"""`wanpool explain PORT`: in which state a port is, who has it or had it, why it is not free, and what to do."""

import argparse
from dataclasses import dataclass
from typing import Any

from redis_wanpool import Operator
from redis_wanpool.cli.line import line_facts, line_text
from redis_wanpool.cli.verb import Verbs, operator_of, print_json
from redis_wanpool.model.checks import checked_port
from redis_wanpool.model.holder import Holder, host_and_pid
from redis_wanpool.model.views import PortSeen
from redis_wanpool.terminal.format import moment, one_line, padded, span, until, width
from redis_wanpool.terminal.language import said, tell

LINGER_MS = 65_000  #: for how long an old connection may keep plain sockets away, which Linux does for 60 s


def add_to(verbs: Verbs) -> None:
    parser = verbs.add(explain, "20017", "20017 --absolute", "20017 --json")
    parser.add_argument("port", metavar="PORT", type=int)
    parser.add_argument("--absolute", action="store_true", help="times of the server's clock, not how far off they are")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is so now, also when nobody has settled what is due."""

    state: str
    ended_ms: int | None = None  #: when the last lease ended, where that is known, in the WAN's time
    rested_ms: int | None = None  #: from when the network that had it last may have it again
    free_ms: int | None = None  #: from when all may have it


def judge(seen: PortSeen, cooldown_ms: int, *, in_grace: bool = False) -> Verdict:
    """The state of a port: free, leased, cooling, quarantined or withheld. In a grace no lease expires."""
    if seen.state == "leased" and (seen.due_ms > seen.now_ms or in_grace):
        return Verdict("leased")
    free = "" if seen.becomes == "removed" else "free"
    if seen.state == "leased":  # it expired, and nobody has settled that yet
        rested_ms = seen.due_ms + max(seen.rest_ms, LINGER_MS if seen.is_plain else 0)
        free_ms = max(seen.due_ms + max(cooldown_ms, seen.rest_ms), seen.free_ms)
        if seen.becomes == "withheld":
            return Verdict("withheld", seen.due_ms)
        return Verdict("cooling" if free_ms > seen.now_ms else free, seen.due_ms, rested_ms, free_ms)
    if seen.state == "cooling" and seen.due_ms > seen.now_ms:
        state = "quarantined" if seen.ended == "rejected" else "cooling"
        return Verdict(state, None, seen.rested_ms if seen.rested_ms >= 0 else None, seen.due_ms)
    return Verdict(free if seen.state == "cooling" else seen.state)


def plain_from(seen: PortSeen, rested_ms: int) -> int:
    """From when its last network may have it for sockets without SO_REUSEADDR, as lua/lib/plain.lua has it."""
    if seen.is_plain:
        return rested_ms
    rest_ms = 0 if seen.ended in ("unused", "drained") else seen.rest_ms
    return rested_ms - rest_ms + max(rest_ms, LINGER_MS)


def to_become(seen: PortSeen, verdict: Verdict) -> str:
    """What is still to come of it: withheld or removed."""
    return seen.becomes if verdict.state in ("leased", "cooling", "quarantined") else ""


def explain(options: argparse.Namespace) -> int:
    """Says all about one port: its state, who has or had it, why it is not free, when it will be, and what to do."""
    port = checked_port(options.port)
    with operator_of(options) as operator:
        seen = operator.explain(port)
        wan = operator.snapshot(seen.wan_idx)
        verdict = judge(seen, int(wan.config["cooldown_ms"]), in_grace=wan.grace_ms > 0)
        who, health = operator.holder_of(seen), operator.health()
        if options.json:
            print_json(**facts(operator, seen, verdict, who), line=line_facts(health, seen.wan_idx))
            return 0
        name = f" {one_line(wan.name)!r}" if wan.name else ""
        head = said(
            "port {port} of WAN {wan_idx}{name} (namespace {namespace!r}): ",
            port=port,
            wan_idx=seen.wan_idx,
            name=name,
            namespace=operator.namespace,
        )
        print(head + _state(verdict.state))
        if wan.grace_ms:
            left = span(wan.grace_ms / 1000)
            tell("  the WAN is in grace for {left}: nothing is granted, for Redis may have forgotten grants", left=left)
        lines = told(seen, verdict, who, wan.state, absolute=options.absolute)
        if text := line_text(health, seen.wan_idx):
            lines.insert(-1, (said("line"), text))
        columns = max(width(name) for name, _ in lines)
        print("\n".join(f"  {padded(name, columns)}  {text}" for name, text in lines))
    return 0


def facts(operator: Operator, seen: PortSeen, verdict: Verdict, who: Holder | None) -> dict[str, Any]:
    """What is known, for programs."""

    def ahead(ms: int | None) -> float | None:
        return None if ms is None else round(max(0, ms - seen.now_ms) / 1000, 3)

    host, pid = host_and_pid(seen.holder) if seen.holder else ("", 0)
    live, ended = verdict.state == "leased", _how_it_ended(seen)
    person = {"holder": seen.holder, "host": host, "pid": pid, "program": who.program if who else ""}
    person |= {"network": seen.network}
    return {
        "namespace": operator.namespace,
        "wan_idx": seen.wan_idx,
        "port": seen.port,
        "state": verdict.state,
        "becomes": to_become(seen, verdict) or None,
        "holder": person | {"label": seen.lease.get("label", "")} if live else None,
        "acquired_at": seen.lease.get("acquired_at") if live else None,
        "ends_in": ahead(seen.due_ms) if live else None,
        "last_holder": person | {"ended": ended} if seen.holder and not live else None,
        "free_in": ahead(verdict.free_ms) if verdict.state in ("cooling", "quarantined") else None,
        "free_for_last_network_in": ahead(verdict.rested_ms) if verdict.state == "cooling" else None,
        "quarantine": seen.quarantine or None,
    }


def _how_it_ended(seen: PortSeen) -> str:
    return "expired" if seen.ended == "live" else seen.ended


def _state(state: str) -> str:
    return {
        "free": said("free"),
        "leased": said("leased", "of a port"),
        "cooling": said("cooling", "of a port"),
        "quarantined": said("in quarantine"),
        "withheld": said("withheld", "of a port"),
        "": said("not of this WAN any more"),
    }[state]


def _ended(how: str) -> str:
    return {
        "released": said("given back after its connection was closed"),
        "drained": said("given back, read to the end before closing"),
        "time_wait": said(
            "given back; its system keeps the connection in TIME_WAIT, as this side closed first, or nobody could look"
        ),
        "reset": said("given back after it was aborted"),
        "unused": said("given back unused"),
        "expired": said("not renewed in time"),
        "revoked": said("an operator ended it"),
        "reaped": said("its process had died"),
        "rejected": said("its operating system refused the port"),
    }.get(how, how)


def told(
    seen: PortSeen, verdict: Verdict, who: Holder | None, wan_state: str, *, absolute: bool
) -> list[tuple[str, str]]:
    """The same for people: what it is about, and what is so."""

    def when(ms: int) -> str:
        return until(ms + seen.ahead_ms, seen.now_ms + seen.ahead_ms, absolute=absolute)

    lines: list[tuple[str, str]] = []
    live = verdict.state == "leased"
    if seen.holder:
        host, pid = host_and_pid(seen.holder)
        process = f"{host} " + said("(detached)")
        if pid:
            process = said("process {pid} on {host}", pid=pid, host=host)
        program = f", {one_line(who.program)}" if who is not None else ""
        whose = said("holder") if live else said("last holder")
        lines.append((whose, one_line(process) + program))
        if live and seen.lease.get("label"):
            lines.append((said("label"), one_line(seen.lease["label"])))
        if live and seen.lease.get("use") == "idle":
            lines.append((said("use"), said("none now: its holder keeps it for its next lease")))
        lines.append((said("network"), one_line(seen.network)))
    if live:
        since = moment(seen.lease.get("acquired_at", ""))
        if since is not None:
            lines.append((said("since"), until(since, seen.now_ms + seen.ahead_ms, absolute=absolute)))
        kept = said("unless it is renewed")
        lines.append((said("ends"), f"{when(seen.due_ms)}, {kept}"))
    elif seen.ended:
        how = _ended(_how_it_ended(seen))
        at = "" if verdict.ended_ms is None else f", {when(verdict.ended_ms)}"
        lines.append((said("ended"), how + at))
    if seen.quarantine and verdict.state == "quarantined":
        reason = f"{seen.quarantine.get('reason')}, {seen.quarantine.get('host')}"
        lines.append((said("refused"), one_line(reason)))
    if verdict.state in ("cooling", "quarantined"):
        if verdict.rested_ms is not None:
            mine = said("its last network")
            rested = said("now") if verdict.rested_ms <= seen.now_ms else when(verdict.rested_ms)
            lines.append((said("free for"), f"{mine}: {rested}"))
            plain_ms = plain_from(seen, verdict.rested_ms)
            if plain_ms > max(verdict.rested_ms, seen.now_ms):
                what = said("its last network, without SO_REUSEADDR")
                lines.append((said("free for"), f"{what}: {when(min(plain_ms, verdict.free_ms or plain_ms))}"))
        lines.append((said("free"), f"{when(verdict.free_ms or 0)}, " + said("for all")))
    becomes = to_become(seen, verdict)
    if becomes:
        withheld, removed = (
            said("out of service, when its lease is over"),
            said("taken from the WAN, when it has cooled"),
        )
        lines.append((said("then"), withheld if becomes == "withheld" else removed))
    lines.append((said("to do"), advice(seen, verdict, wan_state)))
    return lines


def advice(seen: PortSeen, verdict: Verdict, wan_state: str) -> str:
    """What an operator can do about it."""
    port, wan_idx = seen.port, seen.wan_idx
    if verdict.state == "leased":
        return said("nothing; to end it: wanpool revoke {port} (its holder learns it at its next heartbeat)", port=port)
    if verdict.state == "cooling":
        return said(
            "wait: the router may still know its last connection; less if `cooldown` suits the router's own timeout"
        )
    if verdict.state == "quarantined":
        return said(
            "on that host see what uses it: ss -tanp 'sport = :{port}'; keep the kernel out of the range (wanpool "
            "doctor)",
            port=port,
        )
    if verdict.state == "withheld":
        return said("to put it back into service: wanpool restore {port}", port=port)
    if not verdict.state:
        return said(
            "wanpool resize {wan_idx} once more gives up the claim to what has left; then any WAN can have it",
            wan_idx=wan_idx,
        )
    if wan_state == "draining":
        return said("the WAN is draining, nothing is granted; to end that: wanpool open {wan_idx}", wan_idx=wan_idx)
    return said("nothing: the next acquire may take it")
