"""`wanpool server`: the private server of this user on this machine."""

from __future__ import annotations

import argparse

from redis_wanpool.cli.verb import Verbs, print_json
from redis_wanpool.transport import embedded


def add_to(verbs: Verbs) -> None:
    parser = verbs.add(
        server,
        "Starts, stops or shows the embedded server, which all processes of this user on this machine share.",
        "  wanpool server status\n  wanpool server stop",
    )
    parser.add_argument("what", choices=("start", "stop", "status"))


def server(options: argparse.Namespace) -> int:
    ran = None
    if options.what == "start":
        embedded.ensure()
    elif options.what == "stop":
        ran = embedded.stop()
    seen = embedded.status()
    if options.json:
        print_json(running=seen.running, url=seen.url, folder=str(seen.folder), version=seen.version)
    elif seen.running:
        print(f"running, version {seen.version}, at {seen.url}\ndata in {seen.folder}")
    elif ran:
        print(f"stopped; its data stays in {seen.folder}")
    else:
        print(f"not running; its data is in {seen.folder}")
    return 0 if seen.running or options.what == "stop" else 1
