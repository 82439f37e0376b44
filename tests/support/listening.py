"""Servers of TCP connections that a test makes up."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress


@contextmanager
def listening(talk: Callable[[socket.socket], object]) -> Iterator[tuple[str, int]]:
    """Talks to each visitor in a thread of its own; its address."""

    def serve(visitor: socket.socket) -> None:
        with suppress(OSError), visitor:
            talk(visitor)

    def listen() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        threading.Thread(target=listen, daemon=True).start()
        yield listener.getsockname()
        listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def squatting(*ports: int) -> Iterator[None]:
    """Somebody else listens on these ports."""
    with ExitStack() as stack:
        for port in ports:
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # an earlier test's TIME_WAIT is no matter
            sock.bind(("", port))
            sock.listen()
        yield


@contextmanager
def unanswered() -> Iterator[tuple[str, int]]:
    """An address that answers no attempt to connect: its queue is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(2):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()
