"""What happens to the pool objects of a process when it forks, ends, or gets SIGTERM."""

import atexit
import logging
import os
import signal
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing import util
from types import FrameType
from typing import TYPE_CHECKING, Any

from redis_wanpool.errors import InvalidValue
from redis_wanpool.system.clock import boottime
from redis_wanpool.system.greenlets import greenlets

if TYPE_CHECKING:
    from redis_wanpool.engine.engine import Engine

logger = logging.getLogger("redis_wanpool")

EXIT_WITHIN = 2.0  #: the most seconds that a process takes at its end to give back its leases; the rest expire


_pools: weakref.WeakSet["Engine"] = weakref.WeakSet()
_told_by_sigterm: weakref.WeakSet["Engine"] = weakref.WeakSet()
_handler: Any = None  #: our handler of SIGTERM, the last that was set
of_the_parent: list[object] = []
"""What a forked child never frees: closing a transport of asyncio's would end the parent's, whose epoll it shares."""
_singletons: dict[bool, threading.Lock] = {}


def singleton() -> threading.Lock:
    """The lock to hold while the one pool object of this process is made; greenlets have a separate one."""
    return _singletons.setdefault(greenlets(), threading.Lock())


def watch_over(pool: "Engine", *, sigterm: bool) -> None:
    """Closes a pool object when the process ends."""
    if sigterm:
        _hear_sigterm()
        _told_by_sigterm.add(pool)
    _pools.add(pool)


def close_all(pools: weakref.WeakSet["Engine"] = _pools) -> None:
    """Makes all of them give everything back, side by side."""
    ending = list(pools)
    until = boottime() + EXIT_WITHIN
    for pool in ending:
        with _logged(pool):
            pool.begin_to_close()
    for pool in ending:
        with _logged(pool):
            pool.wait_closed(until - boottime())
        _pools.discard(pool)  # the next caller need not wait again
        _told_by_sigterm.discard(pool)


@contextmanager
def _logged(pool: "Engine") -> Iterator[None]:
    try:
        yield
    except Exception:
        logger.exception("%r: its ports come back by their ttl", pool)


def _hear_sigterm() -> None:
    global _handler
    if threading.current_thread() is not threading.main_thread():
        raise InvalidValue("release_on_sigterm: only the main thread may set signal handlers; make the pool there")
    if greenlets():
        raise InvalidValue("release_on_sigterm: gevent waits in no signal handler; use gevent.signal_handler")
    before = signal.getsignal(signal.SIGTERM)
    if before is None:
        raise InvalidValue("release_on_sigterm: there is a handler of SIGTERM that Python did not set, and cannot call")
    if before not in (_handler, signal.SIG_IGN):  # a process that ignores the signal lives on, with its ports
        _handler = partial(_on_sigterm, before)
        signal.signal(signal.SIGTERM, _handler)


def _on_sigterm(before: Any, number: int, frame: FrameType | None) -> None:
    close_all(_told_by_sigterm)  # the pools' own threads do it: the one that was interrupted may hold any lock
    if callable(before):
        before(number, frame)
    else:
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
        os._exit(128 + number)  # the first process of a container, for which the kernel has no default


def _in_forked_child() -> None:
    _singletons.clear()  # a thread of the parent may have held it
    for pool in list(_pools):
        pool.begin_again()


def _close_at_end_of_child(*_: object) -> None:
    # A child of multiprocessing that was forked ends by os._exit: no atexit, but these
    util.Finalize(None, close_all, exitpriority=10)


atexit.register(close_all)
_close_at_end_of_child()
util.register_after_fork(_pools, _close_at_end_of_child)  # in a child, which has just emptied its list of them
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)
