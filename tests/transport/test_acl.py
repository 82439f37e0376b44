"""The least rights: everything works under them, and each of them is needed. And how a missing one is said."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from by_hand import age_wan
from command_line import says, tells
from nodes import free_ports
from private_server import Server
from waiting import wait_for

from redis_wanpool import BackendUnavailable, Operator, PoolExhausted, PortNotInRange, WanPortPool
from redis_wanpool.cli.acl import commands
from redis_wanpool.model import durability
from redis_wanpool.model.health import Judgement
from redis_wanpool.protocol import Request
from redis_wanpool.watch.reading import Watch

SERVERS = ["redis-6.2", "redis-8.2", "valkey-9.1"]
NAMESPACE = "prod.a-b_1"
HANDSHAKE = {"auth", "select", "hello", "client|setinfo", "client", "ping", "acl|log", "command"}


@pytest.fixture(params=SERVERS)
def guarded(request: Any, tmp_path: Any) -> Iterator[Server]:
    """A server with the three users that `wanpool acl` prints."""
    server = Server(request.param, tmp_path, "--port", str(free_ports(1)[0]), "--bind", "127.0.0.1")
    yield server
    server.close()


def users(*words: str) -> list[dict[str, Any]]:
    return tells("acl", "--namespace", NAMESPACE, *words)["users"]


def do(verb: str, *words: str, code: int = 0) -> str:
    return says(verb, "--namespace", NAMESPACE, *words, code=code)


def let_in(server: Server, user: dict[str, Any]) -> str:
    """Makes the user, as it is to be pasted; the URL with which it comes."""
    words = user["setuser"].replace(">PASSWORD", ">sesame").split(" ")
    assert server.admin.execute_command(*words) in (True, "OK", b"OK")
    return f"unix://{user['user']}:sesame@{server.socket}"


def lease(url: str, server: Server) -> None:
    """All that a holder does."""
    with WanPortPool(url, namespace=NAMESPACE, network="n", rest=0) as pool:
        pool.define_wan(0, "20000-20009", cooldown=5, max_per_network=8)
        pool.define_wan(1, "21000-21009")
        leases = pool.acquire_many(0, 8)
        with pytest.raises(PoolExhausted):
            pool.acquire(0, wait=0.05)
        leases[0].renew()
        pool._run(pool._engine.protocol.release([leases.pop()], "rejected", "no"))
        for one in leases:
            one.release()
        pool.acquire(0, port=one.port).release(used=False)
        with pytest.raises(PortNotInRange):
            pool.acquire(0, port=19999)
        pool._run(pool._engine.protocol.acquire(Request.of(0, count=8, at_least=1, avoid=[20001, 20002])))
        assert pool.acquire(wait=1).release()
        pool.get_port_usage_info()
        pool.acquire(1)
        age_wan(server.admin, 500, wan_idx=1, namespace=NAMESPACE)
        pool._engine.heartbeat.due(0)
        pool.reap()
        pool.release_port(0, 20009)
        pool.drain(0)
        pool.open(0)
        protocol = pool._engine.protocol
        pool._run(protocol.judge(60.0, [Judgement(0, "down", None, "no answer"), Judgement(1, "up", 0.01)]))
        assert pool._run(protocol.health())[0].checker == pool.holder
        pool._run(protocol.retire())
        pool._run(pool._engine.protocol.leases_of(pool.holder))
    with WanPortPool(url, namespace=NAMESPACE, network="m", rest=0) as pool, ThreadPoolExecutor() as threads:
        held = pool.acquire_many(1, 10)
        waiting = threads.submit(pool.acquire, 1, wait=20)
        wait_for(lambda: server.admin.zcard(f"wanpool:{{{NAMESPACE}:1}}:waiting"))
        held[0].release()
        assert waiting.result(20)
        pool._run(pool._engine.protocol.lease_page(1, None))
        with pytest.raises(PoolExhausted):
            pool.acquire(1, wait=0.05)
        wait_for(lambda: not pool._engine.protocol.abandoned)
        pool._run(pool._engine.protocol.neighbours("", 9))
    with (
        WanPortPool(url, namespace=NAMESPACE, min_replicas=1, connect_timeout=3) as pool,
        pytest.raises(BackendUnavailable, match="0 of 1 replicas"),
    ):
        pool.define_wan(7, "27000")
        pool.acquire(7)


def script() -> None:
    """All verbs of a shell script that leases."""
    do("init", "--wan", "2=22000-22009")
    port, lease_id = do("acquire", "--wan", "2", "--ttl", "30").split()
    do("renew", port, lease_id, "--ttl", "60")
    do("release", port, lease_id)
    do("run", "--wan", "2", "--", "true")


def operate(url: str, server: Server) -> None:
    """All verbs of an operator."""
    do("init", "--wan", "5=25000-25009")
    port, lease_id = do("acquire", "--wan", "5", "--ttl", "30").split()
    for words in (["renew", port, lease_id, "--ttl", "60"], ["status"], ["leases"], ["explain", port]):
        do(*words)
    do("withhold", port)
    do("release", port, lease_id)
    do("restore", port)
    other, _ = do("acquire", "--wan", "5", "--ttl", "30").split()
    do("revoke", other)
    for words in (["drain", "5"], ["open", "5"], ["resize", "5", "25000-25010"], ["reap"], ["init", "--show"]):
        do(*words)
    do("run", "--wan", "5", "--", "true")
    do("acquire", "--wan", "5", "--ttl", "30")
    do("remove", "5", code=1)
    do("remove", "5", "--force")


def look() -> None:
    """All that a viewer sees."""
    for words in (["status"], ["status", "--json"], ["leases"], ["explain", "20000"], ["init", "--show"], ["events"]):
        do(*words)
    with Operator(namespace=NAMESPACE) as operator:
        watch = Watch(operator)
        assert watch.wans.get().wans and watch.events.get() and watch.holders.get() is not None and watch.port_map(0)
        assert operator.health().state(0) == "down"
        with pytest.raises(BackendUnavailable, match="does not let this user run "):
            operator._run(operator._protocol.judge(5.0))
    for words in (["drain", "0"], ["acquire", "--wan", "0", "--ttl", "9"], ["withhold", "20000"]):
        told = do(*words, code=3)
        assert "does not let this user run " in told and "wanpool acl" in told and told.count("\n") == 1, told


def denied(server: Server) -> list[Any]:
    return [(entry["username"], entry["object"]) for entry in server.admin.acl_log()]


@pytest.mark.slow
def test_everything_works_and_nothing_is_to_spare(guarded: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durability, "EARLIER", 1.5)  # time enough for the answer, also of a loaded machine
    holder, operator, viewer = users()
    for user, act in ((holder, lease), (operator, operate)):
        monkeypatch.setenv("WANPOOL_URL", url := let_in(guarded, user))
        guarded.admin.config_resetstat()
        guarded.admin.acl_log_reset()
        act(url, guarded)
        if user is holder:
            script()
        used = {name.removeprefix("cmdstat_") for name in guarded.admin.info("commandstats")}
        assert not denied(guarded)
        if user is holder:
            assert set(user["commands"]) <= used, set(user["commands"]) - used
        assert "select" not in user["commands"]
    monkeypatch.setenv("WANPOOL_URL", let_in(guarded, viewer))
    guarded.admin.acl_log_reset()
    look()
    assert {user for user, _ in denied(guarded)} == {viewer["user"]}, "of what it must not do, and nothing else"


@pytest.mark.parametrize("guarded", ["redis-8.2", "valkey-9.1"], indirect=True)
def test_who_waits_for_disks_may_ask_for_them(guarded: Server) -> None:
    guarded.admin.config_set("appendonly", "yes")
    (holder,) = users("holder", "--fsync")
    assert set(holder["commands"]) - {"waitaof"} == set(commands("holder"))
    assert "waitaof" not in users("viewer", "--fsync")[0]["commands"]
    Path("wanpool.toml").write_text("fsync = true\n")
    assert users("holder") == [holder]
    url = let_in(guarded, holder)
    with WanPortPool(url, namespace=NAMESPACE, fsync=True) as pool:
        pool.define_wan(0, "20000-20009")
        assert pool.acquire(0).release(used=False)
        guarded.admin.execute_command("ACL", "SETUSER", holder["user"], "-waitaof")
        with pytest.raises(BackendUnavailable, match="does not let this user run WAITAOF"):
            pool.acquire(0)
        wait_for(lambda: not pool._engine.protocol.doubts)
        assert pool.snapshot(0).free == 10


def test_another_namespace_is_closed(guarded: Server) -> None:
    url = let_in(guarded, users("holder")[0])
    with (
        WanPortPool(url, namespace="prod") as pool,
        pytest.raises(BackendUnavailable, match=r"use keys like wanpool:\{"),
    ):
        pool.define_wan(0, "20000-20009")


def test_who_may_not_even_look_is_told_what_to_permit(own_server: Server) -> None:
    own_server.admin.execute_command(
        "ACL", "SETUSER", "poor", "on", ">sesame", "~*", "+info", "+hget", "+evalsha", "+eval"
    )
    url = f"unix://poor:sesame@{own_server.socket}"
    with WanPortPool(url) as pool, pytest.raises(BackendUnavailable, match="does not let this user run HGETALL"):
        pool.define_wan(0, "20000-20009")


class TestText:
    """What is printed."""

    def test_is_ready_to_paste(self) -> None:
        told = says("acl", "viewer", "--namespace", "prod")
        line = next(line for line in told.splitlines() if line.startswith("ACL SETUSER"))
        assert line == (
            "ACL SETUSER wanpool-prod-viewer reset on >PASSWORD resetchannels ~wanpool:{prod}:* ~wanpool:{prod:* "
            + " ".join(f"+{name}" for name in commands("viewer"))
        )
        assert f"\nuser wanpool-prod-viewer {line.partition('reset ')[2]}\n" in told and "ACL GENPASS" in told
        assert not re.search(r"\+(set|del|hset|zadd|sadd|config|acl|flush\w*)\b", told)

    @pytest.mark.parametrize("words", [["--user", "x"], ["holder", "--user", "default"], ["holder", "--user", "a b"]])
    def test_of_a_bad_name_is_an_error(self, words: list[str]) -> None:
        assert "--user" in says("acl", *words, code=2)


class TestLua:
    """The scripts as Redis has them."""

    def test_with_the_line_numbers_of_errors(self, own_server: Server) -> None:
        lines = says("lua", "acquire").splitlines()
        source = own_server.admin.script_load("\n".join(re.sub(r"^ *\d+ ? ?", "", line) for line in lines[1:]))
        assert lines[0].startswith("acquire  SHA1 ") and re.match(r" *1  -- Leases ports", lines[1]) and source

    def test_are_listed(self) -> None:
        rows = tells("lua")["scripts"]
        assert {"name", "sha1", "what"} == set(rows[0]) and len(rows) == 32 and all(row["what"] for row in rows)
        assert "acquire" in says("lua")

    def test_that_are_none_are_said(self) -> None:
        assert "acquire" in says("lua", "nothing", code=2)
