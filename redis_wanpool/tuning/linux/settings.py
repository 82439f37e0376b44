"""What Linux says of its TCP settings in this network namespace, and what of it matters to leased ports."""

import os
import socket
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from redis_wanpool.model.ports import port_list
from redis_wanpool.model.wan import COOLDOWN
from redis_wanpool.system.time_wait import tuning_folder
from redis_wanpool.terminal.language import said
from redis_wanpool.tuning import Change, Item, Setting, Status, System, Value, Wishes, ports_unknown
from redis_wanpool.tuning.linux.sysctl import Kernel, at_start, container_hint, listed_ports, merged, parsed

RANGE = "net.ipv4.ip_local_port_range"
RESERVED = "net.ipv4.ip_local_reserved_ports"
TIMESTAMPS = "net.ipv4.tcp_timestamps"
UNPRIVILEGED = "net.ipv4.ip_unprivileged_port_start"
FILE = "/etc/sysctl.d/90-wanpool.conf"
FEWEST = 1_000  #: how many ports the kernel must keep for programs that choose none
FORWARD = "net.ipv4.ip_forward"
TRACKED, MOST_TRACKED = "net.netfilter.nf_conntrack_count", "net.netfilter.nf_conntrack_max"
NEARLY = 0.8  #: of nf_conntrack_max: beyond it the table of connections counts as nearly full
SILENT = "net.netfilter.nf_conntrack_tcp_timeout_established"
ENDED = "net.netfilter.nf_conntrack_tcp_timeout_time_wait"


def this_machine() -> System:
    """The Linux that this program runs on, in its network namespace."""
    return system(Path("/"))


def system(root: Path) -> System:
    """A Linux whose files are there."""
    kernel = Kernel(root)

    def look(ports: Collection[int], wishes: Wishes, seen: System) -> list[Setting]:
        return list(Look(seen, root, ports).settings())

    machine = socket.gethostname()
    with suppress(OSError):
        machine = (root / "etc/machine-id").read_text(encoding="ascii").strip() or machine
    return System(
        name=f"Linux {os.uname().release}",
        machine=machine,
        booted_at=psutil.boot_time(),
        folder=root / str(tuning_folder()).lstrip("/"),
        stores={"sysctl": kernel, "file": kernel},
        look=look,
        is_declared=lambda item: item in (_sysctl(RESERVED), _sysctl(TIMESTAMPS), Item("file", FILE, "")),
    )


def _sysctl(name: str) -> Item:
    return Item("sysctl", "", name)


@dataclass(frozen=True, slots=True)
class Look:
    """One look at all settings."""

    system: System
    root: Path
    ports: Collection[int]

    def settings(self) -> Iterator[Setting]:
        """All of them, in the order in which they would be changed."""
        reserved, timestamps = self._reserved(), self._timestamps()
        yield from (reserved, timestamps, self._file(*self._lasting(reserved, timestamps)))
        yield from self._kernel_range()
        yield from self._privileged()
        why = said("for ports that the kernel chooses; a leased one is used again at once where timestamps are on")
        yield from self._reported("net.ipv4.tcp_tw_reuse", Status.DEAD, why)
        why = said("it ends FIN_WAIT_2; TIME_WAIT lasts 60 s whatever it says")
        yield from self._reported("net.ipv4.tcp_fin_timeout", Status.DEAD, why)
        yield from self._tracked()

    def _reserved(self) -> Setting:
        now, trouble = self.system.told(_sysctl(RESERVED))
        if trouble:
            return Setting(RESERVED, Status.UNKNOWN, None, "kernel", trouble, "")
        if now is None:
            return Setting(RESERVED, Status.UNKNOWN, None, "kernel", said("this kernel has no such setting"))
        stands = listed_ports(str(now))
        missing = set(self.ports) - stands
        if not self.ports:
            return Setting(RESERVED, Status.UNKNOWN, str(now), "kernel", ports_unknown(), "")
        if missing and not self._leaves_room(stands):
            why = said(
                "the pool would leave the kernel fewer than {fewest} ports for other programs: move {range} away",
                fewest=FEWEST,
                range=RANGE,
            )
            return Setting(RESERVED, Status.SUGGESTION, str(now), "kernel", why, "")
        if not missing:
            return Setting(RESERVED, Status.OK, str(now), "kernel", said("the kernel keeps off the pool's ports"), "")
        why = said(
            "the kernel gives reserved ports only to who asks for them by number: so no other program comes to one of "
            "the pool's by chance"
        )
        return self._to_change(RESERVED, now, port_list(stands | set(self.ports)), why, "")

    def _leaves_room(self, stands: set[int]) -> bool:
        """Whether the kernel has ports left when the pool is reserved, too."""
        first, last = self._range() or (0, -1)
        return len(set(range(first, last + 1)) - stands - set(self.ports)) >= FEWEST or first > last

    def _range(self) -> tuple[int, int] | None:
        words = str(self.system.told(_sysctl(RANGE))[0] or "").split()
        return (int(words[0]), int(words[1])) if len(words) == 2 and all(map(str.isdecimal, words)) else None

    def _timestamps(self) -> Setting:
        now, trouble = self.system.told(_sysctl(TIMESTAMPS))
        if now is None:
            return Setting(TIMESTAMPS, Status.UNKNOWN, None, "kernel", trouble or said("no such setting"), "1")
        if now.data != "0":
            why = said("a leased port may be used again after 1 s")
            return Setting(TIMESTAMPS, Status.OK, str(now), "kernel", why, "1", "0-2")
        why = said("without them a port whose connection this machine closed first rests 65 s in place of 1")
        return self._to_change(TIMESTAMPS, now, "1", why, "1", "0-2")

    def _to_change(
        self, name: str, now: Value, wanted: str, why: str, default: str, allowed: str | None = None
    ) -> Setting:
        """A setting that is to become something else, where it can be written."""
        if Kernel(self.root).is_sealed(name):
            why += said(". It is read-only here: ") + container_hint(name, wanted)
            return Setting(name, Status.SUGGESTION, str(now), "kernel", why, default, allowed)
        change = Change(_sysctl(name), now, Value("sysctl", wanted))
        return Setting(name, Status.SUGGESTION, str(now), "kernel", why, default, allowed, (change,))

    def _file(self, wanted: dict[str, str], others: list[str]) -> Setting:
        """What makes the settings last: the whole list of reserved ports, for the last file that names it counts."""
        item = Item("file", FILE, "")
        now, trouble = self.system.told(item)
        if trouble:
            return Setting(FILE, Status.UNKNOWN, None, "file", trouble)
        lines = parsed("" if now is None else str(now))
        value = said("absent") if now is None else ", ".join(f"{key} = {text}" for key, text in lines.items())
        if wanted:
            why = said("without it the kernel forgets the settings at the next start")
            change = Change(item, now, Value("file", merged("" if now is None else str(now), wanted)))
            return Setting(FILE, Status.SUGGESTION, value, "file", why, changes=(change,))
        if others:
            why = said(
                "{files}: read after it, so this counts, and the pool is not protected from the next start on; change "
                "it there",
                files=said(" and ", "of files").join(others),
            )
            return Setting(FILE, Status.SUGGESTION, value, "file", why)
        why = said("where settings would be kept; none needs it") if now is None else said("what is set above lasts")
        return Setting(FILE, Status.OK, value, "file", why)

    def _lasting(self, reserved: Setting, timestamps: Setting) -> tuple[dict[str, str], list[str]]:
        """What our file has to say so that the next start sets what is set now; and which files say otherwise later."""
        start, is_sealed = at_start(self.root, (RESERVED, TIMESTAMPS)), Kernel(self.root).is_sealed(RESERVED)
        wanted: dict[str, str] = {}
        listed = listed_ports(start[RESERVED][0]) if RESERVED in start else set()
        if (reserved.changes or reserved.status == Status.OK) and not set(self.ports) <= listed and not is_sealed:
            wanted[RESERVED] = port_list(listed | listed_ports(reserved.value or "") | set(self.ports))
        set_to = start[TIMESTAMPS][0] if TIMESTAMPS in start else None
        if set_to == "0" or (set_to is None and timestamps.changes):
            wanted[TIMESTAMPS] = "1"
        later = {name for name in wanted if name in start and start[name][1].name > Path(FILE).name}
        others = [f"{start[name][1]} ({name} = {start[name][0]})" for name in sorted(later)]
        return {name: text for name, text in wanted.items() if name not in later}, others

    def _kernel_range(self) -> Iterator[Setting]:
        found = self._range()
        if found is None:
            yield Setting(RANGE, Status.UNKNOWN, None, "kernel", said("it cannot be read"), "32768 60999")
            return
        inside = sum(found[0] <= port <= found[1] for port in self.ports)
        why = said(
            "what the kernel gives to programs that choose none, reserved ports excepted; {inside} of the pool are "
            "in it",
            inside=inside,
        )
        if not self.ports:
            why = said("what the kernel gives to programs that choose none")
        elif not inside:
            why = said("it keeps off the pool's ports")
        if (found[1] - found[0]) % 2 == 0:
            why += said("; one of its ends should be even and the other odd")
        yield Setting(RANGE, Status.OK, f"{found[0]} {found[1]}", "kernel", why, "32768 60999")

    def _privileged(self) -> Iterator[Setting]:
        for found in self._reported(UNPRIVILEGED, Status.OK, ""):
            low = [port for port in self.ports if str(found.value).isdecimal() and port < int(found.value or 0)]
            if low:
                why = said(
                    "of the pool {count} below it: only programs with CAP_NET_BIND_SERVICE may use them", count=len(low)
                )
                yield Setting(UNPRIVILEGED, Status.SUGGESTION, found.value, "kernel", why, "1024")

    def _tracked(self) -> Iterator[Setting]:
        """Connection tracking: where this host is the router, or where it is about to refuse connections."""
        is_router = self._number(FORWARD) == 1
        count, most = self._number(TRACKED), self._number(MOST_TRACKED)
        is_nearly_full = count is not None and bool(most) and count >= NEARLY * (most or 0)
        if is_router or is_nearly_full:
            why = said("connections that this host's NAT or firewall remembers at most")
            yield from self._reported(MOST_TRACKED, Status.OK, why)
            why = said("and how many these are now")
            if is_nearly_full:
                why = said(
                    "nearly as many as there may be ({count} of {most}): beyond, new connections are dropped; raise "
                    "{most_tracked}",
                    count=count,
                    most=most,
                    most_tracked=MOST_TRACKED,
                )
            yield from self._reported(TRACKED, Status.SUGGESTION if is_nearly_full else Status.OK, why)
        if not is_router:
            return
        why = said(
            "seconds for which this host's NAT remembers a silent connection: who holds one longer has to send "
            "something (keepalive)"
        )
        yield from self._reported(SILENT, Status.OK, why, "432000")
        seconds = self._number(ENDED) or 0
        why = said(
            "seconds for which this host's NAT remembers an ended connection: a WAN's cool-down must be longer "
            "({cooldown:g} s by default)",
            cooldown=COOLDOWN,
        )
        yield from self._reported(ENDED, Status.OK if seconds < COOLDOWN else Status.SUGGESTION, why, "120")

    def _number(self, name: str) -> int | None:
        text = str(self.system.told(_sysctl(name))[0])
        return int(text) if text.isdecimal() else None

    def _reported(self, name: str, status: Status, why: str, default: str | None = None) -> Iterator[Setting]:
        """A setting that is not changed; none where the kernel has none."""
        now, trouble = self.system.told(_sysctl(name))
        if trouble:
            yield Setting(name, Status.UNKNOWN, None, "kernel", trouble)
        elif now is not None:
            yield Setting(name, status, str(now), "kernel", why, default)
