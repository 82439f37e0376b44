"""The probe: how an echo endpoint beyond the router sees connections from leased ports."""

import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

from redis_wanpool.errors import PoolExhausted, PortRejected, WanDraining, WanNotDefined
from redis_wanpool.sync.pool import WanPortPool
from redis_wanpool.system.clock import boottime
from redis_wanpool.terminal.language import said

TIMEOUT = 5.0  #: seconds for a connection, and again for its line
WAIT = 3.0  #: seconds to wait for a port: more than it rests
ENOUGH = 2  #: failures in a row
MOST_AT_A_TIME = 50
"""connections that stay open, so that the next one gets another port; and no more than half of what is free"""
LONGEST = 64  #: bytes to read of an answer
_ANSWER = re.compile(rb"((?:\d{1,3}\.){3}\d{1,3}):(\d{1,5})\n")

NO_PORT = {PoolExhausted: "exhausted", WanDraining: "draining", WanNotDefined: "undefined", PortRejected: "rejected"}


class NotAnEcho(Exception):
    """The far end said something else."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One connection, by its own address and port, and by those that the far end saw."""

    own: tuple[str, int]
    seen: tuple[str, int]

    @property
    def kept(self) -> bool:
        return self.own[1] == self.seen[1]


@dataclass(slots=True)
class Line:
    """What was seen of a WAN; without `wan_idx`, of the line that connections without a lease take."""

    wan_idx: int | None
    tried: int = 0
    answers: list[Seen] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    """kind and text: exhausted, draining, undefined, rejected; refused, timeout, unreachable; strange"""

    def __str__(self) -> str:
        return said("the default line") if self.wan_idx is None else f"WAN {self.wan_idx}"

    @property
    def kept(self) -> int:
        return sum(one.kept for one in self.answers)

    @property
    def answered(self) -> int:
        return len(self.answers)

    @property
    def addresses(self) -> list[str]:
        return sorted({one.seen[0] for one in self.answers})

    def facts(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "wan_idx": self.wan_idx,
            **{"tried": self.tried, "answered": self.answered, "kept": self.kept, "addresses": self.addresses},
            "connections": [{"own": list(one.own), "seen": list(one.seen)} for one in self.answers],
            "failures": [{"kind": kind, "text": text} for kind, text in self.failures],
        }


def look(pool: WanPortPool, target: tuple[str, int], wans: Sequence[int], count: int) -> Iterator[Line]:
    """The default line, by one connection from a port of the kernel's; then each WAN, by `count` from leased ports."""
    yield _look(Line(None), lambda: socket.create_connection(target, TIMEOUT), 1, 1)
    for wan_idx in wans:
        at_a_time = MOST_AT_A_TIME
        with suppress(WanNotDefined):  # which is said later
            at_a_time = max(1, min(pool.snapshot(wan_idx).free // 2, MOST_AT_A_TIME))

        def connect(wan_idx: int = wan_idx) -> socket.socket:
            return pool.connect(wan_idx, target, wait=WAIT, timeout=TIMEOUT)

        yield _look(Line(wan_idx), connect, count, at_a_time)


def _look(line: Line, connect: Callable[[], socket.socket], count: int, at_a_time: int) -> Line:
    """Ends early where more would not tell more: without a port, with a stranger, after failures in a row."""
    with ExitStack() as opened:
        failed = 0
        while line.tried < count and failed < ENOUGH:
            if line.tried % at_a_time == 0:
                opened.close()
            failed = _look_once(line, lambda: opened.enter_context(connect()), failed)
    return line


def _look_once(line: Line, connect: Callable[[], socket.socket], failed: int) -> int:
    """Asks once; how many failures in a row that makes, or `ENOUGH` of them."""
    line.tried += 1
    try:
        line.answers.append(_ask(connect()))
    except tuple(NO_PORT) as error:
        line.tried -= 1
        line.failures.append((NO_PORT[type(error)], str(error)))
        return ENOUGH
    except NotAnEcho as error:
        line.failures.append(("strange", str(error)))
        return ENOUGH
    except OSError as error:
        refused, late = isinstance(error, ConnectionRefusedError), isinstance(error, TimeoutError)
        kind = "refused" if refused else "timeout" if late else "unreachable"
        line.failures.append((kind, error.strerror or str(error)))
        return failed + 1
    return 0


def _ask(sock: socket.socket) -> Seen:
    until = boottime() + TIMEOUT
    own: tuple[str, int] = sock.getsockname()
    heard = b""
    with suppress(OSError):  # what it said before counts
        while len(heard) <= LONGEST:
            sock.settimeout(max(0.001, until - boottime()))
            more = sock.recv(LONGEST)
            if not more:
                break
            heard += more
            if b"\n" in heard:
                sock.shutdown(socket.SHUT_WR)
    answer = _ANSWER.fullmatch(heard)
    if answer is None:
        raise NotAnEcho(f"it said {heard[:40]!r}" if heard else "it said nothing")
    return Seen(own, (answer[1].decode(), int(answer[2])))
