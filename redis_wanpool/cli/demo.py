"""`wanpool demo`: real processes lease ports, connect with them, crash, and never share one."""

import argparse
from pathlib import Path

from redis_wanpool.cli.verb import Verbs
from redis_wanpool.demo.judge import read_log, verdict
from redis_wanpool.demo.show import judged, show


def add_to(verbs: Verbs) -> None:
    parser = verbs.add(demo, "", "--seconds 5 --log run.jsonl", "--judge run.jsonl")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to run (default: 10)")
    parser.add_argument("--log", type=Path, metavar="FILE", help="write down every connection")
    parser.add_argument("--judge", type=Path, metavar="FILE", help="run nothing; judge such a log")


def demo(options: argparse.Namespace) -> int:
    """Shows many processes that take source ports, connect with them, crash, and never share one."""
    if options.judge is not None:
        visits = read_log(options.judge)
        return judged(verdict(visits), len(visits))
    return show(options.url, options.seconds, options.log)
