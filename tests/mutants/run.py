"""Applies each mutant to a copy of the package, and fails if the tests that stand for its promise do not notice.

Words on its command line choose among the mutants. It runs Python with -P, so that the copy is what is imported.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mutants import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
FAILED = 1
"""pytest's exit code for failing tests; any other means that they did not run"""


def tests_notice(mutant: Mutant, copy: Path) -> str:
    """ "" if the tests fail for it, or what is wrong."""
    file = copy / mutant.file
    source = file.read_text(encoding="utf-8")
    if source.count(mutant.old) != 1:
        return f"{mutant.file} does not have it exactly once: {mutant.old!r}"
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


def main() -> None:
    wanted = sys.argv[1:]
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for part in ("redis_wanpool", "lua"):
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        for mutant in MUTANTS:
            if wanted and not any(word in f"{mutant.promise} {mutant.name}" for word in wanted):
                continue
            begun = time.monotonic()
            wrong = tests_notice(mutant, copy)
            survivors += bool(wrong)
            took = f"{time.monotonic() - begun:.0f} s"
            print("SURVIVES" if wrong else "noticed ", f"{mutant.promise}: {mutant.name}", took, wrong, flush=True)
    print(f"{len(MUTANTS)} mutants, {survivors} survive")
    sys.exit(bool(survivors))


if __name__ == "__main__":
    main()
