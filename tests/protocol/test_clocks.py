"""Clients whose wall clocks are wrong: leases, cool-downs and deadlines last as long as they should."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from command_line import python
from holds import Hold, check_no_overlap, shifted
from private_server import Server
from waiting import KEPT_TTL

from redis_wanpool import WanPortPool
from redis_wanpool.system.clock import boottime

PREFIX = "wanpool:{test:0}:"
HOUR = 3600.0
STEPS = [HOUR, 10.0, -10.0, -HOUR]


CLIENT = """
import json, sys, time
from redis_wanpool import PoolExhausted, WanPortPool
from redis_wanpool.system.clock import boottime

said = {"wall": time.time(), "boot": boottime()}
with WanPortPool(sys.argv[1], namespace="test", network="there", rest=0) as pool:
    taken = pool.acquire_many(0, 3)
    try:
        pool.acquire(0)
    except PoolExhausted as error:
        said["free_in"] = error.free_in
    for lease in taken:
        lease.release(used=False)
    lease = pool.acquire(0, port=20000)
    first = lease.expires_at
    while lease.expires_at == first:
        time.sleep(0.01)
    lease.check()
    said |= {"expires_at": lease.expires_at, "deadline": lease.deadline, "released": [boottime()]}
    assert lease.release() is True
    said["released"].append(boottime())
    said["taken"] = [boottime()]
    lease = pool.acquire(0, port=20001, ttl=0.5, detached=True)
    said["taken"].append(boottime())
    assert lease.wait_lost() is True and lease.reason == "expired" and boottime() >= lease.deadline
    said |= {"ends_at": lease.expires_at, "lost_by": lease.deadline}
print(json.dumps(said))
"""


def hear(*clients: subprocess.Popen[str]) -> list[Any]:
    """What programs say at their ends."""
    try:
        ends = [client.communicate(timeout=60) for client in clients]
    finally:
        for client in clients:
            client.kill()
    for client, (_, errors) in zip(clients, ends, strict=True):
        assert client.returncode == 0, errors
    return [json.loads(output) for output, _ in ends]


def start(program: str, *args: str, offset: str) -> subprocess.Popen[str]:
    """Starts a program whose clock is off."""
    return python("-c", program, *args, env=shifted(FAKETIME=offset), stdin=None)


def server_minus_boot(server: Server) -> tuple[float, float]:
    """What to add at least, and at most, to the boot clock to get the server's time."""
    before = boottime()
    seconds, micros = server.admin.time()
    after = boottime()
    return seconds + micros / 1e6 - after - 0.05, seconds + micros / 1e6 - before + 0.05


@pytest.mark.slow
@pytest.mark.parametrize("offset", ["+1h", "-1h"])
def test_a_client_whose_clock_is_an_hour_off_sees_and_does_the_same(server: Server, offset: str) -> None:
    with WanPortPool(server.url, namespace="test", network="here", rest=0) as pool:
        pool.define_wan(0, "20000-20002", cooldown=2, lease_ttl=KEPT_TTL)
        (said,) = hear(start(CLIENT, server.url, offset=offset))
        least, most = server_minus_boot(server)
        assert abs(said["wall"] - time.time() - (HOUR if offset == "+1h" else -HOUR)) < HOUR / 2
        assert abs(said["boot"] - boottime()) < HOUR / 2
        assert 0 < said["free_in"] <= KEPT_TTL + 2
        assert said["deadline"] + least < said["expires_at"] < said["deadline"] + most + 30

        free_at = int(server.admin.hget(PREFIX + "grants", 20000).split(" ")[4]) / 1000
        assert said["released"][0] + least <= free_at - 2 <= said["released"][1] + most
        assert pool.acquire(0, port=20000, wait=20).expires_at - KEPT_TTL >= free_at - 0.001

        assert said["taken"][0] + least <= said["ends_at"] - 0.5 <= said["taken"][1] + most
        assert said["lost_by"] + least < said["ends_at"]
        assert pool.acquire(0, port=20001, wait=20).expires_at - KEPT_TTL >= said["ends_at"] + 2 - 0.001


WORKER = """
import json, sys, time
sys.path.insert(0, sys.argv[2])
from redis_wanpool import WanPortPool
from holds import hold

held = []
with WanPortPool(sys.argv[1], namespace="test", rest=0) as pool:
    for turn in range(int(sys.argv[3])):
        lease = pool.acquire(0, wait=30)
        hold(lease, turn % 7 + 1, held)
        assert lease.release(used=turn % 2 == 0) is True
print(json.dumps({"wall": time.time(), "held": [[h.port, h.since, h.until] for h in held]}))
"""


@pytest.mark.long
def test_clients_an_hour_ahead_and_an_hour_behind_share_ports(server: Server) -> None:
    with WanPortPool(server.url, namespace="test", rest=0) as pool:
        pool.define_wan(0, "20000-20001", cooldown=0, lease_ttl=KEPT_TTL)
    here = str(Path(__file__).parents[1] / "support")
    said = hear(*[start(WORKER, server.url, here, "40", offset=offset) for offset in ("-1h", "+0", "+1h")])
    behind, right, ahead = (one["wall"] for one in said)
    assert right - behind > HOUR / 2 and ahead - right > HOUR / 2
    holds = [Hold(*fields) for one in said for fields in one["held"]]
    assert len(holds) == 120
    check_no_overlap(holds)
