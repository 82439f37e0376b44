"""The house stands as planned: imports point one way, the two faces hold no rules, and importing does nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import redis_wanpool

PACKAGE = Path(redis_wanpool.__file__).parent
FLOORS = [
    {"cli", "legacy", "http", "doctor", "routers"},
    {"tuning"},
    {"pool", "aio", "leases"},
    {"face"},
    {"wire", "life", "reaper"},
    {"protocol", "forks", "wakeups", "background", "config", "loops", "handovers"},
    {"backend", "server"},
    {"snapshot", "safety", "sentinel", "cluster", "permission"},
    {"connections", "addresses"},
    {"lease", "sockets", "scripts", "keys", "definition", "durability"},
    {"holder", "rest", "netsh", "verdict", "errors", "clock", "language", "signals"},
]
"""Callers above; a module imports from its own floor or below."""


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, path
            module = node.module or ""
            if module == "redis_wanpool":
                submodules = {alias.name for alias in node.names if any(alias.name in names for names in FLOORS)}
                found |= {f"redis_wanpool.{name}" for name in submodules}
                found |= {"redis_wanpool" for alias in node.names if alias.name not in submodules}
            else:
                found.add(module)
    return found


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def floor(name: str) -> int:
    return next(i for i, names in enumerate(FLOORS) if name in names)


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_one_way(path: Path) -> None:
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "redis_wanpool" or len(parts) == 1:
            assert name != "redis_wanpool" or own == "cli", f"{own} imports the whole package"
        elif any(parts[1] in names for names in FLOORS):
            assert floor(parts[1]) >= floor(own), f"{own} imports {parts[1]}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "protocol").glob("*.py")), ids=lambda path: path.stem)
def test_the_protocol_does_no_io_and_reads_no_clock(path: Path) -> None:
    forbidden = {"redis", "socket", "threading", "asyncio", "time", "redis_wanpool.clock", "datetime", "os"}
    assert not imports(path) & forbidden


def test_the_two_faces_have_the_same_names() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert public(redis_wanpool.WanPortPool) - {"get_instance"} == public(redis_wanpool.AsyncWanPortPool)
    assert public(redis_wanpool.Lease) == public(redis_wanpool.AsyncLease)


def test_importing_connects_to_nothing_and_starts_nothing() -> None:
    text = """
import socket, subprocess, threading
def never(*args, **kwargs): raise AssertionError("connected")
socket.socket.connect = subprocess.Popen.__init__ = never
import redis_wanpool, redis_wanpool.server, redis_wanpool.cli
assert threading.active_count() == 1
"""
    subprocess.run([sys.executable, "-c", text], check=True, timeout=60)


def test_files_are_short() -> None:
    for path in modules():
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 350, path
