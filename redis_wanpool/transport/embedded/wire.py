"""A word with the embedded server, over a connection for that word alone."""

import os
import re
import socket
import struct
import sys
from pathlib import Path

from redis_wanpool.errors import BackendUnavailable
from redis_wanpool.transport.embedded.place import ELSEWHERE

PING, SHUTDOWN = ("PING",), ("SHUTDOWN", "NOSAVE")


def say(path: Path, *words: str, timeout: float) -> str:
    """The server's reply to a command: a line that begins with its type, or a text after it; "" if it hangs up."""
    request = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word.encode()) for word in words)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(timeout)
        link.connect(str(path))
        _refuse_stranger(link, path)
        link.sendall(request)
        reply = b""
        while not _is_whole(reply) and (more := link.recv(65536)):
            reply += more
    return reply.decode(errors="replace").strip()


def _refuse_stranger(link: socket.socket, path: Path) -> None:
    """Raises BackendUnavailable if the socket or the process behind it is another user's."""
    owners = {path.lstat().st_uid}
    if sys.platform == "linux":
        owners.add(struct.unpack("iII", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1])
    for owner in owners - {os.geteuid()}:
        raise BackendUnavailable(f"the server at {path} is another user's (uid {owner}), and is not used. {ELSEWHERE}")


def _is_whole(reply: bytes) -> bool:
    line, end, rest = reply.partition(b"\r\n")
    return bool(end) and (not line.startswith(b"$") or len(rest) >= int(line[1:]) + 2)


def words_at(path: Path, timeout: float) -> str | None:
    """What ails the server that answers there, in its own words, "" if nothing; None if nobody answers.

    Raises:
        BackendUnavailable: it hangs; so that nobody starts a second one on its data.
    """
    try:
        reply = say(path, *PING, timeout=timeout)
    except TimeoutError:
        raise BackendUnavailable(
            f"the embedded server at {path} hangs: it takes connections, and does not answer within {timeout:g} s. "
            "End it by its process id if it stays so (wanpool server status): its next user starts another",
            answered=False,
            passing=True,
        ) from None
    except OSError:
        return None
    return reply[1:] if reply.startswith("-") else "" if reply else None


def facts_at(path: Path, section: str, timeout: float) -> dict[str, str]:
    """A section of INFO; empty if the server does not tell it now."""
    try:
        return dict(re.findall(r"^(\w+):(.*?)\r?$", say(path, "INFO", section, timeout=timeout), re.MULTILINE))
    except OSError:
        return {}
