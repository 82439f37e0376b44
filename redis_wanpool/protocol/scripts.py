"""The Lua scripts, with includes resolved; read once, at import: a running program keeps them if the files change."""

import hashlib
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

_INCLUDE = re.compile(r'^( *)-- @include ((?:"[a-z_]+" ?)+)$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """A script as Redis gets it."""

    name: str
    source: str
    sha: str


def folder() -> Path:
    """The folder `lua/`: inside an installed package, or beside the package in a checkout."""
    package = Path(__file__).parent.parent
    return next(lua for lua in (package / "lua", package.parent / "lua") if lua.is_dir())


def _read(folder: Path) -> dict[str, Script]:
    shared = {path.stem: path.read_text(encoding="utf-8").rstrip() for path in (folder / "lib").glob("*.lua")}
    found: dict[str, Script] = {}
    for path in sorted(folder.glob("*.lua")):
        source = _INCLUDE.sub(
            lambda match: "\n".join(textwrap.indent(shared[name], match[1]) for name in re.findall(r"\w+", match[2])),
            path.read_text(encoding="utf-8"),
        )
        sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
        found[path.stem] = Script(path.stem, source, sha)
    return found


_SCRIPTS = _read(folder())


def names() -> list[str]:
    """The names of all scripts, sorted."""
    return list(_SCRIPTS)


def script(name: str) -> Script:
    """The script of that name."""
    return _SCRIPTS[name]
