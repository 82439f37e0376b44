"""Signals are for the main thread, whose waiting they are to interrupt."""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

_CRASHES = {"SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP", "SIGPROF"}
"""of the thread itself, and of profilers"""


def deaf() -> None:
    """Leaves the signals to others, for the rest of the calling thread."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(
            signal.SIG_BLOCK, {number for number in signal.valid_signals() if _name(number) not in _CRASHES}
        )


@contextmanager
def held() -> Iterator[None]:
    """While a thread is started: it gets no signal from its first moment on, and this thread gets them afterwards."""
    with _restored():
        deaf()
        yield


@contextmanager
def hearing() -> Iterator[None]:
    """While a program is started: it would inherit the signals that its starter blocks."""
    with _restored():
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
        yield


@contextmanager
def _restored() -> Iterator[None]:
    """Afterwards this thread blocks the signals that it blocks now."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
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
