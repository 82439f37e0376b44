"""One look at a line: does a target answer a connection that leaves by this WAN?"""

import asyncio
import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass

from redis_wanpool.aio.loops import resolve
from redis_wanpool.aio.pool import AsyncWanPortPool
from redis_wanpool.errors import InvalidValue, WanpoolError
from redis_wanpool.model.address import Address, checked_address
from redis_wanpool.model.checks import checked_port
from redis_wanpool.sockets.kernel import round_trip

LABEL = "health"
SILENCE = {errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN}
SILENCE |= {errno.ECONNRESET, errno.ECONNABORTED}
"""what a connection ends with that the line did not carry; of other errors this system is the cause"""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a round says of a line."""

    answered: bool | None  #: None: nothing, for no connection could be tried
    round_trip: float | None = None  #: seconds from SYN to SYN ACK, if that is known
    why: str = ""


def checked_target(text: str) -> Address:
    """A target, as HOST:PORT."""
    host, sign, port = text.rpartition(":")
    if not sign or not host or not port.isdecimal():
        raise InvalidValue(f"target {text!r}: write it like 1.1.1.1:443")
    return checked_address((host, checked_port(int(port))))


async def probe(pool: AsyncWanPortPool, wan_idx: int, targets: Sequence[Address], timeout: float) -> Probe:
    """Tries all targets at once, each from a port of the WAN; one that answers is enough."""
    attempts = {asyncio.ensure_future(_try(pool, wan_idx, target, timeout)) for target in targets}
    seen: list[Probe] = []
    try:
        for next_one in asyncio.as_completed(attempts):
            seen.append(await next_one)
            if seen[-1].answered:
                return seen[-1]
    finally:
        for attempt in attempts:
            attempt.cancel()
        await asyncio.gather(*attempts, return_exceptions=True)
    return next((one for one in seen if one.answered is False), seen[-1])


async def _try(pool: AsyncWanPortPool, wan_idx: int, target: Address, timeout: float) -> Probe:
    name = f"{target[0]}:{target[1]}"
    try:
        addresses = await resolve(target)
    except OSError as error:
        return Probe(None, why=f"{name}: {error.strerror or error}")
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        _, writer = await pool.connect(wan_idx, addresses[0], timeout=timeout, label=LABEL)
    except WanpoolError as error:  # no port, a drain, a grace, a Redis that is silent: that is not the line
        return Probe(None, why=f"{type(error).__name__}: {error}")
    except OSError as error:
        if error.errno == errno.ECONNREFUSED:
            return Probe(True, why=f"{name} refused the connection, so the line carries packets")
        if isinstance(error, TimeoutError) or error.errno in SILENCE:
            return Probe(False, why=f"{name}: {os.strerror(error.errno) if error.errno else 'no answer'}")
        return Probe(None, why=f"{name}: {error}")
    took = loop.time() - began
    seconds = round_trip(writer.get_extra_info("socket"))
    writer.close()
    return Probe(True, took if seconds is None else seconds)
