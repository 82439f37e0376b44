"""wanpool tune on a Windows: the genuine CPython for it, a real registry and real code pages, under Wine.

What Wine cannot tell is not claimed: what a value does to a TCP stack, what Windows' own netsh does, who is elevated.
"""

from __future__ import annotations

import json
import re
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import windows
from made_netsh import FakeNetsh
from private_server import SERVERS, Server
from windows import Answers, Windows, make_locales, windows_path

from redis_wanpool import WanPortPool

POOL = ("--ports", "20000-21999")
KEY = r"SYSTEM\CurrentControlSet\Services\Tcpip\Parameters"
CODE_PAGES = {"C.UTF-8": "cp437", "zh_CN.UTF-8": "cp936", "fr_FR.UTF-8": "cp850"}
BUILDS = {"win81": "Windows 6.3.", "win10": "Windows 10.0."}
CHANGES = ["dynamicport ipv4", "dynamicport ipv6", "excludedportrange", "TcpTimedWaitDelay", "autotuninglevel"]
"""what is to be changed of a Windows whose dynamic ports are those below, in order"""
OURS = (20000, 21999, "*")
BEGIN = {"ipv4": (1025, 64510), "ipv6": (1025, 64510)}
DENY = """
import ctypes, sys, winreg
text = sys.argv[1]
advapi = ctypes.windll.advapi32
security = ctypes.c_void_p()
assert advapi.ConvertStringSecurityDescriptorToSecurityDescriptorW(text, 1, ctypes.byref(security), None)
with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, sys.argv[2], 0, 0x60000) as key:  # READ_CONTROL | WRITE_DAC
    assert advapi.RegSetKeySecurity(ctypes.c_void_p(key.handle), 4, security) == 0  # DACL_SECURITY_INFORMATION
"""
KILLED = """
import os, sys
from redis_wanpool.cli.main import main
from redis_wanpool.tuning.windows.netsh_store import Netsh
from redis_wanpool.tuning.windows.registry import WinRegistry
left = int(sys.argv[1])
def write(self, item, value, of={}):
    global left
    if not left:
        os._exit(99)
    left -= 1
    before[type(self)](self, item, value)
before = {store: store.write for store in (Netsh, WinRegistry)}
Netsh.write = WinRegistry.write = write
sys.exit(main(sys.argv[2:]))
"""
LEASES = """
import json, sys
from redis_wanpool import WanPortPool
with WanPortPool(sys.argv[1], namespace="test") as pool:
    with pool.connect(0, ("127.0.0.1", int(sys.argv[2])), timeout=20) as sock:
        seen = sock.recv(100).decode()
        print(json.dumps([sock.lease.port, sock.getsockname()[1], seen]))
    leases = pool.acquire_many(0, int(sys.argv[3]), at_least=1)
    print(json.dumps([sorted(lease.port for lease in leases), pool._engine.settings.rest]))
"""


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Windows]:
    folder = tmp_path_factory.mktemp("windows")
    make_locales(folder, "zh_CN", "fr_FR")
    with Answers() as answers:
        machine = Windows(folder / "prefix", answers)
        machine.begin()
        yield machine
        machine.end()
        answers.shutdown()


@pytest.fixture
def machine(installed: Windows) -> Iterator[Windows]:
    """A Windows 10 as it comes, but for what its netsh says, of which much is to be changed."""
    installed.netsh = FakeNetsh(dynamic=dict(BEGIN), level="disabled")
    installed.is_version("win10")
    assert installed.registry("TcpTimedWaitDelay") is None
    yield installed
    if not installed.has_netsh:
        installed.hang_up()
        installed.has_netsh = True
    if installed.locale != "C.UTF-8":
        installed.speaks("C.UTF-8")
    installed.run("reg", "delete", windows.PARAMETERS, "/v", "TcpTimedWaitDelay", "/f", code=None)
    for path in (installed.prefix / "drive_c" / "Program Files" / "redis-wanpool" / "tuning").glob("*"):
        path.unlink()


def facts(machine: Windows, *words: str) -> Any:
    return json.loads(machine.wanpool("tune", *words, "--json"))


def by_name(told: Any) -> dict[str, Any]:
    return {one["name"]: one for one in told["settings"]}


def test_the_contract_of_the_stores_holds_for_the_real_registry(machine: Windows) -> None:
    path = windows_path(windows.ROOT / "tests" / "tuning" / "test_stores.py")
    told = machine.python("-m", "pytest", "-q", "-rA", "--noconftest", "-p", "no:cacheprovider", path).decode()
    passed = re.search(r"^(\d+) passed in", told, re.MULTILINE)
    assert passed and "skipped" not in told, told
    real = re.findall(r"^PASSED .*WinRegistry", told, re.MULTILINE)
    assert 2 * len(real) == int(passed[1]) and len(real) >= 18, told


@pytest.mark.parametrize("version", BUILDS)
def test_show_plan_apply_and_undo(machine: Windows, version: str) -> None:
    machine.is_version(version)
    before = facts(machine, "show", *POOL)
    assert before["system"].startswith(BUILDS[version]) and before["rest"] == 120
    seen = by_name(before)
    assert (seen["TcpTimedWaitDelay"]["default"], seen["TcpTimedWaitDelay"]["allowed"]) == ("120", "2-300 s")
    assert seen["MaxUserPort"]["status"] == "legacy" and seen["TcpFinWait2Delay"]["status"] == "dead"
    planned = facts(machine, "plan", *POOL)["changes"]
    assert [name in one["item"] for name, one in zip(CHANGES, planned, strict=True)] == [True] * len(CHANGES)
    assert machine.registry("TcpTimedWaitDelay") is None and machine.netsh.level == "disabled"

    applied = facts(machine, "apply", *POOL)
    assert applied["changes"] == planned and applied["besides"] == []
    assert machine.registry("TcpTimedWaitDelay") == "REG_DWORD 0x1e"
    assert OURS in machine.netsh.excluded and machine.netsh.level == "normal"
    assert machine.netsh.dynamic["ipv4"] == machine.netsh.dynamic["ipv6"] == (49152, 16384)
    after = facts(machine, "show", *POOL)
    assert after["pending_restart"] == [rf"HKLM\{KEY}\TcpTimedWaitDelay"]
    assert after["rest"] == 120, "until the restart"
    assert "nothing to do" in machine.wanpool("tune", "apply", *POOL)

    machine.wanpool("tune", "undo")
    assert machine.registry("TcpTimedWaitDelay") is None
    assert machine.netsh.dynamic == BEGIN and machine.netsh.level == "disabled"
    assert OURS not in machine.netsh.excluded
    assert facts(machine, "show", *POOL)["pending_restart"] == []
    assert "nothing to undo" in machine.wanpool("tune", "undo")


@pytest.mark.parametrize("locale", CODE_PAGES)
def test_the_same_facts_in_any_code_page(machine: Windows, locale: str) -> None:
    """What netsh says comes in the system's language and code page, and so does what we print."""
    expected = by_name(facts(machine, "show", *POOL))
    machine.speaks(locale)
    told = machine.python("-m", "redis_wanpool.cli", "tune", "show", *POOL).decode(CODE_PAGES[locale])
    assert ("端口池的端口：20000-21999" if "zh" in locale else "the pool's ports: 20000-21999") in told
    found = machine.python("-m", "redis_wanpool.cli", "tune", "show", *POOL, "--json")
    seen = by_name(json.loads(found.decode(CODE_PAGES[locale])))
    for name in ("dynamicport ipv4 tcp", "excludedportrange tcp", "autotuninglevel", "TcpTimedWaitDelay"):
        assert (seen[name]["value"], seen[name]["status"]) == (expected[name]["value"], expected[name]["status"])
    assert seen["dynamicport ipv4 tcp"]["value"] == "1025-65534" and seen["autotuninglevel"]["value"] == "disabled"


def test_a_netsh_that_says_nothing_and_succeeds_is_not_believed(machine: Windows) -> None:
    """Wine's own."""
    machine.hang_up()
    machine.has_netsh = False
    seen = by_name(facts(machine, "show", *POOL))
    for name in ("dynamicport ipv4 tcp", "dynamicport ipv6 tcp", "excludedportrange tcp", "autotuninglevel"):
        assert (seen[name]["status"], seen[name]["value"], seen[name]["changes"]) == ("unknown", None, [])
    (only,) = facts(machine, "plan", *POOL)["changes"]
    assert only["item"].endswith("TcpTimedWaitDelay")


def test_who_may_not_write_is_told_so_and_nothing_is_done(machine: Windows) -> None:
    deny, allow = "D:(D;;0x6;;;WD)(A;;KA;;;WD)", "D:(A;;KA;;;WD)"
    machine.netsh = FakeNetsh(excluded=[OURS])  # so that the registry is the first to be written
    machine.python("-c", DENY, deny, KEY)
    try:
        assert by_name(facts(machine, "show", *POOL))["TcpTimedWaitDelay"]["status"] == "suggestion"
        told = machine.wanpool("tune", "apply", *POOL, code=77)
    finally:
        machine.python("-c", DENY, allow, KEY)
    assert re.search(r"^wanpool: .*TcpTimedWaitDelay: .*administrator", told, re.MULTILINE), told
    assert machine.registry("TcpTimedWaitDelay") is None
    assert "nothing to undo" in machine.wanpool("tune", "undo")
    machine.wanpool("tune", "apply", *POOL)
    assert machine.registry("TcpTimedWaitDelay") == "REG_DWORD 0x1e"


def test_a_kill_between_any_two_writes_leaves_the_way_back(machine: Windows) -> None:
    for writes in range(len(CHANGES) + 1):
        killed = writes < len(CHANGES)
        machine.python("-c", KILLED, str(writes), "tune", "apply", *POOL, code=99 if killed else 0)
        assert (machine.registry("TcpTimedWaitDelay") is not None) == (writes > 3)
        assert (machine.netsh.level == "normal") == (writes > 4)
        machine.wanpool("tune", "undo")
        assert machine.netsh.dynamic == BEGIN and machine.netsh.level == "disabled"
        assert OURS not in machine.netsh.excluded and machine.registry("TcpTimedWaitDelay") is None


def test_what_somebody_set_by_hand_is_left_alone(machine: Windows) -> None:
    """With its type: a text is not taken for a number, nor written over."""
    machine.wanpool("tune", "apply", *POOL)
    machine.run("reg", "add", windows.PARAMETERS, "/v", "TcpTimedWaitDelay", "/t", "REG_SZ", "/d", "60", "/f")
    told = machine.wanpool("tune", "undo", code=1)
    assert "somebody else set since" in told and machine.registry("TcpTimedWaitDelay") == "REG_SZ 60"
    seen = by_name(facts(machine, "show", *POOL))["TcpTimedWaitDelay"]
    assert seen["status"] == "unknown" and "REG_SZ" in seen["why"] and seen["changes"] == []
    machine.wanpool("tune", "undo", "--force")
    assert machine.registry("TcpTimedWaitDelay") is None


def test_the_old_module_shows_advises_and_applies(machine: Windows, tmp_path: Path) -> None:
    machine.python("-m", "redis_wanpool.cli", "adopt", "core/wan_manager", "--wan", "0=20000-21999", cwd=tmp_path)
    module = ("-m", "core.wan_manager.win_socket_optimizer")
    told = machine.python(*module, cwd=tmp_path).decode()
    assert "TcpTimedWaitDelay" in told and "netsh int ip reset" in told and "tune undo" in told
    assert machine.registry("TcpTimedWaitDelay") is None
    machine.speaks("zh_CN.UTF-8")
    assert "以管理员身份执行" in machine.python(*module, cwd=tmp_path).decode("cp936")
    machine.python(*module, "--apply", cwd=tmp_path)
    assert machine.registry("TcpTimedWaitDelay") == "REG_DWORD 0x1e"
    assert OURS in machine.netsh.excluded, "the ports of wanpool.toml"


@pytest.mark.parametrize(
    ("value", "rest"), [(None, 120), (("REG_DWORD", "30"), 30), (("REG_DWORD", "1000"), 240), (("REG_SZ", "30"), 240)]
)
def test_a_port_rests_as_long_as_windows_keeps_it(machine: Windows, value: tuple[str, str] | None, rest: float) -> None:
    if value is not None:
        kind, data = value
        machine.run("reg", "add", windows.PARAMETERS, "/v", "TcpTimedWaitDelay", "/t", kind, "/d", data, "/f")
    told = machine.python("-c", "from redis_wanpool.system.time_wait import default_rest; print(default_rest())")
    assert float(told) == rest


def test_without_a_redis_one_is_told_that_windows_has_no_embedded_server(machine: Windows) -> None:
    assert "WANPOOL_URL" in machine.wanpool("status", code=3)
    assert json.loads(machine.wanpool("server", "status", "--json", code=None))["running"] is False
    assert "the pool's ports: not known" in machine.wanpool("tune", "show")


class Echo(socketserver.BaseRequestHandler):
    """Tells each connection from where it seems to come."""

    def handle(self) -> None:
        self.request.sendall(f"{self.client_address[0]}:{self.client_address[1]}".encode())


def test_a_pool_on_windows_connects_from_its_ports_and_leases_none_that_windows_keeps(
    machine: Windows, tmp_path: Path
) -> None:
    machine.netsh = FakeNetsh(excluded=[(24004, 24999, "")])
    machine.run("reg", "add", windows.PARAMETERS, "/v", "TcpTimedWaitDelay", "/t", "REG_DWORD", "/d", "30", "/f")
    server = Server(SERVERS[0], tmp_path, "--port", "24290", "--bind", "127.0.0.1")
    try:
        with (
            WanPortPool(server.url, namespace="test") as here,
            socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as echo,
        ):
            here.define_wan(0, "24000-24011")
            threading.Thread(target=echo.serve_forever).start()
            try:
                told = machine.python("-c", LEASES, "redis://127.0.0.1:24290/0", str(echo.server_address[1]), "9")
            finally:
                echo.shutdown()
            first, rest = (json.loads(line) for line in told.decode().splitlines())
            leased, bound, seen = first
            assert leased == bound and seen == f"127.0.0.1:{leased}"
            assert leased < 24004 and set(range(24000, 24004)) == {leased, *rest[0]}
            assert rest[1] == 30
            assert here.get_port_usage_info()["total_allocated_ports"] == 0, "its end gave all back"
    finally:
        server.close()


FAMILY = """
import os, subprocess, sys, time
from pathlib import Path
from redis_wanpool.system.family import start
sleeper = "import time; time.sleep(600)"
child = f"import os, subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {sleeper!r}]); " \\
    "open('new', 'w').write(str(p.pid)); os.rename('new', 'pid'); p.wait()"
family = start(sys.executable, [sys.executable, "-c", child], dict(os.environ))
while not Path("pid").exists():
    time.sleep(0.05)
os._exit(0)
"""
ALIVE = "import sys, time, psutil\nwhile psutil.pid_exists(int(sys.argv[1])): time.sleep(0.1)"


def test_what_run_started_ends_when_run_is_killed(machine: Windows, tmp_path: Path) -> None:
    machine.python("-c", FAMILY, cwd=tmp_path)
    machine.python("-c", ALIVE, (tmp_path / "pid").read_text())
