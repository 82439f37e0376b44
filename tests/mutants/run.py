"""Applies each mutant to a copy of the package, and fails if the tests that stand for its promise do not notice.

Words on its command line choose among the mutants. Several run side by side, each in a copy of its own; those whose
tests need this machine's ports run one after another. It runs Python with -P, so that the copy is what is imported.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from pathlib import Path

from mutants import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests" / "support"))
from scheduling import connects  # noqa: E402

SIDE_BY_SIDE = 3
FAILED = 1
"""pytest's exit code for failing tests; any other means that they did not run"""


def tests_notice(mutant: Mutant, copy: Path) -> str:
    """ "" if the tests fail for it, or what is wrong."""
    if wrong := mutant.misplaced(ROOT):
        return wrong
    file = copy / mutant.file
    source = file.read_text(encoding="utf-8")
    file.write_text(source.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", mutant.chosen]
            + mutant.tests.split(" "),
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(copy), "WANPOOL_TEST_SERVERS": "valkey-9.1"},
            check=False,
            capture_output=True,
            text=True,
        )
    finally:
        file.write_text(source, encoding="utf-8")
    if done.returncode == FAILED:
        return ""
    return "the tests pass" if done.returncode == 0 else f"the tests do not run:\n{done.stdout[-2000:]}"


def work(copy: Path, *queues: deque[Mutant]) -> int:
    """Takes mutants as long as there are any; how many survive."""
    for part in ("redis_wanpool", "lua"):
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    survivors = 0
    for mutant in chain(*map(taken, queues)):
        begun = time.monotonic()
        wrong = tests_notice(mutant, copy)
        survivors += bool(wrong)
        took = f"{time.monotonic() - begun:.0f} s"
        print("SURVIVES" if wrong else "noticed ", f"{mutant.promise}: {mutant.name}", took, wrong, flush=True)
    return survivors


def taken(queue: deque[Mutant]) -> Iterator[Mutant]:
    with suppress(IndexError):
        while True:
            yield queue.popleft()


def main() -> None:
    wanted = sys.argv[1:]
    chosen = [one for one in MUTANTS if not wanted or any(word in f"{one.promise} {one.name}" for word in wanted)]
    if not chosen:
        sys.exit(f"none of {len(MUTANTS)} mutants is called so: {' '.join(wanted)}")
    with_ports = deque(mutant for mutant in chosen if any(map(connects, mutant.tests.split(" "))))
    others = deque(mutant for mutant in chosen if mutant not in with_ports)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(SIDE_BY_SIDE) as threads:
        first = threads.submit(work, Path(folder) / "0", with_ports, others)
        more = [threads.submit(work, Path(folder) / str(number), others) for number in range(1, SIDE_BY_SIDE)]
        survivors = sum(one.result() for one in (first, *more))
    print(f"{len(chosen)} of {len(MUTANTS)} mutants, {survivors} survive")
    sys.exit(bool(survivors))


if __name__ == "__main__":
    main()
