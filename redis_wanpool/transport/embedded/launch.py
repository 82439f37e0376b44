"""Starts the embedded server, and lets clients to it once it is known which of its data may be missing."""

import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from redis_wanpool.errors import BackendUnavailable, UnsafeRedis
from redis_wanpool.system import signals
from redis_wanpool.transport.embedded import damage, place, survivors, wire
from redis_wanpool.transport.embedded.binary import find_binary
from redis_wanpool.transport.embedded.disk import unwritable

START_WITHIN = 20.0
"""seconds for a server to answer at all"""
_CONF = """\
daemonize yes
pidfile ""
logfile server.log
port 0
unixsocket s.new
unixsocketperm 700
dir .
save ""
appendonly yes
appendfsync everysec
aof-use-rdb-preamble no
aof-load-truncated no
maxmemory-policy noeviction
databases 1
"""
# The paths are of its folder, where it works: so none is too long, or needs quotes.
# aof-load-truncated: a server would cut a torn end off without a copy, and without a word to us
_LOG, _DOUBT = "server.log", "doubt"
_LOOK, _SOMEBODY, _TOLD = "", "somebody lives", "graces have begun"
"""the contents of the file `doubt`, which is there from a server's end without its last words until no holder lives: a
look for holders is due, or one lives, or the WANs have been told
"""


def launch(folder: Path, way: Path, timeout: float) -> None:
    """Starts a server, or finishes what another process began; only under the lock for starts.

    Args:
        way: the folder, by a path that is short enough for sockets.
        timeout: seconds until a server that reads its log is left to do so, and until an old one must have ended.
    """
    if _old_one_gone(folder, way, timeout):
        _start(folder, way, timeout)
    _finish(folder, way, timeout)


def knew_all(folder: Path) -> bool:
    """Whether no grant can have been missing from the data when the running server started."""
    return not (folder / _DOUBT).exists()


def not_ready(words: str) -> BackendUnavailable:
    """The error for a server that says why it does nothing yet."""
    return BackendUnavailable(f"the embedded server is not ready: {words}", passing=True)


def _old_one_gone(folder: Path, way: Path, timeout: float) -> bool:
    """Waits until no server uses this data; False if there is one that was not let in yet.

    A server that lost its socket, to whatever clears up the folder, is ended by SIGTERM, which loses nothing.
    """
    began, ended, strangers = time.monotonic(), set[int](), list[int]()
    while not place.is_free(folder / place.ALIVE) or (strangers := place.processes(folder)):
        if wire.words_at(way / place.UNPUBLISHED, timeout) is not None:
            return False
        waited = time.monotonic() - began
        if strangers:  # the lock that they have was removed, and maybe all else
            (folder / _DOUBT).write_text(_SOMEBODY)
        if strangers or waited > min(0.5, timeout / 2):  # one that ends needs less
            _end(folder, ended)
        if waited > timeout:
            raise _in_the_way(folder)
        time.sleep(0.02)
    return True


def _end(folder: Path, ended: set[int]) -> None:
    """Ends a server; and the child of a dead one that still rewrites the log, which nobody will use."""
    for pid in set(place.processes(folder)) - ended:
        ended.add(pid)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL if place.rewrites(pid) else signal.SIGTERM)


def _in_the_way(folder: Path) -> BackendUnavailable:
    pids = place.processes(folder)
    cure = f"end it with: kill -9 {pids[0]}" if pids else "its process is not seen from here: of another container?"
    return BackendUnavailable(
        f"an embedded server in {folder} lives, has no socket, and does not end; {cure}; its log: {folder / _LOG}",
        passing=True,
    )


def _start(folder: Path, way: Path, timeout: float) -> None:
    """Starts a server that nobody finds yet, with a mended log if need be."""
    binary, version = find_binary()
    if version < (7, 0) and (folder / "appendonlydir").exists():
        raise UnsafeRedis(
            f"{binary} is older than 7.0 and would not see the data in {folder}, and so give out ports twice; "
            "use a newer server, or the one that wrote it"
        )
    damage.check_parts(folder)
    log = folder / _LOG
    if not _ended_whole(log):
        note_doubt(folder)
        with suppress(BackendUnavailable):  # the next server says it, if it is still so
            damage.mend(
                folder, binary, " ".join(_last_lines(log))
            )  # of one that read for longer than its starter waited
    (folder / "server.conf").write_text(_CONF)
    for path in (folder / place.SOCKET, folder / place.UNPUBLISHED):
        path.unlink(missing_ok=True)
    while not _run(folder, way, binary, timeout):
        told = " ".join(_last_lines(log))
        if not damage.mend(folder, binary, told):
            raise BackendUnavailable(f"the embedded server {binary} does not start; {_last_words(folder)}")
        note_doubt(folder)


def note_doubt(folder: Path) -> None:
    """Notes that the data may lack something, at the next start."""
    doubt = folder / _DOUBT
    if not doubt.exists() or doubt.read_text() != _SOMEBODY:
        doubt.write_text(_LOOK)


def _run(folder: Path, way: Path, binary: str, timeout: float) -> bool:
    """Starts a server, and waits until it has read its log; False if it has ended."""
    (folder / _LOG).unlink(missing_ok=True)
    # The server inherits the lock: while it, or its child that rewrites the log, lives, nobody starts another.
    alive = place.try_lock(folder / place.ALIVE)
    if alive is None:
        raise _in_the_way(folder)
    try:
        with signals.hearing():
            subprocess.run(
                [binary, str(folder / "server.conf")],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                pass_fds=[alive],
                cwd=folder,
                umask=0o077,
                timeout=START_WITHIN,
                check=False,  # whether it lives is seen below
            )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BackendUnavailable(f"the embedded server {binary} does not start: {error}") from error
    finally:
        os.close(alive)
    return _is_ready(folder, way, timeout)


def _is_ready(folder: Path, way: Path, timeout: float) -> bool:
    """Waits until a server has read its log; False if it has ended."""
    began = time.monotonic()
    while (words := wire.words_at(way / place.UNPUBLISHED, START_WITHIN)) is None or words.startswith("LOADING"):
        waited = time.monotonic() - began
        if words and waited > timeout:
            raise not_ready(words)
        if place.is_free(folder / place.ALIVE) or waited > START_WITHIN:
            return False
        time.sleep(0.005)
    return True


def _finish(folder: Path, way: Path, timeout: float) -> None:
    """Lets clients to a server once it has its data; in a grace if that may lack what a living process holds."""
    path = way / place.UNPUBLISHED
    if not _is_ready(folder, way, timeout):
        raise not_ready(_last_words(folder))
    doubt = folder / _DOUBT
    if doubt.exists():
        client = redis.Redis(
            unix_socket_path=str(path),
            socket_timeout=START_WITHIN,
            decode_responses=True,
            encoding_errors="replace",
            retry=Retry(NoBackoff(), 0),
        )
        try:
            noted = doubt.read_text()
            if noted != _SOMEBODY and not survivors.may_live(folder, client):
                doubt.unlink()
            elif noted != _TOLD:
                survivors.begin_graces(client)
                doubt.write_text(_TOLD)
        except redis.RedisError as error:
            raise not_ready(unwritable(error) if "MISCONF" in str(error) else str(error)) from error
        finally:
            client.close()
    path.rename(way / place.SOCKET)


def _ended_whole(log: Path) -> bool:
    """Whether the server that wrote this ended as it should, and never failed to write what it granted.

    After "looks solved" a second failure would not be told for 30 s, so one failure is enough. Where there is no
    room for the first, there is none for the last words.
    """
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return False
    return "bye bye" in text and not re.search(r"[Ee]rror writing|[Ss]hort write|[Ff]ail\w* to fsync", text)


def _last_lines(log: Path) -> list[str]:
    return log.read_text(errors="replace").strip().splitlines()[-3:] if log.exists() else []


def _last_words(folder: Path) -> str:
    return f"see {folder / _LOG}: {' | '.join(_last_lines(folder / _LOG))}"
