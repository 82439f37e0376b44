"""Windows: the ports that it gives to others, and those that it keeps; read from netsh, whatever language it speaks."""

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from redis_wanpool.doctor.finding import FAIL, OK, WARN, Finding, found
from redis_wanpool.model.ports import port_list, port_ranges
from redis_wanpool.system.netsh import Excluded, run
from redis_wanpool.terminal.language import said
from redis_wanpool.tuning import Item, Unreadable, Value
from redis_wanpool.tuning.windows.netsh_store import Netsh, Runner


@dataclass(frozen=True, slots=True)
class WindowsFacts:
    """What netsh says; None is what it does not."""

    dynamic: tuple[int, int] | None = None  #: the ports that Windows gives to programs that choose none: first and last
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
        yield found(WARN, "unseen/netsh")
        return
    kept = _within(ports, [one for one in facts.excluded if not one.by_administrator])
    reserved = _within(ports, [one for one in facts.excluded if one.by_administrator])
    first, last = facts.dynamic
    given = sorted({port for port in ports if first <= port <= last} - kept - reserved)
    if kept:
        which = port_list(kept)
        yield found(FAIL, "excluded-ports", which=which)
    if given:
        which = port_list(given)
        cure = _cure(given)
        yield found(FAIL, "kernel-ports/windows", cure=cure, which=which, first=first, last=last)
    if not kept and not given:
        yield found(OK, "kernel-ports/windows-keeps-off")


def _cure(given: Collection[int]) -> str:
    """wanpool tune, or the lines for who wants to do it by hand."""
    items = [Item("netsh", "excludedportrange", f"{first}-{last}") for first, last in port_ranges(given)]
    lines = "\n".join(f"netsh {' '.join(Netsh.command(one, Value('range', one.name)))}" for one in items)
    return said("as administrator: wanpool tune apply (first: wanpool tune plan); or by hand:\n{lines}", lines=lines)


def _within(ports: Collection[int], ranges: Collection[Excluded]) -> set[int]:
    return {port for port in ports if any(one.first <= port <= one.last for one in ranges)}
