"""Hunts for the mutants of tests/mutants that concern the rules: a seed that fails must be found within a minute.

Words on its command line choose among them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests" / "mutants"))
from mutants import MUTANTS, Mutant  # noqa: E402

SECONDS = float(os.environ.get("WANPOOL_HUNT", "60"))
ROOMS = ("lua/", "redis_wanpool/protocol/", "redis_wanpool/engine/heartbeat.py", "redis_wanpool/engine/reaper.py")


def hunted(mutant: Mutant, copy: Path) -> str:
    """The first line that says what is wrong; "" if nothing is found."""
    file = copy / mutant.file
    source = file.read_text(encoding="utf-8")
    assert mutant.old in source, mutant.name
    file.write_text(source.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("simulate.py")), "--seeds", "100000"]
            + ["--seconds", str(SECONDS)],
            env=os.environ | {"PYTHONPATH": str(copy)},
            check=False,
            capture_output=True,
            text=True,
        )
    finally:
        file.write_text(source, encoding="utf-8")
    if not done.returncode:
        return ""
    return next(iter(done.stdout.splitlines()), done.stderr.strip().splitlines()[-1])


def main() -> int:
    words = sys.argv[1:]
    chosen = [one for one in MUTANTS if one.file.startswith(ROOMS)]
    chosen = [one for one in chosen if not words or any(word in f"{one.promise} {one.name}" for word in words)]
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        for part in ("redis_wanpool", "lua"):
            shutil.copytree(ROOT / part, Path(folder) / part, ignore=shutil.ignore_patterns("__pycache__"))
        for mutant in chosen:
            begun = time.monotonic()
            found = hunted(mutant, Path(folder))
            missed += not found
            took = time.monotonic() - begun
            print(
                f"{'found' if found else 'MISSED':6} {took:3.0f} s {mutant.promise}: {mutant.name}: {found[:140]}",
                flush=True,
            )
    print(f"{len(chosen) - missed} of {len(chosen)} found")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
