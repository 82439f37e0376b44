"""One process that takes ports, uses them and gives them back, and writes down what it knows: `worker.py URL NETWORK
FACE HISTORY SEED [WAN]`. It ends when it is killed."""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "support"))
from faces import Loop, make

from redis_wanpool import LeaseLost, WanpoolError
from redis_wanpool.system.clock import boottime

REST, COOLDOWN, TTL = 0.05, 0.4, 1.0


class Diary:
    """Lines that are in the kernel's hands, and so outlive their writer, as soon as they are written."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)

    def note(self, event: str, *facts: Any) -> None:
        self._file.write(json.dumps([event, boottime(), *facts]) + "\n")

    def use(self, lease: Any) -> None:
        lease.check()
        at = boottime()
        lease.check()
        self._file.write(json.dumps(["use", at]) + "\n")


def work(pool: Any, diary: Diary, chance: random.Random, wan_idx: int) -> None:
    while True:
        try:
            lease = pool.acquire(wan_idx, wait=0.5)
        except WanpoolError:
            time.sleep(0.02)
            continue
        diary.note("hold", lease.port, lease.fence, pool.network)
        try:
            for _ in range(chance.randrange(1, 15)):
                diary.use(lease)
                time.sleep(0.01)
            diary.note("release")
            diary.note(str(lease.release()))
        except LeaseLost:
            diary.note("lost")
        except WanpoolError as error:
            diary.note(type(error).__name__)


if __name__ == "__main__":
    url, network, face, path, seed, *wan = sys.argv[1:]
    pool = make(face, Loop(), url, namespace="test", network=network, rest=REST, connect_timeout=0.5)
    work(pool, Diary(Path(path)), random.Random(seed), int(wan[0]) if wan else 0)
