"""What Windows says of its TCP settings, and what of it matters to leased ports, version by version."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise

from redis_wanpool.errors import InvalidValue
from redis_wanpool.model.checks import checked_integer
from redis_wanpool.model.ports import port_list, port_ranges
from redis_wanpool.system.time_wait import PARAMETERS, windows_rest
from redis_wanpool.system.time_wait import UNKNOWN as LONGEST
from redis_wanpool.terminal.language import said
from redis_wanpool.tuning import Change, Item, Setting, Status, System, Unreadable, Value, Wishes, ports_unknown
from redis_wanpool.tuning.engine import value_at_start
from redis_wanpool.tuning.windows.netsh_store import Netsh

KEY = rf"HKLM\{PARAMETERS}"
POLICY = Item("registry", r"HKLM\SOFTWARE\Policies\Microsoft\Windows\QoS", "Tcp Autotuning Level")
"""what "Specify the inbound TCP throughput level" of a group policy writes, https://learn.microsoft.com/openspecs
(MS-GPQS, advanced settings)"""
TIME_WAIT, FIN_WAIT_2 = Item("registry", KEY, "TcpTimedWaitDelay"), Item("registry", KEY, "TcpFinWait2Delay")
MAX_USER_PORT = Item("registry", KEY, "MaxUserPort")
DYNAMIC = {family: Item("netsh", "dynamicport", f"{family} tcp") for family in ("ipv4", "ipv6")}
AUTOTUNING = Item("netsh", "global", "autotuninglevel")
LEAST_DYNAMIC = 1025
"""where the dynamic ports may begin, by the documentation; systems were seen on which it is 1024"""
LOWEST = 10_000
"""where the dynamic ports begin lower, servers, and what WinNAT reserves for itself, come into their way"""
MOST = 16_384  #: how many dynamic ports Windows has by default
IGNORED = ("StrictTimeWaitSeqCheck", "TcpNumConnections", "TcpWindowSize", "NumTcbTablePartitions", "MaxHashTableSize")
"""values of old advice: not documented, at their best already, or ignored since Windows Vista, https://learn.microsoft.com
/windows-server/networking/technologies/network-subsystem/net-sub-performance-tuning-nics"""


@dataclass(frozen=True, slots=True)
class Generation:
    """What the documentation says of a version of Windows and those after it.

    Time: https://learn.microsoft.com/biztalk/technical-guides (settings that can be modified to improve network
    performance); ports: https://learn.microsoft.com/troubleshoot/windows-server/networking
    /default-dynamic-port-range-tcpip-chang.
    """

    since: tuple[int, int]
    name: str
    time_wait: int  #: seconds, where TcpTimedWaitDelay is absent
    least: int  #: what TcpTimedWaitDelay may be at least; 300 at most
    dynamic: tuple[int, int]


GENERATIONS = (
    Generation((5, 0), "Windows 2000", 240, 30, (1025, 5000)),
    Generation((5, 1), "Windows XP, Server 2003", 120, 30, (1025, 5000)),
    Generation((6, 0), "Windows Vista to 8, Server 2008 to 2012", 120, 30, (49152, 65535)),
    Generation((6, 3), "Windows 8.1 to 11, Server 2012 R2 and later", 120, 2, (49152, 65535)),
)


def generation(version: tuple[int, ...]) -> Generation:
    """That of a version like (10, 0, 22631)."""
    return next((one for one in reversed(GENERATIONS) if version[:2] >= one.since), GENERATIONS[0])


def is_declared(item: Item) -> bool:
    """Whether it is one of the few that may be written."""
    is_exclusion = item.where == "excludedportrange" and re.fullmatch(r"\d{1,5}-\d{1,5}", item.name)
    known = (TIME_WAIT, FIN_WAIT_2, AUTOTUNING, *DYNAMIC.values())
    return item in known or (item.store == "netsh" and bool(is_exclusion))


def time_wait(system: System, kind: Generation | None = None) -> float:
    """Seconds for which Windows keeps a closed connection's port since it started."""
    try:
        value = value_at_start(system, TIME_WAIT)
    except Unreadable:
        return LONGEST
    kind = kind or GENERATIONS[-1]
    told = value.data if value is not None and value.kind == "REG_DWORD" else value
    return windows_rest(told, kind.time_wait, kind.least)


def checked_dynamic(text: object) -> tuple[int, int]:
    """First and last port of a dynamic range as Windows accepts it: from 1025 on, 255 ports at least.

    The limits: https://learn.microsoft.com/troubleshoot/windows-server/networking/default-dynamic-port-range-tcpip-chang

    Raises:
        InvalidValue
    """
    match = re.fullmatch(r"([0-9]+)-([0-9]+)", str(text), re.ASCII)
    if match and LEAST_DYNAMIC <= int(match[1]) <= int(match[2]) - 254 <= 65_535 - 254:
        return int(match[1]), int(match[2])
    raise InvalidValue(
        f"dynamic ports {text!r}: write a range of at least 255 ports from {LEAST_DYNAMIC} to 65535, like 49152-65535"
    )


@dataclass(frozen=True, slots=True)
class Look:
    """One look at all settings."""

    system: System
    kind: Generation
    ports: Collection[int]
    wishes: Wishes

    def settings(self) -> Iterator[Setting]:
        """All of them, in the order in which they would be changed.

        Raises:
            InvalidValue: a wish is not acceptable on this Windows.
        """
        checked_integer("TcpTimedWaitDelay", self.wishes.time_wait, self.kind.least, 300)
        if self.wishes.fin_wait_2 is not None:
            checked_integer("TcpFinWait2Delay", self.wishes.fin_wait_2, 30, 300)
        for family in DYNAMIC:
            yield self._dynamic(family)
        yield from self._exclusions()
        yield self._time_wait()
        yield self._max_user_port()
        yield self._autotuning()
        yield self._fin_wait_2()
        yield from self._ignored()

    def _dynamic(self, family: str) -> Setting:
        item, default = DYNAMIC[family], self.kind.dynamic
        name, allowed = f"dynamicport {family} tcp", said("255 ports or more, from 1025")
        now, trouble = self.system.told(item)
        if trouble:
            return Setting(name, Status.UNKNOWN, None, "netsh", trouble, _text(default), allowed)
        first, last = map(int, str(now).split("-"))
        why = said("it keeps off the pool's ports") if self.ports else ports_unknown()
        wanted: tuple[int, int] | None = (first, last)
        overlap = [port for port in self.ports if first <= port <= last]
        if self.wishes.dynamic:
            wanted, why = self._wished(), said("as asked for")
        elif overlap:
            wanted = self._room()
            why = said(
                "Windows gives {count} ports of the pool to programs that choose none: connections from them fail",
                count=len(overlap),
            )
        elif first < LOWEST:
            wanted = self._room() if self.ports else None  # it may be where the pool is
            why = said(
                "below {lowest} it meets servers, and WinNAT reserves blocks of it that nobody may use (10013)",
                lowest=LOWEST,
            )
        source = "default" if (first, last) == default else "netsh"
        if wanted is None:
            full = said("the pool leaves no room for it: take ports out of the pool")
            why += said("; ") + (full if self.ports else ports_unknown())
            return Setting(name, Status.SUGGESTION, str(now), source, why, _text(default), allowed)
        if wanted == (first, last):
            status = Status.OK if self.ports or self.wishes.dynamic else Status.UNKNOWN
            return Setting(name, status, str(now), source, why, _text(default), allowed)
        if first < LEAST_DYNAMIC:
            why += said(
                "; netsh is documented to set no start below {least_dynamic}: undo may have to leave it at that",
                least_dynamic=LEAST_DYNAMIC,
            )
        change = Change(item, now, Value("range", _text(wanted)))
        return Setting(name, Status.SUGGESTION, str(now), source, why, _text(default), allowed, (change,))

    def _wished(self) -> tuple[int, int]:
        assert self.wishes.dynamic is not None
        first, last = self.wishes.dynamic
        if any(first <= port <= last for port in self.ports):
            raise InvalidValue(f"dynamic ports {first}-{last}: the pool has ports there; choose others")
        return first, last

    def _room(self) -> tuple[int, int] | None:
        """The default range if the pool keeps off it, else the longest that it leaves; None if that is too short."""
        first, last = self.kind.dynamic if self.kind.dynamic[0] >= LOWEST else (49152, 65535)
        if not any(first <= port <= last for port in self.ports):
            return first, last
        edges = [LOWEST - 1, *sorted(port for port in self.ports if port >= LOWEST), 65_536]
        size, start = max((after - before - 1, before + 1) for before, after in pairwise(edges))
        if size < 255:
            return None
        return start + max(0, size - MOST), start + size - 1

    def _exclusions(self) -> Iterator[Setting]:
        name = "excludedportrange tcp"
        try:
            found = self._netsh().excluded()
        except Unreadable as error:
            yield Setting(name, Status.UNKNOWN, None, "netsh", str(error))
            return
        value = ", ".join(f"{one.first}-{one.last}{'*' * one.by_administrator}" for one in found)
        ours = {port for one in found if one.by_administrator for port in range(one.first, one.last + 1)}
        kept = {port for one in found if not one.by_administrator for port in range(one.first, one.last + 1)}
        missing = sorted(set(self.ports) - ours - kept)
        has_room = self._room() is not None
        changes = tuple(
            Change(Item("netsh", "excludedportrange", _text(span)), None, Value("range", _text(span)))
            for span in port_ranges(missing)
            if has_room
        )
        if not self.ports:
            yield Setting(name, Status.UNKNOWN, value, "netsh", ports_unknown(), "")
            return
        if not has_room:
            why = said("the pool has nearly all ports: excluded, it would leave none to other programs")
        elif missing:
            why = said(
                "an administrator's exclusion keeps Windows off the pool's ports, and lets programs bind to them"
            )
        else:
            why = said("the pool's ports are excluded")
        yield Setting(name, Status.SUGGESTION if missing else Status.OK, value, "netsh", why, "", changes=changes)
        if lost := sorted(kept.intersection(self.ports)):
            why = said(
                "Hyper-V, WSL and Docker (WinNAT) keep them, and choose others at each start: programs are refused "
                "them (10013), and this host leases others; to have them back, exclude the pool, and restart"
            )
            text = port_list(lost)
            yield Setting("excludedportrange tcp, kept", Status.MANAGED, text, "netsh", why)

    def _netsh(self) -> Netsh:
        found = self.system.stores["netsh"]
        assert isinstance(found, Netsh)
        return found

    def _time_wait(self) -> Setting:
        default, allowed = f"{self.kind.time_wait}", f"{self.kind.least}-300 s"
        now, trouble = self.system.told(TIME_WAIT)
        if trouble:
            return Setting(TIME_WAIT.name, Status.UNKNOWN, None, "registry", trouble, default, allowed)
        effective, wish = f"{time_wait(self.system, self.kind):g}", self.wishes.time_wait
        source = "default" if now is None else "registry"
        if now is not None and now.kind != "REG_DWORD":
            return Setting(TIME_WAIT.name, Status.UNKNOWN, None, source, _mistyped(now), default, allowed)
        seconds = self.kind.time_wait if now is None else now.data
        assert isinstance(seconds, int)
        if value_at_start(self.system, TIME_WAIT) != now:
            written = default if now is None else str(now)
            wait = said("{written} is written, and in effect after a restart", written=written)
            effective = f"{effective} ({wait})"
        if self.kind.least <= seconds <= wish:
            why = said("a leased port may be used again soon")
            return Setting(TIME_WAIT.name, Status.OK, effective, source, why, default, allowed)
        why = said(
            "a port whose connection this machine closed first rests so long: {wish} s let it serve more often. It "
            "counts for all programs: stray segments of their old connections are guarded against for less time",
            wish=wish,
        )
        change = Change(TIME_WAIT, now, Value("REG_DWORD", wish), needs_restart=True)
        return Setting(TIME_WAIT.name, Status.SUGGESTION, effective, source, why, default, allowed, (change,))

    def _max_user_port(self) -> Setting:
        why = said(
            "the knob of Windows XP and Server 2003: never written here. The dynamic port range above is what it was"
        )
        return self._reported(MAX_USER_PORT, Status.LEGACY, why)

    def _fin_wait_2(self) -> Setting:
        why = said("Microsoft documents no effect since Windows Vista: written on request only (--fin-wait-2)")
        found, wish = self._reported(FIN_WAIT_2, Status.DEAD, why), self.wishes.fin_wait_2
        if wish is None or found.status == Status.UNKNOWN:
            return found
        now = self.system.read(FIN_WAIT_2)
        if now is not None and now.kind != "REG_DWORD":
            return Setting(FIN_WAIT_2.name, Status.UNKNOWN, None, found.source, _mistyped(now))
        if now == Value("REG_DWORD", wish):
            return found
        change = Change(FIN_WAIT_2, now, Value("REG_DWORD", wish), needs_restart=True)
        return Setting(FIN_WAIT_2.name, Status.SUGGESTION, found.value, found.source, why, changes=(change,))

    def _ignored(self) -> Iterator[Setting]:
        why = said("no documented effect on this Windows; never written here")
        for name in IGNORED:
            found = self._reported(Item("registry", KEY, name), Status.DEAD, why)
            if found.source == "registry":
                yield found

    def _reported(self, item: Item, status: Status, why: str) -> Setting:
        now, trouble = self.system.told(item)
        if trouble:
            return Setting(item.name, Status.UNKNOWN, None, "registry", trouble)
        if now is None:
            return Setting(item.name, status, said("absent"), "default", why)
        return Setting(item.name, status, str(now), "registry", why)

    def _autotuning(self) -> Setting:
        name, allowed = "autotuninglevel", "normal, disabled, restricted, highlyrestricted, experimental"
        now, trouble = self.system.told(AUTOTUNING)
        policy, unread = self.system.told(POLICY)
        if unread:
            now, trouble = None, unread
        if policy is not None:
            why = said('a group policy sets it ("{policy}"): ask who manages this machine', policy=policy)
            return Setting(name, Status.MANAGED, None if now is None else str(now), "policy", why, "normal", allowed)
        if now is None:
            return Setting(name, Status.UNKNOWN, None, "netsh", trouble, "normal", allowed)
        if now.data == "normal":
            why = said("the receive window grows as it should")
            return Setting(name, Status.OK, "normal", "netsh", why, "normal", allowed)
        why = said("it keeps the receive window, and so the speed, small")
        change = Change(AUTOTUNING, now, Value("level", "normal"))
        return Setting(name, Status.SUGGESTION, str(now), "netsh", why, "normal", allowed, (change,))


def _mistyped(now: Value) -> str:
    return said(
        "the value is a {kind} ({now}), not a REG_DWORD: what Windows makes of it is not known. Let who wrote it take "
        "it away",
        kind=now.kind,
        now=now,
    )


def _text(span: tuple[int, int]) -> str:
    return f"{span[0]}-{span[1]}"
