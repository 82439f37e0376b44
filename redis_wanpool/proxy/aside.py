"""A proxy in its own thread, for a program that waits for something else."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from redis_wanpool.aio.pool import AsyncWanPortPool
from redis_wanpool.model.request import WanChoice
from redis_wanpool.proxy.server import Proxy, serve
from redis_wanpool.system.signals import DeafThread

_DRAIN = 0.5  #: seconds: the programs that used it have ended


@contextmanager
def beside(url: str | None, namespace: str | None, wan: WanChoice, wait: float, label: str) -> Iterator[Proxy]:
    """Runs a proxy for these WANs, at a port of loopback that the system chooses, while the block lasts.

    Raises:
        WanpoolError: it cannot.
    """
    began: Future[tuple[Proxy, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def run() -> None:
        async with (
            AsyncWanPortPool(url, namespace=namespace, reap=False) as pool,
            serve(pool, port=0, wan=wan, wait=wait, label=label, drain=_DRAIN) as proxy,
        ):
            end = asyncio.Event()
            began.set_result((proxy, asyncio.get_running_loop(), end))
            await end.wait()

    def thread() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            if began.done():
                raise
            began.set_exception(error)
        finally:
            ended.set()

    ended = threading.Event()
    DeafThread(thread, name="wanpool-proxy").start()
    proxy, loop, end = began.result()
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(end.set)
        ended.wait()
