"""Connects from a leased port to the address of a host that answers first.

The next address is tried, too, when one has not answered for a moment (https://www.rfc-editor.org/rfc/rfc8305#section-5):
one that never answers would else use up the whole time. All leave from the one port: both ends tell connections apart.
"""

import asyncio
import errno
import math
import os
import selectors
import socket
import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import cast

from redis_wanpool.model.address import Address, Failure
from redis_wanpool.sockets import dial
from redis_wanpool.sockets.leased import LeasedSocket
from redis_wanpool.system.clock import boottime

PENDING = (0, errno.EINPROGRESS, errno.EWOULDBLOCK, 10_035)  #: connect_ex goes on; the last is for Windows
STAGGER = 0.25  #: seconds after which the next address is tried
ONE_BY_ONE = sys.platform == "win32"
"""whether a port can be bound only once at a time, so that the attempts divide the time"""


def connect(port: int, targets: Sequence[Address], timeout: float | None, source: str = "") -> LeasedSocket | Failure:
    """Connects from the port, within `timeout` seconds, to the first of the targets that answers."""
    failure, left, trying = Failure(OSError("no address")), list(targets), list[LeasedSocket]()
    until = math.inf if timeout is None else boottime() + timeout
    pause = _pause(len(targets), timeout)
    try:
        while left or trying:
            number = 0
            if left:
                sock = _bound(port, source)
                if isinstance(sock, Failure):
                    return _after(failure, sock, trying)
                trying.append(sock)
                sock.is_one_of_several = len(targets) > 1
                sock.setblocking(False)
                number = sock.connect_ex(left.pop(0))
            if number in PENDING:
                wait = min(until - boottime(), pause if left else math.inf)
                ended = [(sock, sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)) for sock in _ended(trying, wait)]
            else:
                ended = [(trying[-1], number)]
            for sock, error in ended:
                trying.remove(sock)
                if not error:
                    sock.settimeout(timeout)
                    return sock
                sock.close()
                failure = _after(failure, dial.connect_failure(OSError(error, os.strerror(error))))
                if failure.port_at_fault:
                    return _after(failure, failure, trying)
            if boottime() >= until:
                return _after(failure, dial.connect_failure(TimeoutError("timed out")))
            if left and ONE_BY_ONE:
                failure = _after(failure, failure, trying)
                _close(trying)
        return failure
    finally:
        _close(trying)


def _ended(trying: list[LeasedSocket], seconds: float) -> list[LeasedSocket]:
    """Those whose attempt has come to its end, when the first has or the seconds have passed."""
    with selectors.DefaultSelector() as waiting:
        for sock in trying:
            waiting.register(sock, selectors.EVENT_WRITE)
        return [
            cast("LeasedSocket", key.fileobj) for key, _ in waiting.select(None if seconds == math.inf else seconds)
        ]


def _close(trying: list[LeasedSocket]) -> None:
    while trying:
        trying.pop().close()


async def connect_async(
    port: int, targets: Sequence[Address], timeout: float | None, source: str = ""
) -> LeasedSocket | Failure:
    """As `connect`, without blocking the loop."""
    failure, left, trying = Failure(OSError("no address")), list(targets), set[asyncio.Task[LeasedSocket | Failure]]()
    pause = _pause(len(targets), timeout)
    try:
        async with asyncio.timeout(timeout):  # wait_for of Python 3.11 swallows a cancellation that comes late
            if len(targets) == 1:
                return await _attempt(port, targets[0], source, False)
            while left or trying:
                if left:
                    trying.add(asyncio.create_task(_attempt(port, left.pop(0), source, True)))
                wait = pause if left else None
                for task in (await asyncio.wait(trying, timeout=wait, return_when=asyncio.FIRST_COMPLETED))[0]:
                    trying.remove(task)
                    result = task.result()
                    if isinstance(result, LeasedSocket):
                        return result
                    failure = _after(failure, result)
                    if failure.port_at_fault:
                        return _after(failure, failure, trying)
                if left and ONE_BY_ONE:
                    failure = _after(failure, failure, trying)
                    _give_up(trying)
        return failure
    except TimeoutError as error:
        return _after(failure, dial.connect_failure(error))
    finally:
        _give_up(trying)


async def _attempt(port: int, target: Address, source: str, is_one_of_several: bool) -> LeasedSocket | Failure:
    sock = _bound(port, source)
    if isinstance(sock, Failure):
        return sock
    try:
        sock.is_one_of_several = is_one_of_several
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, target)
    except OSError as error:
        sock.close()
        return dial.connect_failure(error)
    except BaseException:
        sock.close()
        raise
    return sock


def _give_up(trying: set[asyncio.Task[LeasedSocket | Failure]]) -> None:
    while trying:
        task = trying.pop()
        if not task.cancel() and not task.cancelled() and isinstance(result := task.result(), LeasedSocket):
            result.close()


def _pause(targets: int, timeout: float | None) -> float:
    return STAGGER if not ONE_BY_ONE else (timeout or 20.0) / targets


def _bound(port: int, source: str) -> LeasedSocket | Failure:
    try:
        return dial.new_socket(port, source)
    except OSError as error:
        return dial.bind_failure(error, source)


def _after(earlier: Failure, failure: Failure, pending: Collection[object] = ()) -> Failure:
    """A failure, when the router may remember what was tried before it, and attempts that are still pending."""
    return replace(failure, used=earlier.used or failure.used or bool(pending))
