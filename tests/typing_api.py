"""Every public name, used as a caller would; checked by mypy --strict, never run."""

from __future__ import annotations

import http.client
import socket

import aiohttp
import httpx
import requests
import urllib3

from redis_wanpool import (
    ANY,
    AsyncLease,
    AsyncWanPortPool,
    BackendUnavailable,
    HolderSeen,
    InGrace,
    InvalidValue,
    Lease,
    LeaseLost,
    Operator,
    PoolClosed,
    PoolExhausted,
    PortNotInRange,
    PortRejected,
    PortUnavailable,
    UnsafeRedis,
    WanDraining,
    WanMismatch,
    WanNotDefined,
    WanpoolError,
    WanPortPool,
)
from redis_wanpool.health import LineSeen, Round, check
from redis_wanpool.http import install, over_wan, uninstall
from redis_wanpool.http.aiohttp import WanConnector
from redis_wanpool.http.client import WanHTTPConnection, WanHTTPSConnection
from redis_wanpool.http.httpx import AsyncWanTransport, WanTransport
from redis_wanpool.http.requests import WanAdapter, WanSession
from redis_wanpool.http.urllib3 import WanPoolManager
from redis_wanpool.legacy import port_allocator, wan_port_pool
from redis_wanpool.proxy import serve


def lost(lease: Lease) -> None:
    print(lease.port, lease.reason)


def told(seen: Round) -> None:
    lines: tuple[LineSeen, ...] = seen.lines
    print(seen.standby, seen.trouble, [(line.wan_idx, line.was, line.state, line.probe.why) for line in lines])


async def checking(pool: AsyncWanPortPool) -> None:
    with over_wan(ANY, sticky="account-7"):
        await check(pool, ["1.1.1.1:443", ("8.8.8.8", 53)], interval=5, fall=3, rise=2, timeout=2.0, told=told)


def blocking() -> None:
    with WanPortPool("redis://10.0.0.2/0", namespace="prod", network="n", rest=1.0, on_lost=lost) as pool:
        made: bool = pool.define_wan(
            0, "20000-21999", lease_ttl=60, max_ttl=None, cooldown=125, weight=2, name="telecom"
        )
        with pool.acquire(0, wait=5, label="daily_basic") as lease:
            sock: socket.socket = lease.connect(("api.example.com", 443), timeout=5)
            bound: socket.socket = lease.socket(source_address="192.0.2.1", close_on_loss=True)
            lease.check()
            lease.renew(ttl=30)
            left: float = lease.remaining()
            facts: tuple[int, int, str, int, str, float, bool] = (
                lease.port,
                lease.wan_idx,
                lease.lease_id,
                lease.fence,
                lease.label,
                lease.expires_at,
                lease.lost,
            )
            gone: bool = lease.wait_lost(timeout=1)
            ended: bool = lease.release(used=False, closed="drained")
        any_wan: Lease = pool.acquire(ANY, wait=None, ttl=5, detached=True)
        several: Lease = pool.acquire([0, 1], port=None, sticky="account-7")
        leases: list[Lease] = pool.acquire_many(0, 64, at_least=1)
        sock = pool.connect(0, ("api.example.com", 443), timeout=5, attempts=3, close_on_loss=True)
        port: int = pool.allocate_port(wan_idx=0)
        back: bool = pool.release_port(wan_idx=0, port=port)
        total: int = pool.get_port_usage_info()["total_allocated_ports"]
        seen: list[HolderSeen] = pool.reap(dry_run=True)
        why: list[tuple[str, str, dict[int, tuple[int, ...]]]] = [(one.verdict, one.why, one.ports) for one in seen]
        pool.drain(0)
        pool.open(0)
        print(made, bound, left, facts, gone, ended, any_wan, several, leases, sock, back, total, why)
    WanPortPool(reap=False, release_on_sigterm=True, min_replicas=1, fsync=True)
    WanPortPool.get_instance().close()


def operating() -> None:
    with Operator("redis://10.0.0.2/0", namespace="prod", connect_timeout=1.0, allow_eviction=True) as operator:
        happened: list[tuple[str, int]] = [
            (event.what, event.at_ms) for event in operator.events(0, since=3600, limit=10)
        ]
        granted: dict[int, int] = {wan_idx: one.granted for wan_idx, one in operator.counters().items()}
        states: str = operator.port_map(0).states
        print(happened, granted, states, list(operator.namespaces().found))
        made: bool = operator.define_wan(0, "20000-21999", cooldown=15, name="telecom", recover=True)
        made = operator.define_wan(1, "22000-23999", fresh=True)
        wans: tuple[int, ...] = operator.wans()
        claims: dict[int, str] = operator.claims()
        numbers: dict[int, list[int]] = operator.ports_by_wan()
        free: int = operator.snapshot(operator.wan_of(20000)).free
        withheld: int = operator.snapshots([0, 1])[0].withheld
        for one in operator.status(looks_ahead=[60]).values():
            pace: float | None = None if isinstance(one, WanpoolError) else one.pace
            print(pace)
        place: str = operator.explain(20000).state
        for lease in operator.leases(0, within=60):
            who = operator.holder_of(lease)
            print(lease.port, lease.holder, who and who.program)
        count: int = operator.census()[0]["host:1:abc", "net"]
        programs: list[str] = [holder.program for holder in operator.holders()]
        version: str = operator.server_facts()["version"]
        operator.drain(0)
        operator.open(0)
        was: str = operator.withhold("20017,20100-20199")[0][20017]
        operator.restore("20017")
        leaving: int = operator.resize(0, "20000-23999")
        ended: dict[int, str] = operator.revoke(0, operator.leases(0))
        expires_at: float = operator.renew(0, 20000, "lease_id", ttl=60)
        how: str = operator.release(0, 20000, "lease_id", used=True, closed="fin")
        seen: list[HolderSeen] = operator.reap(dry_run=True)
        left: int = operator.remove(0, force=True)
        keys: object = operator.ask("HGETALL", "wanpool:{prod}:wans")
        with operator.pool(on_lost=lost) as pool:
            print(pool.acquire(0).port)
        print(made, wans, claims, numbers, free, withheld, place, count, programs, version, was, leaving, ended)
        print(expires_at, how, seen, left, keys, operator.url, operator.namespace, operator.network, operator.shards)


def http_clients(pool: WanPortPool) -> None:
    connection: http.client.HTTPConnection = WanHTTPConnection(pool, 0, "example.com", wait=5, timeout=5)
    secure: http.client.HTTPSConnection = WanHTTPSConnection(pool, ANY, "example.com")
    manager: urllib3.PoolManager = WanPoolManager(pool, 0, wait=None, maxsize=8)
    session: requests.Session = WanSession(pool, [0, 1], source_address="192.0.2.1")
    session.mount("https://", WanAdapter(pool, 0, pool_maxsize=8))
    with httpx.Client(transport=WanTransport(pool, 0, wait=5, retries=1)) as client, over_wan(1):
        print(connection, secure, manager, client.get("http://example.com/").status_code)


def libraries(pool: WanPortPool) -> None:
    with install(pool, default=None), over_wan(1):
        print(requests.get("http://example.com/", timeout=5).status_code)
    install(pool, [0, 1], wait=None)
    uninstall()


async def async_http_clients(pool: AsyncWanPortPool) -> None:
    async with aiohttp.ClientSession(connector=WanConnector(pool, 0, wait=5, limit=8)) as session:
        print((await session.get("http://example.com/")).status)
    async with httpx.AsyncClient(transport=AsyncWanTransport(pool, 0)) as client:
        print((await client.get("http://example.com/")).status_code)


def old_names() -> None:
    port: int | None = port_allocator.allocate_port(wan_idx=0)
    back: bool = port_allocator.release_port(wan_idx=0, port=port)
    another: int = wan_port_pool.allocate_port(wan_idx=0)
    print(back, another, wan_port_pool.get_port_usage_info(), port_allocator.get_port_usage_info())


async def awaiting() -> None:
    async with AsyncWanPortPool("redis://10.0.0.2/0") as pool:
        made: bool = await pool.define_wan(0, "20000-21999")
        async with pool.acquire(0, wait=5) as lease:
            reader, writer = await lease.connect(("api.example.com", 443), timeout=5)
            await reader.read()
            writer.close()
            await lease.renew()
            gone: bool = await lease.wait_lost(timeout=1)
        other: AsyncLease = await pool.acquire(ANY)
        ended: bool = await other.release()
        leases: list[AsyncLease] = await pool.acquire_many(0, 64)
        reader, writer = await pool.connect(0, ("api.example.com", 443))
        port: int = await pool.allocate_port(wan_idx=0)
        back: bool = await pool.release_port(wan_idx=0, port=port)
        seen: list[HolderSeen] = await pool.reap()
        await pool.drain(0)
        await pool.open(0)
        print(made, gone, ended, leases, back, seen, await pool.get_port_usage_info())


async def proxy(pool: AsyncWanPortPool) -> tuple[int, dict[int, int]]:
    async with serve(pool, bind="127.0.0.1", port=0, wan=[0, 1], wait=None, allow=["10.0.0.0/8"]) as serving:
        return serving.port, serving.wan_ports


def errors(error: WanpoolError) -> object:
    if isinstance(error, PoolExhausted):
        return error.wan_idx, error.free_in
    if isinstance(error, PortUnavailable):
        return error.port, error.state, error.free_in
    if isinstance(error, LeaseLost):
        return error.port, error.reason
    if isinstance(error, BackendUnavailable):
        few: tuple[int | None, int | None] = (error.confirmed, error.wanted)
        return few
    if isinstance(error, InGrace):
        return error.retry_after
    if isinstance(error, WanMismatch):
        return error.differences
    if isinstance(error, PortRejected):
        return error.ports, error.free_in
    if isinstance(error, (WanDraining, WanNotDefined, PortNotInRange)):
        return error.wan_idx
    return isinstance(error, (InvalidValue, PoolClosed, UnsafeRedis, ValueError))
