"""`wanpool drain`, `open`, `resize`, `reap`: what an operator does to WANs and to the dead."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace

from redis_wanpool import WanPortPool
from redis_wanpool.definition import ports_text


def add_to(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from redis_wanpool.cli import add_verb

    for verb, command, text in (
        ("drain", drain, "Grants nothing new on WANs; running leases live on."),
        ("open", open_, "Ends a drain."),
    ):
        parser = add_verb(verbs, verb, command, text, f"  wanpool {verb} 0\n  wanpool {verb} 0 1 --namespace prod")
        parser.add_argument("wans", metavar="WAN", type=int, nargs="+", help="its number")
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
        "reap",
        reap,
        "Takes back what dead processes of this machine held, and says of each holder what it saw, and why.",
        "  wanpool reap --dry-run\n  wanpool reap --json",
    )
    parser.add_argument("--dry-run", action="store_true", help="look, and change nothing")


def _pool(options: argparse.Namespace) -> WanPortPool:
    """A pool object that leaves the WANs as they are, whatever the configuration says of them."""
    pool = WanPortPool(options.url, namespace=options.namespace, reap=False)
    pool._settings = replace(pool._settings, wans=())
    return pool


def drain(options: argparse.Namespace) -> int:
    return _set_state(options, "draining")


def open_(options: argparse.Namespace) -> int:
    return _set_state(options, "open")


def _set_state(options: argparse.Namespace, state: str) -> int:
    with _pool(options) as pool:
        for wan_idx in options.wans:
            (pool.drain if state == "draining" else pool.open)(wan_idx)
        seen = [pool.snapshot(wan_idx) for wan_idx in options.wans]
        if options.json:
            rows = [{"wan_idx": wan.wan_idx, "state": wan.state, "leased": wan.leased} for wan in seen]
            print(json.dumps({"schema": 1, "namespace": pool.namespace, "wans": rows}))
            return 0
        for wan in seen:
            print(f"WAN {wan.wan_idx} (namespace {pool.namespace!r}): {wan.state}, {wan.leased} leases run")
    return 0


def resize(options: argparse.Namespace) -> int:
    ports = ports_text(options.ports)
    with _pool(options) as pool:
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


def reap(options: argparse.Namespace) -> int:
    with _pool(options) as pool:
        seen = pool.reap(dry_run=options.dry_run)
        count = sum(len(ports) for one in seen for ports in one.ports.values())
        if options.json:
            names = ("id", "host", "pid", "program", "verdict", "why", "ports")
            rows = [{name: getattr(one, name) for name in names} for one in seen]
            facts = {"schema": 1, "namespace": pool.namespace, "dry_run": options.dry_run, "ports": count}
            print(json.dumps({**facts, "holders": rows}))
            return 0
        for one in sorted(seen, key=lambda one: (one.verdict, one.id)):
            print(f"{one.verdict:8} {one.id}  {one.program}: {one.why}")
            for wan_idx, ports in one.ports.items():
                print(f"         WAN {wan_idx}: {ports_text(','.join(map(str, ports)))}")
        did = "would be taken back" if options.dry_run else "taken back; they cool now"
        print(f"{len(seen)} holders (namespace {pool.namespace!r}), {count} ports {did}")
    return 0
