"""A web server that tells where each request seems to come from, and prints it with its path; run as a program.

With a folder it also serves that, as for `git clone`.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        address, port = self.client_address
        os.write(1, (json.dumps([address, port, self.path]) + "\n").encode())
        if ".git" in self.path:
            super().do_GET()
            return
        body = json.dumps({"address": address, "port": port}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


with Server(("0.0.0.0", 80), partial(Handler, directory=str(Path(sys.argv[1])))) as server:
    print("ready", flush=True)
    server.serve_forever()
