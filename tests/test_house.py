"""The house stands as planned: folders are layers, imports point one way, and importing does nothing."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import redis_wanpool

PACKAGE = Path(redis_wanpool.__file__).parent
LOOSE = {"__init__", "__main__", "errors", "settings"}
DOCS = Path(__file__).parents[1] / "docs"
FLOORS = re.findall(r"^\d+\. `(\w+)(?:/|\.py)`: ", (DOCS / "architecture.md").read_text(encoding="utf-8"), re.MULTILINE)
"""What docs/architecture.md lists, lowest first: the folders, and the modules that stand beside them."""


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


def test_the_architecture_lists_each_folder_once() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert sorted(FLOORS) == sorted(folders | LOOSE - {"__main__"})


@pytest.mark.parametrize("floor", FLOORS)
def test_folders_are_layers(floor: str) -> None:
    """A folder imports only the folders before it in docs/architecture.md."""
    below = {*FLOORS[: FLOORS.index(floor)], floor}
    for module in modules():
        if room(module) == floor:
            ours = {name for name in imports(module) if name.split(".")[0] == "redis_wanpool"}
            assert {room(name) for name in ours} <= below, module


@pytest.mark.parametrize("module", [name for name in modules() if room(name) not in {"cli", "demo", "__init__"}])
def test_only_programs_import_the_whole_package(module: str) -> None:
    assert "redis_wanpool" not in imports(module)


@pytest.mark.parametrize("module", [name for name in modules() if room(name) in {"model", "protocol"}])
def test_the_protocol_does_no_io_and_reads_no_clock(module: str) -> None:
    forbidden = {"redis", "socket", "threading", "asyncio", "time", "datetime", "os", "subprocess", "select", "ssl"}
    assert not {name.split(".")[0] for name in reached(module)} & forbidden


THEIRS = {
    "_exit": "os._exit is public, whatever its name",
}
"""private-looking names of others that we use, and why"""


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


@cache
def private_names(folder: str) -> frozenset[str]:
    """The private names that a folder's modules define, and those that their objects have, inherited ones too."""
    found: set[str] = set()
    for module in modules():
        if room(module) == folder:
            for node in ast.walk(ast.parse(path_of(module).read_text(encoding="utf-8"))):
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                    found.add(node.name)
                elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    found.add(node.id)
                elif isinstance(node, ast.Attribute) and is_self(node.value):
                    found.add(node.attr)
    return frozenset(filter(is_private, found))


def is_self(node: ast.expr) -> bool:
    """Whether that is the object, or the class, whose method this is."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "super"
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def private_uses(module: str) -> Iterator[str]:
    """Where a module uses what another folder keeps to itself."""
    ours = private_names(room(module))
    for node in ast.walk(ast.parse(path_of(module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and not is_self(node.value):
            if node.attr not in ours and node.attr not in THEIRS:
                yield f"{path_of(module).relative_to(PACKAGE)}:{node.lineno}: {ast.unparse(node)}"
        elif isinstance(node, ast.ImportFrom) and room(node.module or "") != room(module):
            for alias in filter(lambda alias: is_private(alias.name), node.names):
                yield f"{path_of(module).relative_to(PACKAGE)}:{node.lineno}: {node.module}.{alias.name}"


@pytest.mark.parametrize("folder", sorted({room(name) for name in modules()}))
def test_no_folder_uses_what_another_keeps_to_itself(folder: str) -> None:
    assert not [use for module in modules() if room(module) == folder for use in private_uses(module)]


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
import redis_wanpool, redis_wanpool.transport.embedded, redis_wanpool.cli.main
assert threading.active_count() == 1
"""
    subprocess.run([sys.executable, "-c", text], check=True, timeout=60)


def test_files_are_short() -> None:
    for module in modules():
        assert len(path_of(module).read_text(encoding="utf-8").splitlines()) <= 350, module
