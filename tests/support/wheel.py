"""Builds the wheel, installs it elsewhere, and runs the demo and the suite against it, with the source out of reach."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*words: str | Path, cwd: Path, **env: str) -> None:
    print("+", *words, flush=True)
    subprocess.run([str(word) for word in words], cwd=cwd, check=True, env={**os.environ, **env})


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        away = Path(scratch)
        run(sys.executable, "-m", "build", "-q", "--no-isolation", "--outdir", away / "dist", ROOT, cwd=away)
        (wheel,) = (away / "dist").glob("*.whl")
        names = zipfile.ZipFile(wheel).namelist()
        scripts = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "lua").rglob("*.lua"))
        missing = [name for name in [*scripts, "py.typed"] if f"redis_wanpool/{name}" not in names]
        assert not missing, f"not in the wheel: {missing}"
        run(sys.executable, "-m", "venv", "--without-pip", away / "venv", cwd=away)
        python = away / "venv" / "bin" / "python"
        pip = [os.environ.get("PYTHON", "python3"), "-m", "pip", "--python", python, "install", "-q"]
        extras = "embedded,fake,urllib3,requests,aiohttp,httpx"
        tools = ("pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "trustme", "pycurl")
        run(*pip, f"{wheel}[{extras}]", *tools, cwd=away)
        for folder in ("tests", "docs"):
            shutil.copytree(ROOT / folder, away / folder, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", away)
        shutil.copytree(ROOT / ".servers", away / ".servers")
        run(python, "-c", f"import redis_wanpool; assert '{away}' in redis_wanpool.__file__", cwd=away)
        run(away / "venv" / "bin" / "wanpool", "demo", "--seconds", "3", cwd=away, WANPOOL_HOME=str(away / "home"))
        run(python, "-m", "pytest", "-q", "-n", "2", cwd=away, WANPOOL_TEST_SERVERS="valkey-9.1", WANPOOL_LONG="0.5")


if __name__ == "__main__":
    main()
