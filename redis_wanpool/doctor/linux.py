"""This machine's kernel, where it is Linux: whether it keeps out of the pool's ports, and lets programs use them."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from redis_wanpool.doctor.finding import FAIL, OK, WARN, Finding, found
from redis_wanpool.model.ports import port_list
from redis_wanpool.terminal.language import said
from redis_wanpool.tuning.linux.settings import FILE, RANGE, RESERVED, TIMESTAMPS, UNPRIVILEGED
from redis_wanpool.tuning.linux.sysctl import at_once, listed_ports

BOOT_ID = "/proc/sys/kernel/random/boot_id"
_CAP_NET_BIND_SERVICE = 10


@dataclass(frozen=True, slots=True)
class LinuxFacts:
    """What the kernel says in this network namespace; None is what it does not."""

    ephemeral: tuple[int, int] | None = None  #: the ports that it gives to programs that choose none: first and last
    reserved: str | None = None  #: those that it does not, as a list
    timestamps: int | None = None
    unprivileged: int | None = None  #: the first port that needs no privilege
    is_privileged: bool = False  #: whether this process may use the others
    boot_id: bool = True
    clock: str | None = None
    unseen: tuple[tuple[str, str], ...] = ()  #: what was to be read, and why it could not be


def look(root: Path = Path("/")) -> LinuxFacts:
    """Reads it, from this machine or a copy of its files."""
    unseen: dict[str, str] = {}

    def read(name: str) -> str | None:
        try:
            return at_once(root / name.lstrip("/")).strip()
        except (OSError, UnicodeDecodeError) as error:
            unseen[name] = getattr(error, "strerror", None) or str(error)
            return None

    def numbers(setting: str) -> list[int] | None:
        text = read(f"/proc/sys/{setting.replace('.', '/')}")
        return None if text is None else [int(word) for word in text.split() if word.isdecimal()]

    ephemeral, timestamps, unprivileged = numbers(RANGE), numbers(TIMESTAMPS), numbers(UNPRIVILEGED)
    boot_id = read(BOOT_ID)
    status = read("/proc/self/status") or ""
    capabilities = next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0")
    reserved = read(f"/proc/sys/{RESERVED.replace('.', '/')}")
    clock = read("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    return LinuxFacts(
        ephemeral=(ephemeral[0], ephemeral[1]) if ephemeral and len(ephemeral) == 2 else None,
        reserved=reserved,
        timestamps=timestamps[0] if timestamps else None,
        unprivileged=unprivileged[0] if unprivileged else None,
        is_privileged=bool(int(capabilities, 16) >> _CAP_NET_BIND_SERVICE & 1),
        boot_id=bool(boot_id),
        clock=clock,
        unseen=tuple(unseen.items()),
    )


def judge(facts: LinuxFacts, ports: Collection[int]) -> Iterator[Finding]:
    """What these facts mean for these ports, those of all WANs."""
    yield from _kernel_ports(facts, ports)
    yield from _privileged(facts, ports)
    if facts.timestamps == 0:
        yield found(WARN, "timestamps/off", seen=f"{TIMESTAMPS} = 0", cure=_lines(TIMESTAMPS, "1"))
    elif facts.timestamps is not None:
        yield found(OK, "timestamps", seen=f"{TIMESTAMPS} = {facts.timestamps}")
    if facts.boot_id:
        seen = said("the kernel tells its boot id")
        clock = said(", and keeps time by {clock}", clock=facts.clock) if facts.clock else ""
        yield found(OK, "identity", seen=seen + clock)
    else:
        yield found(WARN, "identity/no-boot-id", boot_id=BOOT_ID)
    for name, why in facts.unseen:
        if name != BOOT_ID and "clocksource" not in name:
            yield found(WARN, "unseen/file", name=name, why=why)


def _kernel_ports(facts: LinuxFacts, ports: Collection[int]) -> Iterator[Finding]:
    if facts.ephemeral is None or not ports:
        return
    first, last = facts.ephemeral
    reserved = listed_ports(facts.reserved or "")
    given = sorted(port for port in ports if first <= port <= last and port not in reserved)
    if not given:
        yield found(OK, "kernel-ports/linux-keeps-off")
        return
    which = port_list(given)
    cure = said("wanpool tune apply; or ") + _lines(RESERVED, port_list(reserved.union(ports)))
    yield found(FAIL, "kernel-ports/linux", cure=cure, which=which, range=RANGE, first=first, last=last)


def _privileged(facts: LinuxFacts, ports: Collection[int]) -> Iterator[Finding]:
    low = sorted(port for port in ports if facts.unprivileged is not None and port < facts.unprivileged)
    if low:
        cure = _lines(UNPRIVILEGED, str(low[0]))
        yield found(
            WARN if facts.is_privileged else FAIL,
            "privileged-ports",
            cure=cure,
            ports=port_list(low),
            setting=UNPRIVILEGED,
            first=facts.unprivileged,
        )


def _lines(setting: str, value: str) -> str:
    return said(
        "as root: sysctl -w {setting}={value}\nto last, in {file}: {setting} = {value}",
        setting=setting,
        value=value,
        file=FILE,
    )
