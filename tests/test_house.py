"""The house stands as planned: folders are layers, imports point one way, and importing does nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import redis_wanpool

PACKAGE = Path(redis_wanpool.__file__).parent
LOOSE = {"__init__", "__main__", "errors", "settings"}
CORE = ["model", "system", "sockets", "protocol", "transport", "engine", "sync", "aio"]
"""The folders that leases need, lowest first; the others are their callers."""


@cache
def modules() -> list[str]:
    """The dotted names of all modules of the package."""
    paths = (path.relative_to(PACKAGE.parent).with_suffix("") for path in PACKAGE.rglob("*.py"))
    return sorted(".".join(path.parts).removesuffix(".__init__") for path in paths)


def path_of(module: str) -> Path:
    path = PACKAGE.parent.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def room(module: str) -> str:
    """The folder in which a module stands, or its own name if it stands loose."""
    return module.split(".")[1] if "." in module else "__init__"


@cache
def imports(module: str) -> frozenset[str]:
    """What a module imports, also inside its functions; not what only a type checker sees."""
    tree = ast.parse(path_of(module).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, module
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in modules() else node.module for name in names}
    return frozenset(found)


@cache
def reached(module: str) -> frozenset[str]:
    """All that is imported when a module of ours is, by whatever way."""
    found: set[str] = set()
    left = [module]
    while left:
        for name in imports(left.pop()) - found:
            found.add(name)
            if name in modules():
                left.append(name)
    return frozenset(found)


def test_no_module_lies_loose() -> None:
    loose = {path.stem for path in PACKAGE.glob("*.py")}
    assert loose <= LOOSE
    for folder in PACKAGE.rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(folder.read_text(encoding="utf-8"))), f"{folder} does not say what it is for"


def test_folders_are_layers() -> None:
    """No folder imports, by whatever way, one that imports it; the core does not know its callers."""
    above: dict[str, set[str]] = {}
    for module in modules():
        if room(module) != "__init__":
            ours = {name for name in imports(module) if name.startswith("redis_wanpool.")}
            above.setdefault(room(module), set()).update({room(name) for name in ours} - {room(module)})
    floors: list[set[str]] = []
    while left := set(above) - {name for floor in floors for name in floor}:
        floor = {name for name in left if not above[name] & left}
        assert floor, f"these folders import each other in a circle: {sorted(left)}"
        floors.append(floor)
    for number, name in enumerate(CORE):
        assert above[name] <= {*CORE[:number], "errors", "settings"}, f"{name} imports {sorted(above[name])}"


@pytest.mark.parametrize("module", [name for name in modules() if room(name) not in {"cli", "demo", "__init__"}])
def test_only_programs_import_the_whole_package(module: str) -> None:
    assert "redis_wanpool" not in imports(module)


@pytest.mark.parametrize("module", [name for name in modules() if room(name) in {"model", "protocol"}])
def test_the_protocol_does_no_io_and_reads_no_clock(module: str) -> None:
    forbidden = {"redis", "socket", "threading", "asyncio", "time", "datetime", "os", "subprocess", "select", "ssl"}
    assert not {name.split(".")[0] for name in reached(module)} & forbidden


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
import redis_wanpool, redis_wanpool.transport.embedded, redis_wanpool.cli
assert threading.active_count() == 1
"""
    subprocess.run([sys.executable, "-c", text], check=True, timeout=60)


def test_files_are_short() -> None:
    for module in modules():
        assert len(path_of(module).read_text(encoding="utf-8").splitlines()) <= 350, module
