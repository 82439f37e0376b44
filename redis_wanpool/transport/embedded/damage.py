"""Mends a log that a crash of the machine has torn or zeroed, with the binary's own tool; keeps what it cut."""

import logging
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from redis_wanpool.errors import BackendUnavailable

COPIES = 3
"""how many copies of damaged logs are kept"""
_TOOL = "redis-check-aof"
"""the name by which a server's binary is called to be the tool; Valkey knows it, too"""
_MARK = ".damaged-"

logger = logging.getLogger("redis_wanpool")


def copies(folder: Path) -> list[Path]:
    """What was kept of damaged logs, the newest last."""
    return sorted(folder.glob(f"*{_MARK}*"), key=lambda path: path.name.rpartition(_MARK)[2])


def check_parts(folder: Path) -> None:
    """Raises BackendUnavailable if the list of the log's parts is missing: servers take that for an empty log."""
    parts = folder / "appendonlydir"
    manifest = parts / "appendonly.aof.manifest"
    if not manifest.exists() and any(parts.glob("*.aof")):
        raise _broken(folder, manifest, "it is missing, and a server would start without data")


def mend(folder: Path, binary: str, told: str) -> bool:
    """Cuts the log's end to its last whole command, if that is what keeps a server from starting.

    Args:
        told: the last words of the server that did not start.

    Returns:
        False: something else keeps it from starting.

    Raises:
        BackendUnavailable: another part of the log is damaged, which no tool mends.
    """
    parts = folder / "appendonlydir"
    manifest = parts / "appendonly.aof.manifest"
    if "manifest" in told and "append only file" not in told:
        raise _broken(folder, manifest, told)
    about = re.search(r"reading the append only file(?: (\S+\.aof))?|the AOF file (\S+)", told)
    if about is None:
        return False
    names = re.findall(
        r"^file (\S+) .*type [bi]", manifest.read_text("utf-8", "replace") if manifest.exists() else "", re.M
    )
    last = parts / names[-1] if names else folder / "appendonly.aof"
    named = about[1] or about[2] or last.name
    if named != last.name or not last.exists():
        raise _broken(folder, parts / named, told)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    kept, size = folder / f"{last.name}{_MARK}{stamp}", last.stat().st_size
    shutil.copy2(last, kept)
    target = manifest if names else last
    try:
        done = subprocess.run(
            [_TOOL, "--fix", str(target)], executable=binary, cwd=folder, input=b"y\n", capture_output=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise _broken(folder, last, f"{told}; {_TOOL} --fix: {error}") from error
    lost = size - last.stat().st_size
    if not lost:
        kept.unlink()
        return False
    for old in copies(folder)[:-COPIES]:
        old.unlink(missing_ok=True)
    logger.warning(
        "the embedded server's log was damaged, commonly by a crash of the machine: its last %d of %d bytes were no "
        "whole commands, and were cut off %s; the original is kept as %s",
        *(lost, size, last, kept),
    )
    logger.debug("%s", done.stdout.decode(errors="replace"))
    return True


def _broken(folder: Path, part: Path, why: str) -> BackendUnavailable:
    parts = folder / "appendonlydir"
    return BackendUnavailable(
        f"the embedded server cannot read {part}, a part of its log that cannot be mended. Put a copy there; or go "
        f"on without data: mv {parts} {parts}.broken, then define the WANs again: wanpool init --recover ({why})"
    )
