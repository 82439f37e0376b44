"""Where the embedded server lives: its folder, the way to its socket, the locks in it, and its process."""

import hashlib
import os
import socket
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from redis_wanpool.errors import BackendUnavailable

if sys.platform != "win32":
    import fcntl

ELSEWHERE = "Set WANPOOL_HOME to a folder that you own, or use a Redis elsewhere (WANPOOL_URL=redis://host:6379/0)"
LONGEST_PATH = 100
"""bytes of a socket's path; the kernels allow 104 (macOS) and 108 (Linux)"""
SOCKET, UNPUBLISHED = "s", "s.new"
ALIVE, START = "alive.lock", "start.lock"


def state_folder() -> Path:
    """The server's folder, private to user and machine; raises BackendUnavailable for a user without a home folder."""
    home = os.environ.get("WANPOOL_HOME")
    if home:
        return Path(home).absolute()
    try:
        if sys.platform == "darwin":
            folder = Path.home() / "Library" / "Application Support" / "redis-wanpool"
        else:
            folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "redis-wanpool"
    except RuntimeError as error:
        raise BackendUnavailable(f"the embedded server cannot keep its data: {error} {ELSEWHERE}") from error
    return folder / socket.gethostname()  # a home folder may be shared between machines


def make_private(folder: Path) -> None:
    """Makes a folder that only this user may use; raises BackendUnavailable if it is another user's."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    seen = folder.lstat() if folder.parent == Path(tempfile.gettempdir()) else folder.stat()
    if seen.st_uid != os.getuid() or stat.S_ISLNK(seen.st_mode):
        raise BackendUnavailable(f"{folder} belongs to another user; set WANPOOL_HOME to a folder that you own")
    if stat.S_IMODE(seen.st_mode) & 0o077:
        folder.chmod(0o700)


def way_to(folder: Path) -> Path:
    """The folder, or a link to it that is short enough for the path of a socket.

    The socket itself always lies beside the data, so that all its users meet there, whatever their TMPDIR. The link may
    go at any time, and is made again.
    """
    if len(os.fsencode(folder / UNPUBLISHED)) <= LONGEST_PATH:
        return folder
    name = f"wanpool-{os.getuid()}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}"
    private = Path(tempfile.gettempdir()) / name
    if len(os.fsencode(private / "d" / UNPUBLISHED)) > LONGEST_PATH:
        private = Path("/tmp") / name
    make_private(private)
    link = private / "d"
    for _ in range(2):
        try:
            if link.readlink() == folder:
                break
            link.unlink(missing_ok=True)
        except FileNotFoundError:
            pass
        with suppress(FileExistsError):  # another process was quicker
            link.symlink_to(folder)
    return link


def try_lock(path: Path) -> int | None:
    """The descriptor that holds a lock; None if another process holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def is_free(path: Path) -> bool:
    """Whether nobody holds a lock."""
    descriptor = try_lock(path)
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is not None


@contextmanager
def locked(path: Path, waits: Callable[[float], None]) -> Iterator[None]:
    """Holds a lock between processes; `waits` is told how many seconds it has waited, and may raise."""
    began = time.monotonic()
    while (descriptor := try_lock(path)) is None:
        waits(time.monotonic() - began)
        time.sleep(0.01)
    try:
        yield
    finally:
        os.close(descriptor)


def processes(folder: Path) -> list[int]:
    """The server and its child that rewrites the log: they work in its folder, even if that was removed."""
    wanted = (str(folder.resolve()), f"{folder.resolve()} (deleted)")
    return [pid for pid in psutil.pids() if _works_in(pid, wanted)]


def rewrites(pid: int) -> bool:
    """Whether a process is a server's child that rewrites its log."""
    try:
        return any("-aof-rewrite" in word for word in psutil.Process(pid).cmdline())
    except psutil.Error:
        return False


def _works_in(pid: int, folders: tuple[str, ...]) -> bool:
    try:
        if sys.platform == "linux":
            working = str(Path(f"/proc/{pid}/cwd").readlink())
        else:
            working = psutil.Process(pid).cwd()
        return working in folders and any("unixsocket:" in word for word in psutil.Process(pid).cmdline())
    except (OSError, psutil.Error):
        return False
