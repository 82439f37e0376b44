"""A primary, two replicas and three Sentinels, of plain server binaries on loopback."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import servers
from conftest import wait_for

SERVICE = "wanpool"
DETECTION = 2.0
"""seconds after which a Sentinel takes a server for dead"""


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses just now."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


class Node:
    """One server, or one Sentinel."""

    def __init__(self, name: str, folder: Path, port: int, *options: str, password: str = "") -> None:
        self.port = port
        self.folder = folder
        folder.mkdir()
        self._command = [str(servers.binary(name)), *options]
        self.admin = redis.Redis(
            port=port, password=password or None, decode_responses=True, socket_timeout=2, socket_connect_timeout=2
        )
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self, *options: str) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([*self._command, *options], stdout=log, stderr=log)
        wait_for(self._answers)

    def _answers(self) -> bool:
        with contextlib.suppress(redis.ConnectionError, redis.TimeoutError):
            return bool(self.admin.ping())
        assert self.process is not None and self.process.poll() is None, (self.folder / "log").read_text()
        return False

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def close(self) -> None:
        self.kill()
        self.admin.close()


class Watch:
    """The whole of it; after a failover it is whole again when `revive` was called."""

    def __init__(self, name: str, folder: Path, *, password: str = "", sentinel_password: str = "") -> None:
        *ports, self.first, self.second, self.third = free_ports(6)
        self.sentinel_ports = (self.first, self.second, self.third)
        secret = ("--requirepass", password, "--masterauth", password) if password else ()
        self.nodes: dict[int, Node] = {}
        self.sentinels: list[Node] = []
        try:
            for port in ports:
                follows = ("--replicaof", "127.0.0.1", str(ports[0])) if port != ports[0] else ()
                where = folder / str(port)
                self.nodes[port] = Node(
                    name,
                    where,
                    port,
                    *("--port", str(port), "--bind", "127.0.0.1", "--dir", str(where), "--save", ""),
                    *("--appendonly", "yes", "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"),
                    *("--min-replicas-to-write", "1", "--min-replicas-max-lag", "2", *secret, *follows),
                    password=password,
                )
            self._in_sync(ports[0], 2)
            for port in self.sentinel_ports:
                where = folder / str(port)
                where.mkdir()
                lines = [
                    *(f"port {port}", "bind 127.0.0.1", f"dir {where}"),
                    *([f"requirepass {sentinel_password}"] if sentinel_password else []),
                    f"sentinel monitor {SERVICE} 127.0.0.1 {ports[0]} 2",
                    *([f"sentinel auth-pass {SERVICE} {password}"] if password else []),
                    f"sentinel down-after-milliseconds {SERVICE} {round(1000 * DETECTION)}",
                    f"sentinel failover-timeout {SERVICE} 3000",
                ]
                (where / "s.conf").write_text("\n".join(lines) + "\n")
                where.joinpath("s.conf").chmod(0o600)
                self.sentinels.append(
                    Node(
                        name,
                        folder / f"{port}-log",
                        port,
                        *(str(where / "s.conf"), "--sentinel"),
                        password=sentinel_password,
                    )
                )
            self.is_whole()
        except BaseException:
            self.close()
            raise

    @property
    def hosts(self) -> str:
        return ",".join(f"127.0.0.1:{port}" for port in self.sentinel_ports)

    @property
    def url(self) -> str:
        return f"redis+sentinel://{self.hosts}/{SERVICE}"

    def primary(self) -> Node:
        """Who is it, as the first Sentinel that answers says."""
        _, port = self.sentinels[0].admin.sentinel_get_master_addr_by_name(SERVICE)
        return self.nodes[int(port)]

    def is_whole(self) -> None:
        """Waits until all Sentinels know each other, and two replicas follow in step."""

        def knows_all(sentinel: Node) -> bool:
            seen = sentinel.admin.sentinel_master(SERVICE)
            return seen["num-other-sentinels"] == 2 and seen["num-slaves"] >= 2 and "down" not in seen["flags"]

        wait_for(lambda: all(knows_all(sentinel) for sentinel in self.sentinels), within=60)
        self._in_sync(self.primary().port, 2)

    def _in_sync(self, port: int, replicas: int) -> None:
        def is_so() -> bool:
            with contextlib.suppress(redis.RedisError):
                return self.nodes[port].admin.info("replication").get("min_slaves_good_slaves") == replicas
            return False

        wait_for(is_so, within=60)

    def kill_primary(self) -> Node:
        """Kills it, and waits until another one took its place."""
        dead = self.primary()
        dead.kill()
        self.wait_for_another(dead)
        return dead

    def wait_for_another(self, than: Node) -> None:
        wait_for(lambda: self.primary() is not than and self.primary().admin.role()[0] == "master", within=60)

    def revive(self, dead: Node) -> None:
        """Starts it again, as a replica of the new primary."""
        dead.start("--replicaof", "127.0.0.1", str(self.primary().port))
        self.is_whole()

    def close(self) -> None:
        for node in [*self.sentinels, *self.nodes.values()]:
            node.close()


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    from conftest import SERVERS

    watch = Watch(SERVERS[0], tmp_path)
    yield watch
    watch.close()
