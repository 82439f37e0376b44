"""The interface of the package that this one replaces."""

from redis_wanpool.legacy.allocator import port_allocator, wan_port_pool
from redis_wanpool.sync.pool import WanPortPool

__all__ = ["WanPortPool", "port_allocator", "wan_port_pool"]
