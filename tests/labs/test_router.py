"""What `wanpool router` writes, loaded into a router as its administrator would."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from namespaces import WANS, Site, first_port, inside, ip, public_address, running, site, sysctl
from private_server import Server

from redis_wanpool import WanPortPool

ECHO = Path(__file__).parent / "echo.py"
POOL = range(first_port(0), first_port(WANS))
OF_WAN_0 = range(first_port(0), first_port(1))
"""by whose line the router's own traffic leaves; the kernel takes ports that lie side by side"""
LEASED = """
import json, sys
from redis_wanpool import WanPortPool
url, wan, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
visits = []
with WanPortPool(url, namespace="test") as pool:
    for _ in range(count):
        try:
            with pool.connect(wan, ("203.0.113.1", 7), timeout=5) as sock:
                address, port = sock.recv(100).decode().split(":")
                visits.append([sock.lease.port, address, int(port)])
        except OSError as error:
            visits.append([0, type(error).__name__, error.errno])
print(json.dumps(visits))
"""
ORDINARY = """
import json, socket, sys
visits = []
opened = []
for _ in range(int(sys.argv[1])):
    opened.append(socket.create_connection(("203.0.113.1", 7), timeout=5))
    address, port = opened[-1].recv(100).decode().split(":")
    visits.append([opened[-1].getsockname()[1], address, int(port)])
for sock in opened:
    sock.close()
print(json.dumps(visits))
"""


class Lab:
    """A site whose router was told what to do by `wanpool router`."""

    def __init__(self, site: Site, server: Server) -> None:
        self.site, self.server = site, server
        self.before = self.rules()

    def text(self, name: str) -> str:
        uplinks = [f"--uplink={wan}=wan{wan},198.51.100.{4 * wan + 1}" for wan in range(WANS)]
        where = ["--url", self.server.url, "--namespace", "test"]
        command = [sys.executable, "-m", "redis_wanpool.cli", "router", "--format", name, "--lan", "br0"]
        return subprocess.run([*command, *uplinks, *where], check=True, capture_output=True, text=True).stdout

    def load(self) -> None:
        inside(self.site.router, "sh", "-s", text=self.text("iproute2"))
        inside(self.site.router, "nft", "-f", "-", text=self.text("nftables"))

    def rules(self) -> list[str]:
        """All that the router goes by."""
        tables = [["ip", "-4", "route", "show", "table", str(7000 + wan)] for wan in range(WANS)]
        shown = [inside(self.site.router, "ip", "-4", "rule"), inside(self.site.router, "nft", "list", "ruleset")]
        for table in tables:
            command = ["ip", "netns", "exec", self.site.router, *table]
            shown.append(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
        return [part.replace("7002:", "7001:") for part in shown]

    def leased(self, wan: int, count: int = 10, user: int = 0) -> list[Any]:
        """What connections from leased ports of a WAN were seen as: the leased port, then address and port."""
        arguments = (self.server.url, str(wan), str(count))
        return json.loads(inside(self.site.users[user], sys.executable, "-c", LEASED, *arguments))

    def ordinary(self, namespace: str, count: int = 100) -> list[Any]:
        return json.loads(inside(namespace, sys.executable, "-c", ORDINARY, str(count)))


@pytest.fixture
def lab(server: Server) -> Iterator[Lab]:
    with WanPortPool(server.url, namespace="test") as pool:
        for wan in range(WANS):
            pool.define_wan(wan, f"{first_port(wan)}-{first_port(wan) + 1999}", cooldown=5)
    with site(0, routed=False) as made, running(made.server, sys.executable, str(ECHO)):
        yield Lab(made, server)


def test_leased_connections_leave_by_their_wan_and_keep_their_port(lab: Lab) -> None:
    lab.load()
    for wan in range(WANS):
        for user in range(2):
            for port, address, seen in lab.leased(wan, user=user):
                assert (address, seen) == (public_address(wan), port)


def test_a_dead_wan_fails_closed(lab: Lab) -> None:
    lab.load()
    ip(lab.site.router, "link set wan1 down")
    assert all(port == 0 for port, *_ in lab.leased(1, 3)), "refused, and not sent over another line"
    assert all(address == public_address(2) for _, address, _ in lab.leased(2, 3))
    ip(lab.site.router, "link set wan1 up")
    assert all(port == 0 for port, *_ in lab.leased(1, 3)), "its route went with the link"
    lab.load()
    assert all(address == public_address(1) for _, address, _ in lab.leased(1, 3))


def test_the_table_of_nftables_alone_fails_closed_too(lab: Lab) -> None:
    lab.load()
    inside(lab.site.router, "sh", "-s", "remove", text=lab.text("iproute2"))
    assert all(port == 0 for port, *_ in lab.leased(1, 3)), "the default route leads by WAN 0"
    assert all(address == public_address(0) for _, address, _ in lab.leased(0, 3))


def test_ordinary_traffic_never_takes_a_port_of_the_pool(lab: Lab) -> None:
    lab.load()
    held = lab.leased(0, 20)
    assert all(port for port, *_ in held)
    for user in lab.site.users[:2]:
        seen = lab.ordinary(user)
        assert len(seen) == 100 and not any(port in POOL for *_, port in seen)
    sysctl(lab.site.router, f"net.ipv4.ip_local_port_range={OF_WAN_0[0]} {OF_WAN_0[-1]}")
    seen = lab.ordinary(lab.site.router)
    assert all(own in OF_WAN_0 for own, *_ in seen) and not any(port in POOL for *_, port in seen)


def test_without_it_ordinary_traffic_does(lab: Lab) -> None:
    """Or the test above would prove nothing."""
    inside(lab.site.router, "nft", "-f", "-", text=lab.text("nftables").replace("fib saddr type != local ", ""))
    sysctl(lab.site.router, f"net.ipv4.ip_local_port_range={OF_WAN_0[0]} {OF_WAN_0[-1]}")
    assert any(port in POOL for *_, port in lab.ordinary(lab.site.router))


def test_loading_it_again_changes_nothing_and_undoing_it_leaves_nothing(lab: Lab) -> None:
    lab.load()
    once = lab.rules()
    assert once != lab.before
    lab.load()
    assert lab.rules() == once
    inside(lab.site.router, "sh", "-s", "remove", text=lab.text("iproute2"))
    inside(lab.site.router, "nft", "delete", "table", "ip", "wanpool")
    assert lab.rules() == lab.before
