"""Both faces behind one blocking interface, so that a test is written once and runs twice."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from redis_wanpool import AsyncWanPortPool, WanPortPool
from redis_wanpool.aio.lease import Leasing


class Loop:
    """An event loop that runs in a thread of its own."""

    def __init__(self, new: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop) -> None:
        self.loop = new()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, awaitable: Any) -> Any:
        async def finish() -> Any:
            return await awaitable

        return asyncio.run_coroutine_threadsafe(finish(), self.loop).result(60)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class Blocking:
    """An object of the asyncio face, whose coroutines are run to their end."""

    def __init__(self, thing: Any, loop: Loop) -> None:
        self.__dict__.update(_thing=thing, _loop=loop)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._thing, name)
        if not callable(value):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            async def there() -> Any:
                result = value(*args, **kwargs)
                return await result if inspect.isawaitable(result) or isinstance(result, Leasing) else result

            return self._wrapped(self._loop.run(there()))

        return call

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._thing, name, value)

    def _wrapped(self, result: Any) -> Any:
        from redis_wanpool import AsyncLease

        if isinstance(result, AsyncLease):
            return Blocking(result, self._loop)
        if isinstance(result, list):
            return [self._wrapped(item) for item in result]
        return result

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *raised: object) -> None:
        self._loop.run(self._thing.__aexit__(*raised))

    def __repr__(self) -> str:
        return repr(self._thing)


def make(face: str, loop: Loop, *args: Any, **kwargs: Any) -> Any:
    """A pool of that face."""
    if face == "sync":
        return WanPortPool(*args, **kwargs)
    return Blocking(AsyncWanPortPool(*args, **kwargs), loop)


@contextmanager
def maker(face: str, loop: Loop, url: str | None, **defaults: Any) -> Iterator[Callable[..., Any]]:
    """Makes pool objects of a face, in namespace "test" and without rest unless told otherwise; closes them all."""
    made: list[Any] = []

    def new(url: str | None = url, **kwargs: Any) -> Any:
        made.append(make(face, loop, url, **{"namespace": "test", "rest": 0.0, **defaults, **kwargs}))
        return made[-1]

    yield new
    for pool in made:
        pool.close()
