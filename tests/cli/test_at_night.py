"""Ten faults that an operator meets, and the one command that says what it is, who, since when, and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from by_hand import age_wan
from command_line import wanpool

from redis_wanpool import Operator, PoolExhausted, WanPortPool
from redis_wanpool.model.health import Judgement

TIME = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


class Night:
    """A pool, who looks after it, and what goes wrong."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.operator = Operator(server.url)
        self.operator.define_wan(0, "20000-20009", name="telecom", cooldown=5)
        self.pool = WanPortPool(server.url, network="net-a", rest=0)

    def close(self) -> None:
        self.pool.close()
        self.operator.close()

    def line_down(self) -> None:
        self.pool._run(self.pool._engine.protocol.judge(600.0, [Judgement(0, "down", None, "no answer")]))

    def drained(self) -> None:
        self.operator.drain(0)

    def exhausted(self) -> None:
        self.pool.acquire_many(0, 10)
        with pytest.raises(PoolExhausted):
            self.pool.acquire(0, label="crawler")

    def all_held(self) -> None:
        self.pool.acquire_many(0, 10)

    def hung(self) -> None:
        self.pool.acquire(0, detached=True, ttl=5)
        age_wan(self.server.admin, 10, namespace="default")
        self.pool.acquire(0)

    def refused_by_the_system(self) -> None:
        lease = self.pool.acquire(0, port=20003)
        self.pool._run(self.pool._engine.protocol.release([lease], "rejected", "EADDRINUSE at bind"))

    def revoked(self) -> None:
        self.pool.acquire(0, port=20004, label="crawler")
        self.operator.revoke(0, self.operator.leases(0))

    def withheld(self) -> None:
        self.operator.withhold("20005")

    def lost(self) -> None:
        self.server.admin.delete(*self.server.admin.scan_iter("wanpool:{default:0}:*"))

    def another_namespace(self) -> None:
        pass


FAULTS: list[tuple[Callable[[Night], None], str, int, list[str]]] = [
    (Night.line_down, "status", 0, [rf"WAN 0: its line is down since {TIME} \(no answer\)", "pass it by"]),
    (Night.drained, "events", 0, [rf"{TIME}  WAN 0 .*drained .*by \S+@\S+"]),
    (Night.exhausted, "events", 0, [rf"{TIME}  WAN 0 .*refused .*by \S+:\d+, .crawler., network net-a, exhausted"]),
    (Night.all_held, "status", 0, [r"10 +\S+:\d+ +WAN 0: 10"]),
    (Night.hung, "events", 0, [rf"{TIME}  WAN 0 .*expired +\d{{5}}, by \S+ \(detached\)", "net-a"]),
    (Night.refused_by_the_system, "explain 20003", 0, ["EADDRINUSE at bind", "net-a", "quarantine"]),
    (Night.revoked, "events", 0, [rf"{TIME}  WAN 0 .*revoked +20004, by \S+@\S+, lease of \S+:\d+, .crawler."]),
    (Night.withheld, "explain 20005", 0, ["withheld", "wanpool restore 20005"]),
    (Night.lost, "status", 1, ["WAN 0 .*the data is gone", "wanpool init --recover"]),
    (Night.another_namespace, "status --namespace prdo", 1, ["no namespace 'prdo'", "wanpool namespaces"]),
]


@pytest.fixture
def night(server: Any) -> Iterator[Night]:
    night = Night(server)
    yield night
    night.close()
    server.admin.flushall()


@pytest.mark.parametrize(("fault", "words", "code", "told"), FAULTS, ids=lambda value: getattr(value, "__name__", ""))
def test_one_command_says_it(
    night: Night, fault: Callable[[Night], None], words: str, code: int, told: list[str]
) -> None:
    fault(night)
    verb, *more = words.split()
    done = wanpool(verb, "--url", night.server.url, *more)
    assert done.returncode == code, done
    for pattern in told:
        assert re.search(pattern, done.stdout + done.stderr), (pattern, done.stdout + done.stderr)
