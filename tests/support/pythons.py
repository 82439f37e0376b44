"""Runs the suite, against the built wheel, on those Pythons of its command line that are here; none is a failure."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path


def found(version: str) -> str | None:
    """A Python of that version that works, on the PATH or among pyenv's."""
    ours = Path("~/.pyenv/versions").expanduser()
    candidates = [shutil.which(f"python{version}"), *sorted(map(str, ours.glob(f"{version}.*/bin/python{version}")))]
    for python in filter(None, candidates):
        works = [python, "-c", "import pip, sys; print(sys.executable)"]
        told = subprocess.run(works, capture_output=True, text=True, check=False)
        if told.returncode == 0:
            return told.stdout.strip()
    return None


def main() -> int:
    failed, tried = [], 0
    for version in sys.argv[1:]:
        python = found(version)
        if python is None:
            print(f"Python {version}: not on this machine")
            continue
        tried += 1
        print(f"Python {version}: {python}", flush=True)
        command = ["make", "test", "WHEEL=1", f"PYTHON={python}", f"VENV=build/venv-{version}"]
        failed += [version] * bool(subprocess.run(command, check=False).returncode)
    if not tried:
        print("None of these Pythons is on this machine: this proves nothing")
    return len(failed) or not tried


if __name__ == "__main__":
    sys.exit(main())
