"""What was changed, on disk before it is: the way back."""

import json
import os
import secrets
import stat
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from redis_wanpool.tuning import WHO, Change, Item, NotElevated, TuningError, Value


@dataclass(frozen=True, slots=True)
class Journal:
    """One application of a plan."""

    path: Path
    machine: str
    written_at: float
    undone_at: float | None
    changes: tuple[Change, ...]
    undone: tuple[tuple[float, Change], ...] = ()
    """when something of it was about to be taken back, from what stood then"""


class _Taken(Exception):
    """Another application began at the same time, and has that number."""


def begin(folder: Path, machine: str, changes: Sequence[Change]) -> Journal:
    """Writes down what will be done; when this returns, it is on the disk.

    Raises:
        NotElevated: this user may not write there.
    """
    while True:
        there = [int(path.stem) for path in folder.glob("*.json") if path.stem.isdecimal()]
        journal = Journal(folder / f"{max(there, default=0) + 1:06}.json", machine, time.time(), None, tuple(changes))
        with suppress(_Taken):
            _write(journal, os.link)  # which writes over nothing, as a rename would
            return journal


def take_back(journal: Journal, steps: Sequence[Change]) -> Journal:
    """Writes down what will be taken back of it; when this returns, it is on the disk.

    Raises:
        NotElevated: this user may not write there.
    """
    noted = replace(journal, undone=(*journal.undone, *((time.time(), step) for step in steps)))
    _write(noted, os.replace)
    return noted


def close(journal: Journal) -> None:
    """Notes that all of it is undone."""
    _write(replace(journal, undone_at=time.time()), os.replace)


def forget(journal: Journal) -> None:
    """Removes one of which nothing was done."""
    journal.path.unlink()
    _sync(journal.path.parent)


def read_all(folder: Path) -> list[Journal]:
    """All journals, the oldest first.

    Raises:
        TuningError: one cannot be read, or others than its owner could have written it.
    """
    paths = sorted(path for path in folder.glob("*.json") if path.stem.isdecimal())
    for path in (folder, *paths) if paths else ():
        status = path.stat()
        if os.name == "posix" and (status.st_uid not in (0, os.geteuid()) or stat.S_IMODE(status.st_mode) & 0o022):
            raise TuningError(
                f"{path}: others could have written it; look at it, then: chown root {path}; chmod go-w {path}"
            )
    return [_read(path) for path in paths]


def _read(path: Path) -> Journal:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        changes = tuple(_decoded(one) for one in found["changes"])
        undone = tuple((float(one["at"]), _decoded(one)) for one in found["undone"])
        return Journal(path, found["machine"], float(found["written_at"]), found["undone_at"], changes, undone)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TuningError(f"{path}: not a journal of wanpool tune ({error}); look at it, and set it aside") from None


def _write(journal: Journal, put: Callable[[Path, Path], None]) -> None:
    facts = {name: getattr(journal, name) for name in ("machine", "written_at", "undone_at")}
    changes = [_encoded(change) for change in journal.changes]
    undone = [{"at": at, **_encoded(step)} for at, step in journal.undone]
    text = json.dumps({"schema": 1, **facts, "changes": changes, "undone": undone}, indent=1)
    new = journal.path.with_suffix(f".{secrets.token_hex(4)}.new")
    try:
        _make(journal.path.parent)
        with new.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            new.chmod(0o644)
            put(new, journal.path)
        except FileExistsError:
            raise _Taken from None
        finally:
            new.unlink(missing_ok=True)
        _sync(journal.path.parent)
    except PermissionError as error:
        raise NotElevated(f"{error.filename}: {error.strerror}; nothing was changed. Run it as {WHO}") from None
    except OSError as error:
        raise TuningError(f"{error.filename}: {error.strerror}; nothing was changed") from None


def _make(folder: Path) -> None:
    """Who is no administrator may look, too, whatever the umask of the one who is."""
    for path in (folder.parent, folder):
        if not path.exists():
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o755)


def _encoded(change: Change) -> dict[str, Any]:
    values = {"before": encoded(change.before), "after": encoded(change.after)}
    return {**asdict(change.item), **values, "needs_restart": change.needs_restart}


def _decoded(found: Any) -> Change:
    item = Item(found["store"], found["where"], found["name"])
    return Change(item, decoded(found["before"]), decoded(found["after"]), bool(found["needs_restart"]))


def encoded(value: Value | None) -> Any:
    """A value as JSON."""
    if value is None:
        return None
    data = {"hex": value.data.hex()} if isinstance(value.data, bytes) else {"data": value.data}
    return {"kind": value.kind, **data}


def decoded(found: Any) -> Value | None:
    """A value from JSON. Raises KeyError, TypeError, ValueError: it is none."""
    if found is None:
        return None
    data = bytes.fromhex(found["hex"]) if "hex" in found else found["data"]
    data = tuple(data) if isinstance(data, list) else data
    if not isinstance(found["kind"], str) or not isinstance(data, (int, str, bytes, tuple)):
        raise ValueError(f"not a value: {found!r}")
    return Value(found["kind"], data)


def _sync(folder: Path) -> None:
    """Makes a new name last; Windows has no such call for folders, and keeps names with NTFS's own journal."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
