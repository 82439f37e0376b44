"""`wanpool adopt`: puts this package behind the imports of the one that it replaces."""

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from redis_wanpool import settings as config
from redis_wanpool.cli.init import definition
from redis_wanpool.cli.verb import Verbs, operator_of, print_json
from redis_wanpool.errors import BackendUnavailable, InvalidValue
from redis_wanpool.model.ports import port_numbers
from redis_wanpool.model.wan import WanDefinition, how_to_define
from redis_wanpool.transport.url import public_url

SHIM = '''\
"""WAN ports under their old names; the ports are leases of redis-wanpool."""

from redis_wanpool.legacy import WanPortPool, port_allocator, wan_port_pool

__all__ = ["WanPortPool", "port_allocator", "wan_port_pool"]
'''
OPTIMIZER = '''\
"""The TCP settings of this machine under their old names; `python -m` shows them, --apply changes them."""

from redis_wanpool.cli.optimizer import generate_optimization_suggestions, main, print_optimization_guide

__all__ = ["generate_optimization_suggestions", "print_optimization_guide"]

if __name__ == "__main__":
    raise SystemExit(main())
'''
MARK = "# Written by `wanpool adopt`, which will not overwrite it once it was changed. sha256 of the rest: "


FILES = {"__init__.py": SHIM, "win_socket_optimizer.py": OPTIMIZER}
OLD_MODULES = ("port_allocator.py", "wan_port_pool.py")
"""Modules that would take the place of our names in their package as soon as anybody imports them."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What becomes of a file."""

    path: Path
    text: str
    action: str
    """"write", "keep" (it is there, the same), "replace" (and keep a backup) or "set aside" (keep the backup only)"""


def add_to(verbs: Verbs) -> None:
    parser = verbs.add(
        adopt,
        "core/wan_manager --wan 0=20000-21999 --wan 1=22000-23999",
        "core/wan_manager --dry-run    # show the files, write none",
        "core/wan_manager --force      # replace the old package's __init__.py, and keep a backup",
    )
    parser.add_argument("path", metavar="PATH", type=Path, help="the folder of the old package, like core/wan_manager")
    parser.add_argument("--wan", action="append", default=[], metavar="K=PORTS", help="a WAN and its ports; repeat it")
    parser.add_argument("--force", action="store_true", help="replace a file of somebody else's, and keep a backup")
    parser.add_argument("--dry-run", action="store_true", help="show the files, and write none")


def adopt(options: argparse.Namespace) -> int:
    """Writes the old interface, as a package on top of this one, into a folder of your program."""
    folder: Path = options.path
    if folder.exists() and not folder.is_dir():
        raise InvalidValue(f"{folder}: not a folder; give the folder of the old package, like core/wan_manager")
    wans = _checked([definition(text, options) for text in options.wan])
    found = config.find(options.config)
    if found is None and not wans and not options.json and sys.stdin.isatty():
        wans = _ask()
    settled = config.settings(url=options.url, namespace=options.namespace, config=found)
    unknown = _unknown(wans, settled, found, options)
    planned = [_plan(folder / name, _marked(text), force=options.force) for name, text in FILES.items()]
    planned += [_plan(folder / name, "", force=options.force) for name in OLD_MODULES if (folder / name).exists()]
    makes_settings = bool(unknown) or (found is None and bool(wans) and options.url is not None)
    if makes_settings:
        planned.append(_plan(Path(config.FILE).absolute(), _toml(unknown, options), force=options.force))
    notes = _notes(folder, found, wans, None if makes_settings else settled.url)
    try:
        backups = {} if options.dry_run else _write(planned)
    except OSError as error:
        raise InvalidValue(f"{error.filename or folder}: {error.strerror}; nothing was written") from None
    if options.json:
        files = [
            {"path": str(one.path), "action": one.action, "text": one.text, "backup": backups.get(one.path)}
            for one in planned
        ]
        print_json(dry_run=options.dry_run, files=files, notes=notes)
        return 0
    for one in planned:
        if options.dry_run:
            text = "".join(f"\n    {line}" for line in one.text.splitlines())
            print(f"would {one.action} {one.path}" + (f":\n{text}\n" if text else ""))
        else:
            backup = backups.get(one.path)
            print(f"{DONE[one.action]} {one.path}" + (f", and kept the old one as {backup}" if backup else ""))
    print("".join(f"note: {note}\n" for note in notes), end="")
    return 0


DONE = {"write": "wrote", "keep": "kept, the same,", "replace": "replaced", "set aside": "set aside"}


def _marked(text: str) -> str:
    return f"{MARK}{hashlib.sha256(text.encode()).hexdigest()}\n{text}"


def _is_ours(text: str) -> bool:
    """Whether adopt wrote that, and nobody changed it since."""
    return text == _marked(text.partition("\n")[2])


def _plan(path: Path, text: str, *, force: bool) -> Planned:
    if not path.exists() and not path.is_symlink():
        return Planned(path, text, "write")
    try:
        there = None if path.is_symlink() else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        there = None
    if there == text and text:
        return Planned(path, text, "keep")
    if text and there is not None and (not there.strip() or _is_ours(there)):
        return Planned(path, text, "write")
    if not force:
        told = "is not as `wanpool adopt` writes it" if text else "hides the name that adopt gives to ours"
        raise InvalidValue(
            f"{path} is there, and {told}; nothing was written. --force takes its place and keeps a backup"
        )
    return Planned(path, text, "replace" if text else "set aside")


def _write(planned: list[Planned]) -> dict[Path, str]:
    """Writes all files, or none; where those are now that were there."""
    ready: dict[Path, Path] = {}
    backups: dict[Path, str] = {}
    try:
        for one in planned:
            if one.text and one.action != "keep":
                one.path.parent.mkdir(parents=True, exist_ok=True)
                ready[one.path] = _beside(one.path, ".new")
                with ready[one.path].open("x", encoding="utf-8") as file:
                    file.write(one.text)
        for one in planned:
            if one.action in ("replace", "set aside"):
                backup = _beside(one.path, ".before-wanpool")
                one.path.rename(backup)
                backups[one.path] = str(backup)
            if one.path in ready:
                ready.pop(one.path).replace(one.path)
    finally:
        for left in ready.values():
            left.unlink(missing_ok=True)
    return backups


def _beside(path: Path, suffix: str) -> Path:
    """A name next to a file's that nobody has."""
    names = (path.with_name(f"{path.name}{suffix}{n or ''}") for n in count())
    return next(name for name in names if not name.exists() and not name.is_symlink())


def _checked(wans: list[WanDefinition]) -> list[WanDefinition]:
    """The same; no WAN twice, and no port in two."""
    owner: dict[int, int] = {}
    for wan in wans:
        if sum(other.wan_idx == wan.wan_idx for other in wans) > 1:
            raise InvalidValue(f"WAN {wan.wan_idx} is given twice; give all its ports at once, like 20000-20999,23000")
        for port in port_numbers(wan.ports):
            if owner.setdefault(port, wan.wan_idx) != wan.wan_idx:
                raise InvalidValue(f"port {port} is given to WAN {owner[port]} and to WAN {wan.wan_idx}")
    return wans


def _unknown(
    wans: list[WanDefinition], settled: config.Settings, found: Path | None, options: argparse.Namespace
) -> list[WanDefinition]:
    """The WANs that neither the settings nor the Redis that they name have; none if there is a settings file.

    Raises:
        InvalidValue: one has other ports there; or none, and there is a settings file, which is not ours to change.
        BackendUnavailable: Redis cannot be asked.
    """
    left = _without(wans, {wan.wan_idx: wan.ports for wan in settled.wans}, f"{found} is there, and", "change it there")
    if left and settled.url is not None:
        with operator_of(options, allow_unsafe=True) as operator:
            try:
                claims = operator.claims()
            except BackendUnavailable as error:
                raise BackendUnavailable(
                    f"{error}. It cannot be asked for the ports of its WANs, so nothing was written: see to it and try "
                    "again, or leave --wan out, if they are defined there"
                ) from error
            where = f"namespace {operator.namespace!r} at {operator.url}"
            left = _without(left, claims, where, "give these, or change them there with: wanpool resize")
    if left and found is not None:
        given = " ".join(f"--wan {wan.wan_idx}={wan.ports}" for wan in left)
        nor = "" if settled.url is None else ", nor does its Redis"
        raise InvalidValue(
            f"{given}: {found} is there, and says nothing of WAN {left[0].wan_idx}{nor}; define it, with: wanpool init "
            f"--fresh {given}, or with --recover if Redis may have lost it. Nothing was written"
        )
    return left


def _without(wans: list[WanDefinition], there: Mapping[int, str], where: str, cure: str) -> list[WanDefinition]:
    """Those WANs that are not there; an error if one is with other ports."""
    for wan in wans:
        ports = there.get(wan.wan_idx)
        if ports is not None and ports != wan.ports:
            index = wan.wan_idx
            raise InvalidValue(
                f"--wan {index}={wan.ports}: {where} says {ports} of WAN {index}; {cure}. Nothing was written"
            )
    return [wan for wan in wans if wan.wan_idx not in there]


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
            wans = _checked([*wans, WanDefinition.of(len(wans), ports)])
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


def _notes(folder: Path, found: Path | None, wans: list[WanDefinition], known_at: str | None) -> list[str]:
    """What to know besides; `known_at` is the URL of the Redis that has these WANs, if they need no settings file."""
    notes = []
    if found is not None:
        notes.append(f"the settings are those of {found}")
    elif wans and known_at:
        notes.append(f"{public_url(known_at)} has these WANs already; programs need the same WANPOOL_URL")
    elif wans:
        notes.append(
            f"programs find {config.FILE} if they start in its folder; else set WANPOOL_CONFIG to it, or move it to "
            f"{config.user_folder()}"
        )
    else:
        notes.append(f"no WAN is given here: define them, for example with: {how_to_define()}")
    if folder.is_dir():
        beside = sorted(path.name for path in folder.iterdir() if re.search(r"\.(py|json|lock)$", path.name))
        old = [name for name in beside if name not in (*FILES, *OLD_MODULES)]
        if old:
            notes.append(
                f"of the old package there is still {', '.join(old)}: who imports a module of it by its own name, and "
                "who runs already, goes on without Redis. docs/adopt.md says how to switch over so that no port has "
                "two masters"
            )
    return notes
