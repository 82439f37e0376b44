"""Waiting for a condition, and the ttl of leases that have to live meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

KEPT_TTL = 5.0
"""seconds of a lease that the heartbeat has to keep: it renews after a third, and then a loaded machine may be late by
three seconds"""


def wait_for(condition: Callable[[], Any], within: float = 20.0) -> Any:
    """Waits for a condition; its deadline is there to fail, not to measure."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {within} s"
        time.sleep(0.005)
    return value
