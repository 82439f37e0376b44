"""Runs worlds by their seeds: make simulate SEEDS=1000, make simulate SEED=7 STORY=1."""

from __future__ import annotations

import argparse
import logging
import os
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1] / "support")]
from plan import Plan, planned
from private_server import Server
from store import DATABASES, Memories
from world import World, Wrong

STORY = frozenset({"acquire", "renew", "release", "reject", "revoke", "reap", "define", "remove"})


@contextmanager
def real_server(name: str) -> Iterator[Memories]:
    """A private server for many worlds, one after another."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--databases", str(DATABASES), "--hz", "1", "--appendonly", "no"]
        with closing(Server(name, Path(folder), *options)) as server:
            yield Memories(str(server.socket))


def lived(plan: Plan, memories: Memories, story: list[str] | None = None) -> World:
    """A world that has lived through its plan, or until something was wrong."""
    world = World(plan, memories, story)
    with suppress(Wrong):
        world.run()
    return world


def shrunk(plan: Plan, memories: Memories) -> Plan:
    """A plan with fewer faults and processes that fails, too."""

    def kind(wrongs: list[str]) -> str:
        return re.sub(r"\S*\d\S*", "", wrongs[0])[:40] if wrongs else ""

    def fails(candidate: Plan) -> bool:
        return kind(lived(candidate, memories).judge.wrongs) == wanted

    wanted = kind(lived(plan, memories).judge.wrongs)

    size = max(1, len(plan.faults) // 2)
    while size:
        at = 0
        while at < len(plan.faults):
            fewer = plan.without(plan.faults[:at] + plan.faults[at + size :], plan.absent)
            if fails(fewer):
                plan = fewer
            else:
                at += size
        size //= 2
    for number in range(plan.processes):
        fewer = plan.without(plan.faults, plan.absent | {number})
        if fails(fewer):
            plan = fewer
    return plan


def told(plan: Plan, memories: Memories) -> None:
    """Prints what happens in a world."""
    story: list[str] = []
    world = lived(replace(plan, tells=STORY), memories, story)
    print("\n".join(story))
    print(f"{world.judge.holds} holds, {len(world.judge.wrongs)} wrongs")


def main() -> int:
    parser = argparse.ArgumentParser(prog="simulate")
    parser.add_argument("--seed", type=int, help="the first one")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--holds", type=int, help="goes on until so many")
    parser.add_argument("--story", action="store_true")
    parser.add_argument("--shrink", action="store_true")
    parser.add_argument("--no-grace", action="store_true")
    parser.add_argument("--server", default="valkey-9.1")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--words", action="store_true", help="prints what was answered, and how often")
    parser.add_argument("--keep-going", action="store_true", help="goes on after a seed that fails")
    parser.add_argument("--kinds", default="", help="the only kinds of faults, like promote,restart")
    parser.add_argument("--only", default="", help="goes on after what is wrong in another way")
    asked = parser.parse_args()
    logging.getLogger("redis_wanpool").setLevel(logging.CRITICAL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends the server, too
    first = asked.seed if asked.seed is not None else 1
    holds, failed, words = 0, 0, Counter[str]()
    begun = time.perf_counter()
    seed = first
    with real_server(asked.server) as memories:
        while seed < first + asked.seeds or (asked.holds and holds < asked.holds):
            if time.perf_counter() - begun > asked.seconds:
                break
            plan = planned(seed, grace=not asked.no_grace, only=tuple(filter(None, asked.kinds.split(","))))
            if asked.story and not asked.shrink:
                told(plan, memories)
                return 0
            world = lived(plan, memories)
            holds += world.judge.holds
            words.update(world.judge.words)
            if world.judge.wrongs and asked.only in world.judge.wrongs[0]:
                failed += 1
                print(f"seed {seed}: {world.judge.wrongs[0]}", flush=True)
                if asked.shrink:
                    told(shrunk(plan, memories), memories)
                if not asked.keep_going:
                    break
            seed += 1
        scripts = memories.scripts
        busy = memories.cpu_seconds() + sum(os.times()[:2])
    took = time.perf_counter() - begun
    print(f"{seed - first} seeds, {holds} holds, {failed} failed")
    for word, count in sorted(words.items()) if asked.words else ():
        print(f"{count:8} {word}")
    told_of = f"{holds / busy:.0f} holds and {scripts / busy:.0f} scripts a second of that"
    print(f"{took:.1f} s, of which one core worked {busy:.1f} s: {told_of}", file=sys.stderr)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
