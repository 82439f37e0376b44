"""PID namespaces, and a pid that is really used again: the reaper's verdicts on real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from redis_wanpool import WanPortPool

HOLD = """
import sys
from redis_wanpool import WanPortPool
pool = WanPortPool(sys.argv[1], namespace="test", rest=0, reap=False)
pool.define_wan(0, "20000-20099", cooldown=100, lease_ttl=600, fresh=True)
pool.acquire_many(0, 3)
print(pool.holder, flush=True)
sys.stdin.read()
"""
USED_AGAIN = """
import json, os, subprocess, sys, time
from redis_wanpool import WanPortPool
hold = sys.argv[2]
running = subprocess.Popen([sys.executable, "-c", hold, sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
running.stdout.readline()
running.kill()
running.wait()
for _ in range(100):
    with open("/proc/sys/kernel/ns_last_pid", "w") as last:
        last.write(str(running.pid - 1))
    child = os.fork()
    if child == 0:
        time.sleep(600)
    if child == running.pid:
        break
    os.kill(child, 9)
    os.waitpid(child, 0)
with WanPortPool(sys.argv[1], namespace="test", reap=False) as pool:
    (seen,) = [one for one in pool.reap() if one.pid == running.pid]
    is_there = os.path.exists(f"/proc/{child}")
    print(json.dumps([child == running.pid, is_there, seen.verdict, seen.why, len(seen.ports[0])]))
os.kill(child, 9)
"""
LOOK = """
import json, sys
from redis_wanpool import WanPortPool
with WanPortPool(sys.argv[1], namespace="test", reap=False) as pool:
    print(json.dumps({one.id: [one.verdict, one.why] for one in pool.reap()}), flush=True)
"""
BOTH = """
import subprocess, sys
hold = [sys.executable, "-c", sys.argv[2], sys.argv[1]]
running = subprocess.Popen(hold, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
running.stdout.readline()
look = [sys.executable, "-c", sys.argv[3], sys.argv[1]]
print(subprocess.run(look, capture_output=True, text=True, check=True).stdout.strip(), flush=True)
running.kill()
running.wait()
print(subprocess.run(look, capture_output=True, text=True, check=True).stdout.strip(), flush=True)
"""
OWN_PROC, OUTER_PROC = ("--mount-proc",), ()


@pytest.fixture
def inside() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Runs a program in a PID namespace of its own."""
    assert os.geteuid() == 0, "this lab makes PID namespaces: run it as root"
    made: list[subprocess.Popen[str]] = []

    def run(text: str, *args: str, proc: tuple[str, ...] = OWN_PROC) -> subprocess.Popen[str]:
        command = ["unshare", "--pid", "--fork", "--kill-child", *proc, sys.executable, "-c", text, *args]
        made.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return made[-1]

    yield run
    for process in made:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    return process.stdout.readline().strip()


@pytest.mark.parametrize("proc", [OWN_PROC, OUTER_PROC], ids=["own-proc", "outer-proc"])
def test_nobody_judges_processes_of_another_pid_namespace(server: Any, inside: Any, proc: tuple[str, ...]) -> None:
    """Their pids mean others here, or nobody."""
    running = inside(HOLD, server.url, proc=proc)
    holder = line(running)
    assert holder.split(":")[1] == "1"
    with WanPortPool(server.url, namespace="test", reap=False) as pool:
        mine = pool.acquire(0)
        for _ in range(2):  # while it lives, and when it is dead
            (seen,) = [one for one in pool.reap() if one.id == holder]
            assert (seen.verdict, seen.ports) == ("unknown", {}) and "another container" in seen.why
            running.kill()
            running.wait()
        assert pool.snapshot(0).leased == 4
        told = json.loads(line(inside(LOOK, server.url, proc=proc)))
        assert told[pool.holder][0] == "unknown"
        mine.renew()


def test_the_proc_of_another_namespace_is_not_believed(server: Any, inside: Any) -> None:
    """Without a /proc of its own, a container sees the machine's: only what the kernel says of a pid counts there."""
    both = inside(BOTH, server.url, HOLD, LOOK, proc=OUTER_PROC)
    ((alive, why),) = json.loads(line(both)).values()
    assert alive == "unknown" and "/proc shows another PID namespace" in why
    ((dead, why),) = json.loads(line(both)).values()
    assert dead == "dead" and "there is no process" in why
    assert server.admin.zcard("wanpool:{test:0}:leased") == 0


def test_a_pid_that_is_used_again_is_another_process(server: Any, inside: Any) -> None:
    same_pid, is_there, verdict, why, ports = json.loads(line(inside(USED_AGAIN, server.url, HOLD)))
    assert same_pid and is_there, "the lab itself: there is a living process with that pid"
    assert (verdict, ports) == ("dead", 3) and "another one by now" in why
