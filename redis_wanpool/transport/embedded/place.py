"""Where the embedded server lives: its folder, the way to its socket, the locks in it, and its process."""

import hashlib
import os
import shlex
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
_SHORT = "Remove it, or set WANPOOL_HOME to a folder of yours with a short and plain path"
LONGEST_PATH = 100
"""bytes of a socket's path; the kernels allow 104 (macOS) and 108 (Linux)"""
SOCKET, UNPUBLISHED = "s", "s.new"
ALIVE, START = "alive.lock", "start.lock"
_MARKS = {ALIVE, START, SOCKET, UNPUBLISHED, "holders.lock", "server.conf"}
"""names of which one at least is in a folder that was a server's of ours"""


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


def make_private(folder: Path, *, link: bool = False) -> None:
    """Makes a folder that only this user may use; raises BackendUnavailable as `refuse_foreign` does."""
    with suppress(FileExistsError):
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700)
    refuse_foreign(folder, link=link)


def refuse_foreign(folder: Path, *, link: bool = False) -> None:
    """Raises BackendUnavailable for a folder that another user owns or may write to; nothing of it is changed.

    Others may look into it, as into most folders of a user: what is made there is for this user alone.

    Args:
        link: whether a link of this user's is fine, as in a path that the user chose.
    """
    seen = folder.lstat()
    if stat.S_ISLNK(seen.st_mode) and link and seen.st_uid in (0, os.geteuid()):
        seen = folder.stat()
    if stat.S_ISLNK(seen.st_mode):
        raise BackendUnavailable(
            f"{folder} is a link, which somebody else may have planted, and is not followed. {_SHORT}"
        )
    if not stat.S_ISDIR(seen.st_mode):
        raise BackendUnavailable(f"{folder} is not a folder. {ELSEWHERE}")
    if seen.st_uid != os.geteuid():
        raise BackendUnavailable(f"{folder} belongs to another user (uid {seen.st_uid}). {ELSEWHERE}")
    if (mode := stat.S_IMODE(seen.st_mode)) & 0o022:
        raise BackendUnavailable(
            f"other users may write to {folder} (mode {mode:o}); if it shall be the embedded server's, run: "
            f"chmod 700 {shlex.quote(str(folder))}. {ELSEWHERE}"
        )


def make_home(folder: Path) -> None:
    """Makes the server's folder if need be; raises BackendUnavailable as `check_home` does."""
    try:
        str(folder).encode()
    except UnicodeEncodeError:  # the server tells its path to every client, in INFO
        raise BackendUnavailable(
            f"the embedded server cannot work in {str(folder)!r}: its path is not UTF-8. {ELSEWHERE}"
        ) from None
    if os.geteuid() == 0 and not os.environ.get("WANPOOL_HOME"):
        near = next(path for path in (folder, *folder.parents) if path.exists())
        if (owner := near.stat().st_uid) != 0:  # a folder of root's there would lock the user out
            raise BackendUnavailable(f"{near} belongs to another user (uid {owner}), and you are root. {ELSEWHERE}")
    make_private(folder, link=True)
    check_home(folder)


def check_home(folder: Path) -> None:
    """Raises BackendUnavailable for a folder that is not this user's, or has other things in it than the server's."""
    refuse_foreign(folder, link=True)
    names = {path.name for path in folder.iterdir()}
    if names and not names & _MARKS and not processes(folder):  # of one that lost its files, it still is
        raise BackendUnavailable(
            f"{folder} holds what is not the embedded server's ({min(names)!r}), so nothing is done there. {ELSEWHERE}"
        )


def way_to(folder: Path) -> Path:
    """The folder, or a link to it whose path is short and plain enough for a socket and for a URL.

    The socket itself always lies beside the data, so that all its users meet there, whatever their TMPDIR. The link may
    go at any time, and is made again.
    """
    if _is_plain(folder / UNPUBLISHED):
        return folder
    name = f"wanpool-{os.geteuid()}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}"
    private = Path(tempfile.gettempdir()) / name
    if not _is_plain(private / "d" / UNPUBLISHED):
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


def _is_plain(path: Path) -> bool:
    return len(os.fsencode(path)) <= LONGEST_PATH and str(path).isprintable()  # undecodable bytes are not


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
