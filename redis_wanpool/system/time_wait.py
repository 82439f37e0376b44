"""How long this system's own TCP stack keeps a port whose connection it closed first: the default of `rest`."""

import json
import math
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

WITHOUT_TIMESTAMPS = 65.0
"""Linux: TIME_WAIT is 60 s, and the timer that ends it is late: 60.4 to 61.9 s were measured on kernel 6.18"""
DOCUMENTED, UNKNOWN = 120.0, 240.0
"""Windows, in seconds: without TcpTimedWaitDelay, https://learn.microsoft.com/biztalk/technical-guides (settings that
can be modified to improve network performance), and the longest wait documented for any version"""
PARAMETERS = r"SYSTEM\CurrentControlSet\Services\Tcpip\Parameters"
SAME_BOOT = 60.0  #: seconds by which two computed times of one start may differ, because clocks are set
_TIMESTAMPS = Path("/proc/sys/net/ipv4/tcp_timestamps")


def default_rest() -> float:
    """Seconds after which this platform's own TCP stack has surely released a port.

    Linux reconnects a tuple in TIME_WAIT after one round trip when both ends send timestamps. Windows keeps it for
    TcpTimedWaitDelay, as `wanpool tune` found or measured it; macOS for twice net.inet.tcp.msl, 15 s by default.
    """
    if sys.platform == "win32":
        found = noted(tuning_folder())
        return windows_rest(_time_wait_delay()) if found is None else found
    if sys.platform == "darwin":
        return 30.0
    with suppress(OSError):
        if _TIMESTAMPS.read_text().strip() == "0":
            return WITHOUT_TIMESTAMPS
    return 1.0


def windows_rest(value: Any, absent: float = DOCUMENTED, least: int = 2) -> float:
    """The rest in seconds for a TcpTimedWaitDelay: an integer, None if it is absent, anything else if it is wrong."""
    if value is None:
        return float(absent)
    is_right = isinstance(value, int) and not isinstance(value, bool) and least <= value <= 300
    return float(value) if is_right else UNKNOWN


def _time_wait_delay() -> Any:
    if sys.platform != "win32":
        return ""
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, PARAMETERS, 0, winreg.KEY_QUERY_VALUE) as key:
            data, kind = winreg.QueryValueEx(key, "TcpTimedWaitDelay")
    except FileNotFoundError:
        return None
    except OSError:
        return ""
    return data if kind == winreg.REG_DWORD else ""


def tuning_folder() -> Path:
    """The folder in which `wanpool tune` notes its changes and findings; all may read it, only administrators write.

    PROGRAMFILES differs for 32-bit programs; PROGRAMW6432 is the same for all.
    """
    if sys.platform == "win32":
        programs = os.environ.get("PROGRAMW6432") or os.environ.get("PROGRAMFILES", r"C:\Program Files")
        return Path(programs) / "redis-wanpool" / "tuning"
    return Path("/var/lib/redis-wanpool/tuning")


def noted(folder: Path) -> float | None:
    """The seconds of TIME_WAIT that were noted since this machine started; None if nothing was."""
    try:
        found = json.loads((folder / "time-wait").read_text(encoding="utf-8"))
        seconds, booted_at = float(found["seconds"]), float(found["booted_at"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    is_of_this_boot = abs(booted_at - psutil.boot_time()) < SAME_BOOT
    return seconds if is_of_this_boot and 1 <= seconds <= 600 else None


def note(folder: Path, seconds: float) -> None:
    """Notes how many seconds TIME_WAIT lasts; the note is good until the next start."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    new = folder / "time-wait.new"
    new.write_text(json.dumps({"seconds": math.ceil(seconds), "booted_at": psutil.boot_time()}), encoding="utf-8")
    new.replace(folder / "time-wait")
