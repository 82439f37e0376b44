"""Makes the files of a release, twice, and tries them as a user would: make release.

The archives are the same byte for byte each time, as their times are those of the last commit. Nothing is uploaded.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
INTO = ROOT / "build/release"


def main() -> None:
    version = re.search(r'__version__ = "(.+)"', (ROOT / "redis_wanpool/__init__.py").read_text(encoding="utf-8"))[1]  # type: ignore[index]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    if f"\n## {version} - " not in changes:
        sys.exit(f"CHANGELOG.md has no section for {version}: give what is Unreleased that heading and a date")
    if output("git", "status", "--porcelain"):
        sys.exit("there are changes that are not committed: what is released is a commit")
    os.environ["SOURCE_DATE_EPOCH"] = output("git", "log", "-1", "--format=%ct").strip()
    with TemporaryDirectory() as folder:
        tools = new_environment(Path(folder) / "tools", "build", "twine", "hatchling>=1.26")
        for into in (INTO, Path(folder) / "again"):
            run(tools / "python", "-m", "build", "-q", "--no-isolation", "-o", into, ROOT)
        files = sorted(INTO.glob(f"redis_wanpool-{version}*"))
        for file in files:
            if file.read_bytes() != (Path(folder) / "again" / file.name).read_bytes():
                sys.exit(f"{file.name} differs from one build to the next")
        run(tools / "twine", "check", "--strict", *files)
        for file in files:
            try_it(Path(folder) / file.name.removesuffix(".gz"), file, version)
    sums = "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)
    (INTO / "SHA256SUMS").write_text(sums, encoding="utf-8")
    print(sums, end="")


def try_it(folder: Path, file: Path, version: str) -> None:
    """Installs a file into a new environment, and leases a port from a server of a new home."""
    programs = new_environment(folder, f"{file}[embedded]")
    home = folder / "home"
    home.mkdir()
    environment = {"HOME": str(home), "PATH": os.defpath}
    said = output(programs / "wanpool", "--version", env=environment, cwd=home)
    assert said.startswith(f"wanpool {version},"), said
    try:
        run(programs / "wanpool", "init", "--fresh", "--wan", "0=20000-20009", env=environment, cwd=home)
        leased = output(programs / "wanpool", "acquire", "--wan", "0", "--ttl", "60s", env=environment, cwd=home)
        assert re.match(r"200\d\d ", leased), leased
    finally:
        run(programs / "wanpool", "server", "stop", env=environment, cwd=home)


def new_environment(folder: Path, *packages: str) -> Path:
    """The folder of its programs."""
    run(sys.executable, "-m", "venv", "--clear", folder)
    run(folder / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages)
    return folder / "bin"


def run(*command: str | Path, env: dict[str, str] | None = None, cwd: Path = ROOT) -> None:
    subprocess.run(command, check=True, env=env, cwd=cwd)


def output(*command: str | Path, env: dict[str, str] | None = None, cwd: Path = ROOT) -> str:
    return subprocess.run(command, check=True, env=env, cwd=cwd, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
