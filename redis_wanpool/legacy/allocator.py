"""The interface of the package that this one replaces: bare port numbers, and one pool object for each process.

Ports taken here are leases like any others: kept by the heartbeat, given back at the end of the process. Nothing is
made, read or connected to before the first call.
"""

import logging
from typing import Any, cast

from redis_wanpool.errors import InGrace, PoolExhausted
from redis_wanpool.sync.pool import WanPortPool

__all__ = ["WanPortPool", "port_allocator", "wan_port_pool"]

logger = logging.getLogger("redis_wanpool")


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
        """Leases a port of the WAN until `release_port`; None if it has none left, which is logged.

        Raises:
            WanpoolError: anything else is wrong.
        """
        try:
            return WanPortPool.get_instance().allocate_port(wan_idx)
        except (PoolExhausted, InGrace) as error:
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
