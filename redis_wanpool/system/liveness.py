"""Tells whether a process is dead, only on proof; without proof, the ttl of its leases decides."""

import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from redis_wanpool.model.holder import Holder
from redis_wanpool.system.identity import proc_stat

ALIVE, DEAD, UNKNOWN = "alive", "dead", "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known about a process, and why."""

    word: str
    why: str


def verdict(holder: Holder, here: Holder) -> Verdict:
    """Judges another process by what the kernel says, and by no clock."""
    if holder.pid <= 0:
        return Verdict(UNKNOWN, "it has no process")
    if (holder.host, holder.boot_id) != (here.host, here.boot_id):  # clones of a virtual machine may share the latter
        return Verdict(UNKNOWN, "it is of another machine, or of this one before its last start")
    if holder.pid_namespace != here.pid_namespace:
        return Verdict(UNKNOWN, "it is in another container (PID or time namespace) of this machine")
    return _by_proc(holder) if Path("/proc/self/stat").exists() else _by_psutil(holder)


def _by_proc(holder: Holder) -> Verdict:
    try:
        os.kill(holder.pid, 0)  # only asks; unlike /proc, it cannot be set to hide the processes of others
    except ProcessLookupError:
        return Verdict(DEAD, f"there is no process {holder.pid}")
    except PermissionError:
        pass  # it exists, and belongs to another user
    except OverflowError:
        return Verdict(UNKNOWN, f"{holder.pid} cannot be a pid")
    if str(Path("/proc/self").readlink()) != str(os.getpid()):
        return Verdict(UNKNOWN, "/proc shows another PID namespace than that of this process")
    try:
        fields = proc_stat(holder.pid)
    except OSError:
        return Verdict(UNKNOWN, f"there is a process {holder.pid}, but /proc does not show it to this user")
    state, threads, started = fields[0], int(fields[17]), fields[19]
    if started != holder.started:
        return Verdict(
            DEAD, f"process {holder.pid} is another one by now: its start time is {started}, not {holder.started}"
        )
    if state in "ZX" and threads <= 1:
        return Verdict(DEAD, f"process {holder.pid} has ended, and its parent has not asked how (zombie)")
    return Verdict(ALIVE, f"process {holder.pid} runs")


def _by_psutil(holder: Holder) -> Verdict:
    try:
        started = f"{psutil.Process(holder.pid).create_time():.3f}"
    except psutil.NoSuchProcess as error:
        return Verdict(DEAD, f"there is no process {holder.pid} ({type(error).__name__})")
    except psutil.Error as error:
        return Verdict(UNKNOWN, f"the system does not tell of process {holder.pid}: {type(error).__name__}")
    if started != holder.started:  # no proof: psutil's start times may move with the clock
        return Verdict(UNKNOWN, f"process {holder.pid} began at {started}, not {holder.started}")
    return Verdict(ALIVE, f"process {holder.pid} runs")
