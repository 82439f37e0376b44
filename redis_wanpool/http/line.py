"""Which WANs a client gets its ports from, and how."""

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from redis_wanpool.aio.pool import AsyncWanPortPool, connected_socket
from redis_wanpool.aio.pool import wans_for as wans_for_async
from redis_wanpool.model.address import Address, checked_source
from redis_wanpool.model.lease import OfThisProcess
from redis_wanpool.model.request import ANY, WanChoice
from redis_wanpool.protocol import Dial, Request
from redis_wanpool.sockets.leased import LeasedSocket
from redis_wanpool.sync.pool import WanPortPool, wans_for

logger = logging.getLogger("redis_wanpool")

PoolT = TypeVar("PoolT", WanPortPool, AsyncWanPortPool)
Wans = tuple[int, ...] | None

_chosen: ContextVar[tuple[WanChoice, str | None] | None] = ContextVar("redis_wanpool_wan", default=None)
_inside: set[tuple[int, int]] = set()
"""(thread, id of its token) of each `over_wan` block that has not come to its end"""
_told = False
_UNCHOSEN = (
    "a request of thread %s leaves by its session's own WAN, or the default, while another thread is inside over_wan, "
    "which threads do not inherit; if it was to go by that WAN, run it with contextvars.copy_context().run. This is "
    "said once"
)


@contextmanager
def over_wan(wan: WanChoice, *, sticky: str | None = None) -> Iterator[None]:
    """Sends the requests of this thread or task by another WAN than their session's, while the block lasts.

    With `install`, also those of libraries that open connections themselves. Connections are kept alive separately for
    each choice of WANs. Tasks inherit the choice, threads do not: run what they do with
    `contextvars.copy_context().run`.

    Args:
        wan: a WAN, several, or ANY.
        sticky: a key, such as an account's name: the same key gets the same WAN while its line is up, on all machines.
            A connection that was kept alive on another WAN is not used.
    """
    Request.of(wan, sticky=sticky)
    token = _chosen.set((wan, sticky))
    block = threading.get_ident(), id(token)
    _inside.add(block)
    try:
        yield
    finally:
        _inside.discard(block)
        _chosen.reset(token)


def chosen_wan() -> tuple[WanChoice, str | None] | None:
    """The WANs and the key of the innermost `over_wan` block of this thread or task; None outside them."""
    global _told
    wan = _chosen.get()
    if wan is None and _inside and not _told and threading.get_ident() not in {thread for thread, _ in _inside.copy()}:
        _told = True
        logger.warning(_UNCHOSEN, threading.current_thread().name)
    return wan


def seconds_of(timeout: Any) -> float | None:
    """The seconds of a timeout as `socket.create_connection` takes it: what is no number means the default."""
    if timeout is None or isinstance(timeout, (int, float)):
        return timeout
    return socket.getdefaulttimeout()


@dataclass(frozen=True, slots=True)
class Line(Generic[PoolT]):
    """A pool, the WANs to use or the key whose WAN it is to be, and how long to wait for a port."""

    pool: PoolT
    wan: WanChoice
    wait: float | None
    source_address: str | None
    sticky: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        _ = self.request
        checked_source(self.source_address)

    @property
    def request(self) -> Request:
        """What it asks for."""
        return Request.of(self.wan, wait=self.wait, sticky=self.sticky)

    @property
    def wans(self) -> Wans:
        """What connections are kept apart by, once a key's WAN is chosen."""
        wans = self.request.wans
        return None if wans is None else tuple(sorted(wans))

    def arguments(self) -> dict[str, Any]:
        """The arguments of another client on the same line."""
        return {name: getattr(self, name) for name in self.__slots__}

    def over(self, wans: Wans) -> "Line[PoolT]":
        """The same by these WANs, whatever the key."""
        return replace(self, wan=ANY if wans is None else wans, sticky=None)

    def wanted(self) -> "Line[PoolT]":
        """The line that the request wants that is being made now."""
        instead = chosen_wan()
        return self if instead is None else replace(self, wan=instead[0], sticky=instead[1])


class OnLine(OfThisProcess, Generic[PoolT]):
    """A part of a client that has a line; what else its arguments say is for the client's own class."""

    def __init__(
        self,
        pool: PoolT,
        wan: WanChoice = ANY,
        *,
        wait: float | None = 0.0,
        source_address: str | None = None,
        sticky: str | None = None,
        **others: Any,
    ) -> None:
        self._line: Line[PoolT] = Line(pool, wan, wait, source_address, sticky)
        super().__init__(**others)


def chosen(line: Line[WanPortPool]) -> Line[WanPortPool]:
    """The line of the request that is being made now: of a key, its WAN."""
    line = line.wanted()
    return line if line.sticky is None else line.over(wans_for(line.pool, line.request))


async def chosen_async(line: Line[AsyncWanPortPool]) -> Line[AsyncWanPortPool]:
    """As `chosen`."""
    line = line.wanted()
    return line if line.sticky is None else line.over(await wans_for_async(line.pool, line.request))


def connect(line: Line[WanPortPool], address: Address, timeout: float | None) -> LeasedSocket:
    """A connection with its own lease, which it does not outlive; closing it waits for nothing."""
    sock = line.pool.connect(
        line.wan,
        address,
        wait=line.wait,
        timeout=timeout,
        source_address=line.source_address,
        close_on_loss=True,
        sticky=line.sticky,
    )
    sock.at_once = False
    return sock


async def connect_async(line: Line[AsyncWanPortPool], address: Address, *others: Address) -> LeasedSocket:
    """As `connect`, to the one of the addresses that answers first; the socket is non-blocking."""
    return await connected_socket(line.pool, line.request, Dial.of(address, None, 3, line.source_address, True, others))
