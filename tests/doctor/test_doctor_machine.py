"""What the doctor says of the machine: the judgement on made-up facts, files and outputs, and one look at this one."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
from private_server import Server
from tuned import FakeNetsh

from redis_wanpool import Operator
from redis_wanpool.doctor import linux, occupied, process, windows
from redis_wanpool.doctor.examine import examine_machine, examine_redis
from redis_wanpool.doctor.finding import FAIL, OK, WARN, Finding
from redis_wanpool.doctor.linux import LinuxFacts
from redis_wanpool.doctor.occupied import Taken
from redis_wanpool.doctor.process import ProcessFacts
from redis_wanpool.doctor.windows import WindowsFacts
from redis_wanpool.model.views import WanSnapshot
from redis_wanpool.settings import settings
from redis_wanpool.system.netsh import Excluded

KERNEL = LinuxFacts(ephemeral=(32768, 60999), reserved="", timestamps=1, unprivileged=1024, boot_id=True, clock="tsc")


def codes(findings: Iterator[Finding]) -> dict[str, str]:
    found = list(findings)
    for one in found:
        assert one.severity == OK or one.means, one
    return {one.code: one.severity for one in found}


# -- Linux


@pytest.mark.parametrize(
    ("changed", "ports", "code", "severity"),
    [
        ({}, range(20000, 22000), "kernel-ports", OK),
        ({}, range(32000, 32768), "kernel-ports", OK),
        ({}, range(32000, 32769), "kernel-ports", FAIL),
        ({}, range(60999, 61002), "kernel-ports", FAIL),
        ({}, range(61000, 61002), "kernel-ports", OK),
        ({"reserved": "40000-41999"}, range(40000, 42000), "kernel-ports", OK),
        ({"reserved": "40000-41998"}, range(40000, 42000), "kernel-ports", FAIL),
        ({"reserved": "1,40000-41999"}, range(40000, 42000), "kernel-ports", OK),
        ({"reserved": "0-1023,40000-41999"}, range(40000, 42000), "kernel-ports", OK),
        ({"ephemeral": None}, range(40000, 42000), "kernel-ports", None),
        ({}, (), "kernel-ports", None),
        ({"timestamps": 0}, (), "timestamps", WARN),
        ({"timestamps": 2}, (), "timestamps", OK),
        ({"timestamps": None}, (), "timestamps", None),
        ({}, range(1023, 1025), "privileged-ports", FAIL),
        ({"is_privileged": True}, range(1023, 1025), "privileged-ports", WARN),
        ({"unprivileged": 0}, range(1, 10), "privileged-ports", None),
        ({"unprivileged": None}, range(1, 10), "privileged-ports", None),
        ({"boot_id": False}, (), "identity", WARN),
        ({"clock": None}, (), "identity", OK),
        ({"unseen": (("/proc/sys/x", "Permission denied"),)}, (), "unseen", WARN),
    ],
)
def test_a_kernel_is_judged(changed: Any, ports: Any, code: str, severity: str | None) -> None:
    facts = LinuxFacts(**{name: changed.get(name, getattr(KERNEL, name)) for name in LinuxFacts.__dataclass_fields__})
    assert codes(linux.judge(facts, ports)).get(code) == severity


def test_the_line_to_add_keeps_what_is_reserved_already() -> None:
    kernel = LinuxFacts(ephemeral=(32768, 60999), reserved="8080,40000-40009")
    (found,) = (one for one in linux.judge(kernel, range(40005, 40100)) if one.code == "kernel-ports")
    assert "40010-40099" in found.seen, "these the kernel gives away"
    assert found.cure.splitlines() == [
        "wanpool tune apply; or as root: sysctl -w net.ipv4.ip_local_reserved_ports=8080,40000-40099",
        "to last, in /etc/sysctl.d/90-wanpool.conf: net.ipv4.ip_local_reserved_ports = 8080,40000-40099",
    ]


FILES = {
    "proc/sys/net/ipv4/ip_local_port_range": "32768\t60999\n",
    "proc/sys/net/ipv4/ip_local_reserved_ports": "8080\n",
    "proc/sys/net/ipv4/tcp_timestamps": "1\n",
    "proc/sys/net/ipv4/ip_unprivileged_port_start": "1024\n",
    "proc/sys/kernel/random/boot_id": "d6b5\n",
    "proc/self/status": "Name:\tx\nCapEff:\t0000000000000400\n",
    "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
}


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_kernel_is_read(tmp_path: Path) -> None:
    assert linux.look(write(tmp_path, FILES)) == LinuxFacts((32768, 60999), "8080", 1, 1024, True, True, "tsc")


def test_what_cannot_be_read_is_told_and_not_guessed(tmp_path: Path) -> None:
    facts = linux.look(tmp_path)
    assert (facts.ephemeral, facts.reserved, facts.timestamps, facts.boot_id) == (None, None, None, False)
    found = [(one.severity, one.code) for one in linux.judge(facts, range(40000, 40010))]
    assert set(found) == {(WARN, "identity"), (WARN, "unseen")}
    write(tmp_path, {"proc/sys/net/ipv4/ip_local_port_range": "nonsense \n", "proc/self/status": ""})
    assert linux.look(tmp_path).ephemeral is None


# -- the process


@pytest.mark.parametrize(
    ("facts", "found"),
    [
        (ProcessFacts(1024), {"files": OK, "network": OK}),
        (ProcessFacts(1023), {"files": WARN, "network": OK}),
        (ProcessFacts(None), {"network": OK}),
        (ProcessFacts(None, "site-a"), {"network": OK}),
        (ProcessFacts(None, "site-a", is_inside=True), {"network": WARN}),
        (ProcessFacts(None, is_inside=True), {"network": OK}),
    ],
)
def test_a_process_is_judged(facts: ProcessFacts, found: dict[str, str]) -> None:
    assert codes(process.judge(facts, 1024)) == found


ROUTES = "Iface Destination Gateway Flags RefCnt Use Metric Mask\neth0 00000000 010200C0 3 0 0 0 {}\n"


@pytest.mark.parametrize(
    ("mask", "iflink", "uevent", "inside"),
    [
        ("00000000", "6", "INTERFACE=eth0\n", False),
        ("00000000", "7", "INTERFACE=eth0\n", True),
        ("00000000", "7", "DEVTYPE=vlan\nINTERFACE=eth0\n", False),
        ("00FFFFFF", "7", "INTERFACE=eth0\n", False),
    ],
)
def test_a_way_out_through_this_machine_is_seen(
    tmp_path: Path, mask: str, iflink: str, uevent: str, inside: bool
) -> None:
    device = {"ifindex": "6\n", "iflink": f"{iflink}\n", "uevent": uevent}
    write(tmp_path, {"proc/net/route": ROUTES.format(mask)})
    assert not process.look("n", tmp_path).is_inside, "without /sys nothing is known"
    write(tmp_path, {f"sys/class/net/eth0/{name}": text for name, text in device.items()})
    assert process.look("n", tmp_path).is_inside == inside


# -- sockets

LISTENS = Taken(20000, True, "", "nginx", 17)
CONNECTED = Taken(20001, False, "192.0.2.1:443", "curl", 18)
ACCEPTED = Taken(20000, False, "192.0.2.1:40000", "nginx", 17)
HIDDEN = Taken(20002, False, "192.0.2.1:443", "", None)


@pytest.mark.parametrize(
    ("before", "leased", "after", "severity", "said"),
    [
        (set(), set(), set(), OK, ""),
        ({LISTENS}, set(), {LISTENS}, WARN, "20000 listening, nginx (pid 17)"),
        ({CONNECTED}, set(), {CONNECTED}, WARN, "20001 -> 192.0.2.1:443, curl (pid 18)"),
        ({HIDDEN}, set(), {HIDDEN}, WARN, "20002 -> 192.0.2.1:443, a program that this user cannot see"),
        ({CONNECTED}, {20001}, {CONNECTED}, OK, ""),
        ({LISTENS, ACCEPTED}, set(), {LISTENS, ACCEPTED}, WARN, "a lease: 20000 listening, nginx (pid 17)"),
        ({CONNECTED}, set(), set(), OK, ""),
        (set(), set(), {CONNECTED}, OK, ""),
    ],
)
def test_sockets_without_a_lease_are_told(before: Any, leased: Any, after: Any, severity: str, said: str) -> None:
    (found,) = occupied.judge(frozenset(before), leased, frozenset(after))
    assert (found.severity, found.code) == (severity, "occupied") and found.seen.endswith(said)


def test_a_crowd_of_sockets_is_shortened() -> None:
    crowd = frozenset(Taken(port, True, "", "x", 1) for port in range(20000, 20012))
    (found,) = occupied.judge(crowd, (), crowd)
    assert found.seen.endswith("20004 listening, x (pid 1) and 7 more")


@pytest.mark.parametrize("error", [psutil.AccessDenied(), PermissionError(errno.EACCES, "no"), RuntimeError("no")])
def test_a_system_that_lists_no_sockets(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kind: str) -> None:
        raise error

    monkeypatch.setattr(psutil, "net_connections", refuse)
    assert occupied.look([1]) is None
    (found,) = occupied.judge(None, (), None)
    assert (found.severity, found.code) == (WARN, "unseen")


def test_a_program_that_hides_is_nobody_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int) -> None:
        raise psutil.AccessDenied(pid)

    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(psutil, "Process", refuse)
        found = occupied.look([server.getsockname()[1]])
    assert found is not None and [(one.listens, one.program) for one in found] == [(True, "")]


# -- Windows


ADD = "netsh int ipv4 add excludedportrange protocol=tcp startport"


def windows_facts(first: int, last: int, is_administered: bool) -> WindowsFacts:
    """Of a machine with one excluded range: within the dynamic ports if an administrator excluded it."""
    dynamic = (1024, 15000) if is_administered else (49152, 65535)
    return WindowsFacts(dynamic, (Excluded(first, last, is_administered),))


@pytest.mark.parametrize(
    ("facts", "ports", "found", "said"),
    [
        (WindowsFacts((49152, 65535), ()), range(20000, 20010), [(OK, "kernel-ports")], ""),
        (windows_facts(10005, 10009, True), range(10000, 10020), [(FAIL, "kernel-ports")], f"{ADD}=10010 number"),
        (windows_facts(10000, 10999, True), range(10000, 10020), [(OK, "kernel-ports")], ""),
        (windows_facts(20005, 20100, False), range(20000, 20010), [(FAIL, "excluded-ports")], "20005-20009"),
        (WindowsFacts(None, ()), range(10), [(WARN, "unseen")], "netsh"),
        (WindowsFacts((49152, 65535), None), range(10), [(WARN, "unseen")], "netsh"),
    ],
)
def test_windows_is_judged(facts: WindowsFacts, ports: Any, found: Any, said: str) -> None:
    findings = list(windows.judge(facts, ports))
    assert [(one.severity, one.code) for one in findings] == found
    assert said in f"{findings[0].seen}\n{findings[0].cure}"


def test_what_netsh_does_not_tell_is_not_made_up() -> None:
    assert windows.look(lambda words: (0, "")) == WindowsFacts(None, None), "as Wine's netsh does"
    assert windows.look(FakeNetsh(elevated=False)) == WindowsFacts(
        (49152, 65535), (Excluded(5357, 5357, False), Excluded(50000, 50059, True))
    )


# -- this machine


def examined(operator: Operator, url: str) -> list[Finding]:
    wanted = settings(url=url)
    return examine_machine(operator, wanted, examine_redis(operator, wanted))


def test_this_machine_is_examined_for_real(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    first, last = int(kernel[0]), int(kernel[1])
    with Operator(server.url) as operator, operator.pool() as pool, ExitStack() as stack:
        pool.define_wan(0, "24400-24409")
        pool.define_wan(1, f"{first}-{first + 9}")
        port = 24490
        squatter = stack.enter_context(socket.create_server(("127.0.0.1", port)))
        pool.define_wan(2, str(port))
        with pool.connect(0, squatter.getsockname()) as sock:
            leased = sock.getsockname()[1]
            found = {one.code: one for one in examined(operator, server.url)}
    assert found["kernel-ports"].severity == FAIL and f"{first}-{first + 9}" in found["kernel-ports"].seen
    assert f"({linux.RANGE} = {first} {last})" in found["kernel-ports"].seen
    program = psutil.Process().name()
    assert f"{port} listening, {program}" in found["occupied"].seen
    assert str(leased) not in found["occupied"].seen, "a leased connection is nobody's fault"
    assert found["timestamps"].severity in (OK, WARN) and found["identity"].severity == OK


def test_only_the_leases_of_wans_whose_ports_are_in_use_are_listed(server: Server, monkeypatch: Any) -> None:
    """Or the doctor of a large site lists 60,000 leases to judge three sockets."""
    with Operator(server.url) as operator, socket.create_server(("127.0.0.1", 0)) as squatter:
        port = squatter.getsockname()[1]
        operator.define_wan(0, str(port))
        operator.define_wan(1, "1024-1033")
        listed: list[int] = []
        snapshot = operator.snapshot

        def noting(wan_idx: int, *, leases: bool = False) -> WanSnapshot:
            listed.extend([wan_idx] if leases else [])
            return snapshot(wan_idx, leases=leases)

        monkeypatch.setattr(operator, "snapshot", noting)
        found = {one.code: one for one in examined(operator, server.url)}
    assert f"{port} listening" in found["occupied"].seen
    assert listed == [0]


def test_another_system_is_told_as_not_examined(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with Operator(server.url) as operator:
        operator.define_wan(0, "24400-24409")
        monkeypatch.setattr(sys, "platform", "sunos5")
        found = examined(operator, server.url)
    assert any(one.code == "unseen" and "sunos5" in one.seen for one in found)
