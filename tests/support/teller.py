"""A Sentinel, or a node of a cluster, that names a primary: the right one, a replica, or one that is nowhere."""

from __future__ import annotations

import socketserver
import threading
from contextlib import suppress
from typing import Any

from proxy import read_value


class _Handler(socketserver.StreamRequestHandler):
    server: Teller

    def handle(self) -> None:
        with suppress(OSError, ConnectionError):
            while True:
                words = read_value(self.rfile).upper().split(b"\r\n")[2::2]
                self.wfile.write(self.server.reply(words))


class Teller(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True

    def __init__(self, host: str, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.names = host, port
        self.asked = 0
        self.at = "{}:{}".format(*self.server_address[:2])
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def reply(self, words: list[bytes]) -> bytes:
        """To SENTINEL MASTERS, CLUSTER SLOTS, or what a client says at its beginning."""
        host, port = self.names
        if words[:2] == [b"SENTINEL", b"MASTERS"]:
            self.asked += 1
            state = {"name": "prod", "ip": host, "port": port, "flags": "master", "num-other-sentinels": 1}
            return b"*1\r\n" + _packed([item for pair in state.items() for item in pair])
        if words[:2] == [b"CLUSTER", b"SLOTS"]:
            self.asked += 1
            return b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n" + _packed([host])[4:] + b":%d\r\n" % port
        return b"+OK\r\n"

    def close(self) -> None:
        self.shutdown()
        self.server_close()


def _packed(words: list[Any]) -> bytes:
    texts = [str(word).encode() for word in words]
    return b"*%d\r\n" % len(texts) + b"".join(b"$%d\r\n%b\r\n" % (len(text), text) for text in texts)
