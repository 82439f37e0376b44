"""`wanpool doctor` behind a router with three WANs, and behind one that does not do its part."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from namespaces import NAT, SERVER, WANS, Site, first_port, inside, ip, public_address, running, site
from private_server import Server

from redis_wanpool import WanPortPool

WANPOOL = [sys.executable, "-m", "redis_wanpool.cli"]


@pytest.fixture
def behind(server: Server) -> Iterator[Site]:
    """A site with an echo endpoint beyond its router."""
    with WanPortPool(server.url, namespace="test") as pool:
        for wan in range(WANS):
            pool.define_wan(wan, f"{first_port(wan)}-{first_port(wan) + 99}")
    with site(0) as made:
        ip(made.router, "route add default via 198.51.100.1 dev wan0")
        with running(made.server, *WANPOOL, "echo", "--bind", SERVER, says=f"listens on {SERVER}:7801"):
            yield made


def doctor(site: Site, server: Server, *options: str) -> tuple[int, dict[str, Any]]:
    command = ["ip", "netns", "exec", site.users[0], *WANPOOL, "doctor", "--echo", f"{SERVER}:7801"]
    where = ["--url", server.url, "--namespace", "test"]
    subprocess.run([*command, *where, *options], timeout=90, check=False)  # for the eyes
    done = subprocess.run(
        [*command, *where, *options, "--json"], capture_output=True, text=True, timeout=90, check=False
    )
    assert not done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)


def codes(told: dict[str, Any]) -> dict[str, list[int]]:
    """What is said of WANs as seen from beyond the router."""
    ours = {"kept", "same-address", "rewritten", "unreachable"}
    return {finding["code"]: finding["wans"] for finding in told["findings"] if finding["code"] in ours}


def test_all_is_well(behind: Site, server: Server) -> None:
    code, told = doctor(behind, server)
    assert (code, codes(told)) == (0, {"kept": [0, 1, 2]})
    assert len({own for wan in told["wans"] for _, own in (one["own"] for one in wan["connections"])}) == 15
    assert [wan["addresses"] for wan in told["wans"]] == [[public_address(wan)] for wan in range(WANS)]
    assert all(wan["kept"] == wan["answered"] == wan["tried"] == 5 for wan in told["wans"])


def test_a_rule_is_missing(behind: Site, server: Server) -> None:
    ip(behind.router, "rule del pref 1001")
    code, told = doctor(behind, server)
    assert code == 1 and codes(told)["same-address"] == [0, 1] and codes(told)["kept"] == [2]


def test_the_nat_chooses_ports_anew(behind: Site, server: Server) -> None:
    inside(behind.router, "nft", "flush", "ruleset")
    inside(behind.router, "nft", "-f", "-", text=NAT.format("wan*").replace("masquerade", "masquerade fully-random"))
    code, told = doctor(behind, server)
    assert code == 1
    assert [finding["wans"] for finding in told["findings"] if finding["code"] == "rewritten"] == [[0], [1], [2]]


def test_a_line_is_down(behind: Site, server: Server) -> None:
    ip(behind.router, "link set wan2 down")
    code, told = doctor(behind, server)
    assert code == 1 and codes(told)["unreachable"] == [2] and codes(told)["kept"] == [0, 1]
