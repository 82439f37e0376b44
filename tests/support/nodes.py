"""Servers of plain binaries that know each other, each in its own place."""

from __future__ import annotations

import contextlib
import random
import socket
from dataclasses import dataclass
from pathlib import Path

import redis
import servers
from private_server import Server


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses just now."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def free_pairs(count: int) -> list[int]:
    """Ports that nobody uses just now, nor those 10,000 above, where the nodes of a cluster meet."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(26_000, 29_900)
        with contextlib.suppress(OSError), socket.socket() as probe, socket.socket() as bus:
            probe.bind(("127.0.0.1", port))
            bus.bind(("127.0.0.1", port + 10_000))
            found += [port] if port not in found else []
    return found


@dataclass(frozen=True)
class Place:
    """Where a server and a Sentinel run."""

    host: str = "127.0.0.1"
    prefix: tuple[str, ...] = ()
    """the words before a command that is to run there"""


class Node(Server):
    """One server, or one Sentinel; asked by a unix socket, wherever it is."""

    def __init__(self, name: str, folder: Path, place: Place, port: int, *options: str, password: str = "") -> None:
        self.place, self.port, self.folder, self.socket = place, port, folder, folder / "s"
        folder.mkdir(exist_ok=True)
        self.command = [*place.prefix, str(servers.binary(name)), *options, "--unixsocket", str(self.socket)]
        self.admin = redis.Redis(
            unix_socket_path=str(self.socket), password=password or None, decode_responses=True, socket_timeout=2
        )
        self.start()

    def kill(self) -> None:
        if self.process is not None:
            self.stop()
            self.process = None
