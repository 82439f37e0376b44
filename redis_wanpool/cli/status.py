"""`wanpool status`: how many ports of each WAN are in which state."""

from __future__ import annotations

import argparse
import json

from redis_wanpool import WanPortPool
from redis_wanpool.snapshot import WanSnapshot

COUNTS = ("total", "free", "leased", "cooling", "withheld")


def add_to(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from redis_wanpool.cli import add_verb

    add_verb(
        verbs,
        "status",
        status,
        "Shows the WANs of the namespace, and the Redis behind them.",
        "  wanpool status\n  wanpool status --namespace prod --json",
    )


def status(options: argparse.Namespace) -> int:
    with WanPortPool(options.url, namespace=options.namespace) as pool:
        wans = [pool.snapshot(wan_idx) for wan_idx in pool.wans()]
        redis = {"url": pool.url, **pool._run(pool.protocol.server_facts(look=not pool._backend.is_fake))}
        if options.json:
            fields = ("wan_idx", "name", "state", *COUNTS)
            rows = [{name: getattr(wan, name) for name in fields} for wan in wans]
            print(json.dumps({"schema": 1, "namespace": pool.namespace, "redis": redis, "wans": rows}))
            return 0
        known = ", ".join(f"{name} {value}" for name, value in redis.items() if name != "url")
        print(f"namespace {pool.namespace!r} at {redis['url']}" + (f" ({known})" if known else ""))
        if not wans:
            print("no WAN is defined; define one, for example with: wanpool init --wan 0=20000-21999")
            return 0
        print("\n".join(table(wans)))
    return 0


def table(wans: list[WanSnapshot]) -> list[str]:
    """The WANs as lines of text."""
    rows = [["WAN", "name", "state", *COUNTS]]
    for wan in wans:
        rows.append([str(wan.wan_idx), wan.name or "-", wan.state, *(str(getattr(wan, name)) for name in COUNTS)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    align = [str.rjust, str.ljust, str.ljust, *[str.rjust] * len(COUNTS)]
    return ["  ".join(to(cell, width) for to, cell, width in zip(align, row, widths, strict=True)) for row in rows]
