"""A process with two holders, one of each face, that keep a port each and write down that they use it.

`holder.py URL FOLDER NUMBER [defines]`; one that defines makes a new WAN whenever Redis lacks it. It ends when it is
killed.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "support"))
from faces import Loop, make
from worker import Diary

from redis_wanpool import WanpoolError, WanPortPool

TTL, MARGIN, PORTS = 5.0, 0.5, "20000-20008"


def define(url: str, *, fresh: bool = False) -> None:
    """Defines the WAN as a process that has just been started does: it knows nothing."""
    with WanPortPool(url, namespace="test", connect_timeout=1) as pool:
        pool.define_wan(0, PORTS, cooldown=0, lease_ttl=TTL, failover_margin=MARGIN, fresh=fresh)


def define_again_and_again(url: str) -> None:
    while True:
        with suppress(WanpoolError):
            define(url)
        time.sleep(0.05)


if __name__ == "__main__":
    url, folder, number, *defines = sys.argv[1:]
    diaries, leases = [], []
    for face in ("sync", "aio"):
        name = f"{number}-{face}"
        pool = make(face, Loop(), url, namespace="test", network=name, rest=0, connect_timeout=1)
        lease = pool.acquire(0)
        diary = Diary(Path(folder) / f"{name}.history")
        diary.note("hold", lease.port, lease.fence, name)
        diaries.append(diary)
        leases.append((pool, lease))
    if defines:
        threading.Thread(target=define_again_and_again, args=(url,), daemon=True).start()
    while True:
        for diary, (_, lease) in zip(diaries, leases, strict=True):
            diary.use(lease)  # raises LeaseLost, which is written to stderr
        time.sleep(0.01)
