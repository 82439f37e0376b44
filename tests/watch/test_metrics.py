"""`wanpool metrics`: what a real parser of Prometheus reads agrees with Redis, and costs it one reading."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from by_hand import heard
from command_line import WANPOOL, wanpool
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from waiting import wait_for

from redis_wanpool import Operator, PoolExhausted, WanPortPool
from redis_wanpool.doctor.finding import Finding
from redis_wanpool.errors import BackendUnavailable
from redis_wanpool.model.health import Judgement
from redis_wanpool.watch.metrics import PoolCollector
from redis_wanpool.watch.paced import Background, Paced
from redis_wanpool.watch.reading import Watch

NAMES = {
    *("wanpool_ports", "wanpool_grants", "wanpool_refused", "wanpool_ended", "wanpool_grace_seconds"),
    *("wanpool_waiting", "wanpool_capacity_leases_per_second", "wanpool_wan_up", "wanpool_doctor"),
}
"""the names that boards and alerts of others use: they stay"""
Values = dict[tuple[str, ...], float]


def read(text: str) -> Values:
    """Each value by its name and its labels' values, in the order of the labels' names."""
    found: Values = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, *(value for _, value in sorted(sample.labels.items())))
            assert key not in found, "twice"
            found[key] = sample.value
    return found


@pytest.fixture
def operator(server: Any) -> Iterator[Operator]:
    with Operator(server.url, namespace="test") as operator:
        operator.define_wan(0, "20000-20019", cooldown=5, name='tele"com\\ 电信')
        operator.define_wan(7, "21000-21009")
        yield operator


@pytest.fixture
def pool(server: Any) -> Iterator[WanPortPool]:
    with WanPortPool(server.url, namespace="test", network="net-a", rest=0) as pool:
        yield pool


@pytest.fixture
def scrape(operator: Operator) -> Callable[..., Values]:
    """A scrape that reads again."""

    def scraped(findings: list[Finding] | None = None) -> Values:
        registry = CollectorRegistry()
        registry.register(PoolCollector(Watch(operator, pace=0), lambda: findings))
        return read(generate_latest(registry).decode())

    return scraped


class TestNumbers:
    def test_agree_with_redis_while_ports_move(
        self, operator: Operator, pool: WanPortPool, server: Any, scrape: Callable[..., Values]
    ) -> None:
        leases = pool.acquire_many(0, 6)
        for step in range(6):
            leases.pop().release(used=step % 2 == 0)
            if step == 3:
                operator.withhold("20000-20019")
                operator.restore("20000-20001")
            seen = scrape()
            prefix = "wanpool:{test:0}:"
            for state, count in (
                ("leased", server.admin.zcard(prefix + "leased")),
                ("withheld", server.admin.scard(prefix + "withheld")),
                ("cooling", server.admin.zcard(prefix + "cooling")),
                ("free", server.admin.scard(prefix + "free")),
            ):
                assert seen["wanpool_ports", state, "0"] == count
            assert sum(value for key, value in seen.items() if key[0] == "wanpool_ports" and key[2] == "0") == 20
            counters = operator.counters()[0]
            assert seen["wanpool_grants_total", "0"] == counters.granted == 6
            endings = {
                key[1]: value for key, value in seen.items() if key[0] == "wanpool_ended_total" and key[2] == "0"
            }
            assert endings == counters.ended and sum(endings.values()) == step + 1

    def test_of_refusals_waiters_drains_and_lines(
        self, operator: Operator, pool: WanPortPool, server: Any, scrape: Callable[..., Values]
    ) -> None:
        held = pool.acquire_many(7, 10)
        with pytest.raises(PoolExhausted):
            pool.acquire(7)
        pool._run(pool._engine.protocol.judge(60.0, [Judgement(7, "down", None, "no answer")]))
        operator.drain(0)
        seen = scrape()
        assert seen["wanpool_refused_total", "exhausted", "7"] == 1
        assert seen["wanpool_wan_up", "7"] == 0 and ("wanpool_wan_up", "0") not in seen
        assert (seen["wanpool_wan_draining", "0"], seen["wanpool_wan_draining", "7"]) == (1, 0)
        assert (seen["wanpool_grace_seconds", "7"], seen["wanpool_waiting", "7"]) == (0, 0)
        assert seen["wanpool_capacity_leases_per_second", "between_networks", "0"] > 0
        assert len(held) == 10

    def test_of_the_doctor(self, scrape: Callable[..., Values]) -> None:
        findings = [Finding("fail", "maxmemory", (), "x"), Finding("ok", "version", (), "y")]
        seen = scrape([*findings, findings[0]])
        assert (seen["wanpool_doctor", "maxmemory", "fail"], seen["wanpool_doctor", "version", "ok"]) == (2, 1)

    def test_labels_of_others_are_escaped(self, server: Any, scrape: Callable[..., Values]) -> None:
        strange = 'no"\n}\\ 1 {'
        server.admin.hset("wanpool:{test:0}:counters", "refused:" + strange, 3)
        seen = scrape()
        assert seen["wanpool_refused_total", strange, "0"] == 3
        assert seen["wanpool_wan_info", 'tele"com\\ 电信', "0"] == 1

    def test_a_wan_that_is_lost_hides_no_other(self, server: Any, scrape: Callable[..., Values]) -> None:
        server.admin.delete(*server.admin.scan_iter("wanpool:{test:0}:*"))
        seen = scrape()
        assert (seen["wanpool_wan_readable", "0"], seen["wanpool_wan_readable", "7"]) == (0, 1)
        assert ("wanpool_ports", "free", "0") not in seen and seen["wanpool_ports", "free", "7"] == 10
        server.admin.hdel("wanpool:{test}:wans", "0")

    def test_without_redis(self, operator: Operator, scrape: Callable[..., Values], monkeypatch: Any) -> None:
        def away(*_: object) -> None:
            raise BackendUnavailable("away", answered=False)

        monkeypatch.setattr(Operator, "status", away)
        assert scrape() == {("wanpool_redis_up",): 0}


class TestCost:
    """Many viewers, one reading."""

    def test_of_many_scrapes(self, operator: Operator, server: Any) -> None:
        registry = CollectorRegistry()
        watch = Watch(operator, pace=60)
        registry.register(PoolCollector(watch))
        for _ in range(2):  # the second time, it knows the scripts
            one = len(heard(server.admin, lambda: (operator.status(), operator.health()), by="clients"))

        def many() -> None:
            with ThreadPoolExecutor(8) as threads:
                texts = list(threads.map(lambda _: generate_latest(registry), range(50)))
            assert len(set(texts)) == 1

        assert len(heard(server.admin, many, by="clients")) == one
        assert watch.wans.readings == 1

    def test_what_takes_long_is_read_less_often(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = [100.0]
        monkeypatch.setattr("redis_wanpool.watch.paced.boottime", lambda: now[0])

        def slow() -> float:
            now[0] += 2
            return now[0]

        paced = Paced(slow)
        assert [paced.get(), paced.get()] == [102, 102]
        now[0] = 121
        assert paced.get() == 102
        now[0] = 122
        assert paced.get() == 124 and paced.readings == 2

    def test_an_error_is_as_good_as_an_answer(self) -> None:
        def fails() -> None:
            raise BackendUnavailable("away", answered=False)

        paced = Paced(fails, least=60)
        for _ in range(3):
            with pytest.raises(BackendUnavailable):
                paced.get()
        assert paced.readings == 1

    def test_what_runs_beside_goes_on_after_an_error(self) -> None:
        answers = iter([BackendUnavailable("away", answered=False), "found"])

        def looks() -> str:
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            beside.stop()
            return str(answer)

        beside = Background(looks, 0.001)
        beside.start()
        assert wait_for(lambda: beside.value) == "found"


@pytest.mark.slow
class TestCommand:
    def test_answers_until_it_is_ended(self, operator: Operator, server: Any) -> None:
        words = [*WANPOOL, "metrics", "--json", "--port", "0", "--doctor", "10s", "--namespace", "test"]
        process = subprocess.Popen([*words, "--url", server.url], stdout=subprocess.PIPE, text=True)
        try:
            told = json.loads(process.stdout.readline())
            with urllib.request.urlopen(told["url"], timeout=20) as answer:
                kind, seen = answer.headers["Content-Type"], read(answer.read().decode())
            assert kind.startswith("text/plain; version=") and seen["wanpool_ports", "free", "0"] == 20
            done = wanpool("metrics", "--url", server.url, "--port", str(told["port"]))
            assert done.returncode == 2 and "in use" in done.stderr

            def names() -> set[str]:
                with urllib.request.urlopen(told["url"], timeout=20) as answer:
                    return {family.name for family in text_string_to_metric_families(answer.read().decode())}

            wait_for(lambda: "wanpool_doctor" in names())
            assert names() >= NAMES
        finally:
            process.terminate()
            assert process.wait(20) == 0
            process.stdout.close()

    def test_without_its_library(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delitem(sys.modules, "redis_wanpool.watch.metrics")
        monkeypatch.setitem(sys.modules, "prometheus_client", None)
        done = wanpool("metrics", "--port", "0")
        assert done.returncode == 1 and 'pip install "redis-wanpool[metrics]"' in done.stderr
