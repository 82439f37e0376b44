"""Processes that connect from ports of the WANs, and tell of each connection what the server saw; run as a program."""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import struct
import sys
import time
from importlib import import_module
from typing import Any

import psutil
from clients import ASYNC, BLOCKING, URL, WAIT
from namespaces import SERVER, first_port
from plain_clients import CLIENTS

from redis_wanpool import AsyncWanPortPool, WanPortPool

PLAIN, HTTP = (SERVER, 7), (SERVER, 80)
RESETS = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
Seen = tuple[int, str, int]
"""our port, and the address and port that the server saw"""


def by_chance(ports: int, wan: int, end: str) -> Seen:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.settimeout(2)
        sock.bind(("", first_port(wan) + random.randrange(ports)))
        sock.connect(PLAIN)
        return talk(sock, end)


def by_connect(pool: WanPortPool, wan: int, end: str) -> Seen:
    return talk(pool.connect(wan, PLAIN, wait=WAIT, timeout=10), end)


def talk(sock: socket.socket, end: str) -> Seen:
    with sock, sock.makefile("rw") as file:
        address, port = file.readline().split(":")
        own = sock.getsockname()[1]
        time.sleep(random.uniform(0, 0.04))
        if end == "server first":
            print("close", file=file, flush=True)
            assert file.readline() == ""
        elif end == "reset":
            sock.setsockopt(*RESETS)
    return own, address, int(port)


async def by_streams(pool: AsyncWanPortPool, wan: int, end: str) -> Seen:
    reader, writer = await pool.connect(wan, PLAIN, wait=WAIT, timeout=10)
    address, port = (await reader.readline()).decode().split(":")
    sock = writer.get_extra_info("socket")
    own = sock.getsockname()[1]
    await asyncio.sleep(random.uniform(0, 0.04))
    if end == "server first":
        writer.write(b"close\n")
        assert await reader.read() == b""
    elif end == "reset":
        sock.setsockopt(*RESETS)
    writer.close()
    await writer.wait_closed()
    return own, address, int(port)


def by_http(client: Any, pool: WanPortPool, wan: int, end: str) -> Seen:
    with client(pool, wan) as get:
        seen, (own,) = get({}), http_ports()
        again = get({"Connection": "close"} if end == "server first" else {}) if end != "one request" else seen
    return checked(own, seen, again)


async def by_http_async(client: Any, pool: AsyncWanPortPool, wan: int, end: str) -> Seen:
    async with client(pool, wan) as get:
        seen, (own,) = await get({}), http_ports()
        again = await get({"Connection": "close"} if end == "server first" else {}) if end != "one request" else seen
    return checked(own, seen, again)


def checked(own: int, seen: dict[str, Any], again: dict[str, Any]) -> Seen:
    assert seen == again, "one connection for both requests"
    assert http_ports() == [], "closed with its client"
    return own, seen["address"], seen["port"]


def http_ports() -> list[int]:
    """Our own ports of what is open to the HTTP server, as the system says."""
    return [found.laddr.port for found in psutil.Process().net_connections("tcp4") if found.raddr == HTTP]


def by_plain(client: Any, pool: WanPortPool, wan: int, end: str) -> Seen:
    with pool.acquire(wan, wait=WAIT) as lease:
        seen = client(f"{URL}bye" if end == "server first" else URL, lease.port, end == "server first")
    return lease.port, seen["address"], seen["port"]


async def visit(way: str, pool: Any, wan: int, end: str) -> Seen:
    if way == "streams":
        return await by_streams(pool, wan, end)
    if way in ASYNC:
        return await by_http_async(ASYNC[way], pool, wan, end)
    if way in CLIENTS:
        return await asyncio.to_thread(by_plain, CLIENTS[way], pool, wan, end)
    if way in BLOCKING:
        return by_http(BLOCKING[way], pool, wan, end)
    return by_connect(pool, wan, end) if way == "connect" else by_chance(pool, wan, end)


async def work(job: dict[str, Any], number: int) -> None:
    way = job["ways"][number % len(job["ways"])]
    is_async = way == "streams" or way in ASYNC
    make = AsyncWanPortPool if is_async else WanPortPool
    pool: Any = job["ports"] if way == "chance" else make(job["url"], namespace="test")
    for n in range(number, number + job["each"]):
        told = {"way": way, "wan": n % job["wans"], "end": job["ends"][n % len(job["ends"])]}
        try:
            told["port"], told["address"], told["seen"] = await visit(way, pool, told["wan"], told["end"])
        except Exception as error:
            told["error"] = repr(error)
        os.write(1, (json.dumps(told) + "\n").encode())  # whole lines, while others write theirs
    await asyncio.to_thread(sys.stdin.read)  # stays, so that one can see what it left open
    if way != "chance":
        closing = pool.close()
        if is_async:
            await closing


def main() -> int:
    job = json.loads(sys.argv[1])
    for way in {*job["ways"]} & {*ASYNC, *BLOCKING}:
        import_module(f"redis_wanpool.http.{way.split(' ')[0]}")  # once, before the processes part
    for number in range(job["first"], job["first"] + job["processes"]):
        if os.fork() == 0:
            random.seed(f"{job['seed']} {number}")
            asyncio.run(work(job, number))
            return 0
    return sum(os.wait()[1] != 0 for _ in range(job["processes"]))


if __name__ == "__main__":
    sys.exit(main())
