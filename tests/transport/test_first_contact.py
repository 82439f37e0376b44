"""The first contact: a replica is left and asked for again, and what failed is named."""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from faces import Loop, maker
from nodes import free_ports
from private_server import Server
from teller import Teller
from waiting import wait_for

from redis_wanpool import BackendUnavailable, UnsafeRedis

LONG = 60.0
KINDS = {"sentinel": "redis+sentinel://{}/prod", "cluster": "redis+cluster://{}"}


class Pair:
    """A primary and its replica, and who names one of them."""

    def __init__(self, started: Callable[..., Server], stack: ExitStack) -> None:
        self._stack = stack
        self.ports = free_ports(2)
        self.primary = started("--port", str(self.ports[0]), "--protected-mode", "no")
        options = "--port", str(self.ports[1]), "--replicaof", "127.0.0.1", str(self.ports[0])
        self.replica = started(*options, "--repl-diskless-sync-delay", "0")
        self.in_step()

    def in_step(self) -> None:
        wait_for(lambda: self.replica.admin.info("replication")["master_link_status"] == "up")

    def teller(self, *, stale: bool) -> Teller:
        return self._stack.enter_context(closing(Teller("127.0.0.1", self.ports[stale])))


@pytest.fixture
def pair(started: Callable[..., Server]) -> Iterator[Pair]:
    with ExitStack() as stack:
        yield Pair(started, stack)


@pytest.fixture
def new(face: str, loop: Loop) -> Iterator[Callable[..., Any]]:
    with maker(face, loop, None) as new:
        yield new


def leases(pool: Any) -> None:
    """The primary is there, and grants."""
    pool.define_wan(0, "20000", cooldown=0, on_failover="continue")
    assert pool.acquire(0).release()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_others_are_asked_when_one_names_a_replica(pair: Pair, new: Callable[..., Any], kind: str) -> None:
    stale, right = pair.teller(stale=True), pair.teller(stale=False)
    leases(new(KINDS[kind].format(f"{stale.at},{right.at}")))
    assert stale.asked and right.asked


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_replica_that_was_named_passes(pair: Pair, new: Callable[..., Any], kind: str) -> None:
    teller = pair.teller(stale=True)
    pool = new(KINDS[kind].format(teller.at))
    with pytest.raises(BackendUnavailable, match="replica") as caught:
        pool.acquire(0)
    assert caught.value.passing
    teller.names = "127.0.0.1", pair.ports[0]
    leases(pool)


@pytest.mark.slow
def test_a_name_that_moves_is_followed(pair: Pair, new: Callable[..., Any], tmp_path: Path) -> None:
    name = tmp_path / "name"
    name.symlink_to(pair.replica.socket)
    pool = new(f"unix://{name}")
    with pytest.raises(UnsafeRedis, match="replica"):
        pool.acquire(0)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(lambda: pool.define_wan(0, "20000") or pool.acquire(0, wait=LONG))
        with pytest.raises(UnsafeRedis):
            waiting.result(20)
        new(f"unix://{pair.primary.socket}").define_wan(0, "20000", on_failover="continue")
        waiting = threads.submit(lambda: pool.acquire(0, wait=LONG))
        time.sleep(0.3)
        assert not waiting.done()
        (tmp_path / "next").symlink_to(pair.primary.socket)
        (tmp_path / "next").replace(name)
        assert waiting.result(LONG).port == 20000


@pytest.mark.slow
def test_what_is_and_stays_a_replica_is_refused(pair: Pair, new: Callable[..., Any]) -> None:
    pool = new(f"redis://127.0.0.1:{pair.ports[1]}/0")
    before = pair.replica.admin.info("stats")["total_connections_received"]
    for wait in (0.0, 0.3):
        with pytest.raises(UnsafeRedis, match="give the URL of the primary"):
            pool.acquire(0, wait=wait)
    assert pair.replica.admin.info("stats")["total_connections_received"] - before >= 4, "over new connections"


@pytest.mark.slow
def test_a_replica_without_its_primary_passes(pair: Pair, new: Callable[..., Any]) -> None:
    pair.primary.stop()
    wait_for(lambda: pair.replica.admin.info("replication")["master_link_status"] == "down")
    pool = new(f"redis://127.0.0.1:{pair.ports[1]}/0")
    with pytest.raises(BackendUnavailable, match="replica") as caught:
        pool.acquire(0)
    assert caught.value.passing
    pair.replica.admin.replicaof("no", "one")
    leases(pool)


@pytest.mark.parametrize("how", ["refused", "hangs"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_address_that_failed_is_named(new: Callable[..., Any], kind: str, how: str) -> None:
    with ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.77", 0)))
        port = silent.getsockname()[1]
        if how == "refused":
            silent.close()
        teller = stack.enter_context(closing(Teller("127.0.0.77", port)))
        pool = new(KINDS[kind].format(teller.at), connect_timeout=0.5)
        with pytest.raises(BackendUnavailable, match="does not answer") as caught:
            pool.acquire(0)
    told = str(caught.value)
    assert f"127.0.0.77:{port}" in told and re.search("refused|Error 111" if how == "refused" else "[Tt]ime", told)
    seconds = re.search(r"([0-9.]+) s, connect_timeout 0\.5 s\)", told)
    assert seconds and (float(seconds[1]) >= 0.1) == (how == "hangs")


@pytest.mark.slow
def test_a_sentinel_that_hangs_is_named_and_leaves_time_for_the_others(pair: Pair, new: Callable[..., Any]) -> None:
    right = pair.teller(stale=False)
    with socket.create_server(("127.0.0.78", 0)) as silent:
        at = f"127.0.0.78:{silent.getsockname()[1]}"
        leases(new(f"redis+sentinel://{at},{right.at}/prod", connect_timeout=6.0))
        with pytest.raises(BackendUnavailable, match=re.escape(at)):
            new(f"redis+sentinel://{at}/prod", connect_timeout=0.5).acquire(0)


def sockets_to(port: int) -> list[socket.socket]:
    """Copies of all sockets of this process that are connected to a port."""
    found = psutil.Process().net_connections("tcp")
    return [socket.socket(fileno=os.dup(one.fd)) for one in found if one.raddr and one.raddr.port == port]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the options of Linux")
@pytest.mark.parametrize("kind", [*KINDS, "redis"])
def test_a_dead_path_is_found_before_it_is_needed(pair: Pair, new: Callable[..., Any], kind: str) -> None:
    teller = pair.teller(stale=False)
    leases(new(f"redis://127.0.0.1:{pair.ports[0]}/0" if kind == "redis" else KINDS[kind].format(teller.at)))
    found = [*sockets_to(pair.ports[0]), *sockets_to(int(teller.at.rpartition(":")[2]))]
    assert found
    for one in found:
        with one:
            assert one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            idle, interval, probes, limit = (
                one.getsockopt(socket.IPPROTO_TCP, getattr(socket, f"TCP_{name}"))
                for name in ("KEEPIDLE", "KEEPINTVL", "KEEPCNT", "USER_TIMEOUT")
            )
            assert 1000 * (idle + interval * probes) == limit < 20_000, "a third of the ttl"
    assert new(f"unix://{pair.primary.socket}").wans() == (0,), "a unix socket has no such options"
