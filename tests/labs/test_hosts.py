"""Four hosts as network namespaces, four processes each, one WAN: through the old interface, with real connections."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import servers
from command_line import wanpool
from holds import Hold, check_no_overlap
from invariant import check_invariant
from private_server import SERVERS
from waiting import wait_for

HOSTS, PROCESSES, LEASES, PORTS = 4, 4, 100, 24
LAN, JUDGE = "10.77.0.1", 9000
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


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def lan() -> Iterator[tuple[str, list[str]]]:
    """A network namespace with a bridge, and those of the hosts on it."""
    assert os.geteuid() == 0, "this lab makes network namespaces: run it as root"
    made: list[str] = []

    def namespace(name: str) -> str:
        made.append(f"wanpool-{os.getpid()}-{name}")
        ip("netns", "add", made[-1])
        ip("-n", made[-1], "link", "set", "lo", "up")
        return made[-1]

    try:
        middle = namespace("lan")
        ip("-n", middle, "link", "add", "br0", "type", "bridge")
        ip("-n", middle, "addr", "add", f"{LAN}/24", "dev", "br0")
        ip("-n", middle, "link", "set", "br0", "up")
        hosts = [namespace(f"host{n}") for n in range(HOSTS)]
        for n, host in enumerate(hosts):
            ip("-n", middle, "link", "add", f"to{n}", "type", "veth", "peer", "name", "eth0", "netns", host)
            ip("-n", middle, "link", "set", f"to{n}", "master", "br0", "up")
            ip("-n", host, "addr", "add", f"10.77.0.{n + 2}/24", "dev", "eth0")
            ip("-n", host, "link", "set", "eth0", "up")
        yield middle, hosts
    finally:
        for name in made:
            ip("netns", "del", name)


@pytest.fixture
def redis_there(lan: Any, tmp_path: Path) -> Iterator[Any]:
    """A server that listens inside the lab, and on a unix socket for us."""
    options = ["--bind", LAN, "--port", "6379", "--protected-mode", "no", "--save", "", "--dir", str(tmp_path)]
    command = ["ip", "netns", "exec", lan[0], str(servers.binary(SERVERS[0])), "--unixsocket", str(tmp_path / "s")]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([*command, *options], stdout=log, stderr=log)
    admin = redis.Redis(unix_socket_path=str(tmp_path / "s"), decode_responses=True)
    try:
        wait_for(lambda: (tmp_path / "s").exists() and admin.ping())
        yield admin
    finally:
        admin.close()
        process.kill()
        process.wait()


@pytest.fixture
def judge(lan: Any, tmp_path: Path) -> Iterator[None]:
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
    command = ["ip", "netns", "exec", lan[0], sys.executable, "-c", text]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.kill()


def test_no_port_twice_and_all_back_at_the_end(lan: Any, redis_there: Any, judge: None, tmp_path: Path) -> None:
    done = wanpool(
        "adopt", "core/wan_manager", "--wan", f"0=20000-{20000 + PORTS - 1}", "--url", f"redis://{LAN}:6379/0"
    )
    assert done.returncode == 0, done.stderr
    with Path("wanpool.toml").open("a") as file:
        file.write("cooldown = 0\n")
    settings = Path("wanpool.toml").read_text()
    Path("wanpool.toml").write_text("rest = 0\n" + settings)
    workers = [
        subprocess.Popen(
            ["ip", "netns", "exec", host, sys.executable, "-c", WORKER],
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for host in lan[1]
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
