"""Leads what is written once for both kinds of clients: a generator that yields what a method of theirs returned.

With blocking clients that is a value already, with those of asyncio it is awaited; the generator is sent the value.
"""

from collections.abc import Generator
from inspect import GEN_CLOSED, getgeneratorstate
from typing import Any, TypeVar

T = TypeVar("T")
Steps = Generator[Any, Any, T]


def blocking(steps: Steps[T]) -> T:
    """The result, with blocking clients."""
    go, value = steps.send, None
    while True:
        try:
            value, go = go(value), steps.send
        except StopIteration as end:
            result: T = end.value
            return result
        except BaseException as error:
            if getgeneratorstate(steps) == GEN_CLOSED:  # it comes from there
                raise
            go, value = steps.throw, error  # an interrupt: it has to clean up


async def awaited(steps: Steps[T]) -> T:
    """The result, with clients of asyncio."""
    go, value = steps.send, None
    while True:
        try:
            value, go = await go(value), steps.send
        except StopIteration as end:
            result: T = end.value
            return result
        except BaseException as error:
            if getgeneratorstate(steps) == GEN_CLOSED:
                raise
            go, value = steps.throw, error
