"""`wanpool server`: the private server of this user on this machine."""

import argparse

from redis_wanpool.cli.verb import DONE, NO, Verbs, answer
from redis_wanpool.transport import embedded


def add_to(verbs: Verbs) -> None:
    parser = verbs.add(server, "status", "stop")
    parser.add_argument("what", choices=("start", "stop", "status"))


def server(options: argparse.Namespace) -> int:
    """Starts, stops or shows the embedded server, which all processes of this user on this machine share."""
    ran = None
    if options.what == "start":
        embedded.ensure()
    elif options.what == "stop":
        ran = embedded.stop()
    seen = embedded.status()
    told = f"stopped; its data stays in {seen.folder}" if ran else f"not running; its data is in {seen.folder}"
    if seen.running:
        told = f"running, version {seen.version}, at {seen.url}\ndata in {seen.folder}"
    answer(options, [told], running=seen.running, url=seen.url, folder=str(seen.folder), version=seen.version)
    return DONE if seen.running or options.what == "stop" else NO
