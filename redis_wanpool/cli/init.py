"""`wanpool init`: defines WANs."""

import argparse
import json
from typing import Any

from redis_wanpool import settings
from redis_wanpool.cli.verb import DONE, Verbs, answer, operator_of
from redis_wanpool.errors import InvalidValue
from redis_wanpool.model.ports import ports_text
from redis_wanpool.model.wan import COOLDOWN, WanDefinition, how_to_define
from redis_wanpool.terminal.format import seconds_of


def add_to(verbs: Verbs) -> None:
    parser = verbs.add(
        init,
        "wanpool init --fresh --wan 0=20000-21999 --wan 1=22000-23999   # a first start: nobody can hold these ports",
        "wanpool init --fresh --wan 0=20000-21999 --cooldown 15s        # a router that forgets after 10 s",
        "wanpool init --fresh                                # the WANs of wanpool.toml",
        "wanpool init --recover --wan 0=20000-21999          # a WAN whose data Redis has lost",
        "wanpool init --show > wanpool.toml                  # what Redis holds",
    )
    parser.add_argument("--wan", action="append", default=[], metavar="K=PORTS", help="a WAN and its ports; repeat it")
    parser.add_argument("--cooldown", metavar="SPAN", help=f"before another network has a port ({COOLDOWN:g}s)")
    parser.add_argument("--lease-ttl", metavar="SPAN", help="a lease without renewal (60s)")
    parser.add_argument("--max-ttl", metavar="SPAN", help="the longest lease (default: lease ttl)")
    parser.add_argument(
        "--on-failover",
        choices=("grace", "continue"),
        help="when Redis may have forgotten grants: grant nothing for a while, or risk granting twice (grace)",
    )
    parser.add_argument("--failover-margin", metavar="SPAN", help="by how much a grace is longer than max ttl (10s)")
    word = parser.add_mutually_exclusive_group()
    word.add_argument(
        "--fresh", action="store_true", help="say that nobody can hold these ports: WANs that are new grant at once"
    )
    word.add_argument(
        "--recover", action="store_true", help="define WANs again whose data is lost; they begin with a grace"
    )
    parser.add_argument(
        "--show", action="store_true", help="print the wanpool.toml of what Redis holds; change nothing"
    )


def init(options: argparse.Namespace) -> int:
    """Defines WANs in Redis; what is there already, the same, stays.

    Redis cannot tell a new WAN from a lost one: without --fresh a WAN grants nothing until Redis has been up, with all
    its data, for max ttl and the failover margin.
    """
    if options.show:
        return show(options)
    definitions = [definition(text, options) for text in options.wan]
    if not definitions:
        definitions = list(settings.settings(url=options.url, namespace=options.namespace).wans)
    if not definitions:
        raise InvalidValue(f"no WAN given, and none in wanpool.toml; say for example: {how_to_define()}")
    rows: list[dict[str, Any]] = []
    told: list[str] = []
    with operator_of(options) as operator:
        for wanted in definitions:
            made = operator.define(wanted, recover=options.recover, fresh=options.fresh)
            seen = operator.snapshot(wanted.wan_idx)
            total, grace = seen.total, seen.grace_ms / 1000
            pace = round(total / max(wanted.cooldown, 0.001), 1)
            row = {"wan_idx": wanted.wan_idx, "ports": wanted.ports, "made": made, "total": total}
            rows.append({**row, "grace_left": round(grace, 3), "leases_per_second_between_networks": pace})
            how = "defined" if made else "was defined already, the same"
            where = f"WAN {wanted.wan_idx} (namespace {operator.namespace!r})"
            told.append(f"{where}: {wanted.ports}, {total} ports, {how}")
            if grace:
                told.append(
                    f"  in grace: nothing is granted for {grace:.0f} s, for Redis may have lost leases of its ports"
                )
                if seen.is_new:
                    told.append("  if nobody can hold them (a first start), say so: the same again with --fresh")
        told.append(
            "A port that stays with its network carries 1 / (hold + rest) leases a second, one that changes networks "
            "1 / (hold + cool-down)."
        )
        answer(options, told, namespace=operator.namespace, wans=rows)
    return DONE


def show(options: argparse.Namespace) -> int:
    """Prints the configuration that defines what is there."""
    if options.wan:
        raise InvalidValue("--show prints what Redis holds, and --wan defines: give one of them")
    with operator_of(options) as operator:
        wans = {wan_idx: settings_of(seen.config) for wan_idx, seen in operator.snapshots().items()}
        secret = "  # with its password, if it has one: then chmod 600" if "@" in operator.url else ""
        lines = [] if operator.is_embedded else [f"url = {json.dumps(operator.url)}{secret}"]
        lines.append(f"namespace = {json.dumps(operator.namespace)}")
        for wan_idx, values in wans.items():
            lines.append(f"\n[wan.{wan_idx}]")
            lines += [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
        answer(options, lines, namespace=operator.namespace, url=operator.url, wans=wans)
    return DONE


_SPANS = ("lease_ttl", "max_ttl", "cooldown", "quarantine", "failover_margin")


def settings_of(config: dict[str, str]) -> dict[str, Any]:
    """A WAN as wanpool.toml has it, from its definition in Redis; defaults are left out."""
    seconds = {name: int(config[f"{name}_ms"]) / 1000 for name in _SPANS}
    most = int(config["max_per_network"])
    values: dict[str, Any] = {
        "name": config["name"],
        "ports": config["ports"],
        **{name: int(value) if value.is_integer() else value for name, value in seconds.items()},
        "weight": int(config["weight"]),
        "max_per_network": most or None,
        "on_failover": config["on_failover"],
    }
    if values["max_ttl"] == values["lease_ttl"]:
        del values["max_ttl"]
    usual = {"name": "", "lease_ttl": 60, "cooldown": COOLDOWN, "quarantine": 65, "weight": 1, "max_per_network": None}
    usual |= {"on_failover": "grace", "failover_margin": 10}
    return {name: value for name, value in values.items() if name not in usual or value != usual[name]}


def definition(text: str, options: argparse.Namespace) -> WanDefinition:
    """The WAN that a --wan K=PORTS means, with the options that go along."""
    index, sign, ports = text.partition("=")
    if not sign or not index.strip().isdecimal():
        raise InvalidValue(f"--wan {text!r}: write it like --wan 0=20000-21999")
    given = {name: getattr(options, name, None) for name in ("cooldown", "lease_ttl", "max_ttl", "failover_margin")}
    spans = {name: seconds_of(f"--{name.replace('_', '-')}", text) for name, text in given.items() if text is not None}
    trade = getattr(options, "on_failover", None)
    return WanDefinition.of(int(index), ports_text(ports), on_failover=trade, **spans)
