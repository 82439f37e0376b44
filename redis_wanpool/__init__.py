"""Source ports of WAN lines, leased through Redis: one holder per port across all machines."""

from redis_wanpool.aio.lease import AsyncLease
from redis_wanpool.aio.pool import AsyncWanPortPool
from redis_wanpool.engine.reaper import HolderSeen
from redis_wanpool.errors import (
    BackendUnavailable,
    InGrace,
    InvalidValue,
    LeaseLost,
    PoolClosed,
    PoolExhausted,
    PortNotInRange,
    PortRejected,
    PortUnavailable,
    UnsafeRedis,
    WanDraining,
    WanInUse,
    WanMismatch,
    WanNotDefined,
    WanpoolError,
)
from redis_wanpool.protocol import ANY
from redis_wanpool.sync.lease import Lease
from redis_wanpool.sync.operator import Operator
from redis_wanpool.sync.pool import WanPortPool
from redis_wanpool.system.logs import keep_plain

keep_plain()

__version__ = "0.9.0"

__all__ = [
    "ANY",
    "AsyncLease",
    "AsyncWanPortPool",
    "BackendUnavailable",
    "HolderSeen",
    "InGrace",
    "InvalidValue",
    "Lease",
    "LeaseLost",
    "Operator",
    "PoolClosed",
    "PoolExhausted",
    "PortNotInRange",
    "PortRejected",
    "PortUnavailable",
    "UnsafeRedis",
    "WanDraining",
    "WanInUse",
    "WanMismatch",
    "WanNotDefined",
    "WanPortPool",
    "WanpoolError",
]
