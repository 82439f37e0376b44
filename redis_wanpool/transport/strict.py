"""Connections of redis-py that say no more than they need, and reconnect where an interrupt left something unfinished.

redis-py puts a connection back into its pool when an interrupt or a cancellation ends its handshake, or comes between a
request and its reply: what arrives then would be taken for the answer to the next request.
"""

import asyncio
import math
import os
import select
from collections.abc import Callable
from contextvars import ContextVar
from functools import lru_cache, partial
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from redis_wanpool.system.clock import boottime
from redis_wanpool.transport import idle
from redis_wanpool.transport.both import Steps
from redis_wanpool.transport.replies import Refused, Unfinished, reply_of

_until: ContextVar[float] = ContextVar("until", default=math.inf)
"""the local time at which what goes on here is to end, however the bytes of its replies drip in"""


_at: ContextVar[list[Any]] = ContextVar("at", default=["", 0.0])  # noqa: B039 - for what is no step
"""the server that was asked last in the step that is performed here, and the local time at which that began"""


class within:  # noqa: N801 - a context manager; as a generator it would take 1 us more
    """Ends what goes on here after these seconds; what goes on around it may end it earlier.

    With `outermost` nothing goes on around it: an interrupt may have left a limit behind that nobody took away.
    """

    def __init__(self, seconds: float | None, now: float, *, outermost: bool = False) -> None:
        self._at = math.inf if seconds is None else now + seconds
        self._before = math.inf if outermost else _until.get()

    def __enter__(self) -> None:
        _until.set(min(self._before, self._at))

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


def forget(now: float) -> None:
    """Begins a step at this local time, in which no server was asked yet."""
    _at.set(["", now])


def place() -> tuple[str, float]:
    """The server that was asked last in this step, or "", and the seconds that it has taken."""
    where, began = _at.get()
    return where, boottime() - began


def limited(request: Callable[[], Any], seconds: float | None, *, blocking: bool) -> Any:
    """What a request to a client comes to, or for asyncio an awaitable of it, which ends after these seconds."""
    if not blocking:
        return _awaited(request, seconds)
    with within(seconds, boottime()):
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
    yield from idle.close(pool)


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


def _readable(sock: Any) -> Callable[[], Any]:
    """A function that tells whether a read of the socket would find anything, in 0.7 us."""
    if not hasattr(select, "poll"):  # Windows
        return lambda: select.select([sock], [], [], 0)[0]
    poll = select.poll()
    poll.register(sock, select.POLLIN | select.POLLHUP | select.POLLERR)
    return partial(poll.poll, 0)


READ = 65_536  #: bytes that are read at once


class _Quiet:
    """Does not tell the name of its library: Redis 7.0 has no way to permit that alone, and logs each refusal."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lib_name = self.lib_version = self.driver_info = None  # the latter in redis-py 8
        self._place = ""
        self._owed = 0  #: how many replies it is owed
        self.is_quick = kwargs.get("protocol") in (2, "2") and kwargs.get("decode_responses") is True
        """whether `swap` is of use: its replies are those of RESP 2, as text"""

    def _begins(self) -> None:
        """Notes where the connection goes to, which Sentinels may have told."""
        self._place = getattr(self, "path", "") or f"{getattr(self, 'host', '')}:{getattr(self, 'port', '')}"
        self._asks()

    def _asks(self) -> None:
        _at.get()[0] = self._place

    def _read(self, data: bytes) -> Any:
        """The reply in these bytes, or Unfinished; raises what redis-py does."""
        if not data:
            raise redis.ConnectionError("Connection closed by server.")
        try:
            reply = reply_of(data)
        except Unfinished:
            return Unfinished
        except UnicodeDecodeError:
            raise
        except ValueError as error:
            raise redis.exceptions.InvalidResponse(f"Protocol Error: {error}") from None
        self._owed -= 1
        if type(reply) is Refused:
            raise _judged(self._parser.parse_error(str(reply)))  # type: ignore[attr-defined]
        return reply


class _Strict(_Quiet):
    """Counts the replies that it is owed; `_whole` is the stream whose handshake is complete."""

    socket_connect_timeout: float | None
    _whole: Any = None
    _readable: Callable[[], Any] | None = None  #: looks whether anything comes from the server

    def connect(self) -> None:
        if self._owed or self._whole is not self._sock:  # type: ignore[attr-defined]
            self.disconnect()  # type: ignore[attr-defined]
        super().connect()  # type: ignore[misc]
        self._whole, self._owed = self._sock, 0  # type: ignore[attr-defined]
        self._readable = None

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

    def is_ready(self) -> bool:
        """Whether it is connected, in this process, and all replies have come."""
        sock = self._sock  # type: ignore[attr-defined]
        return not self._owed and sock is not None and self._whole is sock and self.pid == os.getpid()  # type: ignore[attr-defined]

    def is_quiet(self) -> bool:
        """Whether nothing comes from the server, not even the end of the connection."""
        if self._readable is None:
            self._readable = _readable(self._sock)  # type: ignore[attr-defined]
        return not self._readable()

    def swap(self, request: bytes) -> Any:
        """The reply to a packed request, on a connection that is ready; a fourth of what redis-py takes for it."""
        self._owed += 1
        self._asks()
        sock = self._sock  # type: ignore[attr-defined]
        try:
            sock.sendall(request)
            data = sock.recv(READ)
            while (reply := self._read(data)) is Unfinished:
                more = sock.recv(READ)
                data = more and data + more
        except TimeoutError:
            raise redis.TimeoutError(f"Timeout reading from {self._place}") from None
        except OSError as error:
            raise redis.ConnectionError(f"Error while reading from {self._place}: {error}") from error
        return reply

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

    async def connect(self) -> None:
        if self._owed or self._whole is not self._writer:  # type: ignore[attr-defined]
            await self.disconnect(nowait=True)  # type: ignore[attr-defined]
        await super().connect()  # type: ignore[misc]
        self._whole, self._owed = self._writer, 0  # type: ignore[attr-defined]

    async def _connect(self) -> None:
        self._begins()
        await super()._connect()  # type: ignore[misc]

    def is_ready(self) -> bool:
        """The same for asyncio; a process that was forked has another loop, and other connections."""
        stream, writer = self._reader, self._writer  # type: ignore[attr-defined]
        return not self._owed and writer is not None and self._whole is writer and not stream.at_eof()

    def is_quiet(self) -> bool:
        """The same for asyncio, where the loop reads what comes: `is_ready` has seen the end."""
        return True

    async def swap(self, request: bytes) -> Any:
        """The same for asyncio."""
        self._owed += 1
        self._asks()
        stream, writer = self._reader, self._writer  # type: ignore[attr-defined]
        try:
            writer.write(request)
            if len(request) > READ:
                await writer.drain()
            data = await stream.read(READ)
            while (reply := self._read(data)) is Unfinished:
                more = await stream.read(READ)
                data = more and data + more
        except TimeoutError:
            raise
        except OSError as error:
            raise redis.ConnectionError(f"Error while reading from {self._place}: {error}") from error
        return reply

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
    idle.keep_idle(pool)
    return redis.Redis(connection_pool=pool) if blocking else redis.asyncio.Redis.from_pool(pool)
