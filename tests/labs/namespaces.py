"""A site with several WANs as network namespaces: hosts on a LAN, a router with NAT, and a server beyond its WANs.

    host0 10.77.0.2 --+        +-- wan0 198.51.100.2 ---+
    host1 10.77.0.3 --+ router +-- wan1 198.51.100.6 ---+ server 203.0.113.1
    host2 10.77.0.4 --+        +-- wan2 198.51.100.10 --+

With containers, connections are made from 172.18.N.2, of which each host has one for each N, behind a NAT of its own.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from nodes import Place

HOSTS, WANS = 3, 3
MEMORY = 3
"""seconds for which a NAT remembers a connection that has ended"""
SERVER = "203.0.113.1"
NAT = 'table ip nat {{ chain post {{ type nat hook postrouting priority srcnat; oifname "{}" masquerade; }}; }}'


@dataclass
class Site:
    router: str
    server: str
    users: list[str]
    """the namespaces from which connections are made: the containers, or else the hosts"""

    def connections(self) -> str:
        """What is open to the server, or waits for us to close it."""
        states = ("state", "established", "state", "close-wait", "dst", SERVER)
        return "".join(inside(user, "ss", "-Htan", *states) for user in self.users)


def first_port(wan: int) -> int:
    return 20000 + 2000 * wan


def public_address(wan: int) -> str:
    """What the server sees of a connection that left by that WAN."""
    return f"198.51.100.{4 * wan + 2}"


def inside(namespace: str, *command: str, text: str = "") -> str:
    command = ("ip", "netns", "exec", namespace, *command)
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (command, text, done.stderr)
    return done.stdout


def ip(namespace: str, commands: str) -> None:
    inside(namespace, "ip", "-batch", "-", text=commands)


def sysctl(namespace: str, *settings: str) -> None:
    inside(namespace, "sysctl", "-qw", *settings)


@contextmanager
def namespaces() -> Iterator[Callable[[str], str]]:
    """Makes network namespaces, which go at the end."""
    assert os.geteuid() == 0, "this lab makes network namespaces: run it as root"
    made: list[str] = []

    def namespace(name: str) -> str:
        name = f"wanpool-{os.getpid()}-{name}"
        subprocess.run(["ip", "netns", "add", name], check=True)
        made.append(name)
        ip(name, "link set lo up")
        return name

    try:
        yield namespace
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "del", name], check=False)


@contextmanager
def running(namespace: str, *command: str, says: str = "ready") -> Iterator[None]:
    """A program runs there, and has said so."""
    there = ["ip", "netns", "exec", namespace, *command]
    with subprocess.Popen(there, stdout=subprocess.PIPE, text=True) as process:
        try:
            said = process.stdout.readline()
            assert says in said, said
            yield
        finally:
            process.kill()


LAN = "10.78.0.254"
"""the switch's own address"""


@contextmanager
def lan(count: int) -> Iterator[tuple[str, list[Place]]]:
    """A switch, and hosts on it: number N by its device toN."""
    with namespaces() as namespace:
        switch, places = namespace("switch"), []
        ip(switch, f"link add br0 type bridge\n addr add {LAN}/24 dev br0\n link set br0 up")
        for number in range(count):
            name, host = namespace(f"place{number}"), f"10.78.0.{number + 1}"
            ip(switch, f"link add to{number} type veth peer name eth0 netns {name}")
            ip(switch, f"link set to{number} master br0 up")
            ip(name, f"addr add {host}/24 dev eth0\n link set eth0 up")
            places.append(Place(host, ("ip", "netns", "exec", name)))
        yield switch, places


@contextmanager
def site(containers: int, *, routed: bool = True) -> Iterator[Site]:
    """So many containers a host; if not `routed`, the router forwards everything by WAN 0, as it is, and has no NAT."""
    with namespaces() as namespace:
        router, server, users = namespace("router"), namespace("server"), []
        forward(router)
        if routed:
            inside(router, "nft", "-f", "-", text=NAT.format("wan*"))
        sysctl(router, "net.ipv4.icmp_ratelimit=0")  # says each time at once that there is no way
        ip(router, "link add br0 type bridge\n addr add 10.77.0.1/24 dev br0\n link set br0 up")
        ip(server, f"addr add {SERVER}/32 dev lo")
        for wan in range(WANS):
            line(router, server, wan, routed)
        for n in range(HOSTS):
            host = namespace(f"host{n}")
            ip(router, f"link add to{n} type veth peer name eth0 netns {host}\n link set to{n} master br0 up")
            station(host, f"10.77.0.{n + 2}", "10.77.0.1")
            if containers:
                translate(host, "eth0")
            for m in range(containers):
                container = namespace(f"host{n}-{m}")
                ip(host, f"link add in{m} type veth peer name eth0 netns {container}")
                ip(host, f"addr add 172.18.{m}.1/24 dev in{m}\n link set in{m} up")
                station(container, f"172.18.{m}.2", f"172.18.{m}.1")
                users.append(container)
            if not containers:
                users.append(host)
        yield Site(router, server, users)


def translate(namespace: str, outside: str) -> None:
    """Forwards, and gives what leaves by these devices the address of the device."""
    forward(namespace)
    inside(namespace, "nft", "-f", "-", text=NAT.format(outside))


def forward(namespace: str) -> None:
    sysctl(namespace, "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")
    inside(namespace, "nft", "list", "ruleset")  # loads connection tracking
    for state in ("time_wait", "close"):
        sysctl(namespace, f"net.netfilter.nf_conntrack_tcp_timeout_{state}={MEMORY}")


def line(router: str, server: str, wan: int, routed: bool) -> None:
    """A WAN: what comes from its ports leaves by it, or not at all, if that is the lab's to see to."""
    gateway, first, table = f"198.51.100.{4 * wan + 1}", first_port(wan), 100 + wan
    ip(router, f"link add wan{wan} type veth peer name isp{wan} netns {server}")
    ip(server, f"addr add {gateway}/30 dev isp{wan}\n link set isp{wan} up")
    ip(router, f"addr add {public_address(wan)}/30 dev wan{wan}\n link set wan{wan} up")
    if not routed:
        ip(router, f"route add default via {gateway} dev wan{wan} metric {1 + wan}")
        return
    ip(router, f"route add default via {gateway} dev wan{wan} table {table}")
    ip(router, f"route add unreachable default metric 4000000 table {table}")
    ip(router, f"rule add pref {1000 + wan} iif br0 ipproto tcp sport {first}-{first + 1999} lookup {table}")


def station(namespace: str, address: str, gateway: str) -> None:
    ip(namespace, f"addr add {address}/24 dev eth0\n link set eth0 up\n route add default via {gateway}")
    sysctl(namespace, f"net.ipv4.ip_local_reserved_ports={first_port(0)}-{first_port(WANS) - 1}")
