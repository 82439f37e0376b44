"""Hands something to an event loop from another thread."""

import asyncio
from collections.abc import Callable
from typing import Any


def settle(future: asyncio.Future[Any], value: Any) -> None:
    """Gives a future its value, unless it has one or was cancelled."""
    if not future.done():
        future.set_result(value)


def on_loop(loop: asyncio.AbstractEventLoop, function: Callable[[], object]) -> bool:
    """Makes a loop call the function soon; False if the loop has closed."""
    try:
        loop.call_soon_threadsafe(function)
    except RuntimeError:
        return False
    return True
