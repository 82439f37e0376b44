"""`wanpool adopt`: puts this package behind the imports of the one that it replaces."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from redis_wanpool import config
from redis_wanpool.cli.define import definition
from redis_wanpool.definition import WanDefinition
from redis_wanpool.errors import InvalidValue

SHIM = '''\
"""WAN ports under their old names; the ports are leases of redis-wanpool."""

from redis_wanpool.legacy import WanPortPool, port_allocator, wan_port_pool

__all__ = ["WanPortPool", "port_allocator", "wan_port_pool"]
'''
MARK = "# Written by `wanpool adopt`, which will not overwrite it once it was changed. sha256 of the rest: "


@dataclass(frozen=True, slots=True)
class Planned:
    """A file to write, and what becomes of the one that is there."""

    path: Path
    text: str
    action: str
    """"write", "keep" (it is there, the same) or "replace" (and keep a backup)"""


def add_to(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from redis_wanpool.cli import add_verb

    parser = add_verb(
        verbs,
        "adopt",
        adopt,
        "Writes the old interface, as a package on top of this one, into a folder of your program.",
        "  wanpool adopt core/wan_manager --wan 0=20000-21999 --wan 1=22000-23999\n"
        "  wanpool adopt core/wan_manager --dry-run    # show the files, write none\n"
        "  wanpool adopt core/wan_manager --force      # replace the old package's __init__.py, and keep a backup",
    )
    parser.add_argument("path", metavar="PATH", type=Path, help="the folder of the old package, like core/wan_manager")
    parser.add_argument("--wan", action="append", default=[], metavar="K=PORTS", help="a WAN and its ports; repeat it")
    parser.add_argument("--force", action="store_true", help="replace a file of somebody else's, and keep a backup")
    parser.add_argument("--dry-run", action="store_true", help="show the files, and write none")


def adopt(options: argparse.Namespace) -> int:
    folder: Path = options.path
    if folder.exists() and not folder.is_dir():
        raise InvalidValue(f"{folder}: not a folder; give the folder of the old package, like core/wan_manager")
    wans = [definition(text, options) for text in options.wan]
    found = config.find(options.config)
    if found is not None:
        _same_wans(found, wans)
    elif not wans and not options.json and sys.stdin.isatty():
        wans = _ask()
    planned = [_plan(folder / "__init__.py", _marked(SHIM), force=options.force)]
    if found is None and wans:
        planned.append(Planned(Path(config.FILE).absolute(), _toml(wans, options), "write"))
    notes = _notes(folder, found, wans)
    backups = {} if options.dry_run else {one.path: _write(one) for one in planned}
    if options.json:
        files = [
            {"path": str(one.path), "action": one.action, "text": one.text, "backup": backups.get(one.path)}
            for one in planned
        ]
        print(json.dumps({"schema": 1, "dry_run": options.dry_run, "files": files, "notes": notes}))
        return 0
    for one in planned:
        if options.dry_run:
            print(f"would {one.action} {one.path}:\n\n" + "".join(f"    {line}\n" for line in one.text.splitlines()))
        else:
            backup = backups[one.path]
            done = {"write": "wrote", "keep": "kept, the same,", "replace": "replaced"}[one.action]
            print(f"{done} {one.path}" + (f", and kept the old one as {backup}" if backup else ""))
    print("".join(f"note: {note}\n" for note in notes), end="")
    return 0


def _marked(text: str) -> str:
    return f"{MARK}{hashlib.sha256(text.encode()).hexdigest()}\n{text}"


def _is_ours(text: str) -> bool:
    """Whether adopt wrote that, and nobody changed it since."""
    return text == _marked(text.partition("\n")[2])


def _plan(path: Path, text: str, *, force: bool) -> Planned:
    if not path.exists() and not path.is_symlink():
        return Planned(path, text, "write")
    try:
        there = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        there = "something else"
    if there == text:
        return Planned(path, text, "keep")
    if not there.strip() or _is_ours(there):
        return Planned(path, text, "write")
    if not force:
        raise InvalidValue(
            f"{path} is there, and is not as `wanpool adopt` writes it; nothing was written. --force replaces it and "
            "keeps a backup"
        )
    return Planned(path, text, "replace")


def _write(planned: Planned) -> str | None:
    """Writes the file; where the one that was there is now."""
    path, backup = planned.path, None
    if planned.action == "keep":
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text(planned.text, encoding="utf-8")
    if planned.action == "replace":
        names = (path.with_name(f"{path.name}.before-wanpool{n or ''}") for n in count())
        backup = next(name for name in names if not name.exists() and not name.is_symlink())
        path.rename(backup)
    new.replace(path)
    return None if backup is None else str(backup)


def _same_wans(found: Path, wans: list[WanDefinition]) -> None:
    stand = {wan.wan_idx: wan.ports for wan in config.settings(config=found).wans}
    for wan in wans:
        if stand.get(wan.wan_idx) != wan.ports:
            raise InvalidValue(
                f"--wan {wan.wan_idx}={wan.ports}: {found} is there, and says "
                f"{stand.get(wan.wan_idx) or 'nothing'} of WAN {wan.wan_idx}; change it there. Nothing was written"
            )


def _ask() -> list[WanDefinition]:
    print(f"No {config.FILE} is found. Which source ports does your router send out by which WAN?")
    wans: list[WanDefinition] = []
    while True:
        try:
            ports = input(f"  ports of WAN {len(wans)}, like 20000-21999 (empty: no more) ").strip()
        except EOFError:
            ports = ""
        if not ports:
            return wans
        try:
            wans.append(WanDefinition.of(len(wans), ports))
        except InvalidValue as error:
            print(f"  {error}")


def _toml(wans: list[WanDefinition], options: argparse.Namespace) -> str:
    lines = ["# Ports that several machines share need a Redis that all of them reach:"]
    lines.append(f"url = {json.dumps(options.url)}" if options.url else '# url = "redis://10.0.0.2:6379/0"')
    if options.namespace:
        lines.append(f"namespace = {json.dumps(options.namespace)}")
    for wan in wans:
        lines += ["", f"[wan.{wan.wan_idx}]", f'ports = "{wan.ports}"']
    return "\n".join(lines) + "\n"


def _notes(folder: Path, found: Path | None, wans: list[WanDefinition]) -> list[str]:
    notes = []
    if found is not None:
        notes.append(f"the settings are those of {found}")
    elif wans:
        notes.append(
            f"programs find {config.FILE} if they start in its folder; else set WANPOOL_CONFIG to it, or move it to "
            f"{config.user_folder()}"
        )
    else:
        notes.append("no WAN is given here: define them, for example with: wanpool init --wan 0=20000-21999")
    if folder.is_dir():
        beside = sorted(path.name for path in folder.iterdir() if re.search(r"\.(py|json|lock)$", path.name))
        old = [name for name in beside if name != "__init__.py" and not name.startswith(".")]
        if old:
            notes.append(
                f"of the old package there is still {', '.join(old)}: who imports a module of it by its own name, and "
                "who runs already, goes on without Redis. docs/adopt.md says how to switch over so that no port has "
                "two masters"
            )
    return notes
