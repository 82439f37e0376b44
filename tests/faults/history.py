"""What workers wrote down about their leases, and whether it can be: the judge of the fault tests.

All times are of the boot clock, which the processes of a machine share. A hold reaches from the moment at which its
worker knew of the grant to the last moment at which it surely held: a use counts only if the check of the lease passed
before and after the clock was read, so a worker that was stopped claims nothing that it did not know. The true hold is
longer at both ends. So if two holds of a port overlap here, they overlapped; and if less than the cool-down lies
between two of them, it was cut short.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

ROUNDING = 0.002
"""seconds by which Redis's milliseconds and the clock's nanoseconds may differ"""


@dataclass
class Hold:
    """One lease, as its worker saw it."""

    worker: str
    port: int
    fence: int
    network: str
    begun: float
    ended: float
    uses: int = 0
    how: str = "unknown"


def read(folder: Path) -> list[Hold]:
    """The holds of all workers; a last line that a kill cut in two is left out."""
    holds: list[Hold] = []
    for path in sorted(folder.glob("*.history")):
        current: Hold | None = None
        for line in path.read_text().splitlines():
            try:
                event, at, *facts = json.loads(line)
            except ValueError:
                continue
            if event == "hold":
                current = Hold(path.stem, *facts, begun=at, ended=at)
                holds.append(current)
            elif current is not None:
                if event == "use":  # not a release: its worker may have been stopped before it
                    current.ended = at
                    current.uses += 1
                current.how = event
    return holds


def violations(holds: list[Hold], rest: float, cooldown: float) -> list[str]:
    """What cannot have been, in words."""
    found: list[str] = []
    by_port: dict[int, list[Hold]] = {}
    for hold in sorted(holds, key=lambda hold: hold.begun):
        by_port.setdefault(hold.port, []).append(hold)
    for port, series in by_port.items():
        longest = series[0]
        for earlier, later in pairwise(series):
            longest = max(longest, earlier, key=lambda hold: hold.ended)
            who = f"port {port}: {later.worker} (fence {later.fence}) after {longest.worker} (fence {longest.fence})"
            gap = later.begun - longest.ended
            due = rest if later.network == longest.network else max(rest, cooldown)
            if gap < 0:
                found.append(f"{who}: two holders for {-gap:.3f} s")
            elif gap < due - ROUNDING:
                found.append(f"{who}: granted {gap:.3f} s after it was in use, not {due:g} s")
            if later.fence <= earlier.fence:
                found.append(f"{who}: the fence does not grow")
    return found
