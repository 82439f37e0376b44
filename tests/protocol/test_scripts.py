"""The scripts by themselves, on real servers: what they cost, what they touch, and each word that they may say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from by_hand import NAMESPACE_SCRIPTS, age_wan, change_rules, heard, run_script
from faces import Loop, make
from waiting import wait_for

from redis_wanpool import PoolExhausted
from redis_wanpool.protocol import scripts
from redis_wanpool.protocol.keys import PROTOCOL, namespace_keys
from redis_wanpool.system.clock import boottime

HOLDERS = namespace_keys("test")[1]
PREFIX = "wanpool:{test:0}:"
BOOT_CLOCK = "0123456789ab"
DEFINITION = {
    **{"lease_ttl_ms": 60000, "max_ttl_ms": 60000, "cooldown_ms": 0, "quarantine_ms": 65000},
    **{"max_per_network": 0, "failover_margin_ms": 10000, "weight": 1, "ports": "20000-20009", "name": ""},
}
WAN_SCRIPTS = tuple(name for name in scripts.names() if name not in (*NAMESPACE_SCRIPTS, "define", "events"))
CALLS = {"acquire": 12, "renew": 11, "release": 8}
"""how often an undisturbed call of each script calls Redis, for one lease"""


class Wan:
    """WAN 0 on a server, spoken to by its scripts."""

    def __init__(self, admin: Any) -> None:
        self.admin = admin
        self.said: set[tuple[str, str]] = set()

    def __call__(self, name: str, *args: Any) -> list[Any]:
        reply = run_script(self.admin, name, *args, clock=(BOOT_CLOCK, round(boottime() * 1000)))
        if reply == ["STEPPED"]:
            reply = run_script(self.admin, name, *args, clock=(BOOT_CLOCK + "!", round(boottime() * 1000)))
        self.said.add((name, reply[0]))
        return reply

    def define(self, generation: str = "g", new: str = "fresh", a_call: int = 1000, **changed: Any) -> list[Any]:
        flat = [item for pair in (DEFINITION | changed).items() for item in pair]
        return self("define", generation, new, a_call, "grace", *flat)

    def acquire(self, *ids: str, ttl: Any = "", wait: Any = "", port: Any = "", network: str = "n") -> list[Any]:
        return self("acquire", "h:1:x", network, 0, "h", 1, "", ttl, wait, port, "", len(ids), 8, "", "", *ids)

    def renew(self, *leases: tuple[Any, str]) -> list[Any]:
        return self("renew", "h:1:x", "n", 0, "h", 1, *(item for pair in leases for item in (*pair, 1, 60000, "", "")))

    def change(self, **fields: Any) -> None:
        change_rules(self.admin, **fields)


def ids(count: int, first: int = 0) -> list[str]:
    return [f"h:1:x/{n}" for n in range(first, first + count)]


@pytest.fixture
def wan(server: Any) -> Wan:
    wan = Wan(server.admin)
    wan.define()
    return wan


def test_a_waiter_that_gives_up_behind_one_that_was_called_leaves_nothing(wan: Wan) -> None:
    port = wan.acquire(*ids(10))[7]
    for ticket in ("h:1:x/first", "h:1:x/second"):
        assert wan.acquire(ticket, wait=60000)[0] == "EXHAUSTED"
    assert wan("release", "unused", port, "h:1:x/0")[2:] == ["unused"]  # which calls the first
    assert wan.acquire("h:1:x/second")[0] == "EXHAUSTED", "the port is kept for the first"
    assert wan.admin.hkeys(PREFIX + "waiters") == ["h:1:x/first"]
    assert wan.acquire("h:1:x/first", wait=60000)[0] == "GRANTED"
    assert wan.admin.hget(PREFIX + "config", "waiting") == "0"


# -- what they cost, and what they touch


@pytest.mark.one_server
def test_the_scripts_call_redis_no_more_often_than_they_did(wan: Wan) -> None:
    wan.acquire("h:1:x/warm")
    found: dict[str, int] = {}

    def count(name: str, action: Callable[[], Any]) -> Any:
        replies: list[Any] = []
        calls = len(heard(wan.admin, lambda: replies.append(action())))
        found[name] = min(calls, found.get(name, calls))
        return replies[0]

    for n in range(5):  # the fewest: once a second it is written down what time it is
        port = count("acquire", lambda n=n: wan.acquire(f"h:1:x/{n}"))[7]
        count("renew", lambda n=n, port=port: wan.renew((port, f"h:1:x/{n}")))
        count("release", lambda n=n, port=port: wan("release", "released", port, f"h:1:x/{n}"))
    assert found == CALLS


@pytest.mark.one_server
def test_more_ports_cost_few_more_calls(wan: Wan) -> None:
    one = len(heard(wan.admin, lambda: wan.acquire(*ids(1))))
    nine = len(heard(wan.admin, lambda: wan.acquire(*ids(9, first=1))))
    assert nine <= one + 8 * 6, "six for each lease"
    ended = heard(wan.admin, lambda: wan("release", "released", *(item for id_ in ids(10) for item in ("", id_))))
    assert len(ended) <= CALLS["release"] + 9 * 8 + 10, "eight for each lease, and one to look its port up"


@pytest.mark.one_server
def test_no_script_touches_a_key_of_another_wan(wan: Wan) -> None:
    def everything() -> None:
        wan.define()
        first, second = wan.acquire(*ids(2))[7::2]
        wan.renew((first, "h:1:x/0"), (second, "h:1:x/1"))
        wan.admin.delete(f"{PREFIX}lease:{first}")
        wan.renew((first, "h:1:x/0"))
        wan("held", "h:1:x", 0, 10)
        wan("snapshot", "n", 10)
        wan("release", "drained", first, "h:1:x/0")
        wan("reject", "n", "h", "why", "", second, "h:1:x/1")
        wan.acquire(*ids(9, first=2))
        wan.acquire("h:1:x/waiter", wait=60000)
        wan("revoke", "", "h:1:x/2")
        age_wan(wan.admin, 61)
        wan.acquire("h:1:x/other", network="m")
        wan("leave", "h:1:x/waiter")
        wan("reap", first, "h:1:x/0", 1)
        wan("drain")
        wan("open")
        wan("explain", first)
        wan("outlook", "n", 60000)
        wan("census", "", "", 10, "")
        wan("leases", "", "", 10, "")
        wan("counters")
        wan("events", "", "", 10)
        while wan("remove", "force", 4) != ["REMOVED"]:
            pass

    touched = set()
    for command in heard(wan.admin, everything):
        if command[0] not in ("TIME", "INFO"):
            touched.update(command[1:] if command[0] in ("DEL", "UNLINK") else command[1:2])
    assert touched and all(key.startswith(PREFIX) for key in touched), touched
    assert {key.removeprefix(PREFIX).split(":")[0] for key in touched} >= {
        *(
            "config",
            "free",
            "withheld",
            "leased",
            "cooling",
            "resting",
            "lease",
            "grants",
            "held",
            "events",
            "counters",
        ),
        *("waiting", "waiters", "wake", "quarantine", "rejected"),
    }


@pytest.mark.one_server
def test_namespace_scripts_touch_the_keys_of_their_namespace_only(wan: Wan) -> None:
    def everything() -> None:
        wan("claim", 0, "20000-20009", "g", "claimed")
        wan("register", "h:1:x", "h", "boot", "ns", 1, "1", "python", "-")
        wan("neighbours", "boot", "ns", "", 9)
        wan("unregister", "h:1:x", "boot", "ns")
        wan("judge", "h:1:x", 5000, 0, "up", "1.5", "", 0, "down", "-", "no answer")
        wan("verdicts")
        wan("retire", "h:1:x")
        wan("unclaim", 0, "g")

    touched = {command[1] for command in heard(wan.admin, everything) if command[0] != "TIME"}
    assert touched == {*namespace_keys("test")[:3], f"{HOLDERS}:boot:ns"}


def test_who_has_not_said_for_a_day_that_it_lives_is_forgotten(wan: Wan) -> None:
    for n in range(30):
        wan("register", f"h:{n}:x", "h", "boot", "ns", n, "1", "python", "-")
    for n in range(1, 30):
        words = wan.admin.hget(HOLDERS, f"h:{n}:x").split(" ")
        words[5] = str(int(words[5]) - 24 * 3600 * 1000)
        wan.admin.hset(HOLDERS, f"h:{n}:x", " ".join(words))
    wan.admin.hset(HOLDERS, "h:99:x", "in words that this version does not know")
    for _ in range(200):
        wan("register", "h:0:x", "h", "boot", "ns", 0, "1", "python", "-")
    assert wan.admin.hkeys(HOLDERS) == ["h:0:x"]
    assert wan("neighbours", "boot", "ns", "", 99)[1::2] == ["h:0:x"]


# -- what they say


def test_each_word_that_a_script_may_say(server: Any) -> None:
    wan = Wan(server.admin)
    for name in WAN_SCRIPTS:
        assert wan(name, *["0"] * 12) == ["NOT_DEFINED"]
    assert wan("claim", 0, "20000-20009", "g", "claimed") == ["CLAIMED", "g", "claimed"]
    assert wan("claim", 0, "20000-20009", "other", "claimed") == ["CLAIMED", "g", "claimed"]
    assert wan("claim", 0, "20000-20009", "other", "ready") == ["CLAIMED", "g", "ready"]
    assert wan("claim", 0, "20000-20009", "other", "claimed") == ["CLAIMED", "g", "ready"]
    assert wan("claim", 0, "20001", "g", "claimed") == ["DIFFERENT", "20000-20009"]
    assert wan("claim", 1, "19000,20009", "g", "claimed") == ["OVERLAP", "0", 20009, "20000-20009"]
    assert wan("register", "h:1:x", "h", "boot", "ns", 1, "1", "python", "-") == ["REGISTERED"]
    assert wan("neighbours", "boot", "ns", "", 9) == ["NEIGHBOURS", "h:1:x", server.admin.hget(HOLDERS, "h:1:x")]
    assert wan("neighbours", "boot", "ns", "h:1:x", 9) == ["NEIGHBOURS"]
    assert wan("unregister", "h:1:x", "boot", "ns") == ["UNREGISTERED"]
    assert wan("neighbours", "boot", "ns", "", 9) == ["NEIGHBOURS"]
    assert wan("judge", "h:1:x", 5000) == ["CHECKS"]
    word, other, left = wan("judge", "h:2:x", 5000)
    assert (word, other) == ("STANDBY", "h:1:x") and 5000 < left <= 7500
    assert wan("verdicts")[0::2] == ["VERDICTS", "checker"]
    assert wan("retire", "h:1:x") == ["RETIRED"]

    assert wan.define(new="") == ["GONE"]
    assert wan.define(a_call=6) == ["FILLING", 1]
    assert wan.acquire("h:1:x/0") == ["NOT_DEFINED"]
    assert wan.define(generation="other", a_call=6) == ["DEFINED", 0, "g"]
    word, stands = wan.define(weight=2)
    assert (word, stands[stands.index("weight") + 1]) == ("DIFFERENT", "1")

    word, now, expires, max_ttl, ttl, _, _, port, fence = granted = wan.acquire("h:1:x/0")
    assert (word, expires - now, max_ttl, ttl) == ("GRANTED", 60000, 60000, 60000)
    assert abs(fence - now * 1000) < 1000
    assert wan.acquire("h:1:x/0", ttl=60001)[2:] == granted[2:], "the same answer again"
    assert wan.acquire("h:1:x/1", ttl=60001) == ["TTL", 60000]
    assert wan.acquire("h:1:x/1", port=20010) == ["NOT_IN_RANGE"]
    word, place, left = wan.acquire("h:1:x/1", port=port)
    assert (word, place) == ("UNAVAILABLE", "leased") and 0 < left <= 60000
    word, left, back, others = wan.acquire(*ids(10, first=1))
    assert word == "EXHAUSTED" and 0 < left <= 60000 and (back, others) == (0, 0)
    wan.change(max_per_network=1)
    server.admin.hset(PREFIX + "networks", "n", 1)
    assert wan.acquire("h:1:x/1") == ["CAPPED", -1, 0, 1]
    wan.change(max_per_network=0)
    server.admin.delete(PREFIX + "networks")
    assert wan("drain") == ["DRAINED", 1] and wan("drain") == ["DRAINED", 0]
    assert wan.acquire("h:1:x/1") == ["DRAINING"]
    assert wan("open") == ["OPENED", 1] and wan("open") == ["OPENED", 0]

    assert wan("held", "h:1:x", 0, 10) == ["HELD", "0", str(port), "h:1:x/0", str(expires)]
    assert wan("reap", port, "h:1:x/0", expires - 1, port, "h:1:x/nobody", expires)[2:] == ["live", "gone"]
    assert wan("snapshot", "n", 10)[:1] == ["SNAPSHOT"]
    assert wan("explain", port)[0] == "EXPLAINED"
    assert wan("outlook", "n", 60000, 3600000) == ["OUTLOOK", 0, 0, 0, 0]
    assert wan("leases", "", "", 10, "")[0] == "LEASES"
    assert wan("counters")[0] == "COUNTERS" and wan("events", "", "", 10)[0] == "EVENTS"
    assert wan("census", "", "", 10, "") == ["CENSUS", "", "", "h:1:x", "n", 1]
    assert wan("remove", "", 100) == ["IN_USE", 1]
    assert wan.renew((port, "h:1:x/0"), (port, "h:1:x/1"))[7:][1] == "gone"
    assert wan("release", "released", port, "h:1:x/0")[2:] == ["released"]
    (expires, _, _, _, _, port) = wan.acquire("h:1:x/reap")[2:8]
    assert wan("reap", port, "h:1:x/reap", expires)[2:] == ["reaped"]
    assert wan.renew((port, "h:1:x/reap"))[7:] == ["reaped"]
    for name, arg, how in (
        ("revoke", (), "revoked"),
        ("reject", ("n", "h", "why", ""), "rejected"),
        ("release", ("reset",), "reset"),
    ):
        (port,) = wan.acquire(f"h:1:x/{name}")[7:8]
        assert wan(name, *arg, port, f"h:1:x/{name}", "", "h:1:x/nobody")[2:] == [how, "gone"]
        assert wan.renew((port, f"h:1:x/{name}"))[7:] == [how]
    assert wan("leave", "h:1:x/nobody") == ["LEFT"]

    wan.change(protocol=99)
    for name in WAN_SCRIPTS:
        assert wan(name, *["0"] * 12) == ["OTHER_PROTOCOL", "99"]
    assert wan.define() == ["OTHER_PROTOCOL", "99"]
    wan.change(protocol=4)

    wan.change(source="another", run_id="another")
    for name, *words in (["acquire"], ["withhold", 20000], ["resize", "", 0, "lose"], ["remove", "", 1]):
        told = wan.acquire("h:1:x/grace") if name == "acquire" else wan(name, *words)
        assert told[0] == "GRACE" and 60_000 < told[1] <= 70_000
    assert wan("release", "released", "", "h:1:x/nobody")[2:] == ["unsure"]
    wan.change(grace_until_ms=0)
    word, left = wan("suspect")
    assert word == "GRACE" and 60_000 < left <= 70_000
    wan.change(grace_until_ms=0)

    one, other, *_ = sorted(server.admin.smembers(PREFIX + "free"))
    assert wan("withhold", one, 30000) == ["WITHHELD", "free", ""]
    assert wan("restore", one, other, 30000) == ["RESTORED", "withheld", "free", ""]
    assert wan("resize", "20000-20010", 11, "have", *range(20000, 20011)) == ["RESIZED", 0]
    assert wan("claim", 0, "20000-20010", "", "resized") == ["CLAIMED", "g", "ready"]
    assert wan("resize", "20000-20009", 10, "lose", 20010) == ["RESIZED", 0]

    wan.acquire("h:1:x/last")
    assert wan("remove", "force", 100) == ["REMOVING"]
    assert wan.define() == ["GONE"]
    assert wan.acquire("h:1:x/later") == ["NOT_DEFINED"]
    while (word := wan("remove", "force", 100)) != ["REMOVED"]:
        assert word == ["REMOVING"]
    assert wan("unclaim", 0, "other") == ["DIFFERENT"]
    assert wan("unclaim", 0, "g") == ["UNCLAIMED", 0]
    assert not [key for key in server.admin.scan_iter() if server.admin.ttl(key) == -1]

    wan.define(ports="20000-20009", cooldown_ms=3_600_000)
    wan.acquire(*ids(10))
    age_wan(server.admin, 61)
    assert wan.acquire("h:1:x/10", network="m") == ["MORE"]
    assert wan.acquire("h:1:x/10", network="m")[0] == "EXHAUSTED"

    server.admin.flushall()
    wan.define(ports="20000-20099")
    for number in range(51):
        wan("reject", "n", "h", "why", "", "", wan.acquire(f"h:1:x/{number}") and f"h:1:x/{number}")
    assert wan.acquire("h:1:x/51")[0] == "REJECTING"
    assert wan.acquire("h:1:x/52", network="m")[0] == "GRANTED"

    wan.change(protocol=3)
    assert wan("migrate", 100) == ["MIGRATED"] and wan("migrate", 100) == ["CURRENT"]
    for number in range(2_000):
        server.admin.hset(PREFIX + "ids", f"h:2:x/{number}", number)
    wan.change(protocol=3)
    assert wan("migrate", 100)[0] == "MIGRATING"
    server.admin.delete(PREFIX + "ids", PREFIX + "held:h:2:x")
    assert wan("migrate", 100) == ["MIGRATED"]

    step_server_clock(server.admin, HOUR_MS)
    for name in set(WAN_SCRIPTS) - {"migrate"}:
        assert run_script(server.admin, name, clock=(BOOT_CLOCK, round(boottime() * 1000))) == ["STEPPED"]
        wan.said.add((name, "STEPPED"))

    assert wan.said == {(name, word) for name in scripts.names() for word in words_of(name)}


def test_the_scripts_and_the_package_name_the_same_protocol() -> None:
    named = {
        number
        for name in scripts.names()
        for number in re.findall(r'PROTOCOL.*?= "(\d+)"', scripts.script(name).source)
    }
    assert named == {PROTOCOL}


def words_of(name: str) -> set[str]:
    """The words in the header of a script, and those that any script of a WAN says before it begins."""
    source = scripts.script(name).source
    header = source[: re.search(r"^(?!--)", source, re.MULTILINE).start()]
    words = set(re.findall(r'\{"([A-Z_]+)"', header))
    return (
        words
        if name in (*NAMESPACE_SCRIPTS, "define", "events", "migrate")
        else words | {"NOT_DEFINED", "OTHER_PROTOCOL", "STEPPED"}
    )


def test_the_same_question_gets_the_same_answer(wan: Wan) -> None:
    _, _, expires, _, _, _, _, port, fence = wan.acquire("h:1:x/0")
    for _ in range(3):
        again = wan.acquire("h:1:x/0")
        assert (again[0], again[2], again[7], again[8]) == ("GRANTED", expires, port, fence)
    assert wan.renew((port, "h:1:x/0"))[7] >= expires
    for name, args, how in (
        ("release", ("released", port, "h:1:x/0"), "released"),
        ("release", ("unused", port, "h:1:x/0"), "released"),
        ("revoke", (port, "h:1:x/0"), "released"),
        ("reject", ("n", "h", "why", "", port, "h:1:x/0"), "released"),
    ):
        before = wan.admin.hget(PREFIX + "grants", port)
        assert wan(name, *args)[2:] == wan(name, *args)[2:] == [how]
        assert name == "release" or wan.admin.hget(PREFIX + "grants", port) == before
    assert wan.renew((port, "h:1:x/0"))[7:] == ["released"]


def test_many_asked_twice_get_the_same_ports_in_the_same_order(wan: Wan) -> None:
    granted = wan.acquire(*ids(10))[7:]
    assert wan.acquire(*ids(10))[7:] == granted
    wan("release", "unused", granted[0], "h:1:x/0")
    assert wan.acquire(*ids(10))[7:] == [0, 0, *granted[2:]], "what has ended is not granted anew"


HOUR_MS = 3_600_000


def step_server_clock(admin: Any, ms: int) -> None:
    """Makes all that the WAN has seen so much older, as it looks after the server's clock was stepped ahead."""
    age_wan(admin, ms / 1000)
    grants = admin.hgetall(PREFIX + "grants")
    admin.hincrby(PREFIX + "grants", "seen_ms", -ms)
    for name in [name for name in grants if name.startswith("clock:")]:
        clock, boot_ms, at_ms = grants[name].split(" ")
        admin.hset(PREFIX + "grants", name, f"{clock} {boot_ms} {int(at_ms) - ms}")


def wan_time(admin: Any) -> int:
    """What time it is for the WAN, by what its last script saw."""
    return int(admin.hget(PREFIX + "grants", "seen_ms"))


def test_time_never_runs_backwards(wan: Wan) -> None:
    before = wan_time(wan.admin)
    step_server_clock(wan.admin, -HOUR_MS)
    _, now, expires, _, _, _, _, port, _ = wan.acquire("h:1:x/0")
    assert expires - now == 60_000
    assert wan_time(wan.admin) == before + HOUR_MS
    assert wan.admin.zscore(PREFIX + "leased", port) == before + HOUR_MS + 60_000
    wan.acquire("h:1:x/1")
    assert before + HOUR_MS <= wan_time(wan.admin) < before + HOUR_MS + 60_000, "it goes on from there"


def test_a_step_back_makes_no_grace_longer(wan: Wan) -> None:
    wan.change(source="another", run_id="another")
    assert wan.acquire("h:1:x/0")[0] == "GRACE"
    step_server_clock(wan.admin, -HOUR_MS)
    wan.change(grace_until_ms=int(wan.admin.hget(PREFIX + "config", "grace_until_ms")) + HOUR_MS)
    assert wan.acquire("h:1:x/1")[0] == "GRACE"
    assert int(wan.admin.hget(PREFIX + "config", "ahead_ms")) < -HOUR_MS + 60_000, "time would stand still for an hour"


def test_a_step_of_the_servers_clock_ends_no_lease_and_no_cool_down(wan: Wan) -> None:
    wan.change(cooldown_ms=125_000)
    *_, port, _ = wan.acquire("h:1:x/0")
    *_, cooling, _ = wan.acquire("h:1:x/1")
    wan("release", "released", cooling, "h:1:x/1")
    step_server_clock(wan.admin, HOUR_MS)
    _, now, *_ = wan.acquire("h:1:x/2", network="m")
    _, _, _, free, leased, cool, *_ = wan("snapshot", "n", 0)
    assert (free, leased, cool) == (7, 2, 1)
    renewed = wan.renew((port, "h:1:x/0"))
    assert 59_000 < renewed[7] - now < 61_000
    step_server_clock(wan.admin, -HOUR_MS)
    assert wan.renew((port, "h:1:x/0"))[7] >= 59_000, "and back"


def test_a_request_that_was_long_on_its_way_is_asked_again(wan: Wan) -> None:
    """A server that stood still, or a slow line, looks like a step at first; the second question tells."""
    wan.acquire("h:1:x/0")
    step_server_clock(wan.admin, 5_000)
    before = round(boottime() * 1000)
    assert run_script(wan.admin, "drain", clock=(BOOT_CLOCK, before)) == ["STEPPED"]
    assert run_script(wan.admin, "drain", clock=(BOOT_CLOCK + "!", before + 5_000)) == ["DRAINED", 1]
    assert wan.admin.hget(PREFIX + "config", "ahead_ms") == "0"


def test_time_that_passed_for_the_caller_too_is_no_step(wan: Wan) -> None:
    wan.acquire(*ids(10))
    step_server_clock(wan.admin, 61_000)
    grants = wan.admin.hgetall(PREFIX + "grants")
    (name,) = [name for name in grants if name.startswith("clock:")]
    clock, boot_ms, at_ms = grants[name].split(" ")
    wan.admin.hset(PREFIX + "grants", name, f"{clock} {int(boot_ms) - 61_000} {at_ms}")
    assert wan.acquire("h:1:x/new")[0] == "GRANTED"


def test_a_step_is_known_as_exactly_as_the_quickest_request_was(wan: Wan) -> None:
    """A request that was long on its way says too little of what its clock shows, and the quickest one is believed."""
    clock, begun = "fedcba987654", 1_000_000

    def call(boot_ms: int, way_ms: int = 0) -> None:
        """A call at this time of the caller's clock, which as long on its way."""
        reply = run_script(wan.admin, "open", clock=(clock + "!", boot_ms - way_ms))
        assert reply == ["OPENED", 0]

    for first, second in ((400, 0), (0, 400)):
        began = boottime()
        call(begun, first)
        call(begun, second)
        step_server_clock(wan.admin, HOUR_MS)
        before = wan_time(wan.admin)
        call(begun)
        assert 0 <= wan_time(wan.admin) - before < 200 + 1000 * (boottime() - began), "and not by 400 ms"
        begun += 100_000
        step_server_clock(wan.admin, 100_000)
        call(begun)


def test_a_caller_that_was_away_slows_no_time_that_others_saw(wan: Wan) -> None:
    """A machine whose clock stood still, or a request that was long on its way, is no proof against what others saw."""
    wan.acquire(*ids(10))
    step_server_clock(wan.admin, 61_000)
    assert run_script(wan.admin, "drain", clock=("fedcba987654!", 5)) == ["DRAINED", 1]
    wan("open")
    assert wan.acquire("h:1:x/new")[0] == "GRANTED"


# -- whoever asks


@pytest.fixture(params=[(2, True), (2, False), (3, True), (3, False)], ids=["text2", "bytes2", "text3", "bytes3"])
def given(request: Any, server: Any, face: str, loop: Loop) -> Iterator[Any]:
    """A pool object whose client the user made: any protocol, text or bytes."""
    protocol, text = request.param
    kind = redis.Redis if face == "sync" else redis.asyncio.Redis
    client = kind(unix_socket_path=str(server.socket), protocol=protocol, decode_responses=text)
    pool = make(face, loop, client=client, namespace="test", rest=0)
    yield pool
    pool.close()
    if face == "sync":
        client.close()
    else:
        loop.run(client.aclose())


@pytest.mark.one_server
def test_any_client_will_do(given: Any, server: Any) -> None:
    assert given.define_wan(0, "20000-20001", cooldown=0, name="tele com") is True
    assert given.define_wan(0, "20000-20001", cooldown=0, name="tele com") is False
    given.define_wan(1, "30000-30001", cooldown=0)
    with given.acquire(0, label="x") as lease:
        assert lease.port in (20000, 20001) and isinstance(lease.port, int)
        lease.renew()
        info = given.get_port_usage_info()
        assert info["total_allocated_ports"] == 1 and info["wans"][0]["name"] == "tele com"
        (process,) = info["processes"].values()
        assert process["ports"] == {0: [lease.port]}
    assert given.snapshot(0).free == 2
    assert given.release_port(0, 20000) is False
    leases = given.acquire_many(0, 2)
    with pytest.raises(PoolExhausted):
        given.acquire(0, wait=0.05)
    assert given.acquire([0, 1]).wan_idx == 1
    assert [lease.release() for lease in leases] == [True, True]


@pytest.mark.one_server
def test_any_client_hears_the_call_for_its_waiter(given: Any, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from redis_wanpool.protocol import Protocol

    monkeypatch.setattr(Protocol, "LONGEST_PAUSE", 60.0)
    given.define_wan(0, "20000", cooldown=0)
    lease = given.acquire(0)
    with ThreadPoolExecutor(1) as threads:
        waiter = threads.submit(given.acquire, 0, wait=60)
        wait_for(lambda: server.admin.zcard(PREFIX + "waiting") == 1)
        lease.release()
        assert waiter.result(20).port == 20000


@pytest.mark.one_server
def test_a_given_client_stays_open(server: Any) -> None:
    with redis.Redis(unix_socket_path=str(server.socket)) as client:
        with make("sync", None, client=client, namespace="test") as pool:
            pool.define_wan(0, "20000")
        assert client.ping()
