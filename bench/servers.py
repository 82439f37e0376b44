"""A private server, durable like the embedded one."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from redis_wanpool.protocol import scripts
from redis_wanpool.transport.embedded import find_binary

OPTIONS = ("--port", "0", "--save", "", "--appendonly", "yes", "--appendfsync", "everysec", "--maxclients", "500")
SCRIPT_STATISTICS = ("cmdstat_evalsha", "cmdstat_eval", "cmdstat_fcall")
STARTS_WITHIN = 20.0
SLOTS = 16384


@dataclass(frozen=True, slots=True)
class Server:
    """Where the server is, and a client of it that does nothing but send and receive."""

    url: str
    client: Any

    def load_scripts(self) -> None:
        for name in scripts.names():
            self.client.script_load(scripts.script(name).source)

    def script_us(self) -> int:
        """Microseconds that the server has spent in scripts since the statistics began."""
        return self._in_scripts("usec")

    def script_calls(self) -> int:
        return self._in_scripts("calls")

    def _in_scripts(self, what: str) -> int:
        seen = self.client.info("commandstats")
        return sum(int(seen[name][what]) for name in SCRIPT_STATISTICS if name in seen)

    def begin_statistics(self) -> None:
        self.client.config_resetstat()

    def version(self) -> str:
        seen = self.client.info("server")
        name = "Valkey" if "valkey_version" in seen else "Redis"
        return f"{name} {seen.get('valkey_version') or seen['redis_version']}"


@contextmanager
def private_server(*options: str) -> Iterator[Server]:
    """A server of our own on a unix socket, gone at the end."""
    binary, _ = find_binary()
    with tempfile.TemporaryDirectory(prefix="wanpool-bench-") as folder:
        path = Path(folder) / "s"
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(
                [binary, *OPTIONS, *options, "--unixsocket", str(path), "--dir", folder],
                stdout=log,
                stderr=log,
                cwd=folder,
            )
        client = redis.Redis(unix_socket_path=str(path), decode_responses=True)
        try:
            _wait_until_it_answers(client, process, Path(folder) / "log")
            server = Server(f"unix://{path}", client)
            server.load_scripts()
            yield server
        finally:
            client.close()
            process.terminate()
            process.wait()


@contextmanager
def private_cluster(shards: int) -> Iterator[str]:
    """The URL of a cluster of our own on loopback, of primaries only."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(2 * shards)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        ports = [probe.getsockname()[1] for probe in probes]
    with ExitStack() as stack:
        nodes = []
        for port, bus in zip(ports[:shards], ports[shards:], strict=True):
            options = ("--cluster-enabled", "yes", "--bind", "127.0.0.1", "--port", port, "--cluster-port", bus)
            nodes.append(stack.enter_context(private_server(*map(str, options))).client)
        share = -(-SLOTS // shards)
        for number, node in enumerate(nodes):
            first, last = number * share, min(SLOTS, (number + 1) * share) - 1
            node.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            nodes[0].execute_command("CLUSTER", "MEET", "127.0.0.1", ports[number], ports[shards + number])
        deadline = time.monotonic() + STARTS_WITHIN
        while any(node.execute_command("CLUSTER INFO")["cluster_state"] != "ok" for node in nodes):
            if time.monotonic() > deadline:
                raise RuntimeError("the cluster does not come together")
            time.sleep(0.05)
        yield "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in ports[:shards])


def _wait_until_it_answers(client: Any, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while True:
        try:
            client.ping()
            return
        except redis.ConnectionError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server does not start: {log.read_text(errors='replace')[-500:]}") from None
            time.sleep(0.005)
