"""What an operator does to WANs, to ports, to the leases of others, and to the dead."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace

from redis_wanpool import WanPortPool
from redis_wanpool.errors import InvalidValue, PortNotInRange, WanNotDefined
from redis_wanpool.model.ports import port_list, port_numbers, ports_text
from redis_wanpool.terminal.format import counted, one_line
from redis_wanpool.terminal.language import said


def add_to(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from redis_wanpool.cli import add_verb

    for verb, command, text in (
        ("drain", drain, "Grants nothing new on WANs; running leases live on."),
        ("open", open_, "Ends a drain."),
    ):
        parser = add_verb(verbs, verb, command, text, f"  wanpool {verb} 0\n  wanpool {verb} 0 1 --namespace prod")
        parser.add_argument("wans", metavar="WAN", type=int, nargs="+", help="its number")
    for verb, command, text in (
        ("withhold", withhold, "Takes ports out of service; a leased one when its lease ends."),
        ("restore", restore, "Puts withheld ports back into service; they cool first."),
    ):
        examples = f"  wanpool {verb} 20017\n  wanpool {verb} 20017,20100-20199 --json"
        parser = add_verb(verbs, verb, command, text, examples)
        parser.add_argument("ports", metavar="PORTS", help="like 20017,20100-20199; of any WANs of the namespace")
    parser = add_verb(
        verbs,
        "resize",
        resize,
        "Gives a WAN other ports; those that are taken away leave when their lease and cool-down are over.",
        "  wanpool resize 0 20000-23999\n  wanpool resize 0 20000-21999,24000    # ask again when they have left",
    )
    parser.add_argument("wan", metavar="WAN", type=int, help="its number")
    parser.add_argument("ports", metavar="PORTS", help="all ports that it is to have, like 20000-21999")
    parser = add_verb(
        verbs,
        "remove",
        remove,
        "Removes WANs on which nothing is leased, and all that Redis knows of them.",
        "  wanpool drain 3 && wanpool remove 3\n  wanpool remove 3 --force    # its leases end at once\n"
        "  wanpool remove --all --namespace old",
    )
    parser.add_argument("wans", metavar="WAN", type=int, nargs="*", help="its number")
    parser.add_argument("--all", action="store_true", help="all of the namespace")
    parser.add_argument("--force", action="store_true", help="though leases live: their holders lose them")
    parser = add_verb(
        verbs,
        "reap",
        reap,
        "Takes back what dead processes of this machine held, and says of each holder what it saw, and why.",
        "  wanpool reap --dry-run\n  wanpool reap --json",
    )
    parser.add_argument("--dry-run", action="store_true", help="look, and change nothing")


def operators_pool(options: argparse.Namespace) -> WanPortPool:
    """A pool object that leaves the WANs as they are, whatever the configuration says of them."""
    pool = WanPortPool(options.url, namespace=options.namespace, reap=False)
    pool._settings = replace(pool._settings, wans=())
    return pool


def choose_wans(pool: WanPortPool, chosen: Sequence[int] | None) -> list[int]:
    """Those that were asked for, or all of the namespace.

    Raises:
        WanNotDefined: there is none, or not each of those.
    """
    known = pool.wans()
    wans = list(dict.fromkeys(known if chosen is None else chosen))
    if missing := [wan_idx for wan_idx in wans if wan_idx not in known]:
        there = ", ".join(map(str, known)) or "none"
        raise WanNotDefined(
            f"WAN {missing[0]} (namespace {pool.namespace!r}) is not defined, so nothing was done; the namespace has: "
            f"{there}. Define it, for example with: wanpool init --wan {missing[0]}=20000-21999",
            wan_idx=missing[0],
            namespace=pool.namespace,
        )
    if not wans:
        raise WanNotDefined(
            f"namespace {pool.namespace!r} has no WAN; define one, for example with: wanpool init --wan 0=20000-21999",
            wan_idx=None,
            namespace=pool.namespace,
        )
    return wans


def drain(options: argparse.Namespace) -> int:
    return _set_state(options, "draining")


def open_(options: argparse.Namespace) -> int:
    return _set_state(options, "open")


def _set_state(options: argparse.Namespace, state: str) -> int:
    with operators_pool(options) as pool:
        wans = choose_wans(pool, options.wans)
        for wan_idx in wans:
            (pool.drain if state == "draining" else pool.open)(wan_idx)
        seen = [pool.snapshot(wan_idx) for wan_idx in wans]
        if options.json:
            rows = [{"wan_idx": wan.wan_idx, "state": wan.state, "leased": wan.leased} for wan in seen]
            print(json.dumps({"schema": 1, "namespace": pool.namespace, "wans": rows}))
            return 0
        for wan in seen:
            print(f"WAN {wan.wan_idx} (namespace {pool.namespace!r}): {wan.state}, {counted(wan.leased, 'lease')} live")
    return 0


def withhold(options: argparse.Namespace) -> int:
    return _move(options, "withhold", {"leased": said("when its lease ends", "租约结束后")})


def restore(options: argparse.Namespace) -> int:
    return _move(options, "restore", {"withheld": said("it cools first", "先冷却")})


def _move(options: argparse.Namespace, verb: str, notes: dict[str, str]) -> int:
    ports = port_numbers(ports_text(options.ports))
    with operators_pool(options) as pool:
        found = pool._run(pool.protocol.ports_by_wan())
        by_wan = {wan_idx: sorted(set(ports).intersection(mine)) for wan_idx, mine in found.items()}
        strange = sorted(set(ports).difference(*by_wan.values()))
        if strange:
            raise PortNotInRange(
                f"{port_list(strange)}: of no WAN of namespace {pool.namespace!r}, so nothing was "
                "done; see their ports with: wanpool init --show",
                port=strange[0],
                wan_idx=None,
            )
        moved = {
            wan_idx: pool._run(pool.protocol.move(verb, wan_idx, mine)) for wan_idx, mine in by_wan.items() if mine
        }
        if options.json:
            rows = [
                {"wan_idx": wan_idx, "port": port, "was": place}
                for wan_idx, places in moved.items()
                for port, place in places.items()
            ]
            print(json.dumps({"schema": 1, "namespace": pool.namespace, "ports": rows}))
            return 0
        for wan_idx, places in moved.items():
            for was in sorted(set(places.values())):
                which = port_list(port for port, place in places.items() if place == was)
                note = f" ({notes[was]})" if was in notes else ""
                print(f"WAN {wan_idx} (namespace {pool.namespace!r}): {verb} {which}, was {was or 'gone'}{note}")
    return 0


def resize(options: argparse.Namespace) -> int:
    ports = ports_text(options.ports)
    with operators_pool(options) as pool:
        leaving = pool._run(pool.protocol.resize(options.wan, ports))
        if options.json:
            facts = {"schema": 1, "namespace": pool.namespace, "wan_idx": options.wan, "ports": ports}
            print(json.dumps({**facts, "leaving": leaving}))
            return 0
        print(f"WAN {options.wan} (namespace {pool.namespace!r}): {ports}")
        if leaving:
            print(
                f"to leave yet, when lease and cool-down are over: {leaving}; ask for the same again then, and other "
                "WANs can have them"
            )
        print("a wanpool.toml that defines this WAN must say the same from now on")
    return 0


def remove(options: argparse.Namespace) -> int:
    if bool(options.wans) == options.all:
        raise InvalidValue("say which WANs to remove, like: wanpool remove 3; or all of the namespace: --all")
    with operators_pool(options) as pool:
        claims = pool._run(pool.protocol.claims())
        removed: list[int] = []
        for wan_idx in choose_wans(pool, list(claims) if options.all else options.wans):
            pool._run(pool.protocol.remove(wan_idx, force=options.force))
            removed.append(wan_idx)
            if not options.json:
                print(f"WAN {wan_idx} (namespace {pool.namespace!r}) is removed; it had {claims.get(wan_idx)}")
        if options.json:
            print(json.dumps({"schema": 1, "namespace": pool.namespace, "removed": removed}))
        else:
            print("the router may know old connections of these ports: use them anew after its timeout (cool-down)")
    return 0


def reap(options: argparse.Namespace) -> int:
    with operators_pool(options) as pool:
        seen = pool.reap(dry_run=options.dry_run)
        count = sum(len(ports) for one in seen for ports in one.ports.values())
        if options.json:
            names = ("id", "host", "pid", "program", "verdict", "why", "ports")
            rows = [{name: getattr(one, name) for name in names} for one in seen]
            facts = {"schema": 1, "namespace": pool.namespace, "dry_run": options.dry_run, "ports": count}
            print(json.dumps({**facts, "holders": rows}))
            return 0
        for one in sorted(seen, key=lambda one: (one.verdict, one.id)):
            print(one_line(f"{one.verdict:8} {one.id}  {one.program}: {one.why}"))
            for wan_idx, ports in one.ports.items():
                print(f"         WAN {wan_idx}: {port_list(ports)}")
        did = "would be taken back" if options.dry_run else "taken back" + ("; they cool now" if count else "")
        print(f"{counted(len(seen), 'holder')} (namespace {pool.namespace!r}), {counted(count, 'port')} {did}")
    return 0
