"""`wanpool health`: checks the lines, so that choices among several WANs pass by those that are down."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Iterable
from functools import partial
from typing import Any

from redis_wanpool.aio.pool import AsyncWanPortPool
from redis_wanpool.cli.verb import DONE, NO, Verbs, answer, print_json
from redis_wanpool.engine.pool_object import without_wans
from redis_wanpool.health.checker import FALL, INTERVAL, RISE, Round, check, look
from redis_wanpool.health.probe import Probe
from redis_wanpool.terminal.format import one_line, seconds_of
from redis_wanpool.terminal.language import said


def add_to(verbs: Verbs) -> None:
    parser = verbs.add(
        health,
        "--target 1.1.1.1:443 --target 8.8.8.8:53",
        "--target 1.1.1.1:443 --interval 2s --fall 2 --json",
        "--target 1.1.1.1:443 --once    # looks once, and writes nothing",
    )
    parser.add_argument(
        "--target",
        metavar="HOST:PORT",
        action="append",
        required=True,
        help="what to connect to, beyond the lines; repeat it: one that answers is enough",
    )
    parser.add_argument("--interval", metavar="SPAN", help=f"how often (default: {INTERVAL:g}s)")
    parser.add_argument(
        "--fall", metavar="N", type=int, default=FALL, help=f"rounds without an answer until down (default: {FALL})"
    )
    parser.add_argument(
        "--rise", metavar="N", type=int, default=RISE, help=f"rounds with one until up again (default: {RISE})"
    )
    parser.add_argument(
        "--timeout", metavar="SPAN", help="how long to wait for an answer (default: half an interval, 3s at most)"
    )
    parser.add_argument("--once", action="store_true", help="look once, say what answers, and write nothing")


def health(options: argparse.Namespace) -> int:
    """Checks the line of each WAN, and writes up or down into Redis: `wan any` passes by what is down."""
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # which asyncio.run makes an end of
    try:
        return asyncio.run(_once(options) if options.once else _run(options))
    except KeyboardInterrupt:
        return DONE


def _pool(options: argparse.Namespace) -> AsyncWanPortPool:
    return without_wans(AsyncWanPortPool(options.url, namespace=options.namespace, reap=False))


def _spans(options: argparse.Namespace) -> tuple[float, float | None]:
    interval = INTERVAL if options.interval is None else seconds_of("--interval", options.interval)
    return interval, None if options.timeout is None else seconds_of("--timeout", options.timeout)


async def _once(options: argparse.Namespace) -> int:
    interval, timeout = _spans(options)
    async with _pool(options) as pool:
        seen = await look(pool, options.target, interval=interval, timeout=timeout)
        rows = [{"wan_idx": idx, "answered": probe.answered, **_facts(probe)} for idx, probe in seen.items()]
        answer(options, _told_once(seen), namespace=pool.namespace, wans=rows)
    return NO if any(probe.answered is False for probe in seen.values()) else DONE


def _told_once(seen: dict[int, Probe]) -> Iterable[str]:
    for wan_idx, probe in seen.items():
        words = {True: said("answers"), False: said("no answer"), None: said("could not be tried")}[probe.answered]
        yield f"WAN {wan_idx}: {words}{_ms(probe)}{_why(probe)}"


def _facts(probe: Probe) -> dict[str, Any]:
    trip = None if probe.round_trip is None else round(probe.round_trip * 1000, 3)
    return {"round_trip_ms": trip, "why": probe.why}


def _ms(probe: Probe) -> str:
    return "" if probe.round_trip is None else f", {probe.round_trip * 1000:.1f} ms"


def _why(probe: Probe) -> str:
    return f": {one_line(probe.why)}" if probe.why else ""


async def _run(options: argparse.Namespace) -> int:
    interval, timeout = _spans(options)
    async with _pool(options) as pool:
        tell = partial(_tell_json, pool) if options.json else _Teller(pool)
        limits = {"fall": options.fall, "rise": options.rise}
        await check(pool, options.target, interval=interval, timeout=timeout, told=tell, **limits)
    return DONE


def _tell_json(pool: AsyncWanPortPool, seen: Round) -> None:
    """A document a round."""
    rows = [
        {"wan_idx": line.wan_idx, "state": line.state, "was": line.was, **_facts(line.probe)} for line in seen.lines
    ]
    checker = seen.standby or pool.holder
    trouble = None if seen.trouble is None else str(seen.trouble)
    facts = {"namespace": pool.namespace, "checker": checker, "standby": bool(seen.standby), "trouble": trouble}
    print_json(**facts, wans=rows)


class _Teller:
    """Tells people what changes."""

    def __init__(self, pool: AsyncWanPortPool) -> None:
        self._pool = pool
        self._does = ""
        self._states: dict[int, str] = {}

    def __call__(self, seen: Round) -> None:
        if seen.trouble is not None:
            does = said("cannot check, going on: {error}", error=one_line(str(seen.trouble)))
        elif seen.standby:
            does = said("stands by: {checker} checks these lines", checker=one_line(seen.standby))
            self._states.clear()
        else:
            does = said("checks the lines of namespace {namespace!r}", namespace=self._pool.namespace)
        if does != self._does:
            print(does, file=sys.stderr if seen.trouble else sys.stdout, flush=True)
        self._does = does
        for line in seen.lines:
            if self._states.get(line.wan_idx) != line.state:
                state = state_text(line.state)
                print(f"WAN {line.wan_idx}: {state}{_ms(line.probe)}{_why(line.probe)}", flush=True)
            self._states[line.wan_idx] = line.state


def state_text(state: str) -> str:
    """Up, down or unknown, for people."""
    return {"up": said("up"), "down": said("down"), "unknown": said("unknown")}[state]
