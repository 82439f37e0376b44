"""docs/redis-cli.md, and such lines of other pages, with a real redis-cli, as a user who may only look."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from by_hand import age_wan
from private_server import Server
from test_docs import PAGES, ROOT, blocks, commands

from redis_wanpool import WanPortPool
from redis_wanpool.cli.acl import User

PAGE = ROOT / "docs/redis-cli.md"
LINES, ELSEWHERE = (
    [line[2:] for page in pages for _, text in blocks(page) for line in commands(text) if "redis-cli" in line]
    for pages in ([PAGE], [page for page in PAGES if page != PAGE])
)


class Prompt:
    """A shell in which redis-cli talks to the test's server, as a viewer."""

    def __init__(self, server: Server, folder: Path) -> None:
        real = shutil.which("redis-cli")
        assert real, "this test needs redis-cli; install it with: apt-get install redis-tools"
        user = User.of("viewer", "viewer", "default", 0, fsync=False, cluster=False)
        server.admin.execute_command(*user.setuser.replace(">PASSWORD", ">sesame").split(" "))
        (folder / "redis-cli").write_text(f'#!/bin/sh\nexec {real} -s {server.socket} --user viewer "$@"\n')
        (folder / "redis-cli").chmod(0o755)
        self._environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "REDISCLI_AUTH": "sesame"}

    def __call__(self, line: str, **words: str) -> str:
        for name, value in words.items():
            line = line.replace(name, value)
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, env=self._environment, check=False
        )
        refused = re.search(r"ERR|NOPERM|WRONGTYPE|NOSCRIPT", done.stdout + done.stderr)
        assert done.returncode == 0 and not refused, (line, done)
        return done.stdout.strip()


@pytest.fixture
def lively(server: Server) -> Iterator[WanPortPool]:
    """A WAN with a port in each state."""
    with WanPortPool(server.url, network="net-a", rest=1) as pool:
        pool.define_wan(0, "20010-20019", cooldown=125)
        pool.acquire(0, port=20017, label="daily_basic")
        pool.acquire(0, port=20010).release()
        pool._run(pool._engine.protocol.release([pool.acquire(0, port=20011)], "rejected", "EADDRINUSE at bind"))
        pool._run(pool._engine.protocol.move("withhold", 0, [20012]))
        yield pool


@pytest.fixture
def ask(server: Server, lively: WanPortPool, tmp_path: Path) -> Prompt:
    return Prompt(server, tmp_path)


def line_with(*words: str) -> str:
    (found,) = [line for line in LINES if all(word in line for word in words)]
    return found


def everything(admin: Any) -> dict[str, Any]:
    return {key: _value(admin, key) for key in admin.scan_iter()}


def _value(admin: Any, key: str) -> Any:
    kind = admin.type(key)
    if kind == "hash":
        return sorted(admin.hgetall(key).items())
    if kind == "stream":
        return admin.xrange(key)
    return sorted(admin.smembers(key)) if kind == "set" else admin.zrange(key, 0, -1, withscores=True)


def test_every_line_answers_and_changes_nothing(server: Server, lively: WanPortPool, ask: Prompt) -> None:
    before = everything(server.admin)
    for line in LINES + ELSEWHERE:
        print(f"$ {line}\n{ask(line, HOLDER=lively.holder, NETWORK='net-a')}")
    assert len(LINES) > 20 and ELSEWHERE and everything(server.admin) == before


def test_the_answers_are_right(server: Server, lively: WanPortPool, ask: Prompt) -> None:
    assert ask(line_with("local withheld")).split() == ["free", "6", "leased", "1", "cooling", "2", "withheld", "1"]
    assert ask(line_with("hmget", "lease:20017", "host")).split()[1:4] == [str(os.getpid()), "daily_basic", "net-a"]
    why = line_with("'not a port of this WAN'")
    assert re.fullmatch(r"leased, for \d+ s unless renewed", ask(why))
    for port, said in ((20010, r"cooling, for \d+ s"), (20012, "withheld"), (20013, "free"), (30000, "not a port.*")):
        assert re.fullmatch(said, ask(why.replace("20017", str(port)))), port
    assert ask(line_with("quarantine:20017").replace("20017", "20011")).splitlines()[0] == "EADDRINUSE at bind"
    assert ask(line_with("quarantined")).split()[0] == "20011"
    assert ask(line_with("smembers", "withheld")) == "20012"
    assert ask(line_with("hget ", "grants").replace("20017", "20010")).split()[5] == "released"
    assert ask(line_with("print $1, $2, $4")).split() == ["20017", lively.holder, "net-a"]
    assert ask(line_with("NETWORK"), NETWORK="net-a") == "20017"
    assert ask(line_with("uniq -c")).split() == ["1", lively.holder]
    assert ask(line_with("held:HOLDER"), HOLDER=lively.holder) == "20017"
    assert ask(line_with("hget", "state")) == "open"


def test_counts_are_right_though_nobody_settled(server: Server, lively: WanPortPool, ask: Prompt) -> None:
    age_wan(server.admin, 61, namespace="default")
    counts = ["free", "6", "leased", "0", "cooling", "3", "withheld", "1"]
    assert ask(line_with("local withheld")).split() == counts
    seen = lively.snapshot(0)
    assert [seen.free, seen.leased, seen.cooling, seen.withheld] == [6, 0, 3, 1]
