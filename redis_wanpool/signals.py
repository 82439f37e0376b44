"""Signals are for the main thread, whose waiting they are to interrupt."""

from __future__ import annotations

import signal
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
    """For who starts a thread: it hears nothing from its first moment, and what comes meanwhile is heard after."""
    if not hasattr(signal, "pthread_sigmask"):
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
    """For who starts a program: that inherits what its thread does not hear."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _name(number: int) -> str:
    return number.name if isinstance(number, signal.Signals) else ""
