"""What the doctor says of Redis and its WANs: the judgement on made-up facts, and real servers that are not fit."""

from __future__ import annotations

import ast
import json
import re
import socket
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from command_line import says, tells, wanpool
from private_server import Server, keep_busy
from waiting import wait_for

import redis_wanpool.doctor
from redis_wanpool import WanPortPool
from redis_wanpool.doctor import durability, fitness, lines, linux, permission, process, router, wans
from redis_wanpool.doctor import server as looking
from redis_wanpool.doctor.examine import no_redis
from redis_wanpool.doctor.finding import FAIL, OK, WARN, Finding
from redis_wanpool.doctor.probe import NO_PORT
from redis_wanpool.doctor.server import ServerFacts
from redis_wanpool.doctor.wans import WanFacts
from redis_wanpool.errors import BackendUnavailable
from redis_wanpool.model.health import Health, Verdict
from redis_wanpool.model.views import WanSnapshot
from redis_wanpool.model.wan import WanDefinition
from redis_wanpool.protocol import scripts

FIT = ServerFacts(
    is_here=True,
    is_encrypted=True,
    has_password=True,
    version=(9, 1, 2),
    is_valkey=True,
    role="master",
    eviction="noeviction",
    is_aof=True,
    replicas=0,
    settings={"appendfsync": "everysec", "save": "", "bind": "127.0.0.1", "protected-mode": "yes"},
    round_trips=(0.001, 0.002),
    ahead=0.01,
)


def judged(facts: ServerFacts, shortest_ttl: float = 60.0) -> dict[str, str]:
    findings = [*fitness.judge(facts, shortest_ttl), *durability.judge(facts)]
    assert len({one.code for one in findings}) == len(findings)
    for one in findings:
        assert one.severity == OK or (one.means and one.cure), one
    return {one.code: one.severity for one in findings}


# -- judging


def test_a_fit_server_is_told_so() -> None:
    assert set(judged(FIT).values()) == {OK}
    assert set(judged(FIT)) == {"version", "eviction", "latency", "clock", "persistence", "replicas"}


@pytest.mark.parametrize(
    ("changed", "code", "severity"),
    [
        (dict(version=(6, 0, 16), is_valkey=False), "version", FAIL),
        (dict(version=(6, 2, 19), is_valkey=False), "version", WARN),
        (dict(version=(6, 2, 20), is_valkey=False), "version", OK),
        (dict(version=(7, 0, 15), is_valkey=False), "version", WARN),
        (dict(version=(8, 2, 1), is_valkey=False), "version", WARN),
        (dict(version=(8, 4, 0), is_valkey=False), "version", OK),
        (dict(version=(8, 1, 3)), "version", WARN),
        (dict(version=(8, 1, 4)), "version", OK),
        (dict(version=None), "version", None),
        (dict(role="slave"), "replica", FAIL),
        (dict(role="slave", is_aof=False), "persistence", None),
        (dict(role="slave", replicas=1), "replicas", None),
        (dict(eviction="allkeys-lru"), "eviction", FAIL),
        (dict(eviction="allkeys-random"), "eviction", FAIL),
        (dict(eviction="volatile-ttl"), "eviction", OK),
        (dict(max_memory=0, used_memory=10**9), "memory", None),
        (dict(max_memory=1000, used_memory=899), "memory", OK),
        (dict(max_memory=1000, used_memory=900), "memory", WARN),
        (dict(max_memory=1000, used_memory=1000), "memory", FAIL),
        (dict(max_memory=1000, used_memory=1000, eviction="volatile-lru"), "memory", WARN),
        (dict(cluster=True, shards=1), "cluster", OK),
        (dict(cluster=True, shards=3), "cluster", FAIL),
        (dict(cluster=True, shards=None), "cluster", FAIL),
        (dict(round_trips=(0.001, 0.2)), "latency", OK),
        (dict(round_trips=(0.001, 0.21)), "latency", WARN),
        (dict(ahead=3600.0), "clock", OK),
        (dict(is_here=False), "unencrypted", None),
        (dict(is_here=False, is_encrypted=False), "unencrypted", WARN),
        (dict(is_here=True, is_encrypted=False), "unencrypted", None),
        (dict(is_here=False, has_password=False), "no-password", WARN),
        (dict(has_password=False), "no-password", None),
        (dict(has_password=False, settings={"bind": "* -::*", "protected-mode": "yes"}), "no-password", None),
        (dict(has_password=False, settings={"bind": "* -::*", "protected-mode": "no"}), "no-password", WARN),
        (dict(has_password=False, settings={"bind": "", "protected-mode": "no"}), "no-password", WARN),
        (dict(has_password=False, settings={"bind": "127.0.0.1 -::1", "protected-mode": "no"}), "no-password", None),
        (dict(embedded=True, has_password=False, settings={"bind": "*", "protected-mode": "no"}), "no-password", None),
        (dict(unseen=(("CONFIG GET", "NOPERM"),)), "unseen", WARN),
        (dict(is_aof=False), "persistence", WARN),
        (dict(is_aof=False, settings={"save": "3600 1"}), "persistence", WARN),
        (dict(is_aof=False, settings={}), "persistence", WARN),
        (dict(is_aof=False, embedded=True), "persistence", OK),
        (dict(settings={"appendfsync": "always"}), "persistence", OK),
        (dict(settings={"appendfsync": "no"}), "persistence", WARN),
        (dict(settings={}), "persistence", OK),
        (dict(writes_fail=True), "persistence", FAIL),
        (dict(is_aof=None), "persistence", None),
        (dict(replicas=1), "replicas", WARN),
        (dict(replicas=1, settings={"min-replicas-to-write": "0"}), "replicas", WARN),
        (dict(replicas=1, enough_replicas=1, settings={"min-replicas-to-write": "1"}), "replicas", OK),
        (dict(replicas=1, enough_replicas=1, settings={}), "replicas", OK),
        (dict(replicas=1, enough_replicas=0, settings={"min-replicas-to-write": "1"}), "replicas", FAIL),
        (dict(replicas=0, enough_replicas=0, settings={"min-replicas-to-write": "1"}), "replicas", FAIL),
        (dict(replicas=None), "replicas", None),
    ],
)
def test_a_server_is_judged_by_what_it_says(changed: dict[str, Any], code: str, severity: str | None) -> None:
    assert judged(replace(FIT, **changed)).get(code) == severity


def test_latency_is_measured_against_the_shortest_lease() -> None:
    slow = replace(FIT, round_trips=(0.06,))
    assert judged(slow, shortest_ttl=60)["latency"] == OK
    assert judged(slow, shortest_ttl=1)["latency"] == WARN


def test_who_tells_nothing_is_not_judged() -> None:
    silent = ServerFacts(has_password=True, unseen=(("INFO", "NOPERM"), ("CONFIG GET", "NOPERM")))
    findings = [*fitness.judge(silent, 60), *durability.judge(silent)]
    assert [(one.severity, one.code) for one in findings] == [(WARN, "unseen"), (WARN, "unseen")]


RULES = WanDefinition.of(0, "20000-20009")
DIFFER = "fail wan-differs, ok wan"


def wan(state: str = "open", **changed: Any) -> WanSnapshot:
    settled = {"generation": "g", "on_failover": "grace", "grace_until_ms": "33000"}
    config = {**RULES.fields(), **settled, **changed.pop("config", {})}
    counts = {"grace_ms": 0, "free": 5, "leased": 3, "cooling": 2, "withheld": 0, "rested": 0, **changed}
    return WanSnapshot(
        wan_idx=0, name="", state=state, weight=1, generation="g", config=config, now_ms=1000, leases=(), **counts
    )


@pytest.mark.parametrize(
    ("seen", "configured", "found", "said"),
    [
        ([], [], "fail no-wans", "wanpool init --recover"),
        ([], [RULES], "ok wan-new", "first program"),
        ([], [RULES], "ok wan-new", "wanpool init --fresh"),
        (wan(), [], "ok wan", "5 free, 3 leased, 2 cooling"),
        (wan(), [RULES], "ok wan", "10 ports"),
        (wan(), [replace(RULES, cooldown=15.0)], DIFFER, "cooldown 15 s in wanpool.toml, 125 s in Redis"),
        (wan(), [replace(RULES, name="a")], DIFFER, 'name a in wanpool.toml, "" in Redis'),
        (wan(), [replace(RULES, wan_idx=1, ports="20005-20012")], DIFFER, "of which 20005-20009 belong to WAN 0"),
        (wan("draining"), [], "warn wan-draining", "wanpool open 0"),
        (wan(free=0, leased=8), [], "warn wan-exhausted", "10 / (hold + 1 s) leases a second"),
        (wan(free=0, leased=8), [], "warn wan-exhausted", "ports that change networks 10 / (hold + 125 s)"),
        (wan(free=0, leased=8, rested=1), [], "ok wan", "0 free, 8 leased"),
        (wan(config={"rejects_until": "31000"}), [], "ok wan, warn wan-refusing", "no free ports for 30 s"),
        (wan(grace_ms=32_000), [], "warn wan-grace", "in grace for 32 s"),
        (wan(grace_ms=32_000), [], "warn wan-grace", "wait; see in Redis's log why it restarted"),
        (wan(grace_ms=32_000, config={"new_until_ms": "33000"}), [], "warn wan-grace", "wanpool init --fresh"),
        (wan(config={"new_until_ms": "33000"}), [], "ok wan", "5 free"),
        (wan(config={"graces": "900"}), [], "ok wan", "5 free"),
        (wan(config={"graces": "900 500 x -3600001"}), [], "ok wan, warn wan-graces", "2 graces in the last hour"),
        (wan(config={"graces": "900 500"}), [], "ok wan, warn wan-graces", "each lasts up to 70 s"),
        (wan(config={"rejects_until": "1000"}), [], "ok wan", ""),
        ([WanFacts(0, "20000", trouble="lost")], [RULES], "fail wan-lost", "wanpool init --recover --wan 0"),
        ([WanFacts(0, "20000", trouble="unfinished")], [], "fail wan-unfinished", "wanpool init --recover"),
        ([WanFacts(0, "20000", trouble="other-protocol", why="x")], [], "fail wan-other-protocol", "same version"),
        ([WanFacts(-1, "", trouble="unreadable", why="x")], [], "fail wan-unreadable", "same version"),
    ],
)
def test_wans_are_judged(seen: Any, configured: Any, found: str, said: str) -> None:
    facts = [WanFacts(0, "20000-20009", seen)] if isinstance(seen, WanSnapshot) else seen
    findings = wans.judge("n", facts, configured, rest=1.0)
    assert [f"{one.severity} {one.code}" for one in findings] == found.split(", ")
    assert said in "\n".join(f"{one.seen}\n{one.means}\n{one.cure}" for one in findings)


def line(wan_idx: int, found: str, age: float = 1.0) -> Verdict:
    return Verdict(wan_idx, found, "then", age, 5.0, 0.01, "h:1:x", "no answer" if found == "down" else "")


@pytest.mark.parametrize(
    ("health", "found", "said"),
    [
        (Health({}), [], ""),
        (Health({0: line(0, "up"), 1: line(1, "up")}), ["ok lines"], "line of WAN 0, 1 up"),
        (Health({0: line(0, "down"), 1: line(1, "up")}), ["warn line-down", "ok lines"], "down since then: no answer"),
        (Health({0: line(0, "down", 14.9)}), ["warn line-down"], "h:1:x found it"),
        (
            Health({0: line(0, "down", 15.1)}),
            ["warn lines-unchecked"],
            "nobody checks the line of WAN 0 any more; h:1:x",
        ),
        (Health({0: line(0, "up", -15.1)}), ["warn lines-unchecked"], "15 s ago"),
        (Health({}, "", ("\x1b[2J",)), ["warn lines-unreadable"], "'\\x1b[2J'"),
    ],
)
def test_lines_are_judged(health: Health, found: list[str], said: str) -> None:
    findings = list(lines.judge(health))
    assert [f"{one.severity} {one.code}" for one in findings] == found
    assert said in "\n".join(f"{one.seen}\n{one.means}\n{one.cure}" for one in findings)


@pytest.mark.parametrize(
    ("facts", "config", "warned"),
    [
        ({"replicas": 1, "settings": {"min-replicas-max-lag": "20"}}, {}, True),
        ({"replicas": 1, "settings": {"min-replicas-max-lag": "10"}}, {}, False),
        ({"replicas": 1, "settings": {}}, {}, False),
        ({"replicas": 0, "settings": {"min-replicas-max-lag": "20"}}, {}, False),
        ({"replicas": 1, "settings": {"min-replicas-max-lag": "20"}}, {"on_failover": "continue"}, False),
        ({"replicas": 1, "settings": {"min-replicas-max-lag": "20"}}, {"failover_margin_ms": "20000"}, False),
        ({"replicas": 1, "settings": {"min-replicas-max-lag": "10"}}, {"lease_ttl_ms": "18000"}, False),
        ({"replicas": 1, "settings": {"min-replicas-max-lag": "11"}}, {"lease_ttl_ms": "18000"}, True),
    ],
)
def test_a_grace_that_is_too_short_is_told(facts: dict[str, Any], config: dict[str, str], warned: bool) -> None:
    found = list(durability.judge_margins(replace(FIT, **facts), [wan(config=config)]))
    assert [one.code for one in found] == ["grace-margin"] * warned
    assert all("10 s" in one.seen and "max-lag 10" in one.cure for one in found)


def test_every_command_that_leasing_takes_is_asked_for() -> None:
    operators = ("withhold", "restore", "resize", "drain", "open", "revoke", "explain", "leases", "census", "outlook")
    operators += ("remove", "unclaim", "counters", "events")
    called = {
        command
        for name in scripts.names()
        if name not in operators
        for command in re.findall(r'redis\.p?call\("([A-Z]+)"', scripts.script(name).source)
    }
    assert set(permission.WORDS) == called


# -- real servers


@pytest.fixture
def doctor() -> Callable[..., tuple[int, dict[str, Finding]]]:
    """Asks; its answer, by code."""

    def ask(*words: str) -> tuple[int, dict[str, Finding]]:
        done = wanpool("doctor", "--json", *words)
        told = json.loads(done.stdout)
        assert set(told) == {"schema", "namespace", "findings"} and told["schema"] == 1
        return done.returncode, {one["code"]: Finding(**one) for one in told["findings"]}

    return ask


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def define(url: str) -> None:
    with WanPortPool(url) as pool:
        pool.define_wan(0, "24500-24509", name="telecom")


def test_a_fit_server_by_any_version(server: Any, doctor: Callable[..., Any]) -> None:
    define(server.url)
    code, found = doctor("--url", server.url)
    assert code == 0 and not [one for one in found.values() if one.severity == FAIL]
    assert found["wan"].seen == "WAN 0 (telecom): 10 ports: 10 free, 0 leased, 0 cooling, 0 withheld"
    assert found["persistence"].severity == WARN and found["permissions"].severity == OK and "unseen" not in found


def test_looking_changes_nothing(server: Any, doctor: Callable[..., Any]) -> None:
    define(server.url)

    def state() -> dict[str, Any]:
        hashes = {key: server.admin.hgetall(key) for key in server.admin.scan_iter(_type="HASH")}
        for name in ("seen_ms", *(name for name in hashes["wanpool:{default:0}:config"] if name.startswith("clock:"))):
            hashes["wanpool:{default:0}:config"].pop(name)  # when it was looked at
        free = server.admin.smembers("wanpool:{default:0}:free")
        return {**hashes, "free": free, "keys": sorted(server.admin.keys())}

    before = state()
    assert doctor("--url", server.url)[0] == 0
    assert state() == before


def test_eviction_of_any_key(started: Callable[..., Server], doctor: Callable[..., Any]) -> None:
    server = started("--maxmemory", "100mb", "--maxmemory-policy", "noeviction")
    define(server.url)
    server.admin.config_set("maxmemory-policy", "allkeys-lru")
    code, found = doctor("--url", server.url)
    assert (code, found["eviction"].severity) == (1, FAIL)
    assert "CONFIG SET maxmemory-policy noeviction" in found["eviction"].cure
    assert found["wan"].severity == OK, "what is in it is told all the same"


def test_a_router_is_not_asked_over_a_server_that_is_not_fit(started: Any) -> None:
    server = started()
    define(server.url)
    server.admin.config_set("maxmemory-policy", "allkeys-lru")
    told = tells("doctor", "--url", server.url, "--echo", "127.0.0.1:9", code=1)
    assert told["findings"][-1]["code"] == "not-probed" and "allkeys-lru" in told["findings"][-1]["seen"]


@pytest.mark.parametrize(
    ("options", "severity", "said"),
    [
        (["--appendonly", "no"], WARN, "a restart forgets all WANs and grants"),
        (["--appendonly", "no", "--save", "3600 1"], WARN, "since the last snapshot"),
        (["--appendonly", "yes"], OK, ""),
        (["--appendonly", "yes", "--appendfsync", "no"], WARN, "30 s"),
    ],
)
def test_persistence(started: Any, doctor: Any, options: list[str], severity: str, said: str) -> None:
    found = doctor("--url", started(*options).url)[1]["persistence"]
    assert found.severity == severity and said in found.means


def test_the_embedded_server_is_fit(embedded: Any, doctor: Callable[..., Any]) -> None:
    with WanPortPool() as pool:
        pool.define_wan(0, "24500-24509")
    code, found = doctor()
    assert code == 0 and found["persistence"].severity == OK and "embedded" in found["persistence"].seen


def test_a_replica_and_what_its_primary_loses(started: Callable[..., Server], doctor: Callable[..., Any]) -> None:
    port = free_port()
    primary = started("--port", str(port), "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0")
    define(primary.url)
    replica = started("--replicaof", "127.0.0.1", str(port))
    wait_for(lambda: replica.admin.info()["master_link_status"] == "up")
    wait_for(lambda: primary.admin.info().get("slave0", {}).get("state") == "online")

    code, found = doctor("--url", replica.url)
    assert (code, found["replica"].severity) == (1, FAIL) and "primary" in found["replica"].cure
    assert "persistence" not in found and found["wan"].severity == OK

    code, found = doctor("--url", primary.url)
    assert (code, found["replicas"].severity) == (0, WARN) and "min-replicas-to-write 1" in found["replicas"].cure

    primary.admin.config_set("min-replicas-to-write", 1)
    code, found = doctor("--url", primary.url)
    assert (code, found["replicas"].severity) == (0, OK) and "granted twice" in found["replicas"].means

    primary.admin.config_set("min-replicas-to-write", 2)
    code, found = doctor("--url", primary.url)
    assert (code, found["replicas"].severity) == (1, FAIL) and "refuses writes" in found["replicas"].means


def test_memory_that_is_full(started: Callable[..., Server], doctor: Callable[..., Any]) -> None:
    server = started()
    define(server.url)
    server.admin.config_set("maxmemory", 1)
    code, found = doctor("--url", server.url)
    assert (code, found["memory"].severity) == (1, FAIL)


USERS = ["on", ">sesame", "~wanpool:*", "+@all"]


@pytest.mark.parametrize(
    ("rules", "code", "severities", "said"),
    [
        (["-config"], 0, {"unseen": WARN}, "CONFIG GET"),
        (["-info", "-config"], 1, {"unseen": WARN, "permissions": FAIL}, "INFO"),
        (["-zadd", "-blpop"], 1, {"permissions": FAIL}, "ZADD, BLPOP"),
        (["-sadd", "-lpush"], 1, {"permissions": FAIL}, "LPUSH, SADD"),
        (["-hget"], 1, {"permissions": FAIL}, "HGET"),
        (["-eval", "-evalsha"], 1, {"redis": FAIL, "permissions": FAIL}, "EVAL"),
        (["-hgetall"], 1, {"redis": FAIL}, "HGETALL"),
        (["resetkeys", "~other:*"], 1, {"redis": FAIL}, "use keys like wanpool:"),
    ],
)
def test_a_user_who_may_not_everything(
    server: Any,
    doctor: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    rules: list[str],
    code: int,
    severities: dict[str, str],
    said: str,
) -> None:
    define(server.url)
    server.admin.execute_command("ACL", "SETUSER", "carol", "reset", *USERS, *rules)
    try:
        monkeypatch.setenv("WANPOOL_URL", server.url.replace("unix://", "unix://carol:sesame@"))
        seen_code, found = doctor()
    finally:
        server.admin.execute_command("ACL", "DELUSER", "carol")
    assert seen_code == code, found
    assert {name: found[name].severity for name in severities} == severities
    assert any(said in one.seen for one in found.values() if one.code in severities)
    assert "kernel-ports" in found or "redis" in found, "the machine is checked all the same"


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ("SPOP renamed away", "permissions", "Redis does not know SPOP"),
        ("busy", "redis", "BUSY"),
        ("database 9 of 4", "redis", "DB index is out of range"),
    ],
)
def test_what_is_no_missing_right_is_not_called_one(
    started: Callable[..., Server], doctor: Callable[..., Any], how: str, code: str, said: str
) -> None:
    server = started(*(("--rename-command", "SPOP", "") if "SPOP" in how else ()), "--databases", "4")
    define(server.url)
    if how == "busy":
        keep_busy(server)
    exit_code, found = doctor("--url", server.url + ("?db=9" if "9" in how else ""))
    assert exit_code and found[code].severity == FAIL and said in found[code].seen, found
    told = " ".join(f"{one.seen} {one.cure}" for one in found.values())
    assert "this user" not in told and "as a user" not in told, told


def test_the_least_rights_are_enough(server: Any, doctor: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    define(server.url)
    needed = [f"+{name.lower()}" for name in permission.WORDS]
    rules = ["on", ">sesame", "~wanpool:*", *needed, "+eval", "+evalsha", "+info", "+blpop", "+hkeys"]
    server.admin.execute_command("ACL", "SETUSER", "carol", "reset", *rules)
    try:
        monkeypatch.setenv("WANPOOL_URL", server.url.replace("unix://", "unix://carol:sesame@"))
        code, found = doctor()
        with WanPortPool() as pool:
            pool.acquire(0).release(used=False)
    finally:
        server.admin.execute_command("ACL", "DELUSER", "carol")
    assert code == 0 and found["permissions"].severity == OK, found


def test_without_redis_the_machine_is_examined(doctor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, found = doctor("--url", "redis://127.0.0.1:1/0")
    assert (code, found["redis"].severity) == (3, FAIL) and "WANPOOL_URL" in found["redis"].cure
    assert found["timestamps"].severity == OK and "which ports" in found["unseen"].seen
    (tmp_path / "wanpool.toml").write_text('url = "redis://127.0.0.1:1/0"\n[wan.0]\nports = "24500-24509"\n')
    code, found = doctor()
    assert code == 3 and found["kernel-ports"].severity == OK and "unseen" not in found
    says("doctor", "--echo", "127.0.0.1:9", code=3)


def test_without_a_server_to_embed_the_machine_is_examined(doctor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANPOOL_SERVER", "/bin/false")
    code, found = doctor()
    assert code == 3 and "pip install" in found["redis"].seen and found["timestamps"].severity == OK


def test_a_server_in_protected_mode_and_a_cluster_without_slots(
    started: Callable[..., Server], doctor: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    denied = BackendUnavailable("refused: DENIED Running in protected mode " + 100 * "because ")
    denied.__cause__ = redis.ResponseError("DENIED Running in protected mode")
    assert not no_redis(denied).reached and len(no_redis(denied).findings[0].seen) < 300
    cluster = started("--port", "24580", "--cluster-enabled", "yes")  # and 34280, for the bus
    code, found = doctor("--url", cluster.url)
    assert (code, found["cluster"].severity, found["redis"].severity) == (1, OK, FAIL)
    assert "ACL" not in found["redis"].cure


def test_a_wrong_password(started: Callable[..., Server], doctor: Callable[..., Any], monkeypatch: Any) -> None:
    server = started()
    server.admin.config_set("requirepass", "sesame")
    monkeypatch.setenv("WANPOOL_URL", server.url.replace("unix://", "unix://:wrong@"))
    code, found = doctor()
    assert (code, found["redis"].severity) == (3, FAIL) and "credentials" in found["redis"].seen
    assert "sesame" not in str(found) and "wrong@" not in str(found)
    monkeypatch.setenv("WANPOOL_URL", server.url)
    assert doctor()[0] == 3


def test_an_empty_redis_and_a_namespace_that_does_not_exist(server: Any, doctor: Callable[..., Any]) -> None:
    assert doctor("--url", server.url)[1]["no-wans"].severity == FAIL
    define(server.url)
    code, found = doctor("--url", server.url, "--namespace", "other")
    assert code == 1 and "'other'" in found["no-wans"].seen


def test_what_another_version_wrote(server: Any, doctor: Callable[..., Any]) -> None:
    define(server.url)
    server.admin.hset("wanpool:{default:0}:config", "protocol", "99")
    code, found = doctor("--url", server.url)
    assert code == 1 and found["wan-other-protocol"].wans == [0] and "protocol 99" in found["wan-other-protocol"].seen
    server.admin.hset("wanpool:{default}:wans", "0", "who knows what")
    assert "who knows what" in doctor("--url", server.url)[1]["wan-unreadable"].seen
    server.admin.delete("wanpool:{default}:wans")
    server.admin.set("wanpool:{default}:wans", "x")
    code, found = doctor("--url", server.url)
    assert (code, found["redis"].severity) == (1, FAIL) and "WRONGTYPE" in found["redis"].seen
    server.admin.flushall()


def test_a_wan_that_is_not_whole_is_not_asked_for_the_router(server: Any) -> None:
    define(server.url)
    server.admin.hset("wanpool:{default}:wans", "x", "y")
    server.admin.hset("wanpool:{default:0}:config", "protocol", "99")
    told = tells("doctor", "--url", server.url, "--echo", "127.0.0.1:9", code=1)
    assert {"wan-unreadable", "wan-other-protocol"} <= {one["code"] for one in told["findings"]}
    assert told["wans"] == []
    server.admin.flushall()


def test_data_that_is_gone_and_a_definition_that_was_not_finished(server: Any, doctor: Callable[..., Any]) -> None:
    define(server.url)
    server.admin.delete(*server.admin.keys("wanpool:{default:0}:*"))
    assert doctor("--url", server.url)[1]["wan-lost"].severity == FAIL
    server.admin.hset("wanpool:{default}:wans", "0", "24500-24509 g claimed")
    assert doctor("--url", server.url)[1]["wan-unfinished"].severity == FAIL


def test_a_configuration_that_differs_is_told_and_changes_nothing(server: Any, doctor: Any, tmp_path: Path) -> None:
    define(server.url)
    (tmp_path / "wanpool.toml").write_text(
        f'url = "{server.url}"\n[wan.0]\nports = "24500-24509"\nname = "telecom"\ncooldown = 15\n'
    )
    code, found = doctor()
    assert code == 1 and "cooldown 15 s in wanpool.toml, 125 s in Redis" in found["wan-differs"].seen
    assert server.admin.hget("wanpool:{default:0}:config", "cooldown_ms") == "125000"


def test_the_stand_in_is_told_as_such(doctor: Callable[..., Any]) -> None:
    code, found = doctor("--url", "fake://doctor")
    assert code == 1 and found["fake"].severity == WARN and found["no-wans"].severity == FAIL


# -- how it is told

HEALTHY = Path(__file__).with_name("healthy.txt").read_text(encoding="utf-8")


@pytest.fixture
def healthy(started: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server, and a machine whose figures are the same everywhere."""
    monkeypatch.setattr(looking, "_timed", lambda ask: ((0.001, 0.002), 0.001))
    machine = linux.LinuxFacts((32768, 60999), "", 1, 1024, False, True, "tsc")
    monkeypatch.setattr(linux, "look", lambda: machine)
    monkeypatch.setattr(process, "look", lambda network: process.ProcessFacts(1024))
    server = started("--appendonly", "yes")
    define(server.url)
    return server


def test_a_healthy_system_is_one_screen(healthy: Server) -> None:
    assert says("doctor", "--url", healthy.url).replace(healthy.url, "unix://S") == HEALTHY


def test_a_healthy_system_as_json(healthy: Server) -> None:
    told = tells("doctor", "--url", healthy.url)
    assert told["namespace"] == "default"
    assert [(one["severity"], one["code"], one["wans"], one["means"], one["cure"]) for one in told["findings"]] == [
        (OK, code, [0] if code == "wan" else [], "", "")
        for code in ("version", "eviction", "latency", "clock", "persistence", "replicas", "permissions", "wan")
        + ("kernel-ports", "timestamps", "identity", "occupied", "files", "network")
    ]
    assert [f"{one['severity']:4}  {one['seen']}" for one in told["findings"]][3:] == HEALTHY.splitlines()[4:-1]


def test_a_finding_that_is_not_ok_says_what_it_means_and_what_to_do(server: Any) -> None:
    lines = says("doctor", "--url", server.url, code=1).splitlines()
    at = lines.index("fail  namespace 'default' has no WAN")
    assert lines[at + 1].startswith("      means: ") and lines[at + 2].startswith("      cure: ")
    assert re.fullmatch(r"\d+ ok, \d+ warn, 1 fail", lines[-1])


def test_every_code_is_documented() -> None:
    folder = Path(redis_wanpool.doctor.__file__).parent
    text = (Path(__file__).parents[2] / "docs/doctor.md").read_text(encoding="utf-8")
    rows = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| `")]
    documented = {code for row in rows for code in re.findall(r"`([a-z-]+)`", row)}
    used = {"wan-other-protocol", "wan-unreadable"}
    used |= {*router.FAILURES, *(f"port-{kind}" for kind in NO_PORT.values())}
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "found":
                name = node.args[1]
                either = [name.body, name.orelse] if isinstance(name, ast.IfExp) else [name]
                used |= {one.value for one in either if isinstance(one, ast.Constant)}
    names = {*tomllib.loads((folder / "findings.toml").read_text(encoding="utf-8")), *used}
    assert documented == {name.partition("/")[0] for name in names} - {"no-answer", "port", "wan-foreign"}


def test_the_doctor_speaks_chinese(server: Any, chinese: None) -> None:
    told = says("doctor", "--url", server.url, code=1)
    assert "没有 WAN" in told and "      处理: " in told
