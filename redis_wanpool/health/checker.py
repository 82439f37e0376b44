"""Checks the lines of a namespace, round after round; of several checkers one works, the others stand by."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from redis_wanpool.aio.pool import AsyncWanPortPool, led
from redis_wanpool.errors import InvalidValue, PoolClosed, UnsafeRedis, WanpoolError
from redis_wanpool.health.lines import Lines, LineSeen
from redis_wanpool.health.probe import Probe, checked_target, probe
from redis_wanpool.model.address import Address, checked_address
from redis_wanpool.model.checks import checked_integer, checked_seconds

logger = logging.getLogger("redis_wanpool")

INTERVAL, FALL, RISE = 5.0, 3, 2
LONGEST_TIMEOUT = 3.0
"""seconds to wait for an answer by default: half an interval, but no more; a SYN that is lost is repeated after 1 s"""
GOODBYE = 2.0  #: seconds that a checker takes at most to give its claim up
LASTING = (UnsafeRedis, PoolClosed, InvalidValue)  #: errors that another round meets again
Target = str | Address


@dataclass(frozen=True, slots=True)
class Round:
    """What a checker did once in an interval."""

    lines: tuple[LineSeen, ...] = ()
    standby: str = ""  #: the other checker that has the claim, so that nothing was done
    trouble: WanpoolError | None = None  #: why nothing, or not all, was done; it goes on


async def check(
    pool: AsyncWanPortPool,
    targets: Sequence[Target],
    *,
    interval: float = INTERVAL,
    fall: int = FALL,
    rise: int = RISE,
    timeout: float | None = None,
    told: Callable[[Round], object] | None = None,
) -> None:
    """Checks the lines of all WANs until it is cancelled; then another checker can go on at once.

    Args:
        pool: whose WANs these are; it leases the ports.
        targets: what to connect to, beyond the lines, as "HOST:PORT" or a pair; one that answers is enough.
        interval: seconds between two rounds.
        fall: after how many rounds in a row without any answer a line is down.
        rise: after how many with an answer it is up again.
        timeout: seconds to wait for an answer, an interval at most; default: half an interval, 3 s at most.
        told: called after each round; default: changes go to the log.

    Raises:
        InvalidValue: an argument is not acceptable.
        UnsafeRedis, PoolClosed: it can never work. An outage is no error: it goes on.
    """
    checker = Checker(pool, targets, interval=interval, fall=fall, rise=rise, timeout=timeout)
    report = told or _Log(pool.namespace)
    try:
        while True:
            seen, pause = await checker.round()
            report(seen)
            await asyncio.sleep(pause)
    finally:
        with suppress(WanpoolError, TimeoutError):  # then the claim ends by the clock
            async with asyncio.timeout(GOODBYE):
                await led(pool, lambda protocol: protocol.retire())


async def look(
    pool: AsyncWanPortPool, targets: Sequence[Target], *, interval: float = INTERVAL, timeout: float | None = None
) -> dict[int, Probe]:
    """One connection by each WAN; writes nothing, so it may run beside a checker."""
    return await Checker(pool, targets, interval=interval, fall=1, rise=1, timeout=timeout).probes()


class Checker:
    """One checker, and what it remembers from round to round."""

    def __init__(
        self,
        pool: AsyncWanPortPool,
        targets: Sequence[Target],
        *,
        interval: float,
        fall: int,
        rise: int,
        timeout: float | None,
    ) -> None:
        if isinstance(targets, str) or not targets:
            raise InvalidValue("targets: give at least one address beyond the lines, like ['1.1.1.1:443']")
        self._pool = pool
        self._targets = [checked_target(one) if isinstance(one, str) else checked_address(one) for one in targets]
        self._interval = checked_seconds("interval", interval, 0.05, 3600.0)
        usual = min(self._interval / 2, LONGEST_TIMEOUT)
        self._timeout = usual if timeout is None else checked_seconds("timeout", timeout, 0.01, self._interval)
        self._lines = Lines(checked_integer("fall", fall, 1, 1000), checked_integer("rise", rise, 1, 1000))

    async def probes(self) -> dict[int, Probe]:
        """One look at the line of each WAN, all at once."""
        wans = await self._pool.wans()
        seen = await asyncio.gather(*(probe(self._pool, idx, self._targets, self._timeout) for idx in wans))
        return dict(zip(wans, seen, strict=True))

    async def round(self) -> tuple[Round, float]:
        """Does what is to be done in an interval, and tells how long to wait for the next."""
        began = asyncio.get_running_loop().time()
        try:
            other, left = await led(self._pool, lambda protocol: protocol.judge(self._interval))
            if other:
                self._lines.begin_again()
                return Round(standby=other), min(left, self._interval) + 0.01
            seen = await self._check()
        except WanpoolError as error:
            if isinstance(error, LASTING) and not error.passing:
                raise
            seen = Round(trouble=error)
        return seen, max(0.0, began + self._interval - asyncio.get_running_loop().time())

    async def _check(self) -> Round:
        probes = await self.probes()
        health, _ = await led(self._pool, lambda protocol: protocol.health())
        lines = self._lines.weigh(probes, health)
        judgements = [judgement for line in lines if (judgement := line.judgement())]
        other, _ = await led(self._pool, lambda protocol: protocol.judge(self._interval, judgements))
        if other:  # which took this one for dead, as it may have been paused
            self._lines.begin_again()
            return Round(standby=other)
        return Round(lines=tuple(lines))


class _Log:
    """Tells the log what changes."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._last = ""

    def __call__(self, seen: Round) -> None:
        now = f"cannot check the lines, going on: {seen.trouble}" if seen.trouble else ""
        now = now or (f"stands by: {seen.standby} checks the lines" if seen.standby else "checks the lines")
        if now != self._last:
            self._last = now
            logger.log(logging.WARNING if seen.trouble else logging.INFO, "health (%r): %s", self._namespace, now)
        for line in seen.lines:
            if line.state != line.was and "down" in (line.state, line.was):
                text = "the line of WAN %d (namespace %r) is %s. %s"
                logger.warning(text, line.wan_idx, self._namespace, line.state, line.probe.why)
