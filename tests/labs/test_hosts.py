"""Four hosts as network namespaces, four processes each, one WAN: through the old interface, with real connections."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import namespaces
import pytest
from command_line import says
from holds import Hold, check_no_overlap
from invariant import check_invariant
from namespaces import LAN
from nodes import Node, Place
from private_server import SERVERS

HOSTS, PROCESSES, LEASES, PORTS = 4, 4, 100, 24
JUDGE = 9000
WORKER = f"""
import json, socket, sys, time
from core.wan_manager import port_allocator, wan_port_pool
held = []
while len(held) < {LEASES}:
    port = port_allocator.allocate_port(wan_idx=0)
    if port is None:
        time.sleep(0.005)  # as old callers do
        continue
    since = time.clock_gettime(time.CLOCK_BOOTTIME)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes((1, 0, 0, 0, 0, 0, 0, 0)))  # no TIME_WAIT: rest is 0
        sock.bind(("0.0.0.0", port))
        sock.connect(("{LAN}", {JUDGE}))
        assert sock.recv(16) == str(port).encode()
    held.append((port, since, time.clock_gettime(time.CLOCK_BOOTTIME)))
    if len(held) < {LEASES}:  # the last one is left to the end of the process
        assert port_allocator.release_port(wan_idx=0, port=port)
print(json.dumps([wan_port_pool.network, held]))
"""


@pytest.fixture
def net() -> Iterator[tuple[str, list[Place]]]:
    with namespaces.lan(HOSTS) as made:
        yield made


@pytest.fixture
def redis_there(net: Any, tmp_path: Path) -> Iterator[Any]:
    """A server that listens inside the lab, and on a unix socket for us."""
    options = ("--bind", LAN, "--port", "6379", "--protected-mode", "no", "--save", "", "--dir", str(tmp_path))
    place = Place(LAN, ("ip", "netns", "exec", net[0]))
    with closing(Node(SERVERS[0], tmp_path, place, 6379, *options)) as node:
        yield node.admin


@pytest.fixture
def judge(net: Any) -> Iterator[None]:
    """Tells each connection from which port it came."""
    text = f"""
import socket, threading
with socket.create_server(("{LAN}", {JUDGE}), backlog=512) as listener:
    print("ready", flush=True)
    while True:
        conn, peer = listener.accept()
        conn.sendall(str(peer[1]).encode())
        conn.close()
"""
    with namespaces.running(net[0], sys.executable, "-c", text):
        yield


def test_no_port_twice_and_all_back_at_the_end(net: Any, redis_there: Any, judge: None, tmp_path: Path) -> None:
    says("adopt", "core/wan_manager", "--wan", f"0=20000-{20000 + PORTS - 1}", "--url", f"redis://{LAN}:6379/0")
    with Path("wanpool.toml").open("a") as file:
        file.write("cooldown = 0\n")
    settings = Path("wanpool.toml").read_text()
    Path("wanpool.toml").write_text("rest = 0\n" + settings)
    workers = [
        subprocess.Popen(
            [*place.prefix, sys.executable, "-c", WORKER],
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for place in net[1]
        for _ in range(PROCESSES)
    ]
    said: dict[int, tuple[str, str]] = {}
    threads = [
        threading.Thread(target=lambda n=n: said.update({n: workers[n].communicate(timeout=120)}))
        for n in range(len(workers))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [worker.returncode for worker in workers] == [0] * len(workers), said
    reports = [json.loads(said[n][0]) for n in range(len(workers))]
    networks = [network for network, _ in reports]
    assert len(set(networks)) == HOSTS and all(networks.count(network) == PROCESSES for network in networks)
    holds = [Hold(*fields) for _, held in reports for fields in held]
    assert len(holds) == HOSTS * PROCESSES * LEASES
    check_no_overlap(holds)
    assert redis_there.scard("wanpool:{default:0}:free") == PORTS, "everything is back"
    check_invariant(redis_there)
