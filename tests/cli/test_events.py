"""`wanpool events` and `wanpool namespaces`: what happened, as data of others; and what a Redis has."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from command_line import WANPOOL, says, tells, wanpool

from redis_wanpool import Operator, WanPortPool
from redis_wanpool.errors import InvalidValue
from redis_wanpool.model.history import LONGEST, Event
from redis_wanpool.protocol import namespaces

STREAM = "wanpool:{test:0}:events"


@pytest.fixture
def operator(backends: Any) -> Iterator[Operator]:
    with Operator(backends.url, namespace="test") as operator:
        for wan_idx, ports in {0: "20000-20019", 1: "21000-21009"}.items():
            operator.define_wan(wan_idx, ports, cooldown=5)
        yield operator


@pytest.fixture
def told(server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    """The same, of a real server that the commands talk to."""
    monkeypatch.setenv("WANPOOL_URL", server.url)
    monkeypatch.setenv("WANPOOL_NAMESPACE", "test")
    with Operator(server.url, namespace="test") as operator:
        for wan_idx, ports in {0: "20000-20019", 1: "21000-21009"}.items():
            operator.define_wan(wan_idx, ports, cooldown=5)
        yield operator


def newest(operator: Operator, wan_idx: int = 0) -> Event:
    return operator.events(wan_idx)[-1]


class TestEvents:
    """What an operator reads."""

    def test_say_who_did_what_to_which_ports(self, operator: Operator, backends: Any) -> None:
        with WanPortPool(backends.url, namespace="test", network="net-a") as pool:
            pool.acquire(0, port=20003, label="nightly")
            operator.revoke(0, operator.leases(0))
        operator.drain(1)
        what = [(event.wan_idx, event.what) for event in operator.events()]
        assert what == [(0, "defined"), (1, "defined"), (0, "revoked"), (1, "drained")]
        seen = newest(operator)
        assert (seen.ports, seen.count, seen.label, seen.network) == ((20003,), 1, "nightly", "net-a")
        assert seen.holder == pool.holder and "@" in seen.who and seen.is_readable
        assert abs(seen.at_ms - operator.counters()[0].at_ms) < 60_000

    def test_are_the_last_ones_or_those_after_a_known_one(self, operator: Operator, backends: Any) -> None:
        backends.admin.delete(STREAM)
        for count in range(1, 6):
            backends.admin.xadd(STREAM, {"what": "expired", "count": count}, id=f"{count}-0")
        backends.admin.xadd(STREAM, {"what": "expired", "count": 7})
        assert [event.count for event in operator.events(0, limit=2)] == [5, 7]

    def test_of_a_span(self, operator: Operator, backends: Any) -> None:
        backends.admin.delete(STREAM)
        backends.admin.xadd(STREAM, {"what": "expired", "count": 1}, id="1000-0")
        assert operator.events(0, since=3600) == []
        assert [event.at_ms for event in operator.events(0)] == [1000]
        with pytest.raises(InvalidValue, match="since"):
            operator.events(0, since=-1)
        with pytest.raises(InvalidValue, match="limit"):
            operator.events(0, limit=0)

    def test_that_come_after_a_known_one(self, operator: Operator) -> None:
        known = {wan_idx: newest(operator, wan_idx).id for wan_idx in (0, 1)}
        operator.drain(0)
        operator.open(0)
        assert [event.what for event in operator.events(after=known)] == ["drained", "opened"]
        assert [event.what for event in operator.events(after=known, limit=1)] == ["drained"]

    @pytest.mark.parametrize(
        "fields",
        [
            {"foo": "bar"},
            {"what": "expired", "count": "many"},
            {"what": "expired", "ports": "20000;reboot"},
            {"what": "", "count": "1"},
        ],
    )
    def test_that_no_script_wrote_hide_no_other(self, operator: Operator, backends: Any, fields: Any) -> None:
        backends.admin.xadd(STREAM, fields)
        backends.admin.xadd(STREAM, {"what": "from-the-future", "count": 3})
        strange, later = operator.events(0)[-2:]
        assert not strange.is_readable and next(iter(fields)) in strange.why
        assert (later.what, later.count) == ("from-the-future", 3)

    def test_are_bounded(self, operator: Operator, backends: Any) -> None:
        backends.admin.xadd(STREAM, {"what": "refused", "label": "x" * 10_000, "why": "y" * 10_000})
        seen = newest(operator)
        assert (len(seen.label), len(seen.why)) == (LONGEST, LONGEST)
        backends.admin.xadd(STREAM, {"z" * 10_000: "z"})
        assert len(newest(operator).why) == LONGEST


class TestCounters:
    """Exact, also before anybody wrote them where people look."""

    def test_count_what_was_granted_and_how_it_ended(self, operator: Operator, backends: Any) -> None:
        with WanPortPool(backends.url, namespace="test", rest=0) as pool:
            leases = pool.acquire_many(0, 5)
            leases.pop().release()
            leases.pop().release(used=False)
            operator.revoke(0, [lease for lease in operator.leases(0) if lease.port == leases[0].port])
            seen = operator.counters()[0]
            assert (seen.granted, seen.ended["unused"], seen.ended["revoked"]) == (5, 1, 1)
            assert sum(seen.ended.values()) == 3
        assert sum(operator.counters([0])[0].ended.values()) == 5 and operator.counters()[1].granted == 0
        assert seen.since_ms <= seen.at_ms and seen.graces == 0


class TestPortMap:
    """Where each port is."""

    def test_agrees_with_the_counts(self, operator: Operator, backends: Any) -> None:
        with (
            WanPortPool(backends.url, namespace="test", network="net-a", rest=1) as pool,
            WanPortPool(backends.url, namespace="test", network="net-b", rest=1) as other,
        ):
            leases = pool.acquire_many(0, 4)
            leases[0].release()
            theirs = other.acquire(0)
            unused = operator.port_map(0).states.index("f")
            operator.withhold(str(20000 + unused))
            seen = operator.port_map(0)
            counts = operator.snapshot(0)
            letters = {"f": counts.free, "l": counts.leased, "c": counts.cooling, "w": counts.withheld}
            assert {letter: seen.states.count(letter) for letter in letters} == letters
            whose = dict(zip(seen.ports, seen.whose, strict=True))
            assert seen.networks[whose[theirs.port]] == "net-b"
            assert {seen.networks[whose[lease.port]] for lease in leases} == {"net-a"}
            assert seen.states[theirs.port - 20000] == "l" and whose[20000 + unused] == -1
            assert sum(count for _, count in seen.runs()) == 20


class TestCommand:
    """What it prints."""

    def test_a_line_an_event(self, told: Operator) -> None:
        told.withhold("20003-20019")
        shown = says("events").splitlines()
        assert len(shown) == 3 and "WAN 0" in shown[-1] and "withheld" in shown[-1]
        assert "20003-20018 ... (17)" in shown[-1] and "by " in shown[-1]
        assert says("events", "--wan", "1").count("\n") == 1
        assert "nothing is noted" in says("events", "--wan", "1", "--since", "1ms")
        assert "WAN 7" in says("events", "--wan", "7", code=1)

    def test_in_json(self, told: Operator, server: Any) -> None:
        server.admin.xadd(STREAM, {"foo": "bar"})
        seen = tells("events", "--wan", "0")
        assert [one["what"] for one in seen["events"]] == ["defined", None]
        assert seen["namespace"] == "test" and seen["events"][0]["at_ms"] > 0

    def test_nothing_in_it_moves_the_cursor(self, told: Operator, server: Any) -> None:
        server.admin.xadd(STREAM, {"what": "expired\x1b[2J", "why": "a\nb\x9b", "label": "\u202e", "who": "\r"})
        server.admin.xadd(STREAM, {"\x1b]0;x\x07": "\x00"})
        shown = says("events", "--wan", "0")
        assert shown.count("\n") == 3 and not set(shown) & set("\x1b\x9b\u202e\r\x07\x00")
        assert "unreadable" in shown

    def test_speaks_chinese(self, told: Operator, chinese: None) -> None:
        assert "已定义" in says("events")

    @pytest.mark.slow
    def test_follows(self, told: Operator, server: Any) -> None:
        server.admin.delete(STREAM)
        server.admin.xadd(STREAM, {"what": "expired"}, id="1000-0")
        words = [*WANPOOL, "events", "--follow", "--json", "--since", "1h"]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        try:
            first = json.loads(process.stdout.readline())
            assert [(one["wan_idx"], one["what"]) for one in first["events"]] == [(1, "defined")]
            told.drain(1)
            (later,) = json.loads(process.stdout.readline())["events"]
            assert (later["wan_idx"], later["what"]) == (1, "drained")
        finally:
            process.terminate()
            process.communicate()


class TestNamespaces:
    """Which a Redis has."""

    def test_are_found_among_other_keys(self, told: Operator, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        with Operator(server.url, namespace="prod.a-b_1") as other:
            other.define_wan(3, "30000-30009,31000")
        server.admin.mset({f"other:{number}": 1 for number in range(3000)})
        for name in ("wanpool:{x y}:wans", "wanpool:{a:0}:wans", f"wanpool:{{{'x' * 65}}}:wans"):
            server.admin.hset(name, "0", "1-2 g ready")
        server.admin.set("wanpool:{string}:wans", "no hash")
        server.admin.hset("wanpool:{broken}:wans", "zero", "1-2 g ready")
        seen = tells("namespaces")
        assert seen["complete"] and seen["namespaces"] == [
            {"namespace": "broken", "wans": None, "ports": None},
            {"namespace": "prod.a-b_1", "wans": [3], "ports": 11},
            {"namespace": "test", "wans": [0, 1], "ports": 30},
        ]
        shown = says("namespaces").splitlines()
        assert shown[2].split() == ["prod.a-b_1", "1", "30000-30009,31000"]
        monkeypatch.setattr(namespaces, "MOST_CALLS", 1)
        assert not told.namespaces().is_complete
        assert "there may be more" in wanpool("namespaces").stdout

    def test_of_none(self, server: Any) -> None:
        done = wanpool("namespaces", "--url", server.url)
        assert done.returncode == 1 and "no namespace" in done.stdout

    def test_cost_a_right_that_no_user_has(self, told: Operator, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        (user,) = tells("acl", "viewer")["users"]
        server.admin.execute_command(*user["setuser"].replace(">PASSWORD", ">sesame").split(" "))
        url = f"unix://{user['user']}:sesame@{server.socket}"
        with Operator(url, namespace="test") as viewer:
            assert viewer.events() and viewer.counters() and viewer.port_map(0)
        monkeypatch.setenv("WANPOOL_URL", url)
        assert "run SCAN" in says("namespaces", code=3)
        server.admin.acl_deluser(user["user"])


class TestRightAnswers:
    """What there is not is said so, and what was so already."""

    def test_no_such_namespace(self, told: Operator) -> None:
        for words in (["status"], ["leases"]):
            for more in ([], ["--json"]):
                done = wanpool(*words, "--namespace", "typo", *more)
                assert (done.returncode, done.stdout) == (1, "") and "'typo'" in done.stderr
        assert "wanpool namespaces" in says("status", "--namespace", "typo", code=1)

    def test_no_such_network(self, told: Operator, server: Any) -> None:
        with WanPortPool(server.url, namespace="test", network="net-a") as pool:
            pool.acquire(0)
            assert "net-a" in says("leases", "--network", "net-*")
            done = wanpool("leases", "--network", "typo\x1b")
            assert done.returncode == 1 and "of network typo?; those that have some: net-a" in done.stderr
            assert tells("leases", "--network", "typo", code=1)["leases"] == []
            assert says("leases", "--holder", "typo").startswith("0 leases")

    def test_nothing_to_do(self, told: Operator) -> None:
        assert "draining, 0 leases" in says("drain", "0")
        assert "draining already, nothing to do" in says("drain", "0")
        assert [row["changed"] for row in tells("open", "0", "1")["wans"]] == [True, False]
        assert "nothing to do" not in says("withhold", "20000")
        assert "was withheld (nothing to do)" in says("withhold", "20000")
        assert "was free (nothing to do)" in says("restore", "20001")
        assert len(told.events(0)) == 4, "and nothing is noted of it"

    def test_status_says_when_and_how_often(self, told: Operator, server: Any) -> None:
        with WanPortPool(server.url, namespace="test", rest=0) as pool:
            pool.acquire(0).release()
            told_now = tells("status")
            assert abs(told_now["at_ms"] - told.counters()[0].at_ms) < 60_000
            counters = told_now["wans"][0]["counters"]
            assert (counters["granted"], sum(counters["ended"].values()), counters["refused"]) == (1, 1, {})
            assert (told_now["wans"][0]["waiting"], counters["graces"]) == (0, 0)
