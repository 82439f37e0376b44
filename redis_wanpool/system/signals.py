"""Keeps signals for the main thread, whose waiting they must interrupt."""

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from redis_wanpool.system.greenlets import greenlets

_CRASHES = {"SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP", "SIGPROF"}
"""signals about the thread itself, and of profilers"""


def _is_masked() -> bool:
    """Whether a new thread has its own signals to mask; a greenlet has those of the main thread."""
    return hasattr(signal, "pthread_sigmask") and not greenlets()


class DeafThread(threading.Thread):
    """A daemon thread that never gets a signal; raises RuntimeError at its start if the system gives no thread."""

    def __init__(self, target: Callable[..., object], *args: object, name: str | None = None) -> None:
        super().__init__(target=target, args=args, name=name, daemon=True)

    def start(self) -> None:
        with _restored():  # it inherits the blocks; this thread gets the signals afterwards
            if _is_masked():
                blocked = {number for number in signal.valid_signals() if _name(number) not in _CRASHES}
                signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
            super().start()


@contextmanager
def hearing() -> Iterator[None]:
    """Unblocks signals while a program is started, which would inherit the blocks."""
    with _restored():
        if _is_masked():
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
        yield


@contextmanager
def _restored() -> Iterator[None]:
    """Afterwards this thread blocks the signals that it blocks now."""
    if not _is_masked():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def wakened() -> Iterator[socket.socket]:
    """Yields a socket that becomes readable at each signal, earlier ones included, to wait for signals and children.

    A Python handler runs before or after a call that blocks; a signal in between would wait for the end of the call.
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
