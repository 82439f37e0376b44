"""Stands between a program and a command that it runs, on Linux: no process of the command outlives the program.

`redis_wanpool.system.family` runs this file as a program. It needs the standard library alone: without site-packages
it starts quickly. It adopts what the command leaves behind (PR_SET_CHILD_SUBREAPER, see prctl(2)),
and sees that the program has died by the end of the socket between them, however it died.
"""

import ctypes
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

SUBREAPER = 36  #: PR_SET_CHILD_SUBREAPER of include/uapi/linux/prctl.h
PASSED_ON = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
KILL = signal.SIGKILL if hasattr(signal, "SIGKILL") else 0
AGAIN = 0.05  #: seconds after which what was born meanwhile is ended, too
LEFT_BEHIND = 1.0  #: seconds that processes have to end which the command leaves behind


def adopt() -> bool:
    """Makes this process the parent of all orphans among its descendants; whether that is possible."""
    return bool(ctypes.CDLL(None, use_errno=True).prctl(SUBREAPER, 1, 0, 0, 0) == 0)


def descendants(of: int) -> Iterator[int]:
    """The processes below one, nearest first."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - pathlib loads much
        with suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat", "rb") as stat:  # noqa: PTH123
            state, parent = stat.read().rpartition(b")")[2].split()[:2]
            if state != b"Z":
                children.setdefault(int(parent), []).append(int(name))
    near = [of]
    for pid in near:
        near += children.get(pid, ())
        if pid != of:
            yield pid


def end_all(of: int, number: int) -> int:
    """Sends a signal to all processes below one; how many there are."""
    found = list(descendants(of))
    for pid in found:
        with suppress(OSError):
            os.kill(pid, number)
    return len(found)


class Guard:
    """Runs a command, and tells the program of its start and end."""

    def __init__(self, program: socket.socket, path: str, words: list[str]) -> None:
        self.program = program
        self.code: int | None = None
        self.end_at = float("inf")
        here = [getattr(signal, name) for name in PASSED_ON]
        as_ever = [number for number in here if signal.getsignal(number) != signal.SIG_IGN]  # nohup ignores some
        for number in here:
            signal.signal(number, signal.SIG_IGN)  # the program passes them on
        self.command = os.posix_spawn(path, words, os.environ, setsigdef=[*as_ever, signal.SIGPIPE, signal.SIGXFSZ])

    def run(self, wakened: socket.socket) -> None:
        """Leads the command and what it has started to their end."""
        while self.code is None or end_all(os.getpid(), 0):
            left = self.end_at - time.monotonic()
            if left <= 0:
                end_all(os.getpid(), KILL)
                left = AGAIN
            ready, _, _ = select.select([self.program, wakened], [], [], None if left == float("inf") else left)
            if self.program in ready:
                self._hear(self.program.recv(64).decode())
            with suppress(BlockingIOError):
                wakened.recv(64)
            self._reap()

    def _hear(self, told: str) -> None:
        word, _, value = told.partition(" ")
        if word == "signal" and self.code is None:
            os.kill(self.command, int(value))
        elif word == "end":
            end_all(os.getpid(), signal.SIGTERM)
            self.end_at = min(self.end_at, time.monotonic() + float(value))
        elif not word:  # the program has died
            self.end_at = 0.0

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                if found[0] == self.command:
                    self.code = os.waitstatus_to_exitcode(found[1])
                    left = end_all(os.getpid(), signal.SIGTERM)
                    self.end_at = min(self.end_at, time.monotonic() + LEFT_BEHIND)
                    with suppress(OSError):
                        self.program.send(f"code {self.code} {left}".encode())


def main() -> None:
    """Arguments: the number of the socket's descriptor, the command's file, and its words."""
    program = socket.socket(fileno=int(sys.argv[1]))
    program.set_inheritable(False)
    wakened, wakes = socket.socketpair()
    for end in (wakened, wakes):
        end.setblocking(False)
    signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    adopt()
    try:
        guard = Guard(program, sys.argv[2], sys.argv[3:])
    except OSError as error:
        program.send(f"failed {error.errno}".encode())
        return
    program.send(b"started")
    guard.run(wakened)


if __name__ == "__main__":
    main()
