"""The Lua scripts, with their includes resolved."""

from __future__ import annotations

import hashlib
import re
import textwrap
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_INCLUDE = re.compile(r'^( *)-- @include "([a-z_]+)"$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """A script as Redis gets it."""

    name: str
    source: str
    sha: str


@cache
def folder() -> Path:
    """Where `lua/` is: inside an installed package, or beside the package in a checkout."""
    package = Path(__file__).parent.parent
    return next(lua for lua in (package / "lua", package.parent / "lua") if lua.is_dir())


def names() -> list[str]:
    """The names of all scripts."""
    return sorted(path.stem for path in folder().glob("*.lua"))


@cache
def script(name: str) -> Script:
    """The script of that name, assembled."""

    def included(match: re.Match[str]) -> str:
        shared = (folder() / "lib" / f"{match[2]}.lua").read_text(encoding="utf-8").rstrip()
        return textwrap.indent(shared, match[1])

    source = _INCLUDE.sub(included, (folder() / f"{name}.lua").read_text(encoding="utf-8"))
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())
