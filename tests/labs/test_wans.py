"""A site with three WANs: each connection leaves by the WAN of its port, and keeps the port through NAT."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from chance import SEED
from clients import ASYNC, BLOCKING
from namespaces import MEMORY, WANS, Site, first_port, public_address, running, site, sysctl
from plain_clients import CLIENTS
from private_server import Server
from waiting import wait_for

from redis_wanpool import WanPortPool

HERE = Path(__file__).parent
ENDS = ("client first", "server first", "reset")
Visits = list[dict[str, Any]]


class Lab:
    """A site, and workers in it."""

    def __init__(self, site: Site, server: Server, folder: Path) -> None:
        self.site = site
        self.server = server
        self.said, self.cried = folder / "said", folder / "cried"

    def visits(self, *ways: str, ports: int, each: int, ends: tuple[str, ...] = ENDS, **less: int) -> Visits:
        """What came of the connections of 24 workers, or less, at once; none of them leaves anything open."""
        users, workers, wans = self.site.users[: less.get("users")], less.get("workers", 24), less.get("wans", WANS)
        with WanPortPool(self.server.url, namespace="test") as pool:
            for wan in range(wans):
                pool.define_wan(wan, f"{first_port(wan)}-{first_port(wan) + ports - 1}", cooldown=MEMORY + 2)
        job = dict(ways=ways, ports=ports, each=each, ends=ends, wans=wans, url=self.server.url, seed=SEED)
        job["processes"] = workers // len(users)
        began, processes = time.monotonic(), []
        try:
            with self.said.open("wb") as said, self.cried.open("wb") as cried:
                for user in users:
                    job["first"] = len(processes) * job["processes"]
                    command = ["ip", "netns", "exec", user, sys.executable, str(HERE / "visitor.py"), json.dumps(job)]
                    pipes: Any = dict(stdin=subprocess.PIPE, stdout=said, stderr=cried)
                    env = {**os.environ, "PYTHONPATH": str(HERE.parent / "support")}
                    processes.append(subprocess.Popen(command, start_new_session=True, env=env, **pipes))
            wait_for(lambda: self._are_done(processes, workers * each), within=90)
            visits: Visits = [json.loads(line) for line in self.said.read_text().splitlines()]
            took = time.monotonic() - began
            wait_for(lambda: not self.site.connections())
            wait_for(lambda: not any(self.server.admin.zcard(f"wanpool:{{test:{wan}}}:leased") for wan in range(wans)))
            for process in processes:
                process.stdin.close()  # they may go
            assert [process.wait(20) for process in processes] == [0] * len(processes), self.cried.read_text()
        finally:
            for process in processes:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.stdin.close()
                process.wait()
        counts = [len(kind(visits)) for kind in (failed, astray, moved)]
        print(ways, "{} visits in {:.1f} s: {} failed, {} astray, {} moved".format(len(visits), took, *counts))
        return visits

    def _are_done(self, processes: list[subprocess.Popen[bytes]], count: int) -> bool:
        cries = self.cried.read_text()
        assert all(process.poll() is None for process in processes) and not cries, cries
        return self.said.read_bytes().count(b"\n") == count


def failed(visits: Visits) -> Visits:
    return [visit for visit in visits if "error" in visit]


def astray(visits: Visits) -> Visits:
    """Those that left by another WAN."""
    return [visit for visit in visits if visit.get("address") not in (None, public_address(visit["wan"]))]


def moved(visits: Visits) -> Visits:
    """Those whose port became another one on the way."""
    return [visit for visit in visits if visit.get("seen") != visit.get("port")]


def check_all_kept(visits: Visits) -> None:
    assert failed(visits) == []
    assert astray(visits) == []
    assert moved(visits) == []


@pytest.fixture(params=[0, 2], ids=["hosts", "containers"])
def lab(request: Any, server: Server, tmp_path: Path) -> Iterator[Lab]:
    with site(request.param) as made, running(made.server, sys.executable, str(HERE / "echo.py")):
        yield Lab(made, server, tmp_path)


def test_ports_by_chance_collide(lab: Lab) -> None:
    """Without this the others would prove nothing."""
    visits = lab.visits("chance", ports=20, each=10)
    assert failed(visits), "ports that were still in use"
    assert len(moved(visits)) > len(visits) / 10
    lost = astray(visits) + [visit for visit in failed(visits) if "unreachable" in visit["error"]]
    assert bool(lost) == (len(lab.site.users) > 3), (
        "a NAT before the router's moves ports into another WAN, or into none"
    )


@pytest.mark.parametrize("ports", [200, 20])
def test_leased_ports_leave_by_their_wan_and_are_kept(lab: Lab, ports: int) -> None:
    check_all_kept(lab.visits("connect", "streams", ports=ports, each=10))


def test_bare_ports_can_be_bound_and_are_kept(lab: Lab) -> None:
    """By clients that know nothing of leases, and mostly close first."""
    check_all_kept(lab.visits(*CLIENTS, ports=400, each=30, ends=("client first", "server first")))
    assert no_port_was_refused(lab)


@pytest.mark.parametrize("lab", [2], ids=["containers"], indirect=True)
@pytest.mark.parametrize("way", [*BLOCKING, *ASYNC])
def test_leased_ports_of_http_clients_are_kept(lab: Lab, way: str) -> None:
    check_all_kept(lab.visits(way, ports=30, each=4, ends=("one request", "two requests", "server first")))


@pytest.mark.parametrize("lab", [0], ids=["hosts"], indirect=True)
def test_a_server_without_timestamps_blocks_no_port_that_is_granted(lab: Lab) -> None:
    """There a port that its client closed first is of no use to the same server for 60 s: here 51 of 60."""
    sysctl(lab.site.server, "net.ipv4.tcp_timestamps=0")
    ends = ("client first", "server first", "server first")
    visits = lab.visits("connect", "streams", ports=60, each=38, ends=ends, workers=4, users=1, wans=1)
    check_all_kept(visits)
    blocked = [visit["port"] for visit in visits if visit["end"] == "client first"]
    assert len(set(blocked)) == len(blocked) == 51
    assert no_port_was_refused(lab)


@pytest.mark.parametrize("lab", [0], ids=["hosts"], indirect=True)
@pytest.mark.parametrize("way", [*BLOCKING, *ASYNC])
def test_nor_any_that_an_http_client_gets(lab: Lab, way: str) -> None:
    sysctl(lab.site.server, "net.ipv4.tcp_timestamps=0")
    ends = ("one request", "two requests", "server first")
    check_all_kept(lab.visits(way, ports=60, each=12, ends=ends, workers=4, users=1, wans=1))
    assert no_port_was_refused(lab)


def no_port_was_refused(lab: Lab) -> bool:
    return not list(lab.server.admin.scan_iter("wanpool:{test:0}:quarantine:*"))
