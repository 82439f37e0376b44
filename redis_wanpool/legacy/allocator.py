"""The interface of the package that this one replaces: bare port numbers, and one pool object for each process.

Ports taken here are leases like any others: kept by the heartbeat, given back at the end of the process. Nothing is
made, read or connected to before the first call. Old programs take a port or None for an answer, and end at anything
else; so `allocate_port` waits while Redis restarts, fails over or is in grace.
"""

from __future__ import annotations

import logging
from typing import Any, cast

from redis_wanpool.errors import PoolExhausted
from redis_wanpool.model.checks import checked_wan
from redis_wanpool.model.request import Request
from redis_wanpool.sync import pool

__all__ = ["WanPortPool", "port_allocator", "wan_port_pool"]

logger = logging.getLogger("redis_wanpool")


class WanPortPool(pool.WanPortPool):
    """The pool object, whose `allocate_port` waits trouble out that passes."""

    @classmethod
    def get_instance(cls) -> WanPortPool:
        """The pool object of this process: the one of `redis_wanpool.WanPortPool.get_instance()`, which waits now."""
        found = pool.WanPortPool.get_instance()
        found.__class__ = WanPortPool  # one object for both faces: what one takes the other releases
        return cast(WanPortPool, found)

    def allocate_port(self, wan_idx: int) -> int:
        """Leases a port of the WAN until `release_port`; waits while Redis is away or in grace, 90 s at most.

        Raises:
            PoolExhausted: the WAN has none left; this is not waited for.
            InGrace, BackendUnavailable: it took longer than `legacy_wait` seconds.
            WanpoolError: anything else is wrong.
        """
        return self._lease(Request.of(checked_wan(wan_idx)), legacy=True)[0].port


class PoolOfThisProcess:
    """`WanPortPool.get_instance()`, whichever process asks."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # inspection tools ask for these, and are no callers
            raise AttributeError(name)
        return getattr(WanPortPool.get_instance(), name)

    def __repr__(self) -> str:
        return "<the pool object of this process, WanPortPool.get_instance()>"


class PortAllocator:
    """The oldest interface, in which no port is an answer and no error."""

    def allocate_port(self, wan_idx: int) -> int | None:
        """As `WanPortPool.allocate_port`; None if the WAN has no port left, which is logged, and only then."""
        try:
            return WanPortPool.get_instance().allocate_port(wan_idx)
        except PoolExhausted as error:
            logger.warning("allocate_port answers None: %s", error)
            return None

    def release_port(self, wan_idx: int, port: int | None) -> bool:
        """As `WanPortPool.release_port`; None, from an `allocate_port` that had none, is no port, and False."""
        return port is not None and WanPortPool.get_instance().release_port(wan_idx, port)

    def get_port_usage_info(self) -> dict[str, Any]:
        """As `WanPortPool.get_port_usage_info`."""
        return WanPortPool.get_instance().get_port_usage_info()


wan_port_pool = cast(WanPortPool, PoolOfThisProcess())
port_allocator = PortAllocator()
