"""A proxy between clients and a server that loses, delays, doubles and cuts: the network at its worst."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from redis_wanpool.protocol.scripts import names, script

KINDS = ("swallow", "unsent", "partial", "duplicate", "late", "silent")
"""What may happen to a request: its reply is lost; it is; half its reply is; it arrives twice; it arrives after newer
ones, when its sender has given up; it gets no answer, and the connection stays."""
_NAMES = {script(name).sha.encode(): name for name in names()}
_COMMANDS = {b"WAIT": "WAIT", b"WAITAOF": "WAITAOF"}


def read_value(stream: BinaryIO) -> bytes:
    """One whole RESP value, as it came."""
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        raise ConnectionError("cut")
    kind, rest = line[:1], line[1:-2]
    if kind in b"$=!" and int(rest) >= 0:
        return line + stream.read(int(rest) + 2)
    if kind in b"*~>%" and int(rest) > 0:
        return line + b"".join(read_value(stream) for _ in range(int(rest) * (2 if kind == b"%" else 1)))
    return line


class Proxy:
    """Listens on a unix socket; `plan` says for each script that runs, and each WAIT, what happens to it, or "pass"."""

    DRIP = 0.02
    """seconds between two pieces"""

    def __init__(self, path: Path, server: Path, plan: Callable[[str], str] = lambda name: "pass") -> None:
        self.url = f"unix://{path}"
        self.plan = plan
        self.happened: Counter[str] = Counter()
        self.came_late: list[bytes] = []
        """the requests that were delivered late, or twice"""
        self.swallowed: Callable[[], object] = lambda: None
        """called when a reply was lost, before its client may know"""
        self.answer: Callable[[bytes], Iterable[bytes] | None] = lambda request: None
        """what the client gets in place of the server's answer to a request, piece by piece; None: the server's"""
        self._server = str(server)
        self._later: list[list[Any]] = []
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(100)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Ends everything, without a word to anybody."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for sock in list(self._open):
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def flush(self) -> None:
        """Delivers what is late or doubled now."""
        with self._lock:
            due, self._later = self._later, []
        for _, request in due:
            self._deliver(request)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _upstream(self) -> socket.socket:
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(self._server)
        except OSError:
            server.close()
            raise
        return server

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError, ConnectionError, ValueError), client, self._upstream() as server:
            with self._lock:
                self._open |= {client, server}
            requests, replies = client.makefile("rb"), server.makefile("rb")
            while True:
                request = read_value(requests)
                if (pieces := self.answer(request)) is not None:
                    for piece in pieces:
                        client.sendall(piece)
                        time.sleep(self.DRIP)
                    continue
                words = request.split(b"\r\n", 5)
                verb = words[2].upper()
                name = _NAMES.get(words[4], "") if verb == b"EVALSHA" else _COMMANDS.get(verb, "")
                kind = self.plan(name) if name else "pass"
                self.happened[kind] += kind != "pass"
                if kind in ("late", "duplicate"):
                    with self._lock:
                        self._later.append([3, request])
                if kind in ("unsent", "late"):
                    break
                server.sendall(request)
                reply = read_value(replies)
                if kind == "swallow":
                    self.swallowed()
                    break
                if kind == "partial":
                    client.sendall(reply[: len(reply) // 2])
                    break
                if kind != "silent":
                    client.sendall(reply)
                    self._count_down()
        with self._lock:
            self._open.discard(client)

    def _count_down(self) -> None:
        with self._lock:
            for entry in self._later:
                entry[0] -= 1
            due = [request for left, request in self._later if left <= 0]
            self._later = [entry for entry in self._later if entry[0] > 0]
        for request in due:
            self._deliver(request)

    def _deliver(self, request: bytes) -> None:
        self.came_late.append(request)
        with suppress(OSError, ConnectionError), self._upstream() as server:
            server.sendall(request)
            read_value(server.makefile("rb"))
