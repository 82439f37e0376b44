"""Hands work to an event loop from another thread, and from a loop to another thread."""

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from redis_wanpool.errors import WanpoolError
from redis_wanpool.model.address import Address
from redis_wanpool.sockets import dial
from redis_wanpool.system.signals import DeafThread

T = TypeVar("T")


def running_loop() -> asyncio.AbstractEventLoop:
    """The loop that this code runs on.

    Raises:
        WanpoolError: there is none.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise WanpoolError(
            "no asyncio loop is running here, and an AsyncWanPortPool works only on one: asyncio's, uvloop's, that of "
            "anyio's asyncio backend or of Twisted's asyncioreactor. With trio or another reactor call a WanPortPool "
            "in threads (trio.to_thread.run_sync, twisted.internet.threads.deferToThread)"
        ) from None


async def in_thread(function: Callable[[], T]) -> T:
    """What a function that may block comes to. Where no thread is available, it blocks the loop.

    Not by the loop's executor: without threads that could not be shut down, and `asyncio.run` would fail at its end.
    """
    loop = running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            result = function()
        except BaseException as error:
            on_loop(loop, partial(settle, done, None, error))
        else:
            on_loop(loop, partial(settle, done, result))

    try:
        DeafThread(run).start()
    except RuntimeError:
        return function()
    return await done


async def resolve(address: Address) -> list[Address]:
    """As `dial.resolve`, without blocking the loop."""
    try:
        socket.inet_aton(address[0])
    except (OSError, ValueError):
        return await in_thread(partial(dial.resolve, address))
    return dial.resolve(address)


def settle(future: asyncio.Future[Any], value: Any, error: BaseException | None = None) -> None:
    """Gives a future its value, or its error, unless it has one or was cancelled."""
    if not future.done():
        future.set_result(value) if error is None else future.set_exception(error)


def on_loop(loop: asyncio.AbstractEventLoop, function: Callable[[], object]) -> bool:
    """Makes a loop call the function soon; False if the loop has closed."""
    try:
        loop.call_soon_threadsafe(function)
    except RuntimeError:
        return False
    return True
