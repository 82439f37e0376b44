"""Signals are for the main thread, whose waiting they are to interrupt."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from redis_wanpool.system.greenlets import greenlets

_CRASHES = {"SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP", "SIGPROF"}
"""of the thread itself, and of profilers"""


def _is_masked() -> bool:
    """Whether a thread of ours has signals of its own to mask; a greenlet has those of the main thread."""
    return hasattr(signal, "pthread_sigmask") and not greenlets()


def deaf() -> None:
    """Leaves the signals to others, for the rest of the calling thread."""
    if _is_masked():
        signal.pthread_sigmask(
            signal.SIG_BLOCK, {number for number in signal.valid_signals() if _name(number) not in _CRASHES}
        )


@contextmanager
def held() -> Iterator[None]:
    """While a thread is started: it gets no signal from its first moment on, and this thread gets them afterwards."""
    if not _is_masked():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        deaf()
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def hearing() -> Iterator[None]:
    """While a program is started: it would inherit the signals that its starter blocks."""
    if not _is_masked():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def wakened() -> Iterator[socket.socket]:
    """While a program waits for signals and children: a socket to read from tells of each signal, also of earlier ones.

    A handler in Python runs before or after a call that blocks; a signal that comes in between would wait as long.
    """
    reading, writing = socket.socketpair()
    with reading, writing:
        writing.setblocking(False)
        on_child = signal.signal(signal.SIGCHLD, lambda *_: None)
        before = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        try:
            yield reading
        finally:
            signal.set_wakeup_fd(before)
            signal.signal(signal.SIGCHLD, on_child)


def _name(number: int) -> str:
    return number.name if isinstance(number, signal.Signals) else ""
