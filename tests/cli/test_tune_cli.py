"""What `wanpool tune` shows an operator, and answers a program; on machines that are made up."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from command_line import says, tells, wanpool
from tuned import BOOTED, FakeNetsh, linux_machine, windows_machine
from waiting import wait_for

from redis_wanpool import WanPortPool
from redis_wanpool.cli import optimizer
from redis_wanpool.system import time_wait as rest
from redis_wanpool.tuning import Item, System, TuningError, Value, measure
from redis_wanpool.tuning.linux.settings import FILE, RESERVED
from redis_wanpool.tuning.windows.settings import TIME_WAIT

PORTS = ("--ports", "20000-21999")
UNREACHABLE = "redis://127.0.0.1:1"
KEY = r"HKLM\SYSTEM\CurrentControlSet\Services\Tcpip\Parameters"
SHOWN = dict(
    part.split("\n", 1) for part in Path(__file__).with_name("tune.txt").read_text(encoding="utf-8").split("== ")[1:]
)
"""what is printed, by its name there"""
OF_ALL = "these settings count for all programs of this machine; wanpool tune undo takes them back\n"


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[System], System]:
    """Makes `wanpool tune` run on a machine."""

    def use(system: System) -> System:
        monkeypatch.setattr("redis_wanpool.cli.tune.this_machine", lambda: system)
        monkeypatch.setattr("redis_wanpool.cli.optimizer.this_machine", lambda: system)
        return system

    monkeypatch.setattr(measure, "lingering", lambda _: measure.Lingering(1, 0))
    monkeypatch.setattr(rest, "default_rest", lambda: 65.0)
    return use


@pytest.fixture
def windows(use: Any, tmp_path: Path) -> System:
    netsh = FakeNetsh(dynamic={"ipv4": (1025, 64511), "ipv6": (49152, 16384)})
    return use(windows_machine(tmp_path / "windows", netsh=netsh))  # type: ignore[no-any-return]


@pytest.fixture
def linux(use: Any, tmp_path: Path) -> System:
    root = tmp_path / "linux"
    system = linux_machine(root, ip_local_reserved_ports="8080", tcp_timestamps="0", ip_forward="1")
    folder = root / "proc/sys/net/netfilter"
    folder.mkdir()
    texts = {"max": 262144, "count": 12, "tcp_timeout_established": 432000, "tcp_timeout_time_wait": 120}
    for name, number in texts.items():
        (folder / f"nf_conntrack_{name}").write_text(f"{number}\n")
    return use(replace(system, name="Linux 6.12"))  # type: ignore[no-any-return]


def tune(*words: str, code: int = 0) -> str:
    return says("tune", *words, code=code)


def documented(*words: str, code: int = 0) -> Any:
    return tells("tune", *words, code=code)


# -- on Linux


def test_linux_is_shown(linux: System) -> None:
    assert tune("show", *PORTS) == SHOWN["linux shown"]


def test_linux_is_planned_applied_once_and_undone(linux: System) -> None:
    (linux.folder.parents[3] / "etc/sysctl.d").mkdir()
    file = linux.folder.parents[3] / FILE.lstrip("/")
    file.write_text(f"# of this machine\n{RESERVED} = 8080\n")
    assert tune("plan", *PORTS) == SHOWN["linux planned"]
    assert tune("apply", *PORTS) == SHOWN["linux planned"] + OF_ALL + "done, and read back: 3 changes\n"
    nothing = "the pool's ports: 20000-21999\nnothing to do: all is as it should be, or not known\n"
    assert tune("apply", *PORTS) == tune("plan", *PORTS) == nothing
    tune("undo")
    assert file.read_text() == f"# of this machine\n{RESERVED} = 8080\n"
    assert tune("undo") == "nothing to undo\n"


def test_a_file_that_was_not_there_goes_again(linux: System) -> None:
    assert "90-wanpool.conf (new):\n  + # Written" in tune("apply", *PORTS)
    assert tune("undo") == SHOWN["linux undone"]


def test_one_change_is_one_change(use: Any, tmp_path: Path) -> None:
    use(linux_machine(tmp_path, ip_local_reserved_ports="20000-21999"))
    assert "(1 change)" in tune("show", *PORTS)
    assert "read back: 1 change\n" in tune("apply", *PORTS)


def test_what_somebody_set_since_is_left_and_told(linux: System) -> None:
    tune("apply", *PORTS)
    linux.stores["sysctl"].write(Item("sysctl", "", RESERVED), Value("sysctl", "9"))
    told = tune("undo", code=1)
    assert f"sysctl {RESERVED} is 9, which somebody else set since: left alone. To set it back to 8080: " in told
    left = documented("undo", code=1)
    assert left["changes"] == []
    assert left["left"] == [{"item": f"sysctl {RESERVED}", "before": "9", "after": "8080", "needs_restart": False}]
    assert f"sysctl {RESERVED}: 9 -> 8080\n" in tune("undo", "--force")


def test_what_apply_cannot_do_is_left_to_the_operator(use: Any, tmp_path: Path) -> None:
    use(linux_machine(tmp_path, ip_local_port_range="20000 22500"))
    assert f"left to you: {RESERVED}: the pool would leave" in tune("plan", *PORTS)
    assert f"left to you: {RESERVED}: the pool would leave" in tune("apply", *PORTS, code=1)
    told = documented("apply", *PORTS, code=1)
    assert told["changes"] == [] and [one["name"] for one in told["left"]] == [RESERVED]


# -- on Windows


def test_windows_is_planned_applied_once_and_undone(windows: System) -> None:
    assert tune("plan", *PORTS) == SHOWN["windows planned"]
    pending = f"in effect after a restart: {KEY}\\TcpTimedWaitDelay\n"
    assert tune("apply", *PORTS) == SHOWN["windows planned"] + OF_ALL + "done, and read back: 3 changes\n" + pending
    assert tune("apply", *PORTS).splitlines()[1:] == [
        "nothing to do: all is as it should be, or not known",
        pending.rstrip(),
    ]
    assert tune("undo").splitlines() == [
        f"{KEY}\\TcpTimedWaitDelay: 30 -> absent (in effect after a restart)",
        "netsh excludedportrange 20000-21999: 20000-21999 -> absent",
        "netsh dynamicport ipv4 tcp: 49152-65535 -> 1025-65535",
        "taken back, and read back: 3 changes",
    ]


def test_a_restart_is_asked_for_until_it_happened(windows: System, use: Any) -> None:
    tune("apply", *PORTS)
    told = documented("show", *PORTS)
    assert told["pending_restart"] == [f"{KEY}\\TcpTimedWaitDelay"]
    (delay,) = [one for one in told["settings"] if one["name"] == "TcpTimedWaitDelay"]
    assert delay["value"] == "120 (30 is written, and in effect after a restart)"
    use(replace(windows, booted_at=BOOTED * 1e9))
    told = documented("show", *PORTS)
    assert told["pending_restart"] == []
    assert [one["value"] for one in told["settings"] if one["name"] == "TcpTimedWaitDelay"] == ["30"]
    assert "in effect after a restart" not in tune("show", *PORTS)


def test_wishes_are_fulfilled(windows: System) -> None:
    words = ("--time-wait", "60", "--dynamic", "50000-60000", "--fin-wait-2", "30")
    planned = {one["item"]: one["after"] for one in documented("plan", *PORTS, *words)["changes"]}
    assert planned == {
        "netsh dynamicport ipv4 tcp": "50000-60000",
        "netsh dynamicport ipv6 tcp": "50000-60000",
        "netsh excludedportrange 20000-21999": "20000-21999",
        f"{KEY}\\TcpTimedWaitDelay": "60",
        f"{KEY}\\TcpFinWait2Delay": "30",
    }


def test_windows_is_planned_in_chinese(windows: System, chinese: None) -> None:
    assert tune("plan", *PORTS) == SHOWN["windows planned in chinese"]


def test_windows_speaks_chinese_all_the_way(windows: System, chinese: None) -> None:
    shown = tune("show", *PORTS)
    assert "Windows 会把端口池的 2000 个端口随意分给其他程序" in shown and "默认 49152-65535" in shown
    assert "可执行：wanpool tune plan（3 项更改）" in shown
    assert "已完成并核对：3 项更改" in tune("apply", *PORTS)
    assert "已撤销并核对：3 项更改" in tune("undo")
    assert tune("undo") == "没有可撤销的更改\n"
    assert "参数或设置有误" in tune("plan", "--ports", "x", code=2)


def test_linux_speaks_chinese_all_the_way(linux: System, chinese: None) -> None:
    shown = tune("show", *PORTS)
    assert "内核不会把保留端口随意分给其他程序" in shown and "本机 NAT 记住已结束连接的秒数" in shown
    assert "租用的端口静置 65 秒" in shown
    assert "90-wanpool.conf（新建）:" in tune("apply", *PORTS)
    linux.stores["sysctl"].write(Item("sysctl", "", RESERVED), Value("sysctl", "9"))
    assert "之后被他人改过，未动" in tune("undo", code=1)


# -- the documents


def test_the_document_of_show(linux: System) -> None:
    told = documented("show", *PORTS)
    settings = {one.pop("name"): one for one in told.pop("settings")}
    assert told == {
        "system": "Linux 6.12",
        "ports": "20000-21999",
        "rest": 65.0,
        "pending_restart": [],
        "time_wait": {"measured": None, "connections": 1, "of_the_pool": 0},
        "trouble": None,
    }
    why = settings["net.ipv4.tcp_timestamps"].pop("why")
    assert "65 s in place of 1" in why
    assert settings["net.ipv4.tcp_timestamps"] == {
        **{"status": "suggestion", "value": "0", "source": "kernel", "default": "1", "allowed": "0-2"},
        "changes": [{"item": "sysctl net.ipv4.tcp_timestamps", "before": "0", "after": "1", "needs_restart": False}],
    }


@pytest.mark.parametrize("verb", ["plan", "apply"])
def test_the_document_of_plan_and_apply(windows: System, verb: str) -> None:
    told = documented(verb, *PORTS)
    changes = told.pop("changes")
    assert told == {
        "applied": verb == "apply",
        "ports": "20000-21999",
        "left": [],
        "besides": [],
        "pending_restart": [f"{KEY}\\TcpTimedWaitDelay"] if verb == "apply" else [],
        "trouble": None,
    }
    assert changes[-1] == {"item": f"{KEY}\\TcpTimedWaitDelay", "before": None, "after": "30", "needs_restart": True}
    assert windows.read(TIME_WAIT) == (Value("REG_DWORD", 30) if verb == "apply" else None)


def test_the_document_of_undo(windows: System) -> None:
    tune("apply", *PORTS)
    told = documented("undo")
    assert [one["item"] for one in told.pop("changes")] == [
        f"{KEY}\\TcpTimedWaitDelay",
        "netsh excludedportrange 20000-21999",
        "netsh dynamicport ipv4 tcp",
    ]
    assert told == {"left": [], "pending_restart": []}


# -- usage, and who may


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("show", "--ports", "20000-"), "neither a port nor a range"),
        (("plan", "--ports", ""), "give a list of ports"),
        (("plan", "--dynamic", "1024-65535"), "at least 255 ports from 1025"),
        (("plan", "--dynamic", "50000-50253"), "at least 255 ports from 1025"),
        (("apply", "--dynamic", "15000-30000", *PORTS), "the pool has ports there"),
        (("plan", "--time-wait", "1", *PORTS), "TcpTimedWaitDelay"),
        (("apply", "--time-wait", "301", *PORTS), "TcpTimedWaitDelay"),
        (("apply", "--fin-wait-2", "29", *PORTS), "TcpFinWait2Delay"),
        (("apply", "--measure"), "only `wanpool tune show` measures"),
        (("undo", "--measure"), "only `wanpool tune show` measures"),
        (("show", "--force"), "only `wanpool tune undo` can be forced"),
        (("apply", "--force"), "only `wanpool tune undo` can be forced"),
    ],
)
def test_bad_usage_is_refused_before_anything_is_done(windows: System, words: tuple[str, ...], told: str) -> None:
    error = tune(*words, code=2)
    assert error.startswith("wanpool: ") and told in error and len(error.splitlines()) == 1
    assert not windows.folder.exists()


@pytest.mark.parametrize(
    "words", [("--time-wait", "30"), ("--dynamic", "50000-60000"), ("--fin-wait-2", "30"), ("--dynamic", "x")]
)
@pytest.mark.parametrize("verb", ["show", "apply", "undo"])
def test_linux_refuses_what_only_windows_has(linux: System, verb: str, words: tuple[str, ...]) -> None:
    assert f"{words[0]}: only Windows has that setting; this is Linux 6.12" in tune(verb, *words, code=2)


@pytest.mark.parametrize("words", [("reset",), ("plan", "--time-wait", "soon"), ()])
def test_what_is_no_command_is_usage(linux: System, words: tuple[str, ...]) -> None:
    assert "(wanpool help tune)" in tune(*words, code=2)


@pytest.mark.parametrize("verb", ["apply", "undo"])
def test_who_is_no_administrator_is_told_and_changes_nothing(
    linux: System, use: Any, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if verb == "undo":
        tune("apply", *PORTS)
    before = linux.read(Item("sysctl", "", RESERVED))
    use(replace(linux, is_elevated=lambda: False))
    told = tune(verb, *(PORTS if verb == "apply" else ()), code=77)
    assert told == "wanpool: only root may change these settings; nothing was changed. Run it as root\n"
    assert linux.read(Item("sysctl", "", RESERVED)) == before
    assert tune("show", *PORTS) and tune("plan", *PORTS), "anybody may look"


def test_a_netsh_that_wants_an_administrator_is_told_as_such(use: Any, tmp_path: Path) -> None:
    system = use(windows_machine(tmp_path / "windows", netsh=FakeNetsh(elevated=False)))
    told = tune("apply", *PORTS, code=77)
    assert "The requested operation requires elevation" in told and "Run it as administrator" in told
    assert list(system.folder.glob("*.json")) == []


def test_a_system_that_nothing_is_known_of_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "sunos5")
    assert "(sunos5) are not known here; nothing was looked at or changed" in tune("show", code=1)


# -- where the ports come from


def test_ports_come_from_wanpool_toml(linux: System) -> None:
    Path("wanpool.toml").write_text('[wan.0]\nports = "20000-20009"\n[wan.1]\nports = "21000-21009"\n')
    told = documented("plan")
    assert told["ports"] == "20000-20009,21000-21009" and told["trouble"] is None


def test_ports_come_from_redis_as_well(linux: System, server: Any) -> None:
    with WanPortPool(server.url) as pool:
        pool.define_wan(0, "20000-20004")
        pool.define_wan(3, "23000-23009")
    Path("wanpool.toml").write_text('[wan.0]\nports = "20000-20009"\n')
    told = documented("plan", "--url", server.url)
    assert told["ports"] == "20000-20009,23000-23009" and told["trouble"] is None
    assert documented("plan", "--url", server.url, *PORTS)["ports"] == "20000-21999", "what is given counts alone"


def test_a_redis_that_does_not_answer_is_a_note(linux: System) -> None:
    Path("wanpool.toml").write_text(f'url = "{UNREACHABLE}"\n[wan.0]\nports = "20000-20009"\n')
    told = documented("plan")
    assert told["ports"] == "20000-20009" and "the WANs in Redis are not known" in told["trouble"]
    for verb in ("show", "plan"):
        assert "note: the WANs in Redis are not known" in tune(verb)
    done = wanpool("tune", "apply")
    assert "note: the WANs in Redis are not known" in done.stdout
    assert done.stderr == f"settings of {Path('wanpool.toml').absolute()}\n", "it acts by them"
    assert documented("plan", *PORTS)["trouble"] is None, "with --ports nobody is asked"


@pytest.mark.parametrize("machine", ["windows", "linux"])
def test_without_ports_nothing_is_done_for_them(machine: str, request: Any) -> None:
    request.getfixturevalue(machine)
    told = documented("plan")
    assert told["ports"] == "" and not any("20000" in (one["after"] or "") for one in told["changes"])
    assert "the pool's ports: not known; give them: --ports" in tune("plan")
    assert "which ports the pool has is not known here" in tune("show")


# -- how long TIME_WAIT lasts


def test_what_is_measured_is_noted_on_windows(windows: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "time_wait", lambda: 119.6)
    assert "TIME_WAIT lasts here, measured: 119.6 s" in tune("show", "--measure", *PORTS)
    assert rest.noted(windows.folder) == 120
    assert documented("show", "--measure", *PORTS)["time_wait"]["measured"] == 119.6


def test_what_is_measured_on_linux_decides_nothing(linux: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "time_wait", lambda: 60.4)
    assert "TIME_WAIT lasts here, measured: 60.4 s\na leased port rests 65 s\n" in tune("show", "--measure", *PORTS)
    assert not linux.folder.exists()


def test_what_cannot_be_noted_is_a_note(windows: System, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(measure, "time_wait", lambda: 60.4)
    monkeypatch.setattr(rest, "note", refused)
    assert "note: what was measured is not noted: [Errno 13] Permission denied" in tune("show", "--measure", *PORTS)


def test_what_cannot_be_measured_is_an_error(windows: System, monkeypatch: pytest.MonkeyPatch) -> None:
    def unseen() -> float:
        raise TuningError("this system does not show it")

    monkeypatch.setattr(measure, "time_wait", unseen)
    assert "does not show it" in tune("show", "--measure", *PORTS, code=1)


def test_a_connection_in_time_wait_is_seen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        here = socket.create_connection(listener.getsockname())
        there, _ = listener.accept()
        port = here.getsockname()[1]
        here.close()
        there.close()
    wait_for(lambda: port in measure._in_time_wait())
    found = measure.lingering({port})
    assert 1 <= found.of_the_pool <= found.all  # the kernel may have used the port before, to somewhere else
    assert measure.lingering({1}).of_the_pool == 0


# -- how long a port rests


@pytest.fixture
def on_windows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Makes this a Windows with a TcpTimedWaitDelay."""

    def made(data: Any = None, kind: int = 4, error: OSError | None = None) -> None:
        class Key:
            def __enter__(self) -> Key:
                return self

            def __exit__(self, *_: Any) -> None:
                pass

        def query(_: Any, name: str) -> tuple[Any, int]:
            assert name == "TcpTimedWaitDelay"
            if error is not None:
                raise error
            return data, kind

        constants = {"HKEY_LOCAL_MACHINE": 1, "KEY_QUERY_VALUE": 1, "REG_DWORD": 4}
        winreg = types.SimpleNamespace(OpenKey=lambda *_: Key(), QueryValueEx=query, **constants)
        monkeypatch.setitem(sys.modules, "winreg", winreg)  # type: ignore[arg-type]
        monkeypatch.setattr(sys, "platform", "win32")
        monkeypatch.setenv("PROGRAMFILES", str(tmp_path))
        monkeypatch.delenv("PROGRAMW6432", raising=False)

    return made


@pytest.mark.parametrize(("timestamps", "seconds"), [("0\n", 65), ("1\n", 1), ("2\n", 1), (None, 1)])
def test_linux_rests_by_its_timestamps(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, timestamps: str | None, seconds: float
) -> None:
    if timestamps is not None:
        (tmp_path / "timestamps").write_text(timestamps)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(rest, "_TIMESTAMPS", tmp_path / "timestamps")
    assert rest.default_rest() == seconds


@pytest.mark.parametrize(
    ("data", "kind", "seconds"),
    [
        *((30, 4, 30), (2, 4, 2), (300, 4, 300), (1, 4, 240), (301, 4, 240)),
        *((0, 4, 240), ("30", 1, 240), (b"\x1e", 3, 240), (None, 0, 240)),
    ],
)
def test_windows_rests_by_its_registry(on_windows: Any, data: Any, kind: int, seconds: float) -> None:
    on_windows(data, kind)
    assert rest.default_rest() == seconds


@pytest.mark.parametrize(("error", "seconds"), [(FileNotFoundError(), 120), (PermissionError(), 240)])
def test_windows_rests_long_enough_when_it_says_nothing(on_windows: Any, error: OSError, seconds: float) -> None:
    on_windows(error=error)
    assert rest.default_rest() == seconds


def test_windows_rests_by_what_was_measured_since_its_start(on_windows: Any) -> None:
    on_windows(30)
    rest.note(rest.tuning_folder(), 59.2)
    assert rest.default_rest() == 60


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"seconds": null, "booted_at": NOW}',
        '{"seconds": "x", "booted_at": NOW}',
        '{"seconds": 0, "booted_at": NOW}',
        '{"seconds": 601, "booted_at": NOW}',
        '{"seconds": NaN, "booted_at": NOW}',
        '{"seconds": 60, "booted_at": 1}',
    ],
)
def test_a_note_that_is_wrong_or_of_another_start_does_not_count(on_windows: Any, text: str) -> None:
    on_windows(30)
    folder = rest.tuning_folder()
    folder.mkdir(parents=True)
    (folder / "time-wait").write_text(text.replace("NOW", str(psutil.boot_time())))
    assert rest.default_rest() == 30


def test_programs_of_32_and_of_64_bits_find_the_same_notes(on_windows: Any, monkeypatch: Any, tmp_path: Path) -> None:
    on_windows(30)
    monkeypatch.setenv("PROGRAMW6432", str(tmp_path / "Program Files"))
    rest.note(rest.tuning_folder(), 120)
    monkeypatch.setenv("PROGRAMFILES", str(tmp_path / "Program Files (x86)"))
    assert rest.default_rest() == 120


def test_macos_rests_twice_its_segment_lifetime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert rest.default_rest() == 30


# -- any console


CALLS = {
    "show": "main.main(['tune', 'show', '--ports', '20000-21999'])",
    "plan": "main.main(['tune', 'plan', '--ports', '20000-21999'])",
    "guide": "optimizer.print_optimization_guide()",
}


def printed(*calls: str, closed: str = "", **env: str) -> list[bytes]:
    """What calls print, one after the other in one process: the first finds the console as the system made it."""
    run = "from redis_wanpool.cli import main, optimizer\n"
    run += "".join(f"assert not {CALLS[call]}\nprint(end='\\0')\n" for call in calls)
    words = ["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, run]
    done = subprocess.run(words, capture_output=True, timeout=60, env={**os.environ, **env}, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.split(b"\0")[:-1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "calls"), [("cp437", "show plan"), ("cp936", "plan show"), ("ascii", "show plan"), ("cp437", "guide")]
)
def test_any_console_takes_it(page: str, calls: str) -> None:
    told = printed(*calls.split(" "), LC_ALL="zh_CN.UTF-8", PYTHONIOENCODING=page)
    assert len(told) == len(calls.split(" "))
    for one in told:
        assert b"`netsh int ip reset`" in one if calls == "guide" else b"20000-21999" in one
        assert calls == "guide" or ("端口池" in one.decode(page)) == (page == "cp936")


@pytest.mark.slow
@pytest.mark.parametrize(("closed", "calls"), [(">&-", ("show", "guide")), (">&- 2>&-", ("guide", "show"))])
def test_no_console_at_all_is_no_failure(closed: str, calls: tuple[str, str]) -> None:
    """As under pythonw.exe, and in some services of Windows."""
    assert printed(*calls, closed=closed) == []


# -- the old names


def test_suggestions_are_what_could_be_better(linux: System) -> None:
    Path("wanpool.toml").write_text('[wan.0]\nports = "20000-20009"\n')
    found = {one["setting"]: one for one in optimizer.generate_optimization_suggestions()}
    assert list(found) == [RESERVED, "net.ipv4.tcp_timestamps", FILE]
    assert found[RESERVED]["current"] == "8080" and found[RESERVED]["recommended"] == "8080,20000-20009"
    assert "only to who asks for them by number" in found[RESERVED]["reason"]


def test_the_guide_shows_plans_and_warns(windows: System, capsys: Any) -> None:
    Path("wanpool.toml").write_text('[wan.0]\nports = "20000-21999"\n')
    optimizer.print_optimization_guide()
    out = capsys.readouterr().out
    for text in (
        "TcpTimedWaitDelay      120  (default 120, allowed 2-300 s, default)",
        "netsh int ipv4 set dynamicport tcp start=49152 num=16384",
        "To do it, as administrator:   wanpool tune apply",
        "Other programs may be affected, and some settings want a restart",
        "`netsh int ip reset` is no way back",
    ):
        assert text in out, text
    assert windows.read(TIME_WAIT) is None, "and does nothing"


def test_the_guide_reads_in_chinese(windows: System, capsys: Any, chinese: None) -> None:
    optimizer.print_optimization_guide()
    assert "`netsh int ip reset` 不是撤销" in capsys.readouterr().out


def test_the_old_module_applies_when_it_is_told_to(linux: System, capsys: Any) -> None:
    Path("wanpool.toml").write_text('[wan.0]\nports = "20000-21999"\n')
    assert optimizer.main([]) == 0
    assert linux.read(Item("sysctl", "", RESERVED)) == Value("sysctl", "8080")
    assert optimizer.main(["--apply"]) == 0
    out = capsys.readouterr().out
    assert OF_ALL in out and "done, and read back: 3 changes" in out
    assert linux.read(Item("sysctl", "", RESERVED)) == Value("sysctl", "8080,20000-21999")


def test_the_old_names_are_harmless_where_nothing_is_known(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(sys, "platform", "sunos5")
    assert optimizer.generate_optimization_suggestions() == []
    assert optimizer.main([]) == 0
    assert "(sunos5) are not known here" in capsys.readouterr().out


def test_the_old_names_are_harmless_with_settings_that_cannot_be_read(linux: System, capsys: Any) -> None:
    Path("wanpool.toml").write_text("not toml at all [")
    assert [one["setting"] for one in optimizer.generate_optimization_suggestions()]
    assert optimizer.main([]) == 0
    assert "which ports the pool has is not known here" in capsys.readouterr().out
