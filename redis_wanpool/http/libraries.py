"""Sends what libraries open themselves by the WAN of `over_wan`.

The functions through which libraries connect are replaced, and those that choose a connection which was kept alive: one
of another WAN, or of none, is not used.
"""

import functools
import http.client
import importlib
import operator
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import urlsplit

from redis_wanpool.errors import InvalidValue, WanpoolError
from redis_wanpool.http.client import is_idle
from redis_wanpool.http.line import Line, chosen_wan, seconds_of
from redis_wanpool.http.opened import Opened
from redis_wanpool.model.checks import LONGEST_TTL
from redis_wanpool.model.lease import OfThisProcess
from redis_wanpool.model.request import WanChoice
from redis_wanpool.sync.pool import WanPortPool

_lock = threading.Lock()
_installed: "Installation | None" = None
_opened: Opened | None = None


def install(pool: WanPortPool, default: WanChoice | None = None, *, wait: float | None = 0.0) -> "Installation":
    """Sends the connections that libraries open inside `over_wan` by its WAN, until `uninstall` or the end of a block.

    It is for the whole process, and reaches what connects by `socket.create_connection`: http.client, urllib.request,
    ftplib, smtplib and others, and besides these urllib3, requests, and httpx without asyncio.

    Args:
        default: a WAN, several, or ANY, for connections outside `over_wan`; None: they are left as they are.
        wait: seconds to wait for a port; None: without limit.

    Raises:
        WanpoolError: it is in effect already, or the version of a library is not known.
    """
    global _installed, _opened
    if not isinstance(pool, WanPortPool):
        raise InvalidValue(f"pool {type(pool).__name__}: install needs a WanPortPool, and does not reach asyncio")
    opened = Opened(pool, default, wait)
    with _lock:
        if _installed is not None:
            raise WanpoolError("install is in effect already, for the whole process; call uninstall first")
        _installed, _opened = Installation(opened), opened
    return _installed


def uninstall() -> None:
    """Undoes `install`: all functions are again what they were, and the connections that it made are closed.

    Raises:
        WanpoolError: it is not in effect.
    """
    global _installed, _opened
    with _lock:
        if _installed is None:
            raise WanpoolError("install is not in effect, so there is nothing to uninstall")
        ending, _installed, _opened = _installed, None, None
        ending.undo()


class Installation(OfThisProcess):
    """What `install` has done; as a context manager it is undone at the end of the block."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._replaced = [found for place in REPLACED if (found := _Replaced.of(*place))]
        opened.plain = self._replaced[0].original
        for one in self._replaced:
            setattr(one.owner, one.name, one.ours)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if _installed is self:
            uninstall()

    def undo(self) -> None:
        """Puts the functions back, and ends the connections."""
        for one in self._replaced:
            if vars(one.owner)[one.name] is one.ours:  # else somebody replaced it, and keeps it: it does nothing now
                setattr(one.owner, one.name, one.original)
        self._opened.end()


@dataclass(frozen=True, slots=True)
class _Replaced:
    owner: Any
    name: str
    original: Any
    ours: Any

    @classmethod
    def of(cls, module: str, path: str, make: Callable[[Any], Any]) -> Self | None:
        """None if nobody here can import the library."""
        kind, _, name = path.rpartition(".")
        try:
            owner: Any = importlib.import_module(module)
            owner = getattr(owner, kind) if kind else owner
            original = vars(owner)[name]
        except ImportError:
            return None
        except (AttributeError, KeyError):
            raise WanpoolError(f"install does not know this version of {module}: it has no {path}; update it") from None
        return cls(owner, name, original, functools.wraps(original)(make(original)))


def _create_connection(original: Any) -> Any:
    """That of socket, and of urllib3."""

    def create_connection(address: Any, *args: Any, **others: Any) -> socket.socket:
        opened = _opened
        if opened is None:
            made: socket.socket = original(address, *args, **others)
            return made
        line = opened.line()
        if line is None:
            return opened.forget(original(address, *args, **others))
        others.update(zip(("timeout", "source_address", "socket_options"), args, strict=False))
        return _leased(opened, line, functools.partial(original, **others), *address, **others)

    return create_connection


def _leased(
    opened: Opened,
    line: Line[WanPortPool],
    plainly: Callable[..., socket.socket],
    host: Any,
    port: Any,
    *,
    timeout: Any = ...,
    source_address: Any = None,
    socket_options: Any = None,
    all_errors: bool = False,
) -> socket.socket:
    """A connection with its own lease, or what `plainly` makes where a WAN's ports are of no use."""
    host = "localhost" if host is None else (host if isinstance(host, str) else str(host, "ascii")).strip("[]")
    if not _is_name(host):
        return plainly((host, port))  # it says in its own way that this is none
    if ":" in host:
        return opened.pass_by(plainly((host, port)))
    source, number = source_address or ("", 0)
    if number:
        if chosen_wan() is None:
            return opened.pass_by(plainly((host, port)))
        raise InvalidValue(
            f"source_address {source_address!r} inside over_wan: the port is to be the lease's; give port 0, or make "
            "the call outside over_wan"
        )
    seconds = seconds_of(timeout)
    try:
        sock = opened.connect(
            replace(line, source_address=source or None),
            (host, port if isinstance(port, str) else operator.index(port)),  # type: ignore[arg-type]  # a named port
            None if seconds is None or seconds > LONGEST_TTL else seconds,
        )
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise
        return _by_ipv6(opened, plainly, (host, port), error)
    except OSError as error:
        if all_errors:
            raise ExceptionGroup("create_connection failed", [error]) from None
        raise
    try:
        sock.settimeout(seconds)
        for option in socket_options or ():
            sock.setsockopt(*option)
    except BaseException:
        sock.close()
        raise
    return sock


def _is_name(host: str) -> bool:
    try:
        return bool(host.encode("idna"))
    except UnicodeError:
        return False


def _by_ipv6(opened: Opened, plainly: Any, address: tuple[str, int], failure: OSError) -> socket.socket:
    """As it would be without us, for a name that has no IPv4 address."""
    with suppress(socket.gaierror):
        for entry in socket.getaddrinfo(*address, socket.AF_INET6, socket.SOCK_STREAM):
            try:
                return opened.pass_by(plainly(entry[4][:2]))
            except OSError as error:
                failure = error
    raise failure


def _putrequest(original: Any) -> Any:
    """That of http.client, with which each request of it and of urllib3 begins."""

    def putrequest(self: Any, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        if _opened is not None and not hasattr(self, "_line"):  # our own clients have one
            _prepare(_opened, self, url)
        original(self, method, url, *args, **kwargs)

    return putrequest


def _prepare(opened: Opened, connection: http.client.HTTPConnection, url: str) -> None:
    """Has it connected by the line of its request."""
    line = opened.line()
    if line is not None and (getattr(connection, "_tunnel_host", None) or _is_for_another(connection, url)):
        raise _refused(connection.host, connection.port)
    opened.keep(connection)
    if is_idle(connection) and not opened.is_right(connection.sock, line):
        http.client.HTTPConnection.close(connection)  # that of urllib3 would forget what it was asked for
    if line is None or not connection.auto_open:
        return
    if connection.sock is None:
        if getattr(connection, "_create_connection", None) is opened.plain:
            vars(connection)["_create_connection"] = socket.create_connection
        connection.connect()
    if is_idle(connection) and not opened.is_right(connection.sock, line):
        connection.close()
        raise InvalidValue(
            f"{type(connection).__module__}.{type(connection).__name__} connects to {connection.host}:"
            f"{connection.port} in another way than install knows, and would not leave by the WAN; run this program by "
            "a proxy (wanpool run --proxy), or make the call outside over_wan"
        )


def _is_for_another(connection: http.client.HTTPConnection, url: str) -> bool:
    """Whether a request names another server than it goes to, as those to a proxy do."""
    if not url.lower().startswith(("http:", "https:", "ftp:")):
        return False
    target = urlsplit(url)
    port = target.port or {"http": 80, "https": 443}.get(target.scheme)
    return (target.hostname, port) != (connection.host.strip("[]").lower(), connection.port)


def _refused(host: object, port: object) -> InvalidValue:
    return InvalidValue(
        f"a proxy, {host}:{port}, would take this connection elsewhere: the environment names it (http_proxy, "
        "HTTPS_PROXY, ALL_PROXY), or the system's settings, or an argument. The leased port would lead to the proxy "
        "only. Name the target in NO_PROXY, or use no proxies (requests: session.trust_env = False; httpx: "
        "trust_env=False; urllib: ProxyHandler({})), or make the call outside over_wan, with no default"
    )


def _connection_from_pool_key(original: Any) -> Any:
    """That of urllib3's PoolManager, which keeps connections: apart for each choice of WANs."""

    def connection_from_pool_key(self: Any, pool_key: Any, request_context: Any = None) -> Any:
        line = None if _opened is None or hasattr(self, "_line") else _opened.line()
        if line is None:
            return original(self, pool_key, request_context)
        socks = (request_context or {}).get("_socks_options")
        if self.proxy is not None:
            raise _refused(self.proxy.host, self.proxy.port)
        if socks:
            raise _refused(socks.get("proxy_host"), socks.get("proxy_port"))
        return original(self, (pool_key, "over_wan", line.wans), request_context)

    return connection_from_pool_key


def _handle_request(original: Any) -> Any:
    """That of httpcore's ConnectionPool, which keeps connections by their origin: apart for each choice of WANs."""

    def handle_request(self: Any, request: Any) -> Any:
        line = None if _opened is None else _opened.line()
        if line is None:
            return original(self, request)
        proxy = getattr(self, "_proxy_url", None) or getattr(getattr(self, "_proxy", None), "url", None)
        if proxy is not None:
            raise _refused(proxy.host.decode(), proxy.port)
        request = copy(request)
        request.url = _OnLine(request.url, line.wans)
        return original(self, request)

    return handle_request


class _OnLine:
    """A URL of httpcore, or its origin, which equals only that of the same line."""

    def __init__(self, thing: Any, wans: object) -> None:
        self._thing = thing
        self._wans = wans

    def __getattr__(self, name: str) -> Any:
        return getattr(self._thing, name)

    @property
    def origin(self) -> "_OnLine":
        return _OnLine(self._thing.origin, self._wans)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _OnLine) and (self._thing, self._wans) == (other._thing, other._wans)

    __hash__ = None  # type: ignore[assignment]  # as an origin of httpcore

    def __str__(self) -> str:
        return str(self._thing)


REPLACED = (
    ("socket", "create_connection", _create_connection),
    ("http.client", "HTTPConnection.putrequest", _putrequest),
    ("urllib3.util.connection", "create_connection", _create_connection),
    ("urllib3.poolmanager", "PoolManager.connection_from_pool_key", _connection_from_pool_key),
    ("httpcore", "ConnectionPool.handle_request", _handle_request),
)
"""what is replaced, and by what"""
