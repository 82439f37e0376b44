"""Runs a command as on a bare machine: of the programs here it finds only those that a bare Debian 12 would have.

That is Debian's smallest system with python3, pip, make, git and the certificates. No server, compiler, curl or ps is
in reach, even where they are installed, and nothing that an earlier run left in the home folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAMS = """
awk basename bash cat chmod chown cp cut date dd df diff dirname dpkg du echo env expr false find getconf grep gzip
head hostname id kill ln locale ls mkdir mkfifo mktemp mount mv nice nohup nproc nsenter printf pwd readlink
realpath rm rmdir sed seq setpriv setsid sh sleep sort stat stty su sync tail tar tee test timeout touch tr true tty
umount uname uniq unshare wc which xargs git make
"""


def reach(folder: Path) -> str:
    """A PATH of one folder, which is filled with what is allowed."""
    for name in PROGRAMS.split():
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    python = os.environ.get("PYTHON") or next(
        path for path in ("/usr/bin/python3", sys.executable) if Path(path).exists()
    )
    for name in ("python3", "pip3"):
        # No links: a virtual environment would remember a link's folder, which does not last.
        words = f'"{python}" -m pip' if name == "pip3" else f'"{python}"'
        (folder / name).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        (folder / name).chmod(0o755)
    return str(folder)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="bare-") as folder:
        home, programs = Path(folder) / "home", Path(folder) / "bin"
        home.mkdir()
        programs.mkdir()
        env = {**os.environ, "PATH": reach(programs), "HOME": str(home)}
        env.pop("PYTHON", None)
        for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "VIRTUAL_ENV"):
            env.pop(name, None)
        own = Path("~/.config/pip/pip.conf").expanduser()  # where the packages come from stays as it is
        if own.exists() and "PIP_CONFIG_FILE" not in env:
            env["PIP_CONFIG_FILE"] = str(own)
        return subprocess.run([str(programs / sys.argv[1]), *sys.argv[2:]], env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
