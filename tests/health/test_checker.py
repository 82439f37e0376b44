"""The health check by real connections: a target that answers, and one that does not."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
from command_line import WANPOOL, says, tells
from nodes import free_ports
from waiting import wait_for

from redis_wanpool import AsyncWanPortPool, InvalidValue, Operator, PoolClosed
from redis_wanpool.health import Round, check
from redis_wanpool.health.checker import Checker

HEALTH = "wanpool:{test}:health"


class Target:
    """A listening socket whose queue can be filled, so that it answers no more connections."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self._fillers: list[socket.socket] = []
        self.address: tuple[str, int] = self._listener.getsockname()
        self.text = f"{self.address[0]}:{self.address[1]}"

    def fall_silent(self) -> None:
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(self.address)
            self._fillers.append(filler)

    def answer(self) -> None:
        """Takes all that is in the queue, and from now on what comes."""
        self._close_fillers()
        self._listener.listen(100)
        self._listener.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                self._listener.accept()[0].close()

    def close(self) -> None:
        self._close_fillers()
        self._listener.close()

    def _close_fillers(self) -> None:
        while self._fillers:
            self._fillers.pop().close()


@contextmanager
def target(*, silent: bool = False) -> Iterator[Target]:
    with ExitStack() as stack:
        made = Target()
        stack.callback(made.close)
        made.fall_silent() if silent else made.answer()
        yield made


async def define(pool: AsyncWanPortPool, *wans: int) -> None:
    for wan_idx in wans:
        first = 25970 + 10 * wan_idx
        await pool.define_wan(wan_idx, f"{first}-{first + 9}", cooldown=0)


def checker(pool: AsyncWanPortPool, *targets: str, **how: Any) -> Checker:
    """One with an interval so long that nothing is too old while a test lasts."""
    return Checker(pool, targets, **{"interval": 60, "fall": 2, "rise": 2, "timeout": 0.3, **how})


async def rounds(checker: Checker, count: int) -> list[dict[int, str]]:
    return [{line.wan_idx: line.state for line in (await checker.round())[0].lines} for _ in range(count)]


def record(server: Any, wan_idx: int) -> list[str]:
    return str(server.admin.hget(HEALTH, str(wan_idx))).split(" ", 6)


async def test_a_line_that_answers_is_up(async_pool: AsyncWanPortPool, server: Any) -> None:
    await define(async_pool, 0, 1)
    with target() as good:
        assert await rounds(checker(async_pool, good.text), 1) == [{0: "up", 1: "up"}]
    state, since, _, interval_ms, round_trip, by, _ = record(server, 0)
    assert (state, interval_ms, by) == ("up", "60000", async_pool.holder) and since.endswith("Z")
    assert 0 < float(round_trip) < 300


async def test_a_line_falls_and_rises(async_pool: AsyncWanPortPool, server: Any) -> None:
    await define(async_pool, 0)
    with target(silent=True) as quiet:
        one = checker(async_pool, quiet.text)
        assert await rounds(one, 3) == [{0: "unknown"}, {0: "down"}, {0: "down"}]
        assert record(server, 0)[0] == "down" and "no answer" in record(server, 0)[6]
        quiet.answer()
        assert await rounds(one, 2) == [{0: "down"}, {0: "up"}]


async def test_one_target_that_answers_is_enough(async_pool: AsyncWanPortPool) -> None:
    await define(async_pool, 0)
    with target() as good, target(silent=True) as quiet:
        for targets in ((quiet.text, good.text), (good.text, quiet.text)):
            assert await rounds(checker(async_pool, *targets, fall=1), 1) == [{0: "up"}]


async def test_a_refused_connection_is_an_answer_of_the_line(async_pool: AsyncWanPortPool, server: Any) -> None:
    await define(async_pool, 0)
    assert await rounds(checker(async_pool, f"127.0.0.1:{free_ports(1)[0]}", fall=1), 1) == [{0: "up"}]
    assert "refused" in record(server, 0)[6]


async def test_its_leases_say_what_they_are_for(async_pool: AsyncWanPortPool, server: Any) -> None:
    await define(async_pool, 0)
    with target(silent=True) as quiet:
        looking = asyncio.create_task(checker(async_pool, quiet.text, timeout=20).round())
        labels: set[Any] = set()
        while not labels:
            labels = {server.admin.hget(key, "label") for key in server.admin.scan_iter("wanpool:{test:0}:lease:*")}
            await asyncio.sleep(0.005)
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
    assert labels == {"health"}


async def test_trouble_with_a_lease_or_a_name_is_no_verdict(async_pool: AsyncWanPortPool, server: Any) -> None:
    await define(async_pool, 0, 1)
    await async_pool.drain(0)
    await async_pool.acquire_many(1, 10)
    with target() as good:
        seen, _ = await checker(async_pool, good.text, fall=1).round()
    assert [line.probe.answered for line in seen.lines] == [None, None]
    assert ["WanDraining" in seen.lines[0].probe.why, "PoolExhausted" in seen.lines[1].probe.why] == [True, True]
    await async_pool.open(0)
    seen, _ = await checker(async_pool, "no-such-name.invalid:443", fall=1).round()
    assert seen.lines[0].probe.answered is None
    assert server.admin.hkeys(HEALTH) == ["checker"]


async def test_wans_come_and_go(async_pool: AsyncWanPortPool, server: Any) -> None:
    await define(async_pool, 0)
    with target() as good, Operator(server.url, namespace="test") as operator:
        one = checker(async_pool, good.text)
        assert await rounds(one, 1) == [{0: "up"}]
        await define(async_pool, 1)
        assert await rounds(one, 1) == [{0: "up", 1: "up"}]
        operator.remove(0, force=True)
        assert await rounds(one, 1) == [{1: "up"}]
    assert sorted(server.admin.hkeys(HEALTH)) == ["1", "checker"]


@pytest.mark.one_server
async def test_it_survives_redis(own_server: Any) -> None:
    async with AsyncWanPortPool(own_server.url, namespace="test", rest=0) as pool:
        await define(pool, 0)
        with target(silent=True) as quiet:
            one = checker(pool, quiet.text)
            assert await rounds(one, 1) == [{0: "unknown"}]
            own_server.stop()
            seen, pause = await one.round()
            assert seen.trouble is not None and not seen.lines and pause > 0
            own_server.start()
            await pool.define_wan(0, "25970-25979", cooldown=0, recover=True)
            assert (await one.round())[0].trouble is None


async def test_the_second_stands_by_until_the_first_ends(async_pool: AsyncWanPortPool, server: Any) -> None:
    await define(async_pool, 0)
    seen: list[Round] = []
    with target() as good:
        first = asyncio.create_task(check(async_pool, [good.address], interval=60, timeout=0.3, told=seen.append))
        while not seen:
            await asyncio.sleep(0.005)
        async with AsyncWanPortPool(server.url, namespace="test", rest=0) as other:
            second = checker(other, good.text)
            standby, pause = await second.round()
            assert standby.standby == async_pool.holder and not standby.lines and 0 < pause <= 60.01
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            assert await rounds(second, 1) == [{0: "up"}]
            assert (await checker(async_pool, good.text).round())[0].standby == other.holder


async def test_one_that_was_paused_writes_nothing_any_more(
    async_pool: AsyncWanPortPool, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one took its claim while it was looking."""
    await define(async_pool, 0)
    with target() as good:
        one = checker(async_pool, good.text)
        looked = one.probes

        async def overtaken() -> Any:
            found = await looked()
            server.admin.hset(HEALTH, "checker", f"h:2:x {round(time.time() * 1000) + 60_000} 60000")
            return found

        monkeypatch.setattr(one, "probes", overtaken)
        assert (await one.round())[0].standby == "h:2:x"
    assert server.admin.hkeys(HEALTH) == ["checker"]


async def test_it_ends_with_its_pool(server: Any) -> None:
    pool = AsyncWanPortPool(server.url, namespace="test", rest=0)
    await define(pool, 0)
    with target() as good:
        checking = asyncio.create_task(check(pool, [good.text], interval=0.05))
        await asyncio.to_thread(wait_for, lambda: server.admin.hget(HEALTH, "0"))
        await pool.close()
        with pytest.raises(PoolClosed):
            await asyncio.wait_for(checking, 20)


@pytest.mark.parametrize(
    ("targets", "how"),
    [([], {}), ("1.1.1.1:443", {}), (["1.1.1.1"], {}), (["1.1.1.1:x"], {}), (["1.1.1.1:443"], {"timeout": 61})],
)
async def test_what_makes_no_check_is_refused(async_pool: AsyncWanPortPool, targets: Any, how: Any) -> None:
    with pytest.raises(InvalidValue):
        await check(async_pool, targets, interval=60, **how)


class TestCommand:
    @pytest.fixture(autouse=True)
    def there(self, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WANPOOL_URL", server.url)
        monkeypatch.setenv("WANPOOL_NAMESPACE", "test")
        says("init", "--wan", "0=25970-25979", "--wan", "1=25980-25989")

    def test_once_looks_and_writes_nothing(self, server: Any) -> None:
        with target() as good, target(silent=True) as quiet:
            told = tells("health", "--once", "--target", good.text)
            assert [(row["wan_idx"], row["answered"]) for row in told["wans"]] == [(0, True), (1, True)]
            told = tells("health", "--once", "--target", quiet.text, "--timeout", "0.2s", code=1)
            assert [row["answered"] for row in told["wans"]] == [False, False]
            text = says("health", "--once", "--target", good.text)
            assert text.startswith("WAN 0: answers, ") and text.count(" ms\n") == 2
        assert not server.admin.exists(HEALTH)

    def test_it_runs_until_sigterm_and_gives_its_claim_up(self, server: Any) -> None:
        with target() as good, running("--target", good.text, "--interval", "60s", "--json") as process:
            told = json.loads(process.stdout.readline())
            assert told["schema"] == 1 and not told["standby"] and told["checker"].split(":")[1] == str(process.pid)
            assert [(row["wan_idx"], row["state"], row["was"]) for row in told["wans"]] == [
                (0, "up", "unknown"),
                (1, "up", "unknown"),
            ]
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        assert sorted(server.admin.hkeys(HEALTH)) == ["0", "1"]

    def test_what_it_found_is_seen(self, server: Any) -> None:
        words = [round(time.time() * 1000), 60000]
        server.admin.hset(HEALTH, "0", f"up 2026-01-01T00:00:00.000Z {words[0]} {words[1]} 12.5 h:1:x ")
        server.admin.hset(HEALTH, "1", f"down 2026-01-01T00:00:00.000Z {words[0]} {words[1]} - h:1:x no \x1banswer")
        up, down = (wan["line"] for wan in tells("status")["wans"])
        assert (up["state"], up["round_trip_ms"], down["state"], down["since"]) == (
            *("up", 12.5, "down"),
            "2026-01-01T00:00:00.000Z",
        )
        text = says("status")
        assert "open, down" in text and "WAN 1: its line is down since 2026-01-01" in text and "\x1b" not in text
        assert tells("explain", "25980")["line"]["state"] == "down"
        assert "down since 2026-01-01T00:00:00.000Z, no" in says("explain", "25980")
        assert "up since 2026-01-01T00:00:00.000Z, 12.5 ms" in says("explain", "25970")
        server.admin.hset(HEALTH, "1", f"down 2026-01-01T00:00:00.000Z {words[0] - 200_000} 60000 - h:1:x no answer")
        old = tells("status")["wans"][1]["line"]
        assert (old["state"], old["found"]) == ("unknown", "down") and old["checked_ago"] >= 200
        assert "nobody checks the line of WAN 1 any more" in says("status")
        assert "unknown: the last check was 3" in says("explain", "25980")

    def test_a_key_has_its_wan_in_the_shell(self) -> None:
        wans = {tells("acquire", "--ttl", "30s", "--sticky", "account-7")["wan_idx"] for _ in range(4)}
        assert wans == {0}, "1 is further away: see tests/model/test_rendezvous.py"
        port = subprocess.run(
            [*WANPOOL, "run", "--sticky", "account-7", "--", "sh", "-c", "echo $WANPOOL_PORT"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert 25970 <= int(port.stdout) <= 25979


@contextmanager
def running(*words: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([*WANPOOL, "health", *words], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_program_may_carry_it(server: Any) -> None:
    async def carried() -> None:
        async with AsyncWanPortPool(server.url, namespace="test", rest=0) as pool:
            await define(pool, 0)
            with target() as good:
                task = asyncio.create_task(check(pool, [good.text], interval=60))
                await asyncio.to_thread(wait_for, lambda: server.admin.hget(HEALTH, "0"))
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        assert server.admin.hkeys(HEALTH) == ["0"]

    asyncio.run(carried())
