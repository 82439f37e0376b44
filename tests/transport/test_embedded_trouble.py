"""The embedded server in trouble: a full disk, a damaged log, a death of its own, a folder that something clears up."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pytest
import redis
import servers
from command_line import says, tells
from faces import Loop, make
from waiting import KEPT_TTL, wait_for

from redis_wanpool import BackendUnavailable, InGrace, WanPortPool
from redis_wanpool.transport import embedded as server
from redis_wanpool.transport.embedded import place


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"  # as WANPOOL_HOME says
    server.stop()


def client() -> Any:
    return redis.Redis.from_url(server.status().url, decode_responses=True)


def pid() -> int:
    return int(client().info("server")["process_id"])


def runs(process: int) -> bool:
    """Whether a process runs; one that nobody has waited for does not."""
    return psutil.pid_exists(process) and psutil.Process(process).status() != psutil.STATUS_ZOMBIE


def kill(process: int) -> None:
    """The server dies alone."""
    os.kill(process, signal.SIGKILL)
    wait_for(lambda: not runs(process))


# -- an error reply is alive


@contextmanager
def saying(path: Path, reply: str) -> Iterator[list[str]]:
    """A server that answers whatever it is asked with the one reply in the list, which may be changed."""
    replies = [reply]

    def talk(visitor: socket.socket) -> None:
        with suppress(OSError), visitor:
            while visitor.recv(4096):
                visitor.sendall(f"{replies[0]}\r\n".encode())

    def listen() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=talk, args=listener.accept()[:1], daemon=True).start()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        threading.Thread(target=listen, daemon=True).start()
        yield replies
        listener.shutdown(socket.SHUT_RDWR)
    path.unlink(missing_ok=True)


@pytest.mark.parametrize(
    "words",
    [
        "BUSY is busy running a script.",
        "LOADING is loading the dataset in memory",
        "MISCONF Errors writing to the AOF file: No space left on device",
        "NOAUTH Authentication required.",
        "OOM command not allowed when used memory > 'maxmemory'.",
    ],
)
def test_a_server_that_says_no_is_alive_and_quoted(home: Path, words: str, face: str, loop: Loop) -> None:
    home.mkdir(mode=0o700)
    with saying(home / "s", f"-{words}"):
        assert server.ensure(1.0) == f"unix://{home}/s"
        began = time.monotonic()
        pool: Any = make(face, loop, connect_timeout=2.0)
        with pytest.raises(BackendUnavailable) as caught:
            pool.acquire(0)
        assert time.monotonic() - began < 2.0 + 0.5
        said = "out of memory" if words.startswith("OOM") else words.split(" ", 1)[1]
        assert said in str(caught.value)
        pool.close()
        told = tells("server", "status")
        assert told["running"] and said.split("'")[0] in told["trouble"] + "out of memory"


def test_a_server_that_reads_its_log_is_let_in_when_it_has(home: Path) -> None:
    home.mkdir(mode=0o700)
    alive = place.try_lock(home / "alive.lock")
    assert alive is not None
    with saying(home / "s.new", "-LOADING 7 %") as replies:
        with pytest.raises(BackendUnavailable, match="not ready: LOADING 7 %") as caught:
            server.ensure(1.0)
        assert caught.value.passing and "LOADING" in server.status().trouble
        replies[0] = "+PONG"
        server.ensure(5.0)
        assert (home / "s").exists() and not server.status().trouble
        os.close(alive)
        (home / "s").unlink()


def test_a_busy_server_is_stopped_and_named(home: Path) -> None:
    server.ensure()
    client().config_set("busy-reply-threshold", 20)

    def script() -> None:
        with suppress(redis.RedisError):
            redis.Redis.from_url(f"unix://{home}/s").eval("while true do end", 0)

    looping = threading.Thread(target=script)
    looping.start()
    wait_for(lambda: "BUSY" in server.status().trouble)
    assert "BUSY" in says("server", "status")
    assert "stopped" in says("server", "stop")
    looping.join(20)


# -- a full disk

FULL_DISK = """
import asyncio, json, os, sys, time
sys.path.insert(0, sys.argv[2])
from command_line import says, tells, wanpool
from waiting import wait_for
from redis_wanpool import AsyncWanPortPool, BackendUnavailable, InGrace, WanPortPool
home = os.environ["WANPOOL_HOME"]
pool = WanPortPool(connect_timeout=2.0)
pool.define_wan(0, "20000-20999", lease_ttl=60)
held = [pool.acquire(0)]

def fill():
    with open(home + "/filler", "wb", buffering=0) as file:
        try:
            while file.write(bytes(512)): pass
        except OSError: pass

def refusal():
    began = time.monotonic()
    try:
        held.append(pool.acquire(0))
    except BackendUnavailable as error:
        assert time.monotonic() - began < 2.5
        return str(error)

async def refused():
    async with AsyncWanPortPool(connect_timeout=2.0) as other:
        try:
            await other.acquire(0)
        except BackendUnavailable as error:
            return str(error)

fill()
told = {"sync": wait_for(refusal), "aio": asyncio.run(refused())}
granted = len(held)
for _ in range(20):
    assert refusal()
assert len(held) == granted, "nothing is granted"
told["server"] = tells("server", "status")
told["status"] = wanpool("status").returncode, wanpool("status").stderr
found = tells("doctor", code=1)["findings"]
told["doctor"] = next(one for one in found if one["code"] == "persistence")
os.unlink(home + "/filler")
wait_for(lambda: refusal() is None)
held[0].renew()
assert "trouble" not in says("server", "status")
assert len({lease.port for lease in held}) == len(held)
fill()
wait_for(refusal)
told["stop"] = wanpool("server", "stop").stdout
fill()
told["start"] = wait_for(refusal)
os.unlink(home + "/filler")

def grace():
    try:
        return pool.acquire(0)
    except InGrace:
        return "grace"
    except BackendUnavailable:
        return None

told["after"] = str(wait_for(grace))
wait_for(lambda: held[-1].renew() is None)
says("server", "stop")
print(json.dumps(told))
"""


def test_a_full_disk_is_named_and_grants_nothing_until_there_is_room(home: Path, tmp_path: Path) -> None:
    home.mkdir(mode=0o700)
    script = tmp_path / "full_disk.py"
    script.write_text(FULL_DISK)
    spaces = ["unshare", "--mount", *([] if os.getuid() == 0 else ["--map-root-user"])]
    mounted = 'mount -t tmpfs -o size=512k,mode=700 tmpfs "$WANPOOL_HOME" && exec "$@"'
    if subprocess.run([*spaces, "sh", "-c", mounted, "sh", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no small disk can be mounted here")
    support = str(Path(servers.__file__).parent)
    done = subprocess.run(
        [*spaces, "sh", "-c", mounted, "sh", sys.executable, str(script), "-", support],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    for said in (told["sync"], told["aio"], told["server"]["trouble"], told["doctor"]["seen"] + " No space left"):
        assert f"cannot write its log in {home}" in said and f"free on {home}" in said and "No space left" in said
    assert told["server"]["running"] and told["server"]["pid"]
    assert told["status"][0] == 0, told["status"]
    assert told["doctor"]["severity"] == "fail" and f"make room on {home}" in told["doctor"]["cure"]
    assert "stopped" in told["stop"] and "No space left" in told["start"]
    assert told["after"] == "grace", "what it could not write may be a lease"


# -- a damaged log


def damage_nul(log: Path) -> None:
    with log.open("ab") as file:
        file.write(bytes(4096))


def damage_cut(log: Path) -> None:
    os.truncate(log, log.stat().st_size - 7)


def damage_garbage(log: Path) -> None:
    with log.open("ab") as file:
        file.write(bytes(range(1, 256)))


DAMAGES = [damage_nul, damage_cut, damage_garbage]


def part(home: Path, kind: str) -> Path:
    return max((home / "appendonlydir").glob(f"*.{kind}.aof"))


def filled(home: Path) -> None:
    """A server whose log has a base and commands after it, and has ended."""
    server.ensure()
    client().mset({f"base:{i}": i for i in range(9)})
    if client().info("server")["redis_version"] >= "7":
        client().bgrewriteaof()
        wait_for(lambda: client().info("persistence")["aof_rewrite_in_progress"] == 0)
    client().set("first", 1)
    client().set("last", 1)
    server.stop()


@pytest.mark.parametrize("harm", DAMAGES)
def test_a_damaged_end_is_mended_and_kept(home: Path, caplog: Any, harm: Callable[[Path], None]) -> None:
    filled(home)
    log = part(home, "incr")
    harm(log)
    was = log.read_bytes()
    with caplog.at_level(logging.WARNING, "redis_wanpool"):
        server.ensure()
    assert client().get("base:8") == "8" and client().get("first") == "1"
    assert client().exists("last") == (harm is not damage_cut), "a torn command is no command"
    (copy,) = server.status().copies
    assert copy.read_bytes() == was and copy.parent == home
    (record,) = [one for one in caplog.records if "damaged" in one.message]
    assert str(copy) in record.message and str(log) in record.message
    assert str(copy) in says("server", "status") and tells("server", "status")["damaged"] == [str(copy)]
    (found,) = [one for one in tells("doctor", code=1)["findings"] if "mended" in one["seen"]]
    assert found["severity"] == "warn" and str(copy) in found["seen"]


@pytest.mark.long
@pytest.mark.parametrize("name", ["redis-6.2", "redis-8.2", "valkey-8.1"])
def test_each_server_mends_its_own_log(home: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANPOOL_SERVER", str(servers.binary(name)))
    filled(home)
    damage_nul(home / "appendonly.aof" if name == "redis-6.2" else part(home, "incr"))
    server.ensure()
    assert client().get("last") == "1" and len(server.status().copies) == 1


@pytest.mark.long
def test_few_copies_are_kept(home: Path) -> None:
    filled(home)
    for _ in range(4):
        damage_nul(part(home, "incr"))
        server.ensure()
        server.stop()
    copies = server.status().copies
    assert len(copies) == 3 and list(copies) == sorted(copies)


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        (lambda home: os.truncate(part(home, "base"), 40), "base.aof"),
        (lambda home: zero(part(home, "base")), "base.aof"),
        (lambda home: part(home, "base").unlink(), "base.aof"),
        (lambda home: zero(home / "appendonlydir" / "appendonly.aof.manifest"), "appendonly.aof.manifest"),
        (lambda home: (home / "appendonlydir" / "appendonly.aof.manifest").unlink(), "appendonly.aof.manifest"),
    ],
)
def test_what_cannot_be_mended_is_named_with_the_cure(home: Path, harm: Callable[[Path], None], named: str) -> None:
    filled(home)
    harm(home)
    before = {path.name: path.read_bytes() for path in (home / "appendonlydir").iterdir()}
    with pytest.raises(BackendUnavailable) as caught:
        server.ensure()
    assert named in str(caught.value) and "wanpool init --recover" in str(caught.value)
    assert {path.name: path.read_bytes() for path in (home / "appendonlydir").iterdir()} == before, "all as it was"
    cure = f"mv {home}/appendonlydir {home}/appendonlydir.broken"
    assert cure in str(caught.value)
    subprocess.run(cure.split(" "), check=True)
    server.ensure()
    assert client().dbsize() == 0


# -- the server dies alone


class Holder:
    """A process that holds a lease of WAN 0, and does nothing more."""

    def __init__(self) -> None:
        ready, tell = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            with suppress(BaseException):
                pool = WanPortPool()
                pool.define_wan(0, "20000-20009")
                lease = pool.acquire(0)
                os.write(tell, b"%d" % lease.port)
                threading.Event().wait()
            os._exit(1)
        os.close(tell)
        assert os.read(ready, 5), "it holds none"
        os.close(ready)

    def kill(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0


@pytest.fixture
def holder(home: Path) -> Iterator[Holder]:
    running = Holder()
    yield running
    running.kill()


def test_a_death_of_the_server_alone_begins_a_grace_while_a_holder_lives(holder: Holder, face: str, loop: Loop) -> None:
    kill(pid())
    pool: Any = make(face, loop)
    with pytest.raises(InGrace):
        pool.acquire(0)
    pool.close()


def test_a_death_of_all_begins_none(holder: Holder) -> None:
    process = pid()
    holder.kill()
    kill(process)
    with WanPortPool() as pool:
        assert pool.acquire(0)


def test_a_stop_begins_none(holder: Holder) -> None:
    server.stop()
    with WanPortPool() as pool:
        assert pool.acquire(0)
    assert server.knows_all()


def test_the_data_alone_is_proof_enough_and_so_is_the_lock(home: Path, holder: Holder) -> None:
    with WanPortPool(server.ensure()) as by_url:  # it keeps no lock
        by_url.acquire(0)
        holder.kill()
        kill(pid())
        with pytest.raises(InGrace), WanPortPool() as pool:
            pool.acquire(0)
    client().delete("wanpool:{default}:holders")
    client().hset("wanpool:{default:0}:config", "grace_until_ms", 0)
    server.stop()
    server.ensure()
    assert not server.knows_all(), "this process may hold leases, since it had a pool of its own"
    kill(pid())
    with pytest.raises(InGrace), WanPortPool() as pool:
        pool.acquire(0)


def test_a_start_of_the_machine_ends_all_holders(home: Path) -> None:
    pool = WanPortPool(server.ensure())
    pool.define_wan(0, "20000-20009", on_failover="continue")
    pool.acquire(0)
    holders = client().hgetall("wanpool:{default}:holders")
    for name, record in holders.items():
        words = record.split(" ")
        client().hset("wanpool:{default}:holders", name, " ".join([words[0], "an-earlier-boot", *words[2:]]))
    kill(pid())
    server.ensure()
    assert server.knows_all()
    with WanPortPool(server.ensure()) as other:
        assert other.acquire(0)
    pool.close()


def test_a_wan_is_defined_at_once_unless_its_data_may_be_lost(
    home: Path, holder: Holder, face: str, loop: Loop, as_asked: None
) -> None:
    assert server.knows_all(), "a first start"
    with WanPortPool() as first:
        assert first.define_wan(1, "21000-21009") and first.acquire(1)
    client().flushall()
    assert not server.knows_all()
    server.stop()
    server.ensure()
    assert not server.knows_all(), "the holder lives, and no data tells of it"
    pool: Any = make(face, loop)
    pool.define_wan(0, "20000-20009")
    with pytest.raises(InGrace):
        pool.acquire(0)
    pool.define_wan(2, "22000-22009", fresh=True)
    assert pool.acquire(2)
    pool.close()
    kill(pid())
    server.ensure()
    assert not server.knows_all()


def test_a_death_in_the_middle_of_a_rewrite_is_no_obstacle(home: Path) -> None:
    server.ensure()
    client().mset({f"key:{i}": i for i in range(3000)})
    client().config_set("rdb-key-save-delay", 10_000)  # us a key: 30 s, for which the child lives
    client().bgrewriteaof()
    wait_for(lambda: len(place.processes(home)) == 2)
    kill(pid())
    assert not server.status().running
    server.ensure(15.0)
    assert client().dbsize() == 3000 and len(place.processes(home)) == 1


# -- its folder is cleared up


@pytest.fixture
def long_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose sockets have too long a path."""
    folder = home / ("x" * 90)
    monkeypatch.setenv("WANPOOL_HOME", str(folder))
    yield folder
    server.stop()


def test_a_socket_that_was_removed_is_made_again(home: Path, face: str, loop: Loop) -> None:
    pool: Any = make(face, loop)
    pool.define_wan(0, "20000-20009", lease_ttl=KEPT_TTL)
    lease = pool.acquire(0)
    was = pid()
    (home / "s").unlink()
    assert pool.acquire(0), "connections go on"
    assert "its socket" in says("server", "status")
    other: Any = make(face, loop)
    began = time.monotonic()
    assert other.acquire(0).port != lease.port, "nothing was lost, so there is no grace"
    assert time.monotonic() - began < 10
    assert pid() != was
    lease.renew()
    for one in (pool, other):
        one.close()


def test_a_server_without_a_socket_is_stopped(home: Path) -> None:
    server.ensure()
    (home / "s").unlink()
    assert "stopped" in says("server", "stop")
    assert place.is_free(home / "alive.lock")


def test_a_short_link_that_was_removed_is_made_again(long_home: Path) -> None:
    with WanPortPool() as pool:
        pool.define_wan(0, "20000-20009")
        lease = pool.acquire(0)
        was = pid()
        shutil.rmtree(Path(server.status().url.removeprefix("unix://")).parents[1])
        pool._engine.performer.disconnect()
        assert pool.acquire(0).port != lease.port
        assert pid() == was


def test_two_tmpdirs_are_one_server(long_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.ensure()
    was, url = pid(), server.status().url
    with TemporaryDirectory(dir="/tmp") as other:
        monkeypatch.setenv("TMPDIR", other)
        monkeypatch.setattr("tempfile.tempdir", None)
        server.ensure()
        assert server.status().url != url and pid() == was
    deep = tmp_path / ("t" * 100)
    deep.mkdir()
    monkeypatch.setenv("TMPDIR", str(deep))
    monkeypatch.setattr("tempfile.tempdir", None)
    server.ensure()
    assert pid() == was, "a TMPDIR that is too long itself is none"


@pytest.mark.parametrize("whole", [True, False])
def test_a_folder_that_was_cleared_up_has_one_server_and_forgets_no_holder(
    home: Path, holder: Holder, whole: bool
) -> None:
    was = pid()
    if whole:
        shutil.rmtree(home)
    else:
        for path in home.iterdir():
            if path.is_file() or path.is_socket():
                path.unlink()
    server.ensure()
    assert pid() != was and not runs(was)
    assert not server.knows_all()
