"""Connections between two uses, in our own hands: to give one back to redis-py's pool and get it again takes 14 us.

For the pool they are in use. One that the server has closed, or that has said something, goes back to the pool, which
connects it again.
"""

from collections import deque
from contextlib import suppress
from typing import Any

from redis_wanpool.transport.both import Steps

SHARED_BELOW = 1_000
"""how many connections a pool has at least whose connections may be kept; fewer are somebody's wish, and are shared"""


def keep_idle(pool: Any) -> Any:
    """Makes a pool's connections stay in our hands; returns the pool."""
    if pool.max_connections >= SHARED_BELOW:
        pool.kept_idle = deque()
        pool.is_told = hasattr(pool, "master_address")
    return pool


def taken(pool: Any) -> Any:
    """A connection that is ready for a request; None: there is none at hand."""
    idle: deque[Any] | None = getattr(pool, "kept_idle", None)
    if idle:
        with suppress(IndexError):  # another thread was quicker
            connection = idle.pop()
            if connection.is_ready() and connection.is_quiet() and (not pool.is_told or _fits(pool, connection)):
                return connection
            idle.append(connection)  # the pool is to look at it
    return None


def got(pool: Any) -> Steps[Any]:
    """A connection from the pool, which looks at all that were kept."""
    yield from hand_back(pool)
    return (yield pool.get_connection())


def kept(pool: Any, connection: Any) -> bool:
    """Keeps a connection whose replies have come; False if the pool is to have it."""
    idle: deque[Any] | None = getattr(pool, "kept_idle", None)
    if idle is None or not connection.is_ready():
        return False
    idle.append(connection)
    return True


def hand_back(pool: Any) -> Steps[None]:
    """Gives all idle connections to their pool, which looks at each before its next use."""
    idle: deque[Any] = getattr(pool, "kept_idle", None) or deque()
    while idle:
        try:
            connection = idle.pop()
        except IndexError:
            return
        yield pool.release(connection)


def close(pool: Any) -> Steps[None]:
    """Closes all idle connections."""
    yield from hand_back(pool)
    with suppress(TypeError):  # some pools of redis-py that a user may give end all or none
        yield pool.disconnect(inuse_connections=False)


def _fits(pool: Any, connection: Any) -> bool:
    """Whether it goes to the primary that Sentinels named last."""
    return bool(pool.master_address == (connection.host, connection.port))
