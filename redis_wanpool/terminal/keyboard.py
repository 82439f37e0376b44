"""The keys of a terminal, each as it is pressed; where there is no such terminal, none."""

import os
import re
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_KEY = re.compile(r"\x1b[\[O][0-9;]*[A-Za-z~]|.", re.DOTALL)


class Keyboard:
    """Hears keys while it listens, on systems that have termios; Ctrl-C stays what it is.

    Attributes:
        hears: whether there is a keyboard to hear.
    """

    def __init__(self) -> None:
        self.hears = False
        self._fd = -1
        self._woken, self._wakes = -1, -1

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Has the terminal tell each key at once, and leaves it as it was."""
        if not _is_ours():
            yield
            return
        import termios
        import tty

        self._fd = sys.stdin.fileno()
        before = termios.tcgetattr(self._fd)
        self._woken, self._wakes = os.pipe()
        os.set_blocking(self._wakes, False)
        try:
            tty.setcbreak(self._fd)
            self.hears = True
            yield
        finally:
            self.hears = False
            with suppress(termios.error, OSError):  # the terminal may be gone
                termios.tcsetattr(self._fd, termios.TCSADRAIN, before)
            for fd in (self._woken, self._wakes):
                os.close(fd)

    def wake(self) -> None:
        """Ends a `read` that waits; for signal handlers."""
        if self.hears:
            with suppress(OSError):
                os.write(self._wakes, b"x")

    def read(self, seconds: float) -> list[str]:
        """The keys that were pressed, as soon as there is one; nothing at the end of this time."""
        ready, _, _ = select.select([self._fd, self._woken], [], [], seconds)
        if self._woken in ready:
            os.read(self._woken, 4096)
        if self._fd not in ready:
            return []
        told = os.read(self._fd, 4096)
        if not told:  # its other end is closed
            self.hears = False
        return _KEY.findall(told.decode("utf-8", "ignore"))


def _is_ours() -> bool:
    """Whether standard input is a terminal that this process may set: a job in the background would be stopped."""
    try:
        import termios  # noqa: F401 - Windows has none

        if not sys.stdin.isatty():
            return False
    except (ImportError, AttributeError, ValueError):
        return False
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except OSError:  # it does not control this process
        return True
