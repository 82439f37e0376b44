"""Connections of redis-py that say no more than they need, and reconnect where an interrupt left something unfinished.

redis-py puts a connection back into its pool when an interrupt or a cancellation ends its handshake, or comes between a
request and its reply: what arrives then would be taken for the answer to the next request.
"""

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from redis_wanpool.system.clock import boottime
from redis_wanpool.transport.both import Steps

_until: ContextVar[float] = ContextVar("until", default=math.inf)
"""the local time at which what goes on here is to end, however the bytes of its replies drip in"""


_at: ContextVar[list[Any]] = ContextVar("at", default=["", 0.0])  # noqa: B039 - for what is no step
"""the server that was asked last in the step that is performed here, and the local time at which that began"""


class within:  # noqa: N801 - a context manager; as a generator it would take 1 us more
    """Ends what goes on here after these seconds; what goes on around it may end it earlier.

    With `outermost` nothing goes on around it: an interrupt may have left a limit behind that nobody took away.
    """

    def __init__(self, seconds: float | None, *, outermost: bool = False) -> None:
        self._seconds = math.inf if seconds is None else seconds
        self._before = math.inf if outermost else _until.get()

    def __enter__(self) -> None:
        _until.set(min(self._before, boottime() + self._seconds))

    def __exit__(self, *_: object) -> None:
        _until.set(self._before)


def left(usual: float | None = None, *, parts: int = 1) -> float | None:
    """The seconds until that time, or one of several equal parts of them; `usual` if that is less; None: no limit.

    Raises:
        TimeoutError: there are none left.
    """
    seconds = (_until.get() - boottime()) / parts
    if seconds <= 0:
        raise TimeoutError("timed out")
    return usual if seconds == math.inf else seconds if usual is None else min(usual, seconds)


def forget() -> None:
    """Begins a step, in which no server was asked yet."""
    _at.set(["", boottime()])


def place() -> tuple[str, float]:
    """The server that was asked last in this step, or "", and the seconds that it has taken."""
    where, began = _at.get()
    return where, boottime() - began


def limited(request: Callable[[], Any], seconds: float | None, *, blocking: bool) -> Any:
    """What a request to a client comes to, or for asyncio an awaitable of it, which ends after these seconds."""
    if not blocking:
        return _awaited(request, seconds)
    with within(seconds):
        return request()


async def _awaited(request: Callable[[], Any], seconds: float | None) -> Any:
    async with asyncio.timeout(seconds):
        return await request()


class NotPrimary(redis.ConnectionError):
    """The server takes no writes, or has lost its primary: a connection to it is of no use."""


def _judged(error: redis.RedisError) -> redis.RedisError:
    """The error, or NotPrimary if it says that (Redis 6.2 does so in the middle of an error)."""
    told = error.__context__ if isinstance(error, redis.ConnectionError) else error  # which redis-py makes of it
    known = isinstance(told, (redis.exceptions.ReadOnlyError, redis.exceptions.MasterDownError))
    return NotPrimary(str(told)) if known or "-READONLY" in str(told) else error


def leave(pool: Any) -> Steps[None]:
    """Gives up the idle connections to what is no primary; of several Sentinels, another one is asked next."""
    if manager := getattr(pool, "sentinel_manager", None):
        manager.sentinels.append(manager.sentinels.pop(0))
    with suppress(TypeError):  # some pools of redis-py that a user may give end all or none
        yield pool.disconnect(inuse_connections=False)


class _Timely:
    """A socket that waits for bytes no longer than is left."""

    __slots__ = ()

    def recv(self, *args: Any) -> Any:
        return self._in_time(super().recv, args)  # type: ignore[misc]

    def recv_into(self, *args: Any) -> Any:
        return self._in_time(super().recv_into, args)  # type: ignore[misc]

    def _in_time(self, receive: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        usual = self.gettimeout()  # type: ignore[attr-defined]
        if not usual or _until.get() - boottime() > 0.9 * usual:  # as nearly always: two system calls less
            return receive(*args)
        self.settimeout(left(usual))  # type: ignore[attr-defined]
        try:
            return receive(*args)
        finally:
            self.settimeout(usual)  # type: ignore[attr-defined]


@lru_cache
def _timely(kind: type) -> type:
    return type(kind.__name__, (_Timely, kind), {"__slots__": ()})


class _Quiet:
    """Does not tell the name of its library: Redis 7.0 has no way to permit that alone, and logs each refusal."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lib_name = self.lib_version = self.driver_info = None  # the latter in redis-py 8
        self._place = ""

    def _begins(self) -> None:
        """Notes where the connection goes to, which Sentinels may have told."""
        self._place = getattr(self, "path", "") or f"{getattr(self, 'host', '')}:{getattr(self, 'port', '')}"
        self._asks()

    def _asks(self) -> None:
        _at.get()[0] = self._place


class _Strict(_Quiet):
    """Counts the replies that it is owed; `_whole` is the stream whose handshake is complete."""

    socket_connect_timeout: float | None
    _whole: Any = None
    _owed = 0

    def connect(self) -> None:
        if self._owed or self._whole is not self._sock:  # type: ignore[attr-defined]
            self.disconnect()  # type: ignore[attr-defined]
        super().connect()  # type: ignore[misc]
        self._whole, self._owed = self._sock, 0  # type: ignore[attr-defined]

    def _connect(self) -> Any:
        self._begins()
        usual = self.socket_connect_timeout
        try:
            self.socket_connect_timeout = left(usual)
            sock = super()._connect()  # type: ignore[misc]
        except TimeoutError as error:  # of which redis-py 8 makes an AttributeError where the server is a socket's path
            raise redis.TimeoutError(f"Timeout connecting to server: {error}") from error
        finally:
            self.socket_connect_timeout = usual
        kind: Any = type(sock)
        sock.__class__ = _timely(kind)
        return sock

    def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        self._owed += 1
        self._asks()
        super().send_packed_command(*args, **kwargs)  # type: ignore[misc]

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        try:
            reply = super().read_response(*args, **kwargs)  # type: ignore[misc]
        except redis.RedisError as error:
            self._owed -= isinstance(error, redis.ResponseError)
            if (judged := _judged(error)) is error:
                raise
            raise judged from None
        self._owed -= 1
        return reply


class _AsyncStrict(_Quiet):
    """The same for asyncio."""

    _whole: Any = None
    _owed = 0

    async def connect(self) -> None:
        if self._owed or self._whole is not self._writer:  # type: ignore[attr-defined]
            await self.disconnect(nowait=True)  # type: ignore[attr-defined]
        await super().connect()  # type: ignore[misc]
        self._whole, self._owed = self._writer, 0  # type: ignore[attr-defined]

    async def _connect(self) -> None:
        self._begins()
        await super()._connect()  # type: ignore[misc]

    async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        self._owed += 1
        self._asks()
        await super().send_packed_command(*args, **kwargs)  # type: ignore[misc]

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        try:
            reply = await super().read_response(*args, **kwargs)  # type: ignore[misc]
        except redis.RedisError as error:
            self._owed -= isinstance(error, redis.ResponseError)
            if (judged := _judged(error)) is error:
                raise
            raise judged from None
        self._owed -= 1
        return reply


@lru_cache
def strict(kind: type, *, blocking: bool) -> type:
    """That class of connections, made strict."""
    return type(kind.__name__, (_Strict if blocking else _AsyncStrict, kind), {})


def no_retry(*, blocking: bool) -> Any:
    """For connections: the faces decide what is sent again."""
    return (Retry if blocking else AsyncRetry)(NoBackoff(), 0)


def client_of(pool: Any, *, blocking: bool) -> Any:
    """A client on a pool of connections."""
    return redis.Redis(connection_pool=pool) if blocking else redis.asyncio.Redis.from_pool(pool)
