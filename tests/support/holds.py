"""Holds of ports by the boot clock, and processes whose wall clock is wrong: for the tests of clocks."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import servers

from redis_wanpool import LeaseLost
from redis_wanpool.system.clock import boottime

PREFIX = "wanpool:{test:0}:"
HOUR = 3600.0
STEPS = [HOUR, 10.0, -10.0, -HOUR]


def shifted(**settings: str) -> dict[str, str]:
    """The environment of a process whose wall clock is wrong."""
    library = str(servers.binary("libfaketime"))
    return {**os.environ, "LD_PRELOAD": library, "FAKETIME_DONT_FAKE_MONOTONIC": "1", **settings}


@dataclass
class Hold:
    """A port, and a span of the boot clock at both ends of which its holder was sure of it."""

    port: int
    since: float
    until: float


def check_no_overlap(holds: list[Hold]) -> None:
    """No port had two holders at once."""
    last: dict[int, Hold] = {}
    for hold in sorted(holds, key=lambda hold: hold.since):
        before = last.get(hold.port)
        assert before is None or before.until < hold.since, (before, hold)
        if before is None or hold.until > before.until:
            last[hold.port] = hold


def use(lease: Any, held: Hold, uses: int) -> None:
    """Uses a lease so many times; only a use that is followed by a check that passes counts."""
    for _ in range(uses):
        used_at = boottime()
        lease.check()
        held.until = used_at
        time.sleep(0.001)


def hold(lease: Any, uses: int, holds: list[Hold]) -> Hold:
    """Uses a new lease so many times, or until it is lost."""
    now = boottime()
    held = Hold(lease.port, now, now)
    holds.append(held)
    with suppress(LeaseLost):
        use(lease, held, uses)
    return held
