"""Windows: the ports that it gives to others, and those that it keeps; read from netsh, whatever language it speaks."""

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from redis_wanpool.doctor import FAIL, OK, WARN, Finding
from redis_wanpool.model.ports import port_list, port_ranges
from redis_wanpool.system.netsh import Excluded, run
from redis_wanpool.terminal.language import said
from redis_wanpool.tuning import Item, Unreadable, Value
from redis_wanpool.tuning.windows.netsh_store import Netsh, Runner


@dataclass(frozen=True, slots=True)
class WindowsFacts:
    """What netsh says; None is what it does not."""

    dynamic: tuple[int, int] | None = None  #: the ports that Windows gives to who does not choose: first and last
    excluded: tuple[Excluded, ...] | None = None


def look(runner: Runner = run) -> WindowsFacts:
    netsh = Netsh(runner)
    facts = WindowsFacts()
    with suppress(Unreadable):
        facts = replace(facts, dynamic=netsh.dynamic("ipv4"))
    with suppress(Unreadable):
        facts = replace(facts, excluded=netsh.excluded())
    return facts


def judge(facts: WindowsFacts, ports: Collection[int]) -> Iterator[Finding]:
    """What these facts mean for these ports, those of all WANs."""
    if facts.dynamic is None or facts.excluded is None:
        seen = said("netsh does not tell the dynamic and excluded ports")
        means = said("so whether Windows uses the pool's ports is not judged")
        cure = said("look: netsh int ipv4 show excludedportrange protocol=tcp")
        yield Finding(WARN, "unseen", (), seen, means, cure)
        return
    kept = _within(ports, [one for one in facts.excluded if not one.by_administrator])
    reserved = _within(ports, [one for one in facts.excluded if one.by_administrator])
    first, last = facts.dynamic
    given = sorted({port for port in ports if first <= port <= last} - kept - reserved)
    if kept:
        which = port_list(kept)
        seen = said("Windows keeps ports of the pool: {which}", which=which)
        means = said("programs are refused them (10013); Hyper-V, WSL and Docker have them reserved anew at each start")
        cure = said(
            "take them out of the WAN (wanpool resize); or move the dynamic ports away from the pool (wanpool tune "
            "apply), and restart"
        )
        yield Finding(FAIL, "excluded-ports", (), seen, means, cure)
    if given:
        which = port_list(given)
        seen = said(
            "Windows gives ports of the pool to whoever asks for any: {which} (dynamic: {first}-{last})",
            which=which,
            first=first,
            last=last,
        )
        means = said("connections from leased ports fail")
        cure = _cure(given)
        yield Finding(FAIL, "kernel-ports", (), seen, means, cure)
    if not kept and not given:
        seen = said("Windows gives none of the pool's ports to others")
        yield Finding(OK, "kernel-ports", (), seen)


def _cure(given: Collection[int]) -> str:
    """wanpool tune, or the lines for who wants to do it by hand."""
    items = [Item("netsh", "excludedportrange", f"{first}-{last}") for first, last in port_ranges(given)]
    lines = "\n".join(f"netsh {' '.join(Netsh.command(one, Value('range', one.name)))}" for one in items)
    return said("as administrator: wanpool tune apply (first: wanpool tune plan); or by hand:\n{lines}", lines=lines)


def _within(ports: Collection[int], ranges: Collection[Excluded]) -> set[int]:
    return {port for port in ports if any(one.first <= port <= one.last for one in ranges)}
