"""The embedded server: one for all processes of a user, durable, private; with real processes."""

from __future__ import annotations

import os
import re
import signal
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import servers
from command_line import python, wanpool
from waiting import wait_for

from redis_wanpool import BackendUnavailable, InGrace, UnsafeRedis, WanPortPool
from redis_wanpool.system.signals import DeafThread
from redis_wanpool.transport import embedded as server

USE = """
import sys
from redis_wanpool import WanPortPool
with WanPortPool() as pool:
    pool.define_wan(0, "20000-20099", lease_ttl=3600)
    lease = pool.acquire(0, detached=True)
    print(pool._engine.performer.client().info("server")["process_id"], lease.port, lease.fence)
"""


stopped: list[int] = []


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "home"
    monkeypatch.setenv("WANPOOL_HOME", str(folder))
    yield folder
    while stopped:
        os.kill(stopped.pop(), signal.SIGCONT)
    server.stop()


def client() -> redis.Redis:
    return redis.Redis.from_url(server.status().url, decode_responses=True)


def pid() -> int:
    """The running server's process."""
    return int(client().info("server")["process_id"])


def use_at_once(count: int) -> list[list[int]]:
    running = [python("-c", USE, stdin=None) for _ in range(count)]
    told = [process.communicate(timeout=60) for process in running]
    assert all(process.returncode == 0 for process in running), [error for _, error in told]
    return [[int(word) for word in line.split()] for line, _ in told]


@pytest.mark.slow
def test_twenty_that_start_cold_at_once_share_one_server(home: Path) -> None:
    rows = use_at_once(20)
    assert len({row[0] for row in rows}) == 1
    assert len({row[1] for row in rows}) == 20, "nobody shares a port"


@pytest.mark.slow
def test_kill_and_restart_lose_no_acknowledged_lease(home: Path) -> None:
    before = {row[1]: row[2] for row in use_at_once(4)}
    process = pid()
    os.kill(process, signal.SIGKILL)
    wait_for(lambda: not server.status().running)
    rows = use_at_once(8)
    assert len({row[0] for row in rows}) == 1 and rows[0][0] != process
    known = client().hgetall("wanpool:{default:0}:grants").items()
    grants = {int(port): int(text.split()[1]) for port, text in known if port.isdecimal()}
    assert before.items() <= grants.items() and len(grants) == 12
    assert server.stop() is True
    (row,) = use_at_once(1)
    assert row[1] not in grants


def test_one_that_a_thread_of_the_pool_starts_hears_signals_as_any_other(home: Path) -> None:
    with WanPortPool() as pool:
        pool.define_wan(0, "20000-20009")
        pool.acquire(0)
        process = pid()
        os.kill(process, signal.SIGKILL)
        wait_for(lambda: not server.status().running)
        starter = DeafThread(server.ensure)
        starter.start()
        starter.join(20)
        blocked = re.search(r"SigBlk:\s*(\w+)", Path(f"/proc/{pid()}/status").read_text())
        assert blocked is not None and int(blocked[1], 16) == 0


def test_a_hanging_server_is_an_error_and_not_a_second_server(home: Path) -> None:
    server.ensure()
    process = pid()
    os.kill(process, signal.SIGSTOP)
    stopped.append(process)
    with pytest.raises(BackendUnavailable, match="hangs"):
        server.ensure()
    os.kill(process, signal.SIGCONT)
    server.ensure()
    assert pid() == process


def test_it_is_private(home: Path) -> None:
    server.ensure()
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "s").stat().st_mode) & 0o077 == 0
    assert client().config_get("port") == {"port": "0"}


def test_a_long_path_is_no_obstacle(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = home / ("x" * 90) / ("y" * 90)
    monkeypatch.setenv("WANPOOL_HOME", str(long))
    with WanPortPool() as pool:
        pool.define_wan(0, "20000-20009")
    short = Path(server.status().url.removeprefix("unix://"))
    assert stat.S_IMODE(short.parent.stat().st_mode) == 0o700
    assert server.stop() is True


def test_status_and_stop_start_nothing(home: Path) -> None:
    assert not server.status().running
    assert server.stop() is False
    assert not home.exists()


def test_a_server_of_ones_own_choice(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANPOOL_SERVER", str(servers.binary("redis-6.2")))
    server.ensure()
    assert str(server.status().version).startswith("6.2")


def test_no_server_names_the_remedies(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.binary, "candidates", lambda: iter(["/nowhere/valkey-server"]))
    with pytest.raises(BackendUnavailable) as caught:
        server.ensure()
    for remedy in ("redis-wanpool[embedded]", "WANPOOL_URL", "docker-compose.yml", "WSL", "WANPOOL_SERVER"):
        assert remedy in str(caught.value)


def test_windows_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(BackendUnavailable, match="no embedded server on Windows"):
        server.ensure()


def test_a_binary_that_does_not_start_is_quoted(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir(mode=0o700)
    (home / "start.lock").touch()
    (home / "appendonlydir").write_text("not a folder")
    with pytest.raises(BackendUnavailable, match=r"does not start; see .*server\.log"):
        server.ensure()
    (home / "appendonlydir").unlink()


def test_a_folder_that_cannot_be_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.write_text("not a folder")
    monkeypatch.setenv("WANPOOL_HOME", str(home / "below"))
    with pytest.raises(BackendUnavailable, match=r"cannot keep its data in .*below: Not a directory. Set WANPOOL_HOME"):
        server.ensure()
    home.unlink()
    done = wanpool("status", "--namespace", "x", WANPOOL_HOME="/dev/null")
    assert done.returncode == 3 and done.stderr.count("\n") == 1 and "WANPOOL_URL" in done.stderr


def test_an_old_binary_that_would_not_see_the_data_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.ensure()
    server.stop()
    monkeypatch.setenv("WANPOOL_SERVER", str(servers.binary("redis-6.2")))
    with pytest.raises(UnsafeRedis, match="give out ports twice"):
        server.ensure()


@pytest.mark.slow
def test_a_new_binary_reads_what_another_wrote(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {row[1] for row in use_at_once(2)}
    client().bgrewriteaof()
    wait_for(lambda: client().info("persistence")["aof_rewrite_in_progress"] == 0)
    server.stop()
    monkeypatch.setenv("WANPOOL_SERVER", str(servers.binary("redis-8.2")))
    server.ensure()
    assert str(server.status().version).startswith("8.2")
    known = client().hkeys("wanpool:{default:0}:grants")
    assert {int(port) for port in known if port.isdecimal()} == before
    server.stop()
    monkeypatch.delenv("WANPOOL_SERVER")
    assert before.isdisjoint(row[1] for row in use_at_once(1))


def test_an_end_of_the_starter_does_not_reach_it(home: Path) -> None:
    text = """
import signal
from redis_wanpool.transport import embedded as server
signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs the tests in the background may have it ignored
server.ensure()
input()
"""
    starter = python("-c", text, stdout=None, stderr=None, start_new_session=True)
    wait_for(lambda: server.status().running)
    os.killpg(starter.pid, signal.SIGINT)
    starter.wait(60)
    starter.stdin.close()
    assert server.status().running


def test_without_a_url_the_pool_is_on_it(home: Path) -> None:
    with WanPortPool() as pool:
        assert pool.wans() == ()
        assert pool.url == server.status().url


def test_the_asyncio_face_starts_it_too(home: Path, loop: Any) -> None:
    from faces import make

    pool = make("aio", loop)
    pool.define_wan(0, "20000-20009")
    assert pool.acquire(0).release() is True
    pool.close()


def test_an_open_pool_revives_a_killed_server_and_keeps_its_leases(home: Path, face: str, loop: Any) -> None:
    from faces import make

    with make(face, loop) as pool:
        pool.define_wan(0, "20000-20009", lease_ttl=10)
        lease = pool.acquire(0)
        killed = pid()
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: not server.status().running)
        with pytest.raises(InGrace):  # it may have forgotten other leases of this process
            pool.acquire(0)
        lease.renew()
        assert pid() != killed


def test_a_lease_that_is_only_held_survives_the_kill_too(home: Path) -> None:
    with WanPortPool() as pool:
        pool.define_wan(0, "20000-20009", lease_ttl=10)
        lease = pool.acquire(0)
        os.kill(pid(), signal.SIGKILL)
        first = lease.expires_at
        wait_for(lambda: lease.expires_at > first)
        lease.check()


def test_a_pool_that_closes_does_not_start_it_again(home: Path) -> None:
    pool = WanPortPool()
    pool.define_wan(0, "20000-20009")
    server.stop()
    pool.close()
    assert not server.status().running
