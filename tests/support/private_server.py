"""Redis servers that belong to the tests, and the in-process stand-in for one."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import fakeredis
import redis
import servers
from waiting import wait_for

from redis_wanpool.transport import backend

SERVERS = os.environ.get("WANPOOL_TEST_SERVERS", "valkey-9.1").split(",")


class Server:
    """A private server on a unix socket."""

    outlives_limits = False
    """whether it gets an error, and not a signal, for a file that is too large (as Python itself does)"""

    def __init__(self, name: str, folder: Path, *options: str) -> None:
        self.name = name
        self.folder = folder
        self.socket = folder / "s"
        self.url = f"unix://{self.socket}"
        self.command = [str(servers.binary(name)), "--port", "0", "--unixsocket", str(self.socket), "--save", ""]
        self.command += ["--dir", str(folder), "--maxclients", "1000"]
        self.admin = redis.Redis(unix_socket_path=str(self.socket), decode_responses=True)
        self.start(*options)

    def start(self, *options: str) -> None:
        """Starts it; again while a connection of a test beside this one has its port for a moment."""
        self.socket.unlink(missing_ok=True)
        self._launch(options)

        def answers() -> bool:
            with suppress(redis.ConnectionError, redis.TimeoutError):
                return bool(self.admin.ping())
            if self.process.poll() is not None:
                told = (self.folder / "log").read_text()
                assert "Address already in use" in " ".join(told.splitlines()[-3:]), told
                self._launch(options)
            return False

        wait_for(answers)

    def _launch(self, options: tuple[str, ...]) -> None:
        with (self.folder / "log").open("ab") as log:
            how: Any = dict(stdout=log, stderr=log, restore_signals=not self.outlives_limits)
            self.process: Any = subprocess.Popen([*self.command, *options], **how)

    def cut(self) -> None:
        """Ends the connections of all clients."""
        self.admin.execute_command("CLIENT", "KILL", "TYPE", "normal")

    def restart(self, *options: str) -> None:
        self.stop()
        self.start(*options)

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        self.process.send_signal(how)
        self.process.wait()

    def close(self) -> None:
        self.admin.close()
        if self.process is not None and self.process.poll() is None:
            self.stop()


def keep_busy(server: Server) -> None:
    """Has the server run a script that does not end, and answer BUSY."""
    server.admin.config_set("lua-time-limit", 1)

    def run() -> None:
        with suppress(Exception):  # the test may end it meanwhile
            server.admin.eval("while true do end", 0)

    threading.Thread(target=run).start()
    with suppress(redis.ResponseError):
        wait_for(lambda: not server.admin.ping())


class Fake:
    """The in-process stand-in, with the same handles as a server."""

    name = "fake"

    def __init__(self) -> None:
        self.url = f"fake://{uuid.uuid4().hex}"
        self.admin = fakeredis.FakeRedis(server=backend._fake_server(self.url), decode_responses=True)

    def close(self) -> None:
        self.admin.close()
        backend._fakes.pop(self.url, None)


def start_server(name: str, folder: Path, *options: str) -> Any:
    """A server, or a cluster if its name begins so."""
    if not name.startswith("cluster-"):
        return Server(name, folder, *options)
    from clusters import Shards

    return Shards(name.removeprefix("cluster-"), folder, replicas=1, options=options)
