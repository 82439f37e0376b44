"""Metrics and the page beside a program that runs on: on loopback, from one reading of Redis."""

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from redis_wanpool.cli.verb import operator_of
from redis_wanpool.errors import WanpoolError

LOOPBACK = "127.0.0.1"
_MISSING = {"aiohttp": "web", "prometheus_client": "metrics"}


def add_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("for people on call")
    group.add_argument("--metrics-port", metavar="N", type=int, help="answer Prometheus here, as wanpool metrics does")
    group.add_argument("--web-port", metavar="N", type=int, help="serve the page here, as wanpool web does")


@asynccontextmanager
async def beside(options: argparse.Namespace) -> AsyncIterator[dict[str, str]]:
    """Serves what the options ask for while the block lasts; yields where each is."""
    urls: dict[str, str] = {}
    if options.metrics_port is None and options.web_port is None:
        yield urls
        return
    from redis_wanpool.watch.reading import Watch

    async with AsyncExitStack() as stack:
        watch = Watch(stack.enter_context(operator_of(options)))
        try:
            if options.metrics_port is not None:
                from redis_wanpool.watch import metrics

                server, port = metrics.serve(metrics.PoolCollector(watch), LOOPBACK, options.metrics_port)
                stack.callback(server.server_close)
                stack.push_async_callback(asyncio.to_thread, server.shutdown)
                urls["metrics"] = f"http://{LOOPBACK}:{port}/metrics"
            if options.web_port is not None:
                from redis_wanpool.watch import web

                port = await stack.enter_async_context(web.serve(watch, bind=LOOPBACK, port=options.web_port))
                urls["web"] = f"http://{LOOPBACK}:{port}/"
        except ModuleNotFoundError as error:
            if error.name not in _MISSING:
                raise
            extra = _MISSING[error.name]
            raise WanpoolError(f'--{extra}-port needs {error.name}: pip install "redis-wanpool[{extra}]"') from None
        yield urls
