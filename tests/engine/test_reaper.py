"""Taking back what the dead held: nobody is taken for dead without proof, and nobody dead keeps a port."""

from __future__ import annotations

import dataclasses
import json
import logging
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from by_hand import run_script
from command_line import Program
from holds import shifted
from waiting import wait_for

from redis_wanpool import BackendUnavailable, LeaseLost, WanPortPool
from redis_wanpool.engine import reaper
from redis_wanpool.engine.performer import lead
from redis_wanpool.engine.reaper import Reaper
from redis_wanpool.model.holder import Holder
from redis_wanpool.protocol.keys import namespace_keys
from redis_wanpool.system import liveness as verdict
from redis_wanpool.system.identity import this_holder
from redis_wanpool.system.liveness import Verdict

HOLDERS = namespace_keys("test")[1]
LEASED, COOLING = "wanpool:{test:0}:leased", "wanpool:{test:0}:cooling"
SELF = """
import dataclasses, json, sys
from redis_wanpool.system.identity import this_holder
print(json.dumps(dataclasses.astuple(this_holder())), flush=True)
sys.stdin.read()
"""
JUDGE = """
import json, sys
from redis_wanpool.model.holder import Holder
from redis_wanpool.system.identity import this_holder
from redis_wanpool.system.liveness import verdict
print(verdict(Holder(*json.loads(sys.argv[1])), this_holder()).word)
"""
HOLD = """
import sys
from redis_wanpool import WanPortPool
pool = WanPortPool(sys.argv[1], namespace="test", rest=0)
pool.define_wan(0, "20000-20099", cooldown=100, lease_ttl=600, fresh=True)
pool.acquire_many(0, 3)
pool.acquire(0, ttl=600, detached=True)
print(pool.holder, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def process(program: Callable[..., Program]) -> Callable[..., Program]:
    """Runs a program up to its first line."""

    def run(text: str, *args: str) -> Program:
        running = program(text, *args)
        running.said = running.line()
        return running

    return run


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]


class TestVerdict:
    @pytest.fixture
    def other(self, process: Any) -> tuple[Program, Holder]:
        """Another process, and who it says that it is."""
        running = process(SELF)
        return running, Holder(*json.loads(running.said))

    def test_on_a_process_that_runs(self, other: tuple[Program, Holder]) -> None:
        assert verdict.verdict(other[1], this_holder()).word == "alive"
        assert verdict.verdict(this_holder(), this_holder()).word == "alive"

    def test_on_one_that_was_killed(self, other: tuple[Program, Holder]) -> None:
        other[0].kill()
        assert verdict.verdict(other[1], this_holder()) == Verdict("dead", f"there is no process {other[1].pid}")

    def test_on_a_zombie(self, other: tuple[Program, Holder]) -> None:
        other[0].kill(wait=False)
        wait_for(lambda: state_of(other[1].pid) == "Z")
        found = verdict.verdict(other[1], this_holder())
        assert found.word == "dead" and "zombie" in found.why

    def test_on_one_that_is_stopped(self, other: tuple[Program, Holder]) -> None:
        other[0].process.send_signal(signal.SIGSTOP)
        wait_for(lambda: state_of(other[1].pid) == "T")
        assert verdict.verdict(other[1], this_holder()).word == "alive"

    def test_on_another_process_with_its_pid(self, other: tuple[Program, Holder]) -> None:
        before = replace(other[1], started=str(int(other[1].started) - 1))
        found = verdict.verdict(before, this_holder())
        assert found.word == "dead" and "another one by now" in found.why

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "change",
        [{"boot_id": "other"}, {"host": "clone"}, {"pid_namespace": "1+1"}, {"pid": 0}, {"pid": 2**80}],
        ids=lambda change: next(iter(change)),
    )
    def test_is_none_without_proof(self, other: tuple[Program, Holder], change: dict[str, Any]) -> None:
        other[0].kill()
        assert verdict.verdict(replace(other[1], **change), this_holder()).word == "unknown"

    def test_is_none_where_the_system_hides_processes(self, other: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """As a /proc with hidepid does: the process is there, and its folder is not."""
        read_text = Path.read_text

        def hidden(path: Path, **kwargs: Any) -> str:
            if path == Path(f"/proc/{other[1].pid}/stat"):
                raise FileNotFoundError(path)
            return read_text(path, **kwargs)

        monkeypatch.setattr(Path, "read_text", hidden)
        assert verdict.verdict(other[1], this_holder()).word == "unknown"

    @pytest.mark.parametrize("offset", ["+1h", "-1h"])
    def test_is_moved_by_no_clock(self, other: tuple[Program, Holder], offset: str) -> None:
        done = subprocess.run(
            [sys.executable, "-c", JUDGE, json.dumps(dataclasses.astuple(other[1]))],
            env=shifted(FAKETIME=offset),
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert done.stdout.strip() == "alive", done.stderr

    def test_by_psutil_where_there_is_no_proc(self, process: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        running = process(SELF)
        pid = running.process.pid
        who = replace(this_holder(), pid=pid, started=f"{psutil.Process(pid).create_time():.3f}")
        assert verdict._by_psutil(who).word == "alive"
        assert verdict._by_psutil(replace(who, started="1.000")).word == "unknown"

        def denied(pid: int) -> None:
            raise psutil.AccessDenied(pid)

        with monkeypatch.context() as patch:
            patch.setattr(psutil, "Process", denied)
            assert verdict._by_psutil(who).word == "unknown"
        running.kill()
        assert verdict._by_psutil(who).word == "dead"


@pytest.fixture
def looker(server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[WanPortPool]:
    """A pool object that reaps only when told to, though `reaper_of` makes it one that does."""
    monkeypatch.setattr(Reaper, "INTERVAL", 3600.0)
    with WanPortPool(server.url, namespace="test", rest=0, reap=False) as pool:
        pool.define_wan(0, "20000-20099", cooldown=100, lease_ttl=600)
        yield pool


def reaper_of(pool: WanPortPool) -> Reaper:
    pool._engine.protocol.holder = replace(pool._engine.protocol.holder, reaps=True)
    return Reaper(pool._engine.protocol, pool._engine.performer.run)


def test_a_killed_process_loses_its_ports_at_the_third_look(looker: WanPortPool, server: Any, process: Any) -> None:
    process(HOLD, server.url).kill()
    looks = reaper_of(looker)
    for _ in range(2):
        looks.tick()
        assert (looker.snapshot(0).leased, looker.snapshot(0).cooling) == (4, 0)
    looks.tick()
    assert (looker.snapshot(0).leased, looker.snapshot(0).cooling) == (1, 3), "the detached lease stays"
    assert server.admin.hlen(HOLDERS) == 0


def test_any_pool_object_beside_it_does_so_by_itself(
    server: Any, process: Any, monkeypatch: pytest.MonkeyPatch, face: str, loop: Any, caplog: Any
) -> None:
    from faces import make

    monkeypatch.setattr(Reaper, "INTERVAL", 0.05)
    killed = process(HOLD, server.url)
    with make(face, loop, server.url, namespace="test", rest=0) as pool, caplog.at_level(logging.WARNING):
        assert pool.snapshot(0).leased == 4
        killed.kill()
        said = f"took back 3 ports (namespace 'test') of process {killed.process.pid} (program0.py) on"
        wait_for(lambda: said in caplog.text)
        assert pool.snapshot(0).cooling == 3


def test_only_looks_in_a_row_count(looker: WanPortPool, server: Any, process: Any, monkeypatch: Any) -> None:
    process(HOLD, server.url)
    words = iter(["dead", "dead", "alive", "dead", "dead", "unknown", "dead", "dead", "dead"])
    monkeypatch.setattr(reaper, "verdict", lambda *_: Verdict(next(words), "as told"))
    looks = reaper_of(looker)
    for _ in range(8):
        looks.tick()
        assert looker.snapshot(0).leased == 4
    looks.tick()
    assert looker.snapshot(0).leased == 1


def test_a_look_that_fails_ends_the_row(looker: WanPortPool, server: Any, process: Any) -> None:
    process(HOLD, server.url).kill()
    looks = reaper_of(looker)
    looks.tick()
    looks.tick()
    run, looks._run = looks._run, partial(lead, perform=unreachable)
    looks.tick()
    looks._run = run
    looks.tick()
    looks.tick()
    assert looker.snapshot(0).leased == 4
    looks.tick()
    assert looker.snapshot(0).leased == 1


def unreachable(_: Any) -> None:
    raise BackendUnavailable("as if")


def test_a_wan_that_was_never_finished_and_a_full_redis_stop_no_reaping(
    looker: WanPortPool, server: Any, process: Any
) -> None:
    run_script(server.admin, "claim", 7, "30000-30009", "g", "claimed")
    process(HOLD, server.url).kill()
    looker.acquire(0)
    looks = reaper_of(looker)
    looks._introduce_at = 0.0
    server.admin.config_set("maxmemory", 1)
    for _ in range(3):
        looks.tick()
    server.admin.config_set("maxmemory", 0)
    assert looker.snapshot(0).cooling == 3
    assert {seen.verdict for seen in looker.reap()} == {"alive"}


def test_whoever_renews_is_not_reaped_whatever_was_seen_of_him(
    looker: WanPortPool, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaper, "verdict", lambda *_: Verdict("dead", "wrong"))
    with WanPortPool(server.url, namespace="test", rest=0, reap=False) as seeming:
        idle, busy = seeming.acquire(0), seeming.acquire(0, ttl=300)
        looks = reaper_of(looker)
        looks.tick()
        looks.tick()
        busy.renew(ttl=600)
        looks.tick()
        busy.check()
        busy.renew()
        assert server.admin.hexists(HOLDERS, seeming.holder), "it lives"
        with pytest.raises(LeaseLost, match="its process seemed dead") as lost:
            idle.renew()
        assert lost.value.reason == "reaped"
        assert idle.release() is False


def test_what_was_leased_after_the_first_look_stays(looker: WanPortPool, server: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(reaper, "verdict", lambda *_: Verdict("dead", "wrong"))
    with WanPortPool(server.url, namespace="test", rest=0, reap=False) as seeming:
        looks = reaper_of(looker)
        seeming.acquire(0).release()
        looks.tick()
        late = seeming.acquire(0)
        looks.tick()
        looks.tick()
        late.renew()


def register(admin: Any, who: Holder) -> None:
    args = (who.id, who.host, who.boot_id, who.pid_namespace, who.pid, who.started, who.program, "reaps")
    run_script(admin, "register", *args)


class TestRing:
    """Many holders of one machine, written into Redis as they would write themselves."""

    @pytest.fixture
    def ring(self, looker: WanPortPool, server: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
        def fill(living: int, dead: int) -> tuple[list[Holder], list[str]]:
            me = this_holder()
            those = [replace(me, id=f"h:1:{n:04}") for n in range(living + dead)]
            buried = {who.id for who in those[living:]}
            for who in those:
                register(server.admin, who)
            looked: list[str] = []

            def look(who: Holder, here: Holder) -> Verdict:
                looked.append(who.id)
                return Verdict("dead" if who.id in buried else "alive", "")

            monkeypatch.setattr(reaper, "verdict", look)
            return those, looked

        return fill

    def dead_found_by(self, looker: WanPortPool, who: Holder) -> list[str]:
        looker._engine.protocol.holder = who
        return [found.id for found, _ in looker._engine.performer.run(reaper_of(looker)._dead_beside())]

    def test_nobody_looks_at_thousands(self, looker: WanPortPool, ring: Any) -> None:
        those, looked = ring(living=300, dead=3)
        for who in those[:300:7]:
            looked.clear()
            self.dead_found_by(looker, who)
            assert len(looked) <= Reaper.ENOUGH_ALIVE + 3

    def test_everybody_is_looked_at(self, looker: WanPortPool, ring: Any, server: Any) -> None:
        those, looked = ring(living=40, dead=3)
        found = [self.dead_found_by(looker, who) for who in those[:40]]
        assert sum(len(dead) == 3 for dead in found) == Reaper.ENOUGH_ALIVE, "the dead are at the end of the ring"
        for who in those[30:40]:  # who does not look itself is passed by
            server.admin.hset(HOLDERS, who.id, server.admin.hget(HOLDERS, who.id).replace(" reaps", " -"))
        assert len(self.dead_found_by(looker, those[29])) == 3
        assert set(looked) == {who.id for who in those}

    def test_a_single_survivor_looks_at_all(self, looker: WanPortPool, ring: Any) -> None:
        those, _ = ring(living=1, dead=100)
        assert self.dead_found_by(looker, those[0]) == [who.id for who in those[1:]]
        assert self.dead_found_by(looker, replace(those[0], id="h:1:0050x")) == [
            who.id for who in those[51:] + those[1:51]
        ]


def test_a_holder_says_now_and_then_that_it_lives(looker: WanPortPool, server: Any) -> None:
    looker.acquire(0)
    server.admin.delete(HOLDERS)
    looks = reaper_of(looker)
    looks.tick()
    assert not server.admin.exists(HOLDERS)
    looks._introduce_at = 0.0
    looks.tick()
    assert server.admin.hkeys(HOLDERS) == [looker.holder]


@pytest.mark.slow
def test_reap_says_of_each_holder_what_it_saw(pools: Any, backends: Any, process: Any) -> None:
    pool = pools(reap=False)
    pool.define_wan(0, "20000-20009", cooldown=100, lease_ttl=600)
    mine = pool.acquire(0)
    ended = process(SELF)
    ended.kill()
    me = this_holder()
    for who, first_id in (
        (replace(me, id="h:2:dead", pid=ended.process.pid), "h:2:dead/a"),
        (replace(me, id="h:3:elsewhere", host="far", boot_id="other"), "h:3:elsewhere/a"),
    ):
        register(backends.admin, who)
        wanted = (who.id, "net", 0, who.host, who.pid, "", "", "", "", "", 1, 8, "", "", first_id)
        assert run_script(backends.admin, "acquire", *wanted)[0] == "GRANTED"

    for dry_run in (True, False):
        seen = {holder.id: holder for holder in pool.reap(dry_run=dry_run)}
        dead, far, own = seen["h:2:dead"], seen["h:3:elsewhere"], seen[pool.holder]
        assert (len(seen), own.verdict, own.ports) == (3, "alive", {})
        assert (far.verdict, far.ports) == ("unknown", {}) and "another machine" in far.why
        assert dead.verdict == "dead" and len(dead.ports[0]) == 1
        assert pool.snapshot(0).leased == (3 if dry_run else 2)
    assert {seen.verdict for seen in pool.reap()} == {"alive", "unknown"}
    mine.renew()


PREFORK = """
import os, signal, sys, time
from redis_wanpool import WanPortPool
from redis_wanpool.engine.performer import lead
from redis_wanpool.engine.reaper import Reaper
Reaper.INTERVAL = 0.05
pool = WanPortPool(sys.argv[1], namespace="test", rest=0)
pool.define_wan(0, "20000-20099", cooldown=100, lease_ttl=600, fresh=True)
mine = pool.allocate_port(wan_idx=0)
workers = []
for _ in range(4):
    worker = os.fork()
    if worker == 0:
        assert pool.release_port(wan_idx=0, port=mine) is False
        for _ in range(5):
            pool.allocate_port(wan_idx=0)
        pool.snapshot(0)
        while True:
            time.sleep(60)
    workers.append(worker)
print("forked", flush=True)
sys.stdin.readline()
for worker in workers[:2]:
    os.kill(worker, signal.SIGKILL)
for worker in workers[:1]:
    os.waitpid(worker, 0)  # the other one stays a zombie
sys.stdin.readline()
assert pool.release_port(wan_idx=0, port=mine) is True
for worker in workers[1:]:
    os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)
print("ended", flush=True)
"""


def test_a_prefork_server_loses_no_port_to_workers_that_are_killed(server: Any, process: Any) -> None:
    running = process(PREFORK, server.url)
    assert running.said == "forked"
    wait_for(lambda: server.admin.zcard(LEASED) == 21)
    running.tell("kill two")
    wait_for(lambda: server.admin.zcard(COOLING) == 10)
    assert server.admin.zcard(LEASED) == 11, "those of the living stay"
    running.tell("end")
    assert running.line() == "ended"


DIES_IN_HEARTBEAT = """
import os, sys
from redis_wanpool import WanPortPool
from redis_wanpool.transport import exchange as wire
pool = WanPortPool(sys.argv[1], namespace="test", rest=0)
pool.define_wan(0, "20000-20099", cooldown=100, lease_ttl=600, fresh=True)
pool.acquire_many(0, 3, ttl=5)
def die(client, call, clock, sent):
    connection = client.connection_pool.get_connection()
    connection.send_packed_command([wire._packed("EVALSHA", call.script.sha, call, clock, sent)])
    os._exit(9)
wire._call = die
print("renewing", flush=True)
sys.stdin.read()
"""


def test_an_interpreter_that_dies_in_a_heartbeat_leaves_nothing_half_done(
    looker: WanPortPool, server: Any, process: Any
) -> None:
    """The fixture of the server compares all that is written."""
    running = process(DIES_IN_HEARTBEAT, server.url)
    assert running.process.wait(60) == 9
    looks = reaper_of(looker)
    for _ in range(3):
        looks.tick()
    wait_for(lambda: looker.snapshot(0).cooling == 3)
