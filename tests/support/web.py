"""A web server of the tests: it says which source port it sees, and misbehaves when asked to."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Web

    def setup(self) -> None:
        super().setup()
        with self.server.changed:
            self.server.connections += 1
            self.number = self.server.connections

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/flaky" and self.server.to_fail > 0:
            self.server.to_fail -= 1
            self.close_connection = True
            return
        if url.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", parse_qs(url.query)["to"][0])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = json.dumps(
            {"address": self.client_address[0], "port": self.client_address[1], "connection": self.number}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if url.path == "/bye":
            self.send_header("Connection", "close")
        self.end_headers()
        if url.path == "/slow":
            self.wfile.write(body[:1])
            self.wfile.flush()
            self.server.go_on.wait(30)
            body = body[1:]
        self.wfile.write(body)
        self.close_connection = url.path in ("/bye", "/slam")  # the latter says nothing of it

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *args: Any) -> None:
        pass


class Web(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.changed = threading.Lock()
        self.connections = 0
        self.to_fail = 0
        self.go_on = threading.Event()
        self._open: list[socket.socket] = []
        super().__init__((address, 0), Handler)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        scheme, host = ("http", address) if tls is None else ("https", "localhost")
        self.url = f"{scheme}://{host}:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.append(request)
        super().process_request(request, client_address)

    def handle_error(self, *args: Any) -> None:
        pass

    def close(self) -> None:
        self.go_on.set()
        self.shutdown()
        self.server_close()
        for visitor in self._open:
            with suppress(OSError):
                visitor.shutdown(socket.SHUT_RDWR)
