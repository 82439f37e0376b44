"""A TCP proxy that can swallow what passes: the connections stay open, and nothing arrives until it lets go."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress
from pathlib import Path


class BlackHole:
    """Forwards loopback TCP to a server's unix socket, except while it is shut; what came meanwhile arrives late."""

    LOOK = 0.05

    def __init__(self, target: Path) -> None:
        self._target = str(target)
        self._flowing = threading.Event()
        self._flowing.set()
        self._closed = threading.Event()
        self._sockets: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listening.getsockname()[1]}/0"
        threading.Thread(target=self._accept, daemon=True).start()

    def shut(self) -> None:
        """From now on nothing gets through."""
        self._flowing.clear()

    def open(self) -> None:
        """Lets everything through again, first what was held up."""
        self._flowing.set()

    def close(self) -> None:
        self._closed.set()
        self._flowing.set()
        for sock in [self._listening, *self._sockets]:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                outside, _ = self._listening.accept()
            except OSError:
                return
            inside = socket.socket(socket.AF_UNIX)
            inside.connect(self._target)
            self._sockets += (outside, inside)
            for source, sink in ((outside, inside), (inside, outside)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError, ValueError):  # a socket that the other direction or close() ended
            while not self._closed.is_set():
                if not select.select([source], [], [], self.LOOK)[0]:
                    continue
                data = source.recv(65536)
                self._flowing.wait()
                if not data:
                    break
                sink.sendall(data)
        for sock in (source, sink):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
