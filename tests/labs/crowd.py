"""Processes that lease ports while something happens to the servers."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from chance import SEED
from nodes import Place

FAULTS = Path(__file__).parents[1] / "faults"
sys.path.append(str(FAULTS))
from history import Hold, read, violations  # noqa: E402

_STAY = """
import sys, time
from pathlib import Path
sys.path[:0] = sys.argv[1:2]
from worker import Diary
from redis_wanpool import WanPortPool
_, _, url, path, wan_idx = sys.argv
diary = Diary(Path(path))
pool = WanPortPool(url, namespace="test", network=Path(path).stem, rest=0)
lease = pool.acquire(int(wan_idx), wait=60)
diary.note("hold", lease.port, lease.fence, pool.network)
while True:
    diary.use(lease)
    time.sleep(0.02)
"""
"""holds one port as long as it lives; an error ends it"""


class Crowd:
    """In each place one that holds a port as long as it can, and one that takes and gives back all the time.

    All on WAN 0, or those of each place on a WAN of their own.
    """

    def __init__(self, url: str, folder: Path, places: Sequence[Place], wans: Sequence[int] = ()) -> None:
        self.folder, self.url = folder, url
        folder.mkdir()
        self._errors = (folder / "errors").open("wb")
        self.stayers: list[subprocess.Popen[bytes]] = []
        self._takers = []
        for number, place in enumerate(places):
            wan_idx = wans[number] if wans else 0
            self.stay(place, wan_idx)
            history, face = str(folder / f"take-{number}.history"), ("sync", "aio")[number % 2]
            taker = (str(FAULTS / "worker.py"), url, f"taker-{number}", face, history, str(SEED + number), str(wan_idx))
            self._takers.append(self._start(place, *taker))

    def stay(self, place: Place, wan_idx: int = 0) -> None:
        """Has another one hold a port there."""
        history = self.folder / f"stay-{len(self.stayers)}.history"
        self.stayers.append(self._start(place, "-c", _STAY, str(FAULTS), self.url, str(history), str(wan_idx)))

    def _start(self, place: Place, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*place.prefix, sys.executable, *arguments], stderr=self._errors)

    def is_at_work(self) -> bool:
        workers = {hold.worker for hold in self.holds() if hold.uses}
        return len(workers) == len(self.stayers) + len(self._takers)

    def holds(self) -> list[Hold]:
        return read(self.folder)

    def wrongs(self) -> list[str]:
        """What nothing excuses: a port of two, a fence that went back."""
        return [line for line in violations(self.holds(), 0, 0) if "two holders" in line or "fence" in line]

    def errors(self) -> str:
        return (self.folder / "errors").read_text()

    def written(self, taker: int | str = "*") -> int:
        """How much a taker, or all of them, wrote down: if it grows, they were granted something."""
        return sum(path.stat().st_size for path in self.folder.glob(f"take-{taker}.history"))

    def granted_at(self, taker: int) -> float:
        """When a taker was last granted a port; 0.0 if never."""
        *_, last = ["", *re.findall(r'\["hold", ([0-9.]+)', (self.folder / f"take-{taker}.history").read_text())]
        return float(last or 0)

    def close(self) -> None:
        for process in [*self.stayers, *self._takers]:
            process.kill()
            process.wait()
        self._errors.close()
