"""The old package's documentation, word for word, through the adopted folder and the embedded default."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from by_hand import heard
from command_line import python, says, tells, wanpool
from private_server import Server, keep_busy
from waiting import wait_for

from redis_wanpool import (
    BackendUnavailable,
    InGrace,
    PoolClosed,
    PoolExhausted,
    UnsafeRedis,
    WanDraining,
    WanNotDefined,
    WanPortPool,
    legacy,
)
from redis_wanpool.legacy import port_allocator, wan_port_pool

EXAMPLES = (Path(__file__).parent / "documentation.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python(.*?)^```", EXAMPLES, re.MULTILINE | re.DOTALL)
_, _, PARALLEL, GET_INSTANCE = BLOCKS


@pytest.fixture
def adopted(embedded: Any, tmp_path: Path) -> Any:
    """A program's folder whose core/wan_manager is ours, with one WAN of four ports; the embedded server keeps them."""
    says("adopt", "core/wan_manager", "--wan", "0=20000-20003")
    return embedded


def there(text: str) -> subprocess.Popen[str]:
    """A program in the folder."""
    return python("-c", text, env={**os.environ, "PYTHONPATH": ".", "PYTHONUTF8": "1"}, encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS)
def test_each_block_of_the_documentation_runs(adopted: Any, block: str) -> None:
    running = there(f"wan_idx = 0\n{block}\nprint('port', port)")
    out, err = running.communicate(timeout=60)
    assert running.returncode == 0 and err == ""
    *said, last = out.splitlines()
    assert last.startswith("port 2000") and said == (["当前已分配端口数: 0"] if block == GET_INSTANCE else [])
    with WanPortPool() as pool:
        assert (pool.snapshot(0).leased, pool.snapshot(0).cooling) == (0, 1), "also what the block does not release"


def test_fetchers_side_by_side_have_a_port_each(adopted: Any) -> None:
    """The documentation's parallel scenario: as many processes as there are ports, and one more that gets None."""
    tell = "\nimport sys\nprint(port, flush=True)\nsys.stdin.read()"
    fetchers = [there(f"wan_idx = 0\n{PARALLEL}{tell}") for _ in range(5)]
    try:
        said = [fetcher.stdout.readline().strip() for fetcher in fetchers if fetcher.stdout]
        assert sorted(said) == ["20000", "20001", "20002", "20003", "None"]
        usage = WanPortPool.get_instance().get_port_usage_info()
        assert usage["total_allocated_ports"] == 4
        holding = {process["pid"]: process["ports"] for process in usage["processes"].values()}
        wanted = {fetcher.pid: port for fetcher, port in zip(fetchers, said, strict=True) if port != "None"}
        assert holding == {pid: {0: [int(port)]} for pid, port in wanted.items()}
    finally:
        ended = [fetcher.communicate(timeout=60) for fetcher in fetchers]
    assert [fetcher.returncode for fetcher in fetchers] == [0] * 5
    assert sum("allocate_port answers None" in err for _, err in ended) == 1
    with WanPortPool.get_instance() as pool:
        assert (pool.snapshot(0).leased, pool.snapshot(0).cooling) == (0, 4)


@pytest.fixture
def wans(server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The process's own pool object on a server where WAN 0 has two ports."""
    monkeypatch.setenv("WANPOOL_URL", server.url)
    monkeypatch.setenv("WANPOOL_NAMESPACE", "test")
    wan_port_pool.define_wan(0, "20000-20001", cooldown=0)
    yield server
    WanPortPool.get_instance().close()


class TestAdapter:
    def test_no_port_left_is_none_and_logged(self, wans: Any, caplog: Any) -> None:
        assert {port_allocator.allocate_port(0), port_allocator.allocate_port(wan_idx=0)} == {20000, 20001}
        with caplog.at_level(logging.WARNING):
            assert port_allocator.allocate_port(wan_idx=0) is None
        assert "WAN 0 (namespace 'test')" in caplog.text
        assert port_allocator.release_port(wan_idx=0, port=None) is False

    def test_anything_else_raises(self, wans: Any) -> None:
        with pytest.raises(WanNotDefined, match="wanpool init --fresh --wan 7="):
            port_allocator.allocate_port(wan_idx=7)
        wan_port_pool.drain(0)
        with pytest.raises(WanDraining):
            port_allocator.allocate_port(wan_idx=0)

    def test_what_somebody_else_holds_is_not_released_and_says_who_does(self, wans: Any, caplog: Any) -> None:
        with WanPortPool(wans.url, namespace="test") as other:
            port = other.acquire(0, label="daily_basic").port
            assert port_allocator.release_port(wan_idx=0, port=port) is False
            assert f"but by process {os.getpid()} on" in caplog.text and "(daily_basic)" in caplog.text
            assert other.snapshot(0).leased == 1
        assert port_allocator.release_port(wan_idx=0, port=port) is False
        assert "but by nobody" in caplog.text

    def test_its_ports_are_leases_that_redis_cli_finds(self, wans: Any) -> None:
        port = port_allocator.allocate_port(wan_idx=0)
        found = wans.admin.hgetall(f"wanpool:{{test:0}}:lease:{port}")
        assert found["pid"] == str(os.getpid()) and found["holder"] == wan_port_pool.holder
        (first,) = WanPortPool.get_instance()._engine.protocol.leases.values()
        assert first.port == port and not first.detached, "the heartbeat keeps it"
        assert port_allocator.release_port(0, port) is True and port_allocator.release_port(0, port) is False

    def test_a_closed_pool_object_is_made_anew(self, wans: Any) -> None:
        before = WanPortPool.get_instance()
        assert wan_port_pool.holder == before.holder == WanPortPool.get_instance().holder
        assert legacy.WanPortPool.get_instance() is before, "what one interface took, the other releases"
        before.close()
        with pytest.raises(PoolClosed):
            before.allocate_port(0)
        assert wan_port_pool.allocate_port(wan_idx=0) in (20000, 20001)

    def test_usage_costs_a_round_trip_a_wan(self, wans: Any) -> None:
        wan_port_pool.define_wan(1, "21000-21009", cooldown=0)
        port_allocator.allocate_port(0)
        usage: dict[str, Any] = {}
        asked = heard(wans.admin, lambda: usage.update(port_allocator.get_port_usage_info()), by="clients")
        called = sorted(words[0] for words in asked if words[0] not in ("HELLO", "CLIENT"))
        assert called == ["EVALSHA", "EVALSHA", "HKEYS"]
        sums = [
            sum(wan[state] for state in ("free", "leased", "cooling", "withheld")) for wan in usage["wans"].values()
        ]
        assert sums == [2, 10]


IN_GRACE = ("wanpool:{test:0}:config", "grace_until_ms")
NOBODY = ("127.0.0.1", "1")


class TestTroubleThatPasses:
    """The old interface waits for it: an old program takes no answer but a port, or None of an exhausted WAN."""

    @pytest.fixture
    def troubled(self, started: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
        """A durable server, with the process's own pool object on it."""
        server = started("--appendonly", "yes", "--appendfsync", "always")
        monkeypatch.setenv("WANPOOL_URL", server.url)
        monkeypatch.setenv("WANPOOL_NAMESPACE", "test")
        wan_port_pool.define_wan(0, "20000-20001", cooldown=0, on_failover="continue")
        yield server
        WanPortPool.get_instance().close()

    @pytest.fixture
    def ask(self, caplog: pytest.LogCaptureFixture) -> Iterator[Callable[..., Future[int | None]]]:
        """Asks in a thread, until it says that it waits."""
        with ThreadPoolExecutor() as threads:

            def asked(allocate: Callable[[int], int | None] = port_allocator.allocate_port) -> Future[int | None]:
                future = threads.submit(allocate, 0)
                wait_for(lambda: "allocate_port waits" in caplog.text or future.done())
                return future

            yield asked

    @pytest.mark.parametrize(
        ("begin", "end"),
        [
            (lambda it: it.admin.hset(*IN_GRACE, 2**50), lambda it: it.admin.hset(*IN_GRACE, 0)),
            (lambda it: it.stop(), lambda it: it.start("--appendonly", "yes")),
            (lambda it: it.admin.replicaof(*NOBODY), lambda it: it.admin.replicaof("no", "one")),
            (keep_busy, lambda it: it.admin.script_kill()),
        ],
        ids=["grace", "outage", "failover", "busy"],
    )
    def test_is_waited_for(self, troubled: Server, ask: Any, begin: Any, end: Any) -> None:
        begin(troubled)
        waiting = ask()
        assert not waiting.done()
        end(troubled)
        assert waiting.result(20) in (20000, 20001)

    @pytest.mark.parametrize("whose", ["port_allocator", "wan_port_pool", "WanPortPool"])
    def test_too_long_is_an_error_that_says_so(self, troubled: Server, whose: str, monkeypatch: Any) -> None:
        WanPortPool.get_instance().close()
        monkeypatch.setenv("WANPOOL_LEGACY_WAIT", "0.2")
        troubled.admin.hset(*IN_GRACE, 2**50)
        pool = legacy.WanPortPool.get_instance() if whose == "WanPortPool" else getattr(legacy, whose)
        with pytest.raises(InGrace, match=r"waited \d\.\d s \(legacy_wait\).* WAN 0 .*failed over") as caught:
            pool.allocate_port(wan_idx=0)
        assert caught.value.wan_idx == 0 and caught.value.retry_after > 1000
        troubled.stop()
        with pytest.raises(BackendUnavailable, match=r"waited \d\.\d s \(legacy_wait\).*does not answer"):
            pool.allocate_port(wan_idx=0)

    def test_what_does_not_pass_is_not_waited_for(self, troubled: Server, monkeypatch: Any, caplog: Any) -> None:
        with pytest.raises(WanNotDefined):
            port_allocator.allocate_port(7)
        assert [port_allocator.allocate_port(0) for _ in range(3)][2] is None
        with pytest.raises(PoolExhausted):
            wan_port_pool.allocate_port(0)
        troubled.admin.config_set("maxmemory-policy", "allkeys-lru")
        WanPortPool.get_instance().close()
        with pytest.raises(UnsafeRedis):
            port_allocator.allocate_port(0)
        troubled.admin.config_set("requirepass", "sesame")
        troubled.cut()
        with pytest.raises(BackendUnavailable, match="other credentials"):
            port_allocator.allocate_port(0)
        assert "allocate_port waits" not in caplog.text

    def test_the_end_of_the_pool_object_ends_the_wait(self, troubled: Server, ask: Any) -> None:
        troubled.admin.hset(*IN_GRACE, 2**50)
        waiting = ask(wan_port_pool.allocate_port)
        wan_port_pool.close()
        with pytest.raises(PoolClosed):
            waiting.result(20)

    @pytest.mark.parametrize("how", ["Ctrl-C", "the end of a program whose thread waits"])
    def test_a_program_that_waits_can_end(self, adopted: Any, how: str, monkeypatch: Any) -> None:
        monkeypatch.setenv("WANPOOL_URL", "redis://127.0.0.1:1/0")
        asking = "import sys, threading\nfrom core.wan_manager import port_allocator\n"
        if how == "Ctrl-C":
            asking += "port_allocator.allocate_port(0)"
        else:
            asking += "threading.Thread(target=port_allocator.allocate_port, args=[0], daemon=True).start()\ninput()"
        with there(asking) as running:
            assert running.stdin and running.stderr and "allocate_port waits, 90 s" in running.stderr.readline()
            began = time.monotonic()
            running.send_signal(signal.SIGINT) if how == "Ctrl-C" else running.stdin.write("\n")
            _, err = running.communicate(timeout=60)
        assert time.monotonic() - began < 20 and ("KeyboardInterrupt" in err) == (how == "Ctrl-C")


def test_the_four_numbers_add_up_while_ports_move(server: Any) -> None:
    with (
        WanPortPool(server.url, namespace="test", rest=0) as mover,
        WanPortPool(server.url, namespace="test") as looker,
    ):
        mover.define_wan(0, "20000-20019", cooldown=0.01)
        stop = threading.Event()

        def move() -> None:
            while not stop.is_set():
                for lease in mover.acquire_many(0, 3, at_least=1, wait=5):
                    lease.release()

        threads = [threading.Thread(target=move) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            seen: set[tuple[int, ...]] = set()
            while len(seen) < 20:
                wan = looker.get_port_usage_info()["wans"][0]
                numbers = tuple(wan[state] for state in ("free", "leased", "cooling", "withheld"))
                assert sum(numbers) == wan["total"] == 20
                seen.add(numbers)
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def test_importing_the_adopted_folder_reads_and_connects_to_nothing(adopted: Any) -> None:
    Path("wanpool.toml").write_text("this is = not a [setting", encoding="utf-8")
    running = there("from core.wan_manager import port_allocator, wan_port_pool, WanPortPool; print(wan_port_pool)")
    out, err = running.communicate(timeout=60)
    assert running.returncode == 0 and "of this process" in out, err
    assert not adopted.status().running


SUGGESTIONS = """
import json
from core.wan_manager.win_socket_optimizer import generate_optimization_suggestions, print_optimization_guide
print(json.dumps(generate_optimization_suggestions()))
print_optimization_guide()
"""


class TestAdopt:
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> Path:
        return tmp_path / "core" / "wan_manager"

    def test_writes_once_and_then_keeps(self, folder: Path) -> None:
        first = says("adopt", "core/wan_manager", "--wan", "0=20000-21999", "--wan", "1=22000-23999")
        assert "wrote core/wan_manager/__init__.py" in first
        assert '[wan.1]\nports = "22000-23999"' in Path("wanpool.toml").read_text()
        again = says("adopt", "core/wan_manager", "--wan", "0=20000-21999")
        assert "kept, the same, core/wan_manager/__init__.py" in again
        assert sorted(path.name for path in folder.iterdir()) == ["__init__.py", "win_socket_optimizer.py"]

    def test_the_optimizer_shows_and_advises_as_before(self) -> None:
        wanpool("adopt", "core/wan_manager", "--wan", "0=20000-21999")
        running = subprocess.run(
            [sys.executable, "-m", "core.wan_manager.win_socket_optimizer"], capture_output=True, text=True, check=True
        )
        assert "net.ipv4.tcp_timestamps" in running.stdout and "wanpool tune undo" in running.stdout
        assert "netsh int ip reset" in running.stdout and "no way back" in running.stdout
        told = subprocess.run(
            [sys.executable, "-c", SUGGESTIONS], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        by_name = {one["setting"]: one for one in json.loads(told[0])}
        assert "20000-21999" in by_name["net.ipv4.ip_local_reserved_ports"]["recommended"], "of wanpool.toml"
        assert told[1:] == running.stdout.splitlines()

    @pytest.mark.parametrize("how", ["foreign", "changed"])
    def test_overwrites_nothing_of_somebody_elses_without_force(self, folder: Path, how: str) -> None:
        if how == "changed":
            wanpool("adopt", "core/wan_manager")
        folder.mkdir(parents=True, exist_ok=True)
        shim = folder / "__init__.py"
        theirs = (shim.read_text() if shim.exists() else "") + "mine = 1\n"
        shim.write_text(theirs)
        assert "--force" in says("adopt", "core/wan_manager", "--wan", "0=20000-21999", code=2)
        assert shim.read_text() == theirs and not Path("wanpool.toml").exists(), "all or nothing"
        for backup in ("__init__.py.before-wanpool", "__init__.py.before-wanpool1"):
            shim.write_text(theirs)
            assert backup in says("adopt", "core/wan_manager", "--force")
            assert (folder / backup).read_text() == theirs and "redis_wanpool" in shim.read_text()

    def test_an_older_shim_of_its_own_and_an_empty_file_are_replaced(self, folder: Path) -> None:
        from redis_wanpool.cli.adopt import _marked

        folder.mkdir(parents=True)
        for old in ("", _marked("what an earlier version wrote\n")):
            (folder / "__init__.py").write_text(old)
            says("adopt", "core/wan_manager")
            assert "redis_wanpool.legacy" in (folder / "__init__.py").read_text()

    def test_a_dry_run_shows_the_files_and_writes_none(self, folder: Path) -> None:
        words = ("adopt", "core/wan_manager", "--wan", "0=20000-21999", "--dry-run")
        shown = says(*words)
        assert "would write core/wan_manager/__init__.py" in shown and "port_allocator" in shown
        assert 'ports = "20000-21999"' in shown
        told = tells(*words)
        assert [one["action"] for one in told["files"]] == ["write", "write", "write"]
        assert not folder.exists() and not Path("wanpool.toml").exists()

    def test_settings_that_are_there_stay_as_they_are(self) -> None:
        Path("wanpool.toml").write_text('[wan.0]\nports = "30000-30009"\n')
        other = says("adopt", "core/wan_manager", "--wan", "0=20000-21999", code=2)
        assert "says 30000-30009 of WAN 0" in other
        says("adopt", "core/wan_manager", "--wan", "0=30000-30009")

    def test_wans_of_the_redis_that_the_settings_name(self, folder: Path, server: Server) -> None:
        """As after the README's second and third step: wanpool.toml names a Redis, and `wanpool init` made the WANs."""
        Path("wanpool.toml").write_text(f'url = "{server.url}"\nnamespace = "test"\n')
        wans = ["--wan", "0=20000-21999", "--wan", "1=22000-23999"]
        missing = wanpool("adopt", "core/wan_manager", *wans)
        assert (
            missing.returncode == 2 and "wanpool init --fresh --wan 0=20000-21999 --wan 1=22000-23999" in missing.stderr
        )
        assert wanpool("init", *wans).returncode == 0 and not folder.exists()
        other = wanpool("adopt", "core/wan_manager", "--wan", "0=20000-21999", "--wan", "1=30000-30009")
        assert other.returncode == 2 and f"namespace 'test' at {server.url} says 22000-23999 of WAN 1" in other.stderr
        assert wanpool("adopt", "core/wan_manager", *wans, WANPOOL_URL="redis://127.0.0.1:1/0").returncode == 3
        assert not folder.exists()
        done = wanpool("adopt", "core/wan_manager", *wans)
        assert done.returncode == 0 and "[wan" not in Path("wanpool.toml").read_text(), done.stderr

    def test_wans_of_the_redis_that_the_environment_names(self, folder: Path, server: Server) -> None:
        there = {"WANPOOL_URL": server.url, "WANPOOL_NAMESPACE": "test"}
        away = wanpool("adopt", "core/wan_manager", "--wan", "0=20000-21999", WANPOOL_URL="redis://127.0.0.1:1/0")
        assert away.returncode == 3 and "does not answer" in away.stderr and "leave --wan out" in away.stderr
        assert wanpool("init", "--wan", "0=20000-21999", "--cooldown", "15s", **there).returncode == 0
        refused = wanpool("adopt", "core/wan_manager", "--wan", "0=20000-20009", **there)
        assert refused.returncode == 2 and "says 20000-21999 of WAN 0" in refused.stderr and not folder.exists()
        done = wanpool("adopt", "core/wan_manager", "--wan", "0=20000-21999", **there)
        assert done.returncode == 0 and f"{server.url} has these WANs already" in done.stdout, done.stderr
        assert not Path("wanpool.toml").exists(), "which would say another cool-down"
        by_option = wanpool("adopt", "elsewhere", "--wan", "0=20000-21999", "--url", server.url, "--dry-run", **there)
        assert f'url = "{server.url}"' in by_option.stdout and "[wan.0]" not in by_option.stdout
        fresh = wanpool("adopt", "core/wan_manager", "--wan", "0=20000-21999", "--wan", "1=22000-23999", **there)
        assert fresh.returncode == 0 and "[wan.0]" not in Path("wanpool.toml").read_text()
        assert '[wan.1]\nports = "22000-23999"' in Path("wanpool.toml").read_text()

    def test_leftovers_of_the_old_package_are_named(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "locks.py").touch()
        (folder / "wan_ports.json").write_text("{}")
        assert "locks.py, wan_ports.json" in says("adopt", "core/wan_manager")

    def test_an_old_module_that_would_hide_a_name_is_set_aside(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "port_allocator.py").write_text("old = True")
        assert "hides the name" in says("adopt", "core/wan_manager", code=2) and not (folder / "__init__.py").exists()
        assert "set aside core/wan_manager/port_allocator.py" in says("adopt", "core/wan_manager", "--force")
        assert (folder / "port_allocator.py.before-wanpool").read_text() == "old = True"
        assert not (folder / "port_allocator.py").exists()

    @pytest.mark.parametrize(
        "words",
        [
            *(["wanpool.toml"], ["core", "--wan", "0"], ["core", "--wan", "0=1-70000"], ["core", "--url", "nonsense"]),
            *(["core", "--wan", "0=1-5", "--wan", "0=7-9"], ["core", "--wan", "0=1-5", "--wan", "1=5-9"]),
            *(["wanpool.toml/core"], ["core", "--namespace", "a b"], ["nowhere", "--wan", "0=1-5"]),
        ],
    )
    def test_nonsense_is_refused(self, words: list[str]) -> None:
        Path("wanpool.toml").touch()
        if words[0] == "nowhere":
            Path("wanpool.toml").unlink()
            Path("wanpool.toml").symlink_to("missing")
            Path("nowhere").symlink_to("missing")
        assert re.fullmatch("wanpool: .+\n", says("adopt", *words, code=2)) and not Path("core").exists()

    def test_what_cannot_be_written_leaves_nothing_half_done(self, folder: Path) -> None:
        Path("wanpool.toml").mkdir()
        told = says("adopt", "core/wan_manager", "--wan", "0=20000-21999", code=2)
        assert "wanpool.toml is there" in told and not folder.exists()
        Path("precious").write_text("mine")
        folder.mkdir(parents=True)
        (folder / "__init__.py.new").symlink_to(Path("precious").absolute())
        says("adopt", "core/wan_manager")
        assert Path("precious").read_text() == "mine"

    def test_asks_on_a_terminal(self) -> None:
        import pty

        controller, terminal = pty.openpty()
        running = python("-m", "redis_wanpool.cli", "adopt", "core/wan_manager", stdin=terminal, stderr=None)
        os.write(controller, b"20000-21999\n22000-2\n22000-23999\n\n")
        out, _ = running.communicate(timeout=60)
        os.close(controller)
        os.close(terminal)
        assert running.returncode == 0 and "22000-2" in out
        assert (
            Path("wanpool.toml")
            .read_text()
            .endswith('[wan.0]\nports = "20000-21999"\n\n[wan.1]\nports = "22000-23999"\n')
        )


def test_an_operator_drains_opens_resizes_and_reaps(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANPOOL_URL", server.url)
    monkeypatch.setenv("WANPOOL_NAMESPACE", "test")
    with WanPortPool(server.url, namespace="test", rest=0) as pool:
        pool.define_wan(0, "20000-20009", cooldown=0)
        lease = pool.acquire(0, port=20009)
        assert "draining, 1 lease live" in says("drain", "0")
        assert tells("open", "0")["wans"][0]["state"] == "open"
        assert "to leave yet, when lease and cool-down are over: 1" in says("resize", "0", "20000-20004")
        lease.release()
        assert tells("resize", "0", "20000-20004")["leaving"] == 0
        assert pool.snapshot(0).total == 5
        told = tells("reap")
        assert [(one["id"], one["verdict"]) for one in told["holders"]] == [(pool.holder, "alive")]
        assert f"alive    {pool.holder}" in says("reap", "--dry-run")
        assert "is not defined" in says("drain", "5", code=1)
    wait_for(lambda: not server.admin.hlen("wanpool:{test}:holders"))
