"""`wanpool init`: defines WANs."""

from __future__ import annotations

import argparse
import json
from typing import Any

from redis_wanpool import WanPortPool, config
from redis_wanpool.definition import WanDefinition, ports_text
from redis_wanpool.errors import InvalidValue


def add_to(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from redis_wanpool.cli import add_verb

    parser = add_verb(
        verbs,
        "init",
        init,
        "Defines WANs in Redis; what is there already, the same, stays.",
        "  wanpool init --wan 0=20000-21999 --wan 1=22000-23999\n"
        "  wanpool init --wan 0=20000-21999 --cooldown 15      # a router that forgets after 10 s\n"
        "  wanpool init                                        # the WANs of wanpool.toml",
    )
    parser.add_argument("--wan", action="append", default=[], metavar="K=PORTS", help="a WAN and its ports; repeat it")
    parser.add_argument("--cooldown", type=float, metavar="SECONDS", help="before another network has a port (125)")
    parser.add_argument("--lease-ttl", type=float, metavar="SECONDS", help="a lease without renewal (60)")
    parser.add_argument("--max-ttl", type=float, metavar="SECONDS", help="the longest lease (default: lease ttl)")


def init(options: argparse.Namespace) -> int:
    definitions = [definition(text, options) for text in options.wan]
    if not definitions:
        definitions = list(config.settings(url=options.url, namespace=options.namespace).wans)
    if not definitions:
        raise InvalidValue("no WAN given, and none in wanpool.toml; say for example: wanpool init --wan 0=20000-21999")
    rows: list[dict[str, Any]] = []
    with WanPortPool(options.url, namespace=options.namespace) as pool:
        for wanted in definitions:
            made = pool._run(pool.protocol.define_wan(wanted))
            total = pool.snapshot(wanted.wan_idx).total
            rows.append(
                {
                    "wan_idx": wanted.wan_idx,
                    "ports": wanted.ports,
                    "made": made,
                    "total": total,
                    "leases_per_second_between_networks": round(total / max(wanted.cooldown, 0.001), 1),
                }
            )
        if options.json:
            print(json.dumps({"schema": 1, "namespace": pool.namespace, "wans": rows}))
            return 0
        for row in rows:
            print(
                f"WAN {row['wan_idx']} (namespace {pool.namespace!r}): {row['ports']}, {row['total']} ports, "
                f"{'defined' if row['made'] else 'was defined already, the same'}"
            )
        print(
            "A port that stays with its network carries 1 / (hold + rest) leases a second, one that changes networks "
            "1 / (hold + cool-down)."
        )
    return 0


def definition(text: str, options: argparse.Namespace) -> WanDefinition:
    """The WAN that a --wan K=PORTS means, with the options that go along."""
    index, sign, ports = text.partition("=")
    if not sign or not index.strip().isdecimal():
        raise InvalidValue(f"--wan {text!r}: write it like --wan 0=20000-21999")
    given = {name: getattr(options, name, None) for name in ("cooldown", "lease_ttl", "max_ttl")}
    return WanDefinition.of(
        int(index), ports_text(ports), **{name: value for name, value in given.items() if value is not None}
    )
