"""Verdicts on lines: who may write them, for how long they count, and which WAN is chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from by_hand import heard, run_script

from redis_wanpool import ANY, InvalidValue, PoolExhausted, WanDraining
from redis_wanpool.model.rendezvous import choose

Pools = Callable[..., Any]
HEALTH = "wanpool:{test}:health"
INTERVAL_MS = 5000


@pytest.fixture
def backends(server: Any) -> Any:
    """No stand-in: it is slow, and choices in it have other tests."""
    return server


@pytest.fixture(autouse=True)
def looks_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits a second for the next look."""
    monkeypatch.setattr("redis_wanpool.protocol.choosing.LOOKS_LAST", -1.0)


@pytest.fixture
def three(pools: Pools) -> Any:
    """A pool object with WANs 0, 1 and 2."""
    pool = pools()
    for wan_idx in range(3):
        first = 20000 + 2000 * wan_idx
        pool.define_wan(wan_idx, f"{first}-{first + 19}", cooldown=0)
    return pool


class Line:
    """The health of lines, written by hand."""

    def __init__(self, admin: Any) -> None:
        self.admin = admin

    def judge(self, checker: str = "h:1:x", interval_ms: int = INTERVAL_MS, **states: str) -> Any:
        words = [word for name, state in states.items() for word in (name[1:], state, "-", "no answer")]
        return run_script(self.admin, "judge", checker, interval_ms, *words)

    def age(self, intervals: float) -> None:
        """Makes all that is written older; less than 0: by a clock that went back since then."""
        for field, value in self.admin.hgetall(HEALTH).items():
            words = value.split(" ")
            at = 1 if field == "checker" else 2
            words[at] = str(int(words[at]) - round(intervals * INTERVAL_MS))
            self.admin.hset(HEALTH, field, " ".join(words))

    def record(self, wan_idx: int) -> list[str]:
        return str(self.admin.hget(HEALTH, str(wan_idx))).split(" ")


@pytest.fixture
def line(backends: Any) -> Line:
    return Line(backends.admin)


def chosen(pool: Any, wan: Any = ANY, times: int = 12, **how: Any) -> set[int]:
    leases = [pool.acquire(wan, **how) for _ in range(times)]
    for lease in leases:
        lease.release(used=False)
    return {lease.wan_idx for lease in leases}


class TestOneChecks:
    @pytest.fixture
    def face(self) -> str:
        """The faces are not asked here."""
        return "sync"

    def test_the_second_stands_by(self, three: Any, line: Line) -> None:
        assert line.judge(w0="up") == ["CHECKS"]
        word, other, left = line.judge("h:2:x", w0="down")
        assert (word, other) == ("STANDBY", "h:1:x") and INTERVAL_MS < left <= 1.5 * INTERVAL_MS
        assert line.record(0)[0] == "up", "what it found is not written"
        assert line.judge(w0="up") == ["CHECKS"]

    def test_who_says_nothing_for_one_and_a_half_intervals_is_replaced(self, three: Any, line: Line) -> None:
        line.judge(w0="down")
        line.age(1.4)
        assert line.judge("h:2:x")[0] == "STANDBY"
        line.age(0.1)
        assert line.judge("h:2:x", w0="down") == ["CHECKS"]
        assert line.judge("h:1:x")[:2] == ["STANDBY", "h:2:x"], "the first one has woken up"

    def test_a_clock_that_went_back_keeps_no_claim(self, three: Any, line: Line) -> None:
        line.judge(w0="down")
        line.age(-1000)
        assert line.judge("h:2:x") == ["CHECKS"]

    def test_a_checker_that_ends_gives_up_its_own_claim_only(self, three: Any, line: Line) -> None:
        line.judge(w0="up")
        run_script(line.admin, "retire", "h:2:x")
        assert line.judge("h:2:x")[0] == "STANDBY"
        run_script(line.admin, "retire", "h:1:x")
        assert line.judge("h:2:x") == ["CHECKS"] and line.record(0)[0] == "up"

    def test_a_claim_that_cannot_be_read_is_nobodys(self, three: Any, line: Line) -> None:
        line.admin.hset(HEALTH, "checker", "abc")
        assert line.judge() == ["CHECKS"]

    def test_since_is_when_it_changed(self, three: Any, line: Line) -> None:
        line.judge(w0="down", w1="up")
        for wan_idx in (0, 1):
            words = line.record(wan_idx)
            line.admin.hset(HEALTH, wan_idx, " ".join([words[0], "then", *words[2:]]))
        line.judge(w0="down", w1="down")
        assert line.record(0)[1] == "then" != line.record(1)[1]
        line.admin.hset(HEALTH, 0, line.admin.hget(HEALTH, 0).replace(line.record(0)[1], "then"))
        line.age(3.1)
        line.judge(w0="down")
        assert line.record(0)[1] != "then", "nothing was known meanwhile"

    def test_a_wan_that_is_not_there_gets_no_verdict_and_loses_it_when_it_goes(self, three: Any, line: Line) -> None:
        line.judge(w0="up", w7="up")
        assert sorted(line.admin.hkeys(HEALTH)) == ["0", "checker"]
        run_script(line.admin, "unclaim", "0", line.admin.hget("wanpool:{test}:wans", "0").split(" ")[1])
        assert line.admin.hkeys(HEALTH) == ["checker"]


class TestChoices:
    def test_any_passes_by_what_is_down(self, three: Any, line: Line) -> None:
        line.judge(w0="up", w1="down")
        assert chosen(three) == {0, 2}
        assert chosen(three, [1, 2]) == {2}
        assert chosen(three, 1) == chosen(three, [1]) == {1}, "one WAN is granted as asked"

    def test_unless_all_are(self, three: Any, line: Line) -> None:
        line.judge(w0="down", w1="down", w2="down")
        assert chosen(three, times=24) == {0, 1, 2}
        line.judge(w2="up")
        assert chosen(three, [0, 1]) == {0, 1} and chosen(three) == {2}

    def test_a_verdict_is_too_old_after_three_intervals(self, three: Any, line: Line) -> None:
        line.judge(w1="down")
        line.age(2.5)
        assert chosen(three, [0, 1]) == {0}
        line.age(0.51)
        assert chosen(three, [0, 1]) == {0, 1}

    def test_nor_does_one_count_from_before_a_clock_went_back(self, three: Any, line: Line) -> None:
        line.judge(w1="down")
        line.age(-3.1)
        assert chosen(three, [0, 1]) == {0, 1}

    def test_it_gets_too_old_without_redis_as_well(
        self, three: Any, line: Line, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        protocol = three._engine.protocol
        line.judge(w1="down", interval_ms=60_000)
        assert chosen(three, [0, 1]) == {0}
        line.admin.delete(HEALTH)
        line.admin.set(HEALTH, "of another type")
        assert chosen(three, [0, 1]) == {0}, "it cannot be read, and what was known counts on"
        protocol._down_until = {idx: until - 181 for idx, until in protocol._down_until.items()}
        assert chosen(three, [0, 1]) == {0, 1}

    def test_what_cannot_be_read_is_unknown_and_disturbs_nobody(self, three: Any, line: Line) -> None:
        line.judge(w1="down")
        line.admin.hset(HEALTH, mapping={"0": "down abc", "x": "\x1b[2J", "2": "down a 1 1 - b"})
        assert chosen(three) == {0, 2}

    def test_when_the_others_have_no_port_it_says_why(self, three: Any, line: Line) -> None:
        line.judge(w1="down", w2="down")
        three.acquire_many(0, 20)
        with pytest.raises(PoolExhausted, match=r"the line is down: WAN 1, 2\)") as caught:
            three.acquire(ANY)
        assert caught.value.wan_idx == 0

    @pytest.mark.one_server
    def test_it_costs_one_call_with_the_looks_of_a_second(
        self, three: Any, line: Line, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def reads() -> int:
            return sum(HEALTH in words for words in heard(line.admin, lambda: chosen(three, times=5)))

        assert reads() == 5
        monkeypatch.setattr("redis_wanpool.protocol.choosing.LOOKS_LAST", 3600.0)
        assert reads() == 0


class TestSticky:
    KEYS = [f"account-{number}" for number in range(12)]

    def wans_of(self, pool: Any, wan: Any = ANY) -> dict[str, int]:
        return {key: next(iter(chosen(pool, wan, 1, sticky=key))) for key in self.KEYS}

    def test_a_key_has_its_wan_on_all_machines(self, three: Any, pools: Pools) -> None:
        expected = {key: choose(key, {0: 1, 1: 1, 2: 1}) for key in self.KEYS}
        assert self.wans_of(three) == self.wans_of(pools(network="another")) == expected
        assert self.wans_of(three, [1, 2]) == {key: choose(key, {1: 1, 2: 1}) for key in self.KEYS}
        assert len(set(expected.values())) == 3

    def test_a_line_that_is_down_leaves_its_keys_to_the_others(self, three: Any, line: Line) -> None:
        before = self.wans_of(three)
        line.judge(w1="down")
        after = self.wans_of(three)
        assert 1 in before.values() and {key for key in self.KEYS if before[key] != after[key]} == {
            key for key in self.KEYS if before[key] == 1
        }
        line.judge(w1="up")
        assert self.wans_of(three) == before
        line.judge(w0="down", w1="down", w2="down")
        assert self.wans_of(three) == before

    def test_weights_count(self, pools: Pools) -> None:
        pool = pools()
        pool.define_wan(0, "20000-20019", cooldown=0)
        pool.define_wan(1, "22000-22019", cooldown=0, weight=9)
        assert self.wans_of(pool) == {key: choose(key, {0: 1, 1: 9}) for key in self.KEYS}

    def test_a_wan_without_a_port_keeps_its_keys(self, three: Any) -> None:
        key = next(key for key, wan_idx in self.wans_of(three).items() if wan_idx == 1)
        held = three.acquire_many(1, 20)
        with pytest.raises(PoolExhausted) as caught:
            three.acquire(ANY, sticky=key)
        assert caught.value.wan_idx == 1
        held[0].release(used=False)
        assert three.acquire(ANY, sticky=key, wait=20).wan_idx == 1

    def test_a_drain_moves_them(self, three: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        before = self.wans_of(three)
        monkeypatch.setattr("redis_wanpool.protocol.choosing.LOOKS_LAST", 3600.0)
        self.wans_of(three)
        three.drain(1)
        after = self.wans_of(three)  # though the last look does not know it yet
        assert after == {key: choose(key, {0: 1, 2: 1}) for key in self.KEYS} != before
        three.drain(0)
        three.drain(2)
        with pytest.raises(WanDraining):
            three.acquire(ANY, sticky=self.KEYS[0])

    def test_so_does_a_removal(self, three: Any, pools: Pools, backends: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        before = self.wans_of(three)
        monkeypatch.setattr("redis_wanpool.protocol.choosing.LOOKS_LAST", 3600.0)
        self.wans_of(three)
        protocol = three._engine.protocol
        three._run(protocol.remove(1, force=True))
        assert self.wans_of(three) == {key: choose(key, {0: 1, 2: 1}) for key in self.KEYS} != before

    def test_one_wan_is_granted_as_asked(self, three: Any) -> None:
        assert set(self.wans_of(three, 2).values()) == {2}
        assert three.acquire(2, port=24003, sticky="account-1").port == 24003

    def test_the_key_goes_nowhere(self, three: Any, backends: Any, caplog: Any) -> None:
        three.acquire(ANY, sticky="secret-name", label="l")
        with pytest.raises(PoolExhausted) as caught:
            for _ in range(99):
                three.acquire(ANY, sticky="secret-name")
        admin = backends.admin
        stored = [admin.hgetall(key) for key in admin.scan_iter("*") if admin.type(key) == "hash"]
        assert (
            "secret-name"
            not in f"{stored}{list(admin.scan_iter('*'))}{caught.value!r}{vars(caught.value)}{caplog.text}"
        )

    @pytest.mark.parametrize("key", ["", "x" * 257, b"bytes", 7, "\ud800"])
    def test_what_is_no_key_is_refused(self, three: Any, key: Any) -> None:
        with pytest.raises(InvalidValue) as caught:
            three.acquire(ANY, sticky=key)
        assert repr(key) not in str(caught.value)
