"""`wanpool web`: what it tells, whom, and at what price; the page itself is looked at in tests/labs/test_page.py."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from by_hand import heard
from command_line import WANPOOL, wanpool

from redis_wanpool import Operator, WanPortPool
from redis_wanpool.errors import BackendUnavailable, InvalidValue
from redis_wanpool.watch import paced, web
from redis_wanpool.watch.reading import DAY, Watch
from redis_wanpool.watch.web import FOLDER, HEADERS, is_our_host, serve

Stream = AsyncIterator[tuple[str, Any]]


@pytest.fixture
def operator(server: Any) -> Iterator[Operator]:
    with Operator(server.url, namespace="test") as operator:
        operator.define_wan(0, "20000-20019,20100", cooldown=5, name="<b>telecom</b>")
        operator.define_wan(7, "21000-21009")
        yield operator


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What took long is read as often as what did not."""
    monkeypatch.setattr(paced, "SHARE", 0)


@asynccontextmanager
async def page(operator: Operator, **options: Any) -> AsyncIterator[tuple[Any, str]]:
    """Somebody who looks at it, and where it is."""
    async with (
        serve(Watch(operator, options.get("pace", 0.05)), port=0, **options) as port,
        aiohttp.ClientSession() as one,
    ):
        yield one, f"http://127.0.0.1:{port}"


async def news(answer: aiohttp.ClientResponse) -> Stream:
    """The events of a stream."""
    kind = ""
    while line := (await asyncio.wait_for(answer.content.readline(), 30)).decode():
        if line.startswith("event: "):
            kind = line[7:].strip()
        elif line.startswith("data: "):
            yield kind, json.loads(line[6:])


async def first(stream: Stream, kind: str) -> Any:
    """What it next says of a kind."""
    async for found, told in stream:
        if found == kind:
            return told
    raise AssertionError("it ended")


class TestLive:
    async def test_tells_what_is_so_and_what_changes(self, operator: Operator, server: Any) -> None:
        with WanPortPool(server.url, namespace="test", network="net-a") as pool:
            async with page(operator) as (client, url), client.get(f"{url}/live") as answer:
                assert answer.headers["Content-Type"] == "text/event-stream"
                stream = news(answer)
                told = await first(stream, "state")
                assert [(wan["wan_idx"], wan["free"], wan["total"]) for wan in told["wans"]] == [
                    (0, 21, 21),
                    (7, 10, 10),
                ]
                assert (told["namespace"], told["error"]) == ("test", "")
                await asyncio.to_thread(pool.acquire_many, 7, 3)
                while told["wans"][1]["leased"] != 3:
                    told = await first(stream, "state")
                held = await first(stream, "held")
                while not held["rows"]:
                    held = await first(stream, "held")
                (row,) = held["rows"]
                assert (row["network"], row["wans"]) == ("net-a", {"7": 3}) and row["program"]
                await asyncio.to_thread(operator.drain, 7)
                events = await first(stream, "events")
                assert [event["what"] for event in events["rows"]] == ["drained", "defined", "defined"]
                assert sum(count for _, what, count in events["slots"] if what == "drained") == 1
                assert "lease_id" not in json.dumps([told, held, events])

    async def test_without_redis_says_so_and_goes_on(self, operator: Operator, monkeypatch: Any) -> None:
        async with page(operator) as (client, url), client.get(f"{url}/live") as answer:
            stream = news(answer)
            await first(stream, "state")
            status = Operator.status

            def away(*_: object) -> None:
                raise BackendUnavailable("Redis is away", answered=False)

            monkeypatch.setattr(Operator, "status", away)
            while not (told := await first(stream, "state"))["error"]:
                pass
            assert (told["error"], told["error_for"]) == ("Redis is away", 0) and "wans" not in told
            monkeypatch.setattr(Operator, "status", status)
            while (await first(stream, "state"))["error"]:
                pass

    async def test_a_fault_of_ours_ends_no_page(self, operator: Operator, monkeypatch: Any, caplog: Any) -> None:
        def faulty(*_: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(web.Live, "_held", faulty)
        async with page(operator) as (client, url), client.get(f"{url}/live") as answer:
            stream = news(answer)
            await first(stream, "events")
            await asyncio.to_thread(operator.drain, 0)
            while (await first(stream, "state"))["wans"][0]["state"] != "draining":
                pass
            async with client.head(f"{url}/live") as refused:
                assert refused.status == 405
        assert "cannot tell the pages what is new of held" in caplog.text

    async def test_many_pages_cost_one_reading_and_none_when_nobody_looks(
        self, operator: Operator, server: Any
    ) -> None:
        watch = Watch(operator, pace=60)
        operator.status()

        async def looked() -> None:
            async with serve(watch, port=0) as port, aiohttp.ClientSession() as client, AsyncExitStack() as stack:
                for _ in range(20):
                    answer = await stack.enter_async_context(client.get(f"http://127.0.0.1:{port}/live"))
                    stream = news(answer)
                    for kind in ("state", "held", "events"):
                        assert await first(stream, kind)
                for _ in range(10):
                    async with client.get(f"http://127.0.0.1:{port}/map/0") as answer:
                        assert answer.status == 200

        asked = await asyncio.to_thread(heard, server.admin, lambda: asyncio.run(looked()), "clients")
        assert (watch.wans.readings, watch.holders.readings, watch.events.readings) == (1, 1, 1)
        assert len(asked) < 40
        assert not await asyncio.to_thread(heard, server.admin, lambda: asyncio.run(asyncio.sleep(0.1)), "clients")

    async def test_ends_with_its_pages(self, operator: Operator) -> None:
        live = web.Live(Watch(operator, 0.01), 0.01)
        stream = live.follow()
        assert await anext(stream)
        assert live.pages == 1
        await stream.aclose()
        assert live.pages == 0
        await asyncio.wait_for(live._task, 10)
        await live.close()

    async def test_pages_have_a_limit(self, operator: Operator, monkeypatch: Any) -> None:
        monkeypatch.setattr(web, "MOST_PAGES", 1)
        async with page(operator) as (client, url), client.get(f"{url}/live") as answer:
            await first(news(answer), "state")
            async with client.get(f"{url}/live") as refused:
                assert refused.status == 503


class TestDetails:
    async def test_a_map_of_the_ports(self, operator: Operator, server: Any) -> None:
        with WanPortPool(server.url, namespace="test", network="net-a") as pool:
            lease = await asyncio.to_thread(pool.acquire, 0, port=20003, label="nightly")
            async with page(operator) as (client, url):
                async with client.get(f"{url}/map/0") as answer:
                    told = await answer.json()
                assert told["ranges"] == [[20000, 20019], [20100, 20100]]
                assert told["states"] == "fff" + "l" + "f" * 17
                assert (told["networks"], told["whose"]) == (["net-a"], [[-1, 3], [0, 1], [-1, 17]])
                async with client.get(f"{url}/port/20003") as answer:
                    seen = await answer.json()
                assert (seen["lives"], seen["label"], seen["network"]) == (True, "nightly", "net-a")
                assert lease.lease_id not in json.dumps(seen) and 0 < seen["left"] <= 60

    @pytest.mark.parametrize(
        "path", ["map/3", "map/1234567", "port/19999", "port/65536", "map/x", "words.py", "web.py"]
    )
    async def test_of_what_there_is_not(self, operator: Operator, path: str) -> None:
        async with page(operator) as (client, url), client.get(f"{url}/{path}") as answer:
            assert answer.status == 404 and answer.headers["Content-Security-Policy"]

    def test_a_day_of_events_and_no_more(self, operator: Operator, server: Any, at_once: None) -> None:
        stream = "wanpool:{test:0}:events"
        server.admin.delete(stream)
        now_ms = operator.counters()[0].at_ms
        for ago in (1.1 * DAY, 0.9 * DAY):
            server.admin.xadd(stream, {"what": "expired", "count": 1}, id=f"{now_ms - round(1000 * ago)}-0")
        watch = Watch(operator, pace=0)
        assert [event.what for event in watch.events.get() if event.wan_idx == 0] == ["expired"]
        operator.drain(0)
        assert [event.what for event in watch.events.get() if event.wan_idx == 0] == ["expired", "drained"]
        assert len(watch.events.get()) == 3

    def test_when_free_ports_will_be_used_up(
        self, operator: Operator, server: Any, monkeypatch: Any, at_once: None
    ) -> None:
        now = [1000.0]
        monkeypatch.setattr("redis_wanpool.watch.reading.boottime", lambda: now[0])
        watch = Watch(operator, pace=0)
        assert watch.wans.get().exhausted_in == {}
        with WanPortPool(server.url, namespace="test") as pool:
            pool.acquire_many(7, 5)
            now[0] += 20
            assert watch.wans.get().exhausted_in == {7: 20.0}


class TestWhoMayLook:
    @pytest.mark.parametrize(
        ("header", "ours"),
        [
            ("127.0.0.1:7081", True),
            ("localhost", True),
            ("LOCALHOST.:7081", True),
            ("[::1]:7081", True),
            ("10.0.0.5:80", True),
            ("wanpool.example.com", True),
            ("evil.example.com:7081", False),
            ("127.0.0.1.evil.example.com", False),
            ("localhost:7081@evil.example.com", False),
            ("localhost:x", False),
            ("[::1", False),
            ("", False),
        ],
    )
    def test_hosts(self, header: str, ours: bool) -> None:
        assert is_our_host(header, ["wanpool.example.com"]) is ours

    async def test_no_page_of_another_name(self, operator: Operator) -> None:
        async with page(operator) as (client, url):
            for path in ("", "live", "map/0", "port/20000", "page.js"):
                async with client.get(f"{url}/{path}", headers={"Host": "evil.example.com"}) as answer:
                    assert answer.status == 421 and "telecom" not in await answer.text()

    async def test_nothing_can_be_changed_and_nothing_comes_from_elsewhere(self, operator: Operator) -> None:
        async with page(operator) as (client, url):
            async with client.get(url) as answer:
                assert {name: answer.headers[name] for name in HEADERS} == HEADERS
            for method in ("POST", "PUT", "DELETE"):
                async with client.request(method, f"{url}/map/0") as answer:
                    assert answer.status == 405
        for path in FOLDER.iterdir():
            text = path.read_text(encoding="utf-8")
            assert not re.findall(r"(?:src|href|url|import|from)\W{1,3}(?:https?:)?//", text), path
            assert "innerHTML" not in text and "eval(" not in text and "style=" not in text

    @pytest.mark.parametrize("bind", ["0.0.0.0", "::", "192.0.2.1"])
    async def test_nobody_beyond_loopback_unless_asked(self, operator: Operator, bind: str) -> None:
        with pytest.raises(InvalidValue, match="--beyond-loopback"):
            async with serve(Watch(operator), bind=bind, port=0):
                pass
        with pytest.raises(InvalidValue, match="IP address"):
            async with serve(Watch(operator), bind="localhost", port=0):
                pass

    async def test_beyond_loopback_if_asked(self, operator: Operator) -> None:
        rules = {"bind": "0.0.0.0", "port": 0, "beyond_loopback": True}
        async with serve(Watch(operator), **rules) as port, aiohttp.ClientSession() as client:
            answer = await client.get(f"http://127.0.0.1:{port}")
            assert answer.status == 200


@pytest.mark.slow
class TestCommand:
    def test_serves_until_it_is_ended(self, operator: Operator, server: Any) -> None:
        words = [*WANPOOL, "web", "--json", "--port", "0", "--namespace", "test", "--url", server.url]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        try:
            told = json.loads(process.stdout.readline())
            with urllib.request.urlopen(told["url"], timeout=20) as answer:
                assert b"<title>wanpool</title>" in answer.read()
            done = wanpool("web", "--url", server.url, "--port", str(told["port"]))
            assert done.returncode == 2 and "--port" in done.stderr
            done = wanpool("web", "--url", server.url, "--bind", "0.0.0.0")
            assert done.returncode == 2 and "--beyond-loopback" in done.stderr
            with urllib.request.urlopen(told["url"] + "live", timeout=20) as answer:
                assert answer.readline().startswith(b"retry")
                process.terminate()
                assert process.wait(20) == 0
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    def test_beside_a_proxy(self, operator: Operator, server: Any) -> None:
        words = [*WANPOOL, "proxy", "--json", "--port", "0", "--web-port", "0", "--metrics-port", "0"]
        process = subprocess.Popen(
            [*words, "--namespace", "test", "--url", server.url], stdout=subprocess.PIPE, text=True
        )
        try:
            told = json.loads(process.stdout.readline())
            for url, said in ((told["web"], b"<title>wanpool</title>"), (told["metrics"], b"wanpool_redis_up 1.0")):
                with urllib.request.urlopen(url, timeout=20) as answer:
                    assert said in answer.read()
            process.terminate()
            assert process.wait(20) == 0
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    def test_without_its_library(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delitem(sys.modules, "redis_wanpool.watch.web")
        monkeypatch.setitem(sys.modules, "aiohttp", None)
        done = wanpool("web", "--port", "0")
        assert done.returncode == 1 and 'pip install "redis-wanpool[web]"' in done.stderr


def test_both_languages_say_the_same_things() -> None:
    text = (FOLDER / "words.js").read_text(encoding="utf-8")
    english, chinese = text.partition("  zh: {")[0::2]
    pair = re.compile(r'(?<![\w"])(\w+): "([^"]*)"')
    words = [dict(pair.findall(part)) for part in (english, chinese.partition("\n  },\n")[0])]
    assert len(words[0]) > 80 and words[0].keys() == words[1].keys()
    for key, english_text in words[0].items():
        assert set(re.findall(r"\{\w+\}", english_text)) == set(re.findall(r"\{\w+\}", words[1][key])), key
    code = "".join(path.read_text(encoding="utf-8") for path in FOLDER.iterdir() if path.name != "words.js")
    said = set(re.findall(r'say\("(\w+)"', code)) | set(re.findall(r'data-text="(\w+)"', code))
    assert said <= words[0].keys()
