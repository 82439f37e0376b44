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
    told = [f"stopped; its data stays in {seen.folder}" if ran else f"not running; its data is in {seen.folder}"]
    if seen.running:
        version = f", version {seen.version}" if seen.version else ""
        told = [f"running{version}, process {seen.pid}, at {seen.url}", f"data in {seen.folder}"]
        if seen.trouble:
            told.append(f"in trouble: {seen.trouble}")
    told += [f"kept of a damaged log, which was mended: {copy}" for copy in seen.copies]
    facts = {"running": seen.running, "url": seen.url, "folder": str(seen.folder), "version": seen.version}
    facts |= {"pid": seen.pid, "trouble": seen.trouble, "damaged": [str(copy) for copy in seen.copies]}
    answer(options, told, **facts)
    return DONE if seen.running or options.what == "stop" else NO
