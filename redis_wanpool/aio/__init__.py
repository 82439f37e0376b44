"""The asyncio face."""

from redis_wanpool.aio.pool import AsyncWanPortPool

__all__ = ["AsyncWanPortPool"]
