"""A command, and all processes that it starts: they end together."""

import ctypes
import errno
import os
import select
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import psutil

from redis_wanpool.system import guard, signals

_LIMITS, _KILL_ON_CLOSE = 9, 0x2000
"""JobObjectExtendedLimitInformation, and JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE, of winnt.h"""
_MAY_JOIN = 0x0101  #: PROCESS_SET_QUOTA and PROCESS_TERMINATE, which AssignProcessToJobObject asks for


def start(path: str, words: Sequence[str], environment: Mapping[str, str]) -> "Family":
    """Starts a command; raises OSError if it does not start."""
    kind = Guarded if sys.platform == "linux" else InJob if sys.platform == "win32" else Family
    return kind(path, words, environment)


class Family:
    """A command that was started here; what it starts ends with it, as far as it is found."""

    def __init__(self, path: str, words: Sequence[str], environment: Mapping[str, str]) -> None:
        self.left_behind = 0  #: how many processes the command had left, which were ended then
        self._process = self._start(path, words, environment)

    def _start(self, path: str, words: Sequence[str], environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(words, executable=path, env=environment)

    def signal(self, number: int) -> None:
        """Sends the command a signal."""
        self._process.send_signal(number)

    def end(self, seconds: float) -> None:
        """Asks all of it to end, and ends it after some seconds."""
        found = self._all()
        for process in found:
            with suppress(psutil.Error):
                process.terminate()
        signals.DeafThread(self._kill, found, seconds).start()

    def wait(self) -> int:
        """Waits for its end, and hears all signals meanwhile; its exit code, or minus the number of a signal."""
        if sys.platform == "win32":
            return self._process.wait()
        with signals.wakened() as wakened:
            while (code := self._process.poll()) is None:
                wakened.recv(64)
        return code

    def _all(self) -> list[psutil.Process]:
        with suppress(psutil.Error):
            first = psutil.Process(self._process.pid)
            return [first, *first.children(recursive=True)]
        return []

    def _kill(self, found: list[psutil.Process], seconds: float) -> None:
        for process in psutil.wait_procs(found, timeout=seconds)[1]:
            with suppress(psutil.Error):
                process.kill()


class Guarded(Family):
    """A command on Linux, below a process that ends all of it when the command ends, or this process does."""

    def _start(self, path: str, words: Sequence[str], environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
        guard.adopt()  # what an end of the guard leaves behind
        self._guard, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with there:
            there.set_inheritable(True)
            command = [sys.executable, "-I", "-S", guard.__file__, str(there.fileno()), path, *words]
            process = subprocess.Popen(command, env=environment, pass_fds=[there.fileno()])
        told = self._guard.recv(64).decode()
        if told != "started":
            number = int(told.partition(" ")[2] or errno.ECHILD)
            self._guard.close()
            process.wait()
            raise OSError(number, os.strerror(number))
        return process

    def signal(self, number: int) -> None:
        self._tell(f"signal {int(number)}")

    def end(self, seconds: float) -> None:
        self._tell(f"end {seconds}")

    def _tell(self, words: str) -> None:
        with suppress(OSError):  # it has ended
            self._guard.send(words.encode())

    def wait(self) -> int:
        code: int | None = None
        with signals.wakened() as wakened, self._guard:
            wakened.setblocking(False)
            while True:
                ready, _, _ = select.select([self._guard, wakened], [], [])
                with suppress(BlockingIOError):
                    wakened.recv(64)
                if self._guard not in ready:
                    continue
                told = self._guard.recv(64).decode()
                if not told:
                    break
                code, self.left_behind = map(int, told.split()[1:])
        ended = self._process.wait()
        while code is None and guard.end_all(os.getpid(), guard.KILL):  # somebody has ended the guard
            pass
        return ended if code is None else code


class InJob(Family):
    """A command on Windows, in a job object that ends all of it when its last handle is closed, however that comes."""

    def _start(self, path: str, words: Sequence[str], environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
        self._kernel: Any = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined,unused-ignore]
        for name, result in (("CreateJobObjectW", ctypes.c_void_p), ("OpenProcess", ctypes.c_void_p)):
            getattr(self._kernel, name).restype = result
        self._job = ctypes.c_void_p(self._kernel.CreateJobObjectW(None, None))
        limits = (ctypes.c_uint32 * 36)()  # JOBOBJECT_EXTENDED_LIMIT_INFORMATION of 64 bits has 144 bytes
        limits[4] = _KILL_ON_CLOSE
        self._kernel.SetInformationJobObject(self._job, _LIMITS, ctypes.byref(limits), ctypes.sizeof(limits))
        process = super()._start(path, words, environment)
        handle = ctypes.c_void_p(self._kernel.OpenProcess(_MAY_JOIN, False, process.pid))
        self._kernel.AssignProcessToJobObject(self._job, handle)
        self._kernel.CloseHandle(handle)
        return process

    def wait(self) -> int:
        code = super().wait()
        self._kernel.TerminateJobObject(self._job, 1)
        return code
