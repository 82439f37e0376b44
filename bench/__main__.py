"""Runs everything in one run, on private servers, and writes what it found."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

import redis

from bench import (
    chart,
    cycles,
    growth,
    latency,
    memory,
    operators,
    portlocks,
    processes,
    report,
    server_time,
    shards,
    tunnels,
)
from bench.results import FULL, QUICK, Row
from bench.servers import private_server
from redis_wanpool import __version__

PARTS = {
    "server_time": server_time,
    "cycles": cycles,
    "latency": latency,
    "processes": processes,
    "portlocks": portlocks,
    "memory": memory,
    "operators": operators,
    "growth": growth,
    "shards": shards,
    "tunnels": tunnels,
}
LONG = ("A command", "Growth")
"""parts that are in bench/results.md only"""
HEADLINES = ("pairs of one client, blocking face", "one client, 90 % of 200 ports taken", "16 processes, all together")
"""the first row of each of these is in the README"""
BEGIN, END = "<!-- made by make bench -->", "<!-- end -->"
ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the same code in seconds; its figures say little")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part only; writes nothing")
    parser.add_argument("--into", type=Path, help="folder to write to, in place of bench/ and docs/")
    options = parser.parse_args()
    size = QUICK if options.quick else FULL
    begun = time.monotonic()
    rows: list[Row] = []
    with _nobodys_settings():
        for name in options.only or PARTS:
            for row in PARTS[name].measure(size):
                print(report.line(row), flush=True)
                rows.append(row)
    took = time.monotonic() - begun
    print(f"{took:.0f} s", file=sys.stderr)
    if not options.only:
        _write(options.into, rows, _facts(options.quick, took))


@contextmanager
def _nobodys_settings() -> Iterator[None]:
    """The settings of whoever runs this must not count: neither environment nor a wanpool.toml."""
    for name in ("WANPOOL_URL", "WANPOOL_NAMESPACE", "WANPOOL_NETWORK", "WANPOOL_CONFIG"):
        os.environ.pop(name, None)
    with tempfile.TemporaryDirectory(prefix="wanpool-bench-") as folder, chdir(folder):
        os.environ["XDG_CONFIG_HOME"] = folder
        yield


def _facts(quick: bool, took: float) -> dict[str, Any]:
    with private_server() as server:
        version = server.version()
    return {
        "redis_wanpool": __version__,
        "server": version,
        "redis_py": redis.__version__,
        "python_redis_lock": portlocks.other_version(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "quick": quick,
        "seconds": round(took),
    }


def _write(into: Path | None, rows: list[Row], facts: dict[str, Any]) -> None:
    tables, plots = (into, into) if into else (ROOT / "bench", ROOT / "docs")
    for folder in (tables, plots):
        folder.mkdir(parents=True, exist_ok=True)
    found = facts | {"rows": [row.as_dict() for row in rows]}
    (tables / "results.json").write_text(json.dumps(found, indent=1) + "\n")
    (tables / "results.md").write_text(report.markdown(rows, facts))
    (plots / "bench.svg").write_text(chart.svg(rows, facts))
    if into is None:
        show(rows, facts)


def show(rows: list[Row], facts: dict[str, Any]) -> None:
    """Writes the tables into the pages that have a place for them."""
    first = [next(row for row in rows if row.what == what) for what in HEADLINES]
    short = [row for row in rows if row.part not in LONG]
    more = "[bench/results.md](../bench/results.md) also says how long commands take, and what growth costs.\n"
    plot = "![what it costs, as ratios]({}bench.svg)\n\n"
    _fill(ROOT / "README.md", plot.format("docs/") + report.table("Leases a second", first))
    _fill(ROOT / "docs/bench.md", plot.format("") + report.markdown(short, facts) + more)


def _fill(page: Path, shown: str) -> None:
    before, _, after = page.read_text(encoding="utf-8").partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{shown}{END}{after.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
