"""A site with three WANs, of which one fails: choices among them leave it, and take it again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from command_line import WANPOOL
from namespaces import SERVER, WANS, Site, first_port, inside, running, site
from private_server import Server
from waiting import wait_for

from redis_wanpool import ANY, WanPortPool
from redis_wanpool.model.rendezvous import choose
from redis_wanpool.protocol import choosing

INTERVAL, FALL, RISE, TIMEOUT = 1.0, 3, 2, 0.4
SLACK = 1.5
"""seconds for a loaded machine, and for the last round that a checker may just have begun"""
HEALTH = "wanpool:{test}:health"
KEYS = [f"account-{number}" for number in range(30)]


@pytest.fixture
def there() -> Iterator[Site]:
    with site(0) as made, running(made.server, sys.executable, str(Path(__file__).parent / "echo.py")):
        yield made


@pytest.fixture
def pool(server: Server) -> Iterator[WanPortPool]:
    with WanPortPool(server.url, namespace="test", rest=0) as pool:
        for wan in range(WANS):
            pool.define_wan(wan, f"{first_port(wan)}-{first_port(wan) + 199}", cooldown=5)
        yield pool


@contextmanager
def checker(host: str, server: Server) -> Iterator[subprocess.Popen[str]]:
    """`wanpool health` on a host."""
    words = ["health", "--target", f"{SERVER}:7", "--interval", f"{INTERVAL}s", "--timeout", f"{TIMEOUT}s", "--json"]
    env = {**os.environ, "WANPOOL_URL": server.url, "WANPOOL_NAMESPACE": "test"}
    command = ["ip", "netns", "exec", host, *WANPOOL, *words, "--fall", str(FALL), "--rise", str(RISE)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        try:
            yield process
        finally:
            process.kill()


def state(server: Server, wan: int) -> str:
    return str(server.admin.hget(HEALTH, str(wan))).split(" ")[0]


def chosen(pool: WanPortPool, **how: Any) -> int:
    with pool.acquire(ANY, **how) as lease:
        lease.release(used=False)
        return lease.wan_idx


def accounts(pool: WanPortPool) -> dict[str, int]:
    return {key: chosen(pool, sticky=key) for key in KEYS}


def broken(there: Site) -> None:
    """WAN 1 carries nothing any more."""
    drop = "chain out { type filter hook forward priority 0; oifname wan1 drop; }"
    inside(there.router, "nft", "-f", "-", text=f"table ip broken {{ {drop}; }}")


def seconds_until(condition: Any) -> float:
    began = time.monotonic()
    wait_for(condition, within=30)
    return time.monotonic() - began


def test_a_line_that_fails_is_left_and_taken_again(there: Site, server: Server, pool: WanPortPool) -> None:
    with checker(there.users[0], server) as process:
        wait_for(lambda: [state(server, wan) for wan in range(WANS)] == ["up"] * WANS)
        before = accounts(pool)
        assert before == {key: choose(key, dict.fromkeys(range(WANS), 1)) for key in KEYS}
        assert {chosen(pool) for _ in range(60)} == {0, 1, 2}

        broken(there)
        left = seconds_until(lambda: 1 not in {chosen(pool) for _ in range(20)})
        assert left <= FALL * INTERVAL + TIMEOUT + choosing.LOOKS_LAST + SLACK, left
        after = accounts(pool)
        assert {key for key in KEYS if before[key] != after[key]} == {key for key in KEYS if before[key] == 1}
        assert 1 not in {chosen(pool) for _ in range(100)} and pool.acquire(1).release(used=False)

        inside(there.router, "nft", "delete table ip broken")
        again = seconds_until(lambda: 1 in {chosen(pool) for _ in range(20)})
        assert again <= RISE * INTERVAL + choosing.LOOKS_LAST + SLACK, again
        assert accounts(pool) == before
        print(f"left after {left:.1f} s, taken again after {again:.1f} s")
        process.terminate()
        assert process.wait(10) == 0
        seen = [json.loads(line) for line in process.stdout.read().splitlines()]
        assert all(row["state"] == "up" for one in seen for row in one["wans"] if row["wan_idx"] != 1)


def test_a_checker_that_dies_is_replaced(there: Site, server: Server, pool: WanPortPool) -> None:
    broken(there)
    with ExitStack() as stack:
        first = stack.enter_context(checker(there.users[0], server))
        wait_for(lambda: state(server, 1) == "down")
        second = stack.enter_context(checker(there.users[1], server))
        assert json.loads(second.stdout.readline())["standby"] is True
        (mine,) = (server.admin.hget(HEALTH, "checker") or "").split(" ")[:1]
        first.kill()
        took = seconds_until(lambda: (server.admin.hget(HEALTH, "checker") or mine).split(" ")[0] != mine)
        assert took <= 3 * INTERVAL, took
        states = set()
        until = time.monotonic() + 2 * INTERVAL
        while time.monotonic() < until:
            states.add(pool._run(pool._engine.protocol.health())[0].state(1))
        print(f"replaced after {took:.1f} s")
        assert states == {"down"}, "the other one goes on from what the first had found"
