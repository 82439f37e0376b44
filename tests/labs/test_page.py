"""The page of `wanpool web` in a real Chromium, which keeps pictures of it in build/.

apt-get install chromium fonts-wqy-zenhei
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import Chromium, Page

from redis_wanpool import Operator, PoolExhausted, WanPortPool
from redis_wanpool.model.health import Judgement
from redis_wanpool.watch.reading import Watch
from redis_wanpool.watch.web import serve

PICTURES = Path(__file__).parents[2] / "build"
HOLDER = """
import sys
from redis_wanpool import WanPortPool
pool = WanPortPool(sys.argv[1], namespace="prod", network="net-b", rest=1, reap=False)
for number in range(4):
    pool.acquire_many(0, 40, label=f"crawler-{number}", reuse_address=True)
print("holds", flush=True)
sys.stdin.read()
"""
UNLABELLED = """[...document.querySelectorAll("input, select, button, canvas, svg[role]")].filter((one) =>
    !(one.labels?.length || one.ariaLabel || one.innerText?.trim())).map((one) => one.outerHTML)"""


@pytest.fixture
def redis(started: Callable[..., Any]) -> Any:
    return started("--appendonly", "yes")


@pytest.fixture
def operator(redis: Any) -> Iterator[Operator]:
    with Operator(redis.url, namespace="prod") as operator:
        operator.define_wan(0, "20000-21999", name="telecom")
        operator.define_wan(1, "22000-23999", name="联通")
        operator.define_wan(2, "24000-24099", name="<i>mobile</i>", max_ttl=600, lease_ttl=600)
        operator.define_wan(3, "25000-25499", name="spare")
        yield operator


def busy(pool: WanPortPool, wan_idx: int, count: int, released: int, label: str = "") -> None:
    """Some ports are leased, and some of them released."""
    leases = pool.acquire_many(wan_idx, count, label=label, reuse_address=True)
    for lease in leases[:released]:
        lease.release()


async def card(page: Page, wan: int, name: str, value: str) -> None:
    """Waits until a WAN's card says that."""
    find = f"[...document.querySelectorAll('.wan')].find((one) => one.innerText.startsWith('WAN {wan} '))"
    await page.until(f"{find}?.innerText.replace(/\\s+/g, ' ').includes('{name} {value}')")


def answered(page: Page) -> list[str]:
    """What went wrong in the page, but for what it asked while Redis was away."""
    return [trouble for trouble in page.troubles if "503" not in trouble]


async def test_a_day_of_an_operator(
    redis: Any, operator: Operator, program: Callable[..., Any], tmp_path: Path
) -> None:
    holder = program(HOLDER, redis.url)
    assert holder.line() == "holds"
    with WanPortPool(redis.url, namespace="prod", network="net-a", rest=1, reap=False) as pool:
        busy(pool, 0, 300, 120, "nightly")
        busy(pool, 1, 90, 30)
        async with serve(Watch(operator, 0.2), port=0, pace=0.2) as port, Chromium() as browser:
            url = f"http://127.0.0.1:{port}/"
            page = await browser.page(f"{url}?lang=en")
            await page.shows("All WANs are open, and have free ports.", "#attention")
            await card(page, 0, "leased", "340")

            # who holds what, and where
            await page.shows("net-b", "#held")
            await page.evaluate("document.querySelector('#held-filter').focus()")
            await page.send("Input.insertText", text="NET-B")
            await page.until("document.querySelectorAll('#held tbody tr').length === 1")
            await page.until("document.querySelector('#map').ariaLabel?.includes('340 leased')")
            await page.evaluate("document.querySelector('#map').focus()")
            await page.key("ArrowRight")
            await page.shows("20000:", "#map-cell")
            await page.key("ArrowRight")
            await page.shows("20001:", "#map-cell")

            # a holder is killed, and its ports are taken back
            holder.kill()
            assert await asyncio.to_thread(operator.reap)
            await page.shows("reaped", "#events")
            await card(page, 0, "leased", "180")

            # a WAN is drained, another has no ports left, a line is down, a system refuses a port
            await asyncio.to_thread(operator.drain, 3)
            await page.shows("WAN 3 grants nothing new: it was drained by", "#attention")
            await asyncio.to_thread(busy, pool, 2, 100, 0)
            with pytest.raises(PoolExhausted):
                await asyncio.to_thread(pool.acquire, 2)
            await page.shows("WAN 2 has no free port", "#attention")
            await page.shows("calls got no port in the last hour", "#attention")
            protocol = pool._engine.protocol
            judgements = [Judgement(1, "down", None, "no answer from 1.1.1.1:443"), Judgement(0, "up", 0.0123)]
            await asyncio.to_thread(pool._run, protocol.judge(600.0, judgements))
            await page.shows("The line of WAN 1 is down since", "#attention")
            lease = await asyncio.to_thread(pool.acquire, 0, reuse_address=True)
            await asyncio.to_thread(pool._run, protocol.release([lease], "rejected", "EADDRINUSE"))
            await page.shows("a system refused ports; now in quarantine: 1; last on", "#attention")
            await asyncio.to_thread(operator.withhold, "20100-20139")
            assert not await page.evaluate(UNLABELLED)
            assert not await page.evaluate("document.querySelectorAll('main i').length"), "names are text"

            await pictures(browser, page, url)

            # Redis is gone, and comes back
            redis.stop()
            await page.shows("Redis does not answer, for", "#attention")
            await page.picture(PICTURES / "page-away.png", whole=False)
            await asyncio.to_thread(redis.start, "--appendonly", "yes")
            await page.shows("WAN 0 is in grace", "#attention")
            await page.until("!document.querySelector('#pulse').classList.contains('away')")
            assert not answered(page)


async def pictures(browser: Chromium, page: Page, url: str) -> None:
    """Pictures in both languages, wide and narrow, light and dark; nothing is wider than the page."""
    for language, title in (("en", "What needs attention"), ("zh", "需要关注")):
        for width, dark in ((1280, False), (390, False), (1280, True)):
            other = await browser.page(f"{url}?lang={language}", width=width, dark=dark)
            await other.shows(title)
            await other.until("document.querySelectorAll('#events tbody tr').length > 5")
            await other.until(
                "Boolean(document.querySelector('#map').ariaLabel && document.querySelector('#held tbody tr'))"
            )
            assert await other.evaluate("document.documentElement.scrollWidth <= innerWidth")
            high = await other.evaluate("document.documentElement.scrollHeight")
            await other.look(width, dark=dark, height=high)
            await other.until(
                "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))"
            )
            await other.picture(PICTURES / f"page-{language}-{width}{'-dark' if dark else ''}.png", whole=False)
            assert not answered(other)
            await other.send("Page.close")
            await other.close()
    await page.evaluate("document.querySelector('#language').click()")
    await page.shows("需要关注")
    await page.evaluate("document.querySelector('#language').click()")
    await page.shows("What needs attention")


async def test_a_hidden_page_asks_for_nothing(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser has six connections to a server at most, for all its pages: those that nobody sees give theirs back."""
    watch = Watch(operator, 0.2)
    async with serve(watch, port=0, pace=0.2) as port, Chromium() as browser:
        page = await browser.page(f"http://127.0.0.1:{port}/?lang=en")
        await page.shows("All WANs are open")
        hide = "Object.defineProperty(document, 'hidden', {{value: {}, configurable: true}})"
        await page.evaluate(f"{hide.format('true')}; document.dispatchEvent(new Event('visibilitychange'))")
        readings = -1
        while readings != watch.wans.readings:  # one that had begun may end yet
            readings = watch.wans.readings
            await asyncio.sleep(1)
        await page.evaluate(f"{hide.format('false')}; document.dispatchEvent(new Event('visibilitychange'))")
        await asyncio.to_thread(operator.drain, 1)
        await page.shows("WAN 1 grants nothing new")
        assert watch.wans.readings > readings


async def test_news_stop_when_the_page_loses_its_server(operator: Operator) -> None:
    async with Chromium() as browser:
        async with serve(Watch(operator, 0.2), port=0, pace=0.2) as port:
            page = await browser.page(f"http://127.0.0.1:{port}/?lang=en")
            await page.shows("All WANs are open")
        await page.shows("This page gets no news", "#attention")


FRAMES = """new Promise((done) => {
  const gaps = [];
  let last = performance.now();
  const step = (now) => {
    gaps.push(now - last);
    last = now;
    if (gaps.length < 200) requestAnimationFrame(step);
    else done(gaps.sort((a, b) => a - b));
  };
  requestAnimationFrame(step);
})"""


async def test_sixty_thousand_ports_of_64_wans_stay_fluent(redis: Any) -> None:
    with (
        Operator(redis.url, namespace="large") as operator,
        WanPortPool(redis.url, namespace="large", network="net-a", rest=1, reap=False) as pool,
    ):
        operator.define_wan(0, "1024-31023", name="large")
        for wan_idx in range(1, 64):
            first = 31_024 + 476 * (wan_idx - 1)
            operator.define_wan(wan_idx, f"{first}-{first + 475}")
        for _ in range(12):
            pool.acquire_many(0, 1000, reuse_address=True)
        async with serve(Watch(operator), port=0) as port, Chromium() as browser:
            page = await browser.page(f"http://127.0.0.1:{port}/?lang=en")
            await page.until("document.querySelectorAll('.wan').length === 64", within=60)
            await page.until("document.querySelector('#map').ariaLabel?.includes('12000 leased')", within=60)
            gaps = await page.evaluate(FRAMES)
            print(f"frames: median {gaps[100]:.0f} ms, 95 of 100 below {gaps[190]:.0f} ms, longest {gaps[-1]:.0f} ms")
            assert gaps[100] < 50 and gaps[190] < 250
            await page.picture(PICTURES / "page-large.png")
            assert not page.troubles
