"""The interface of the package that this one replaces."""

from redis_wanpool.legacy.allocator import WanPortPool, port_allocator, wan_port_pool

__all__ = ["WanPortPool", "port_allocator", "wan_port_pool"]
