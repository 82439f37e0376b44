"""Which process holds the leases, and which network the router sees."""

import hashlib
import os
import re
import secrets
import socket
import struct
import sys
from functools import cache
from pathlib import Path

import psutil

from redis_wanpool.model.holder import Holder

_SO_NETNS_COOKIE = 71  # include/uapi/asm-generic/socket.h, Linux 5.14


def this_holder(*, reaps: bool = False) -> Holder:
    """A new holder for this process."""
    pid = os.getpid()
    host = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname())[:32] or "host"
    return Holder(
        id=f"{host}:{pid}:{secrets.token_hex(4)}",
        host=host,
        boot_id=_machine_and_boot(),
        pid_namespace=_pid_namespace(),
        pid=pid,
        started=_started(),
        program=re.sub(r"\s+", "-", Path(sys.argv[0] if sys.argv else "").name)[:64] or "python",
        reaps=reaps,
    )


@cache
def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return f"boot-{int(psutil.boot_time())}"


@cache
def _machine_and_boot() -> str:
    """The scope of PIDs: this boot, or without a boot id this machine, whose boots differ in start times."""
    if sys.platform.startswith("linux"):
        return _boot_id()
    return "machine-" + hashlib.sha256(machine_id().encode()).hexdigest()[:12]


@cache
def boot_clock() -> str:
    """The name of the clock that `boottime` reads; all processes of this boot share it."""
    return hashlib.sha256(f"{_boot_id()} {_namespace_of('time')}".encode()).hexdigest()[:12]


def _namespace_of(what: str) -> str:
    try:
        return str(Path(f"/proc/self/ns/{what}").stat().st_ino)
    except OSError:
        return "-"


def _pid_namespace() -> str:
    """Processes with the same value see the same PIDs, and start times by the same clock (see time_namespaces(7))."""
    return f"{_namespace_of('pid')}+{_namespace_of('time')}"


def proc_stat(pid: int | str) -> list[str]:
    """The fields of /proc/PID/stat from the third on (see proc(5)); the second may hold any characters."""
    stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    return stat[stat.rindex(")") + 2 :].split()


def _started() -> str:
    try:
        return proc_stat("self")[19]  # in ticks since boot: no clock step moves it
    except OSError:
        return f"{psutil.Process().create_time():.3f}"


@cache
def this_network() -> str:
    """An id of what the first NAT sees as one source address: this network namespace, in this boot of this machine."""
    return "net-" + hashlib.sha256("\0".join(_network_facts()).encode()).hexdigest()[:12]


def _network_facts() -> tuple[str, ...]:
    if not sys.platform.startswith("linux"):
        return machine_id(), _boot_id()
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            cookie = struct.unpack("Q", probe.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8))[0]
        return _boot_id(), f"cookie-{cookie}"
    except OSError:  # the kernel re-uses inodes at once, so the address must help to tell namespaces apart
        return _boot_id(), f"inode-{Path('/proc/self/ns/net').stat().st_ino}", _default_route_address()


def _default_route_address() -> str:
    """The local IPv4 address of the default route; connecting a datagram socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # TEST-NET-1, RFC 5737
        except OSError:
            return "no-route"
        return str(probe.getsockname()[0])


def machine_id() -> str:
    """A lasting id of this machine; without a machine id, the address of a network card."""
    if sys.platform == "win32":
        import winreg

        with winreg.OpenKey(
            winreg.HKEY_LOCAL_MACHINE, r"SOFTWARE\Microsoft\Cryptography", 0, winreg.KEY_READ | winreg.KEY_WOW64_64KEY
        ) as found:
            return str(winreg.QueryValueEx(found, "MachineGuid")[0])
    import uuid

    return f"{uuid.getnode():x}"
