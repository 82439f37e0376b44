"""How long an operator waits for a command on a large site: until it shows something, and until it is done."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from bench.results import Row, Size
from bench.servers import Server, private_server
from redis_wanpool import WanPortPool

PART = "A command"
AGAINST = "wanpool --version, to its first line"
FIRST_PAGE = 1_000
COMMANDS = (
    ["status"],
    ["status", "--json"],
    ["leases"],
    ["leases", "--json"],
    ["leases", "--expiring", "30s"],
    ["explain", "2000"],
    ["revoke", "2000", "--dry-run"],
    ["revoke", "--holder", "nobody"],
    ["reap", "--dry-run"],
    ["init", "--show"],
    ["doctor"],
)


def measure(size: Size) -> Iterator[Row]:
    """Seconds to the end of the first page (1,000 lines at most) and of all, beside those of one that only starts."""
    with private_server() as server, WanPortPool(server.url, namespace="site", reap=False) as pool:
        wans = 64 if size.expired >= 60_000 else 4
        ports = size.expired // wans
        for wan_idx in range(wans):
            first = 1024 + wan_idx * ports
            pool.define_wan(wan_idx, f"{first}-{first + ports - 1}", fresh=True)
            for begun in range(0, ports, 1_000):
                pool.acquire_many(wan_idx, min(1_000, ports - begun), ttl=60, label="bench")
        for words in COMMANDS:
            rounds = [(_run(server, words), _run(server, ["--version"])) for _ in range(3)]
            (first_page, done), (started, _) = min(ours for ours, _ in rounds), min(theirs for _, theirs in rounds)
            what = f"{' '.join(words)}, {wans} WANs, {wans * ports:,} leases"
            yield Row.of(PART, f"{what}: first page", "s", [first_page], against=AGAINST, theirs=[started])
            yield Row.of(PART, f"{what}: done", "s", [done], against=AGAINST, theirs=[started])


def _run(server: Server, words: list[str]) -> tuple[float, float]:
    """Seconds to the end of the first page, and to the end."""
    where = [] if words == ["--version"] else ["--url", server.url, "--namespace", "site"]
    begun = time.monotonic()
    command = [sys.executable, "-m", "redis_wanpool.cli", *words, *where]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        first = 0.0
        for number, _ in enumerate(process.stdout, 1):
            if number <= FIRST_PAGE:
                first = time.monotonic() - begun
    return first, time.monotonic() - begun
