"""The embedded default: one private, durable server for this user on this machine, started on first use."""

import errno
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from os import kill
from pathlib import Path
from urllib.parse import quote

from redis_wanpool.errors import BackendUnavailable
from redis_wanpool.transport.embedded import damage, launch, place, survivors, wire
from redis_wanpool.transport.embedded.binary import REMEDIES, find_binary
from redis_wanpool.transport.embedded.disk import Disk, disk, unwritable
from redis_wanpool.transport.embedded.place import ELSEWHERE, state_folder

__all__ = ["Disk", "Status", "disk", "ensure", "find_binary", "state_folder", "status", "stop", "take_part"]
__all__ += ["knows_all", "unwritable"]

_LOOK = 2.0
"""seconds for an answer to a look at the server"""


@dataclass(frozen=True, slots=True)
class Status:
    """The state of the embedded server."""

    running: bool
    url: str
    folder: Path
    version: str | None
    pid: int | None = None
    trouble: str = ""  #: what ails it, in its own words or ours
    copies: tuple[Path, ...] = ()  #: what was kept of logs that were damaged, and mended; the newest last


def ensure(timeout: float = launch.START_WITHIN) -> str:
    """The URL of the running server, which is started if needed; any number of processes may ask at once.

    Args:
        timeout: seconds for an answer of a server that is there, and until one that reads its log is left to do so.

    Raises:
        BackendUnavailable: no server binary is available, or it does not start or answer, or cannot keep its data.
        UnsafeRedis: the binary would not see the data that another one wrote.
    """
    if sys.platform == "win32":
        raise BackendUnavailable(f"there is no embedded server on Windows; {REMEDIES}")
    folder = state_folder()
    timeout = min(timeout, launch.START_WITHIN)
    try:
        place.make_home(folder)
        way = place.way_to(folder)
        path = way / place.SOCKET
        if wire.words_at(path, min(_LOOK, timeout)) is None:
            with place.locked(folder / place.START, partial(_waits, way, timeout)):
                if wire.words_at(path, min(_LOOK, timeout)) is None:
                    launch.launch(folder, way, timeout)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise BackendUnavailable(unwritable(error.strerror), passing=True) from error
        raise BackendUnavailable(
            f"the embedded server cannot keep its data in {folder}: {error.strerror}. {ELSEWHERE}"
        ) from error
    return _url(path)


def _url(path: Path) -> str:
    return f"unix://{quote(str(path))}"


def _waits(way: Path, timeout: float, seconds: float) -> None:
    """While another process starts the server: raises BackendUnavailable if that takes too long."""
    if seconds > timeout and (words := wire.words_at(way / place.UNPUBLISHED, _LOOK)):
        raise launch.not_ready(words)
    if seconds > launch.START_WITHIN:
        raise BackendUnavailable(
            f"the embedded server in {state_folder()} is being started for {seconds:.0f} s by another process",
            passing=True,
        )


def take_part() -> None:
    """Shows to the end of this process that it may hold leases: then the server's death alone begins a grace."""
    if sys.platform != "win32":
        try:
            survivors.take_part(state_folder())
        except OSError as error:
            raise BackendUnavailable(f"the embedded server's folder {state_folder()}: {error.strerror}") from error


def knows_all() -> bool:
    """Whether no process can hold a lease that the running server's data lacks: so a WAN that it lacks never was.

    Known since its start: then its data was whole, or no process lived that had held leases; and nobody emptied it.
    """
    folder = state_folder()
    return launch.knew_all(folder) and _was_emptied(place.way_to(folder) / place.SOCKET) is False


def _was_emptied(path: Path) -> bool | None:
    """Whether somebody emptied the running server; None if it does not say."""
    ran = wire.facts_at(path, "commandstats", _LOOK)
    return any(f"cmdstat_{name}" in ran for name in ("flushall", "flushdb", "swapdb")) if ran else None


def stop(timeout: float = 10.0) -> bool:
    """Ends the server; its log is on disk. False if none ran."""
    if sys.platform == "win32":
        return False
    folder = state_folder()
    if not folder.exists():
        return False
    place.check_home(folder)
    path = place.way_to(folder) / place.SOCKET
    if wire.words_at(path, _LOOK) is None and not place.processes(folder):
        return False
    with place.locked(folder / place.START, partial(_waits, path.parent, timeout)):
        if _was_emptied(path):
            launch.note_doubt(folder)
        try:
            reply = wire.say(path, *wire.SHUTDOWN, timeout=timeout)  # it hangs up instead of answering
        except OSError:
            reply = ""
            for pid in place.processes(folder):  # its socket is gone
                kill(pid, signal.SIGTERM)
        if reply.startswith("-"):
            raise BackendUnavailable(f"the embedded server in {folder} does not end: {reply[1:]}")
        deadline = time.monotonic() + timeout
        while not place.is_free(folder / place.ALIVE):
            if time.monotonic() > deadline:
                raise BackendUnavailable(f"the embedded server in {folder} does not end within {timeout:g} s")
            time.sleep(0.01)
        path.unlink(missing_ok=True)
    return True


def status() -> Status:
    """Looks at the server, without starting it."""
    folder = state_folder()
    if sys.platform == "win32":
        return Status(False, "", folder, None)
    if folder.exists():
        place.check_home(folder)
    path = place.way_to(folder) / place.SOCKET
    pid = next((pid for pid in place.processes(folder) if not place.rewrites(pid)), None)
    kept = tuple(damage.copies(folder))
    url = _url(path)
    try:
        words = wire.words_at(path, _LOOK)
    except BackendUnavailable as error:
        return Status(True, url, folder, None, pid, str(error), kept)
    if words is None:
        trouble = ""
        with suppress(BackendUnavailable):
            trouble = wire.words_at(path.with_name(place.UNPUBLISHED), _LOOK) or ""
        if pid is not None and not trouble:
            trouble = f"its socket {path} is gone; its next user starts it again"
        return Status(bool(trouble), url, folder, None, pid, trouble, kept)
    facts = wire.facts_at(path, "server", _LOOK)
    version = facts.get("valkey_version") or facts.get("redis_version")
    if words.startswith("MISCONF"):
        words = unwritable(words)
    return Status(True, url, folder, version, int(facts.get("process_id", 0)) or pid, words, kept)
