"""`wanpool web`: the page for people on call."""

import argparse
import asyncio
import os
import signal
import sys
from contextlib import suppress

from redis_wanpool import Operator
from redis_wanpool.cli.verb import DONE, Verbs, answer, operator_of
from redis_wanpool.errors import WanpoolError
from redis_wanpool.terminal.language import said

PORT = 7081


def add_to(verbs: Verbs) -> None:
    parser = verbs.add(web, "", "--port 8081", "--bind 10.0.0.5 --beyond-loopback --host wanpool.example.com")
    parser.add_argument("--bind", metavar="ADDRESS", default="127.0.0.1", help="where to listen (default: 127.0.0.1)")
    parser.add_argument("--port", metavar="N", type=int, default=PORT, help=f"(default: {PORT}; 0: any)")
    parser.add_argument(
        "--beyond-loopback", action="store_true", help="let other machines look; they need no password for it"
    )
    parser.add_argument(
        "--host", metavar="NAME", action="append", default=[], help="a name under which browsers ask; repeat it"
    )


def web(options: argparse.Namespace) -> int:
    """Shows the namespace in a browser, live, until it is ended: its WANs, a map of their ports, who holds what, what
    happened in the last 24 hours. It changes nothing, and the rights of a viewer will do (wanpool acl viewer).
    """
    try:
        import redis_wanpool.watch.web  # noqa: F401 - to say what is missing before anything begins
    except ModuleNotFoundError as error:
        if error.name != "aiohttp":
            raise
        raise WanpoolError('the page needs aiohttp: pip install "redis-wanpool[web]"') from None
    with operator_of(options) as operator:
        asyncio.run(_serve(operator, options))
    return DONE


async def _serve(operator: Operator, options: argparse.Namespace) -> None:
    from redis_wanpool.watch.reading import Watch
    from redis_wanpool.watch.web import serve

    end = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # Windows: KeyboardInterrupt does it
            asyncio.get_running_loop().add_signal_handler(number, end.set)
    rules = {"beyond_loopback": options.beyond_loopback, "hosts": options.host}
    async with serve(Watch(operator), bind=options.bind, port=options.port, **rules) as port:
        host = f"[{options.bind}]" if ":" in options.bind else options.bind
        url = f"http://{host}:{port}/"
        facts = {"namespace": operator.namespace, "bind": options.bind, "port": port, "pid": os.getpid()}
        answer(options, [said("open {url} in a browser", url=url)], **facts, url=url)
        sys.stdout.flush()
        await end.wait()
