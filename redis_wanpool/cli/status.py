"""`wanpool status`: how many ports of each WAN are in which state, how fast they go, and who has them."""

import argparse
import sys
from collections import Counter
from dataclasses import dataclass
from typing import Any

from redis_wanpool import Operator
from redis_wanpool.cli.line import down_text, line_facts
from redis_wanpool.cli.verb import Verbs, operator_of, print_json
from redis_wanpool.errors import BackendUnavailable, WanMismatch, WanNotDefined, WanpoolError
from redis_wanpool.model.health import Health
from redis_wanpool.model.views import WanStatus
from redis_wanpool.model.wan import how_to_define
from redis_wanpool.terminal.format import one_line, seconds_of, span, table, width
from redis_wanpool.terminal.language import said
from redis_wanpool.terminal.screen import coloured, size

COUNTS = ("total", "free", "leased", "cooling", "withheld")
LOOKS_AHEAD = (60, 1800, 3600)
NARROW, FEWEST = 10, 5  #: columns that are shown at most and at least where not all fit; all are in the JSON
MOST_SHOWN = 20


def add_to(verbs: Verbs) -> None:
    parser = verbs.add(status, "", "--watch", "--namespace prod --json")
    parser.add_argument("--watch", action="store_true", help="a live view; with --json a document a line")
    parser.add_argument("--every", metavar="SPAN", default="1s", help="how often --watch looks (default: 1s)")


def facts(wan: WanStatus, health: Health) -> dict[str, Any]:
    """For programs."""

    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, 3)

    return {
        **{name: getattr(wan.seen, name) for name in ("wan_idx", "name", "state", *COUNTS)},
        "grace_left": round(wan.seen.grace_ms / 1000, 3),
        "quarantined": wan.quarantined,
        "rested": wan.seen.rested,
        "rested_for_plain_sockets": wan.seen.rested - wan.late,
        "grants_per_second": rounded(wan.pace),
        "sustains_per_second": {
            "one_network": rounded(wan.for_one_network),
            "between_networks": rounded(wan.between_networks),
        },
        "free_in": {str(ahead): count for ahead, count in zip(LOOKS_AHEAD, wan.frees, strict=True)},
        "waiting": wan.waiting,
        "counters": wan.counters.facts() if wan.counters else None,
        "line": line_facts(health, wan.seen.wan_idx),
    }


@dataclass(frozen=True, slots=True)
class Seen:
    """The Redis and its WANs at one look."""

    redis: dict[str, str]
    wans: list[WanStatus]
    troubles: dict[int, str]  #: of WANs whose data is lost, or of another version: they hide no other
    health: Health


def look_at_all(operator: Operator) -> Seen:
    redis = {"url": operator.url, **operator.server_facts()}
    looks = operator.status(looks_ahead=LOOKS_AHEAD)
    some_answer = any(not isinstance(one, WanpoolError) for one in looks.values())
    troubles: dict[int, str] = {}
    for wan_idx, seen in looks.items():
        silent = isinstance(seen, BackendUnavailable) and some_answer
        if silent or isinstance(seen, (WanNotDefined, WanMismatch)):
            troubles[wan_idx] = one_line(str(seen))
        elif isinstance(seen, WanpoolError):
            raise seen
    wans = [seen for seen in looks.values() if not isinstance(seen, WanpoolError)]
    return Seen(redis, wans, troubles, operator.health())


def status(options: argparse.Namespace) -> int:
    """Shows the WANs of the namespace, who has how many of their ports, and the Redis behind them."""
    every = max(0.1, seconds_of("--every", options.every))
    with operator_of(options) as operator:
        if options.watch:
            from redis_wanpool.cli.watching import watch  # which shows what is here

            return watch(operator, every, as_json=options.json)
        seen = look_at_all(operator)
        if not seen.wans and not seen.troubles and options.namespace is not None:
            raise WanNotDefined(
                f"there is no namespace {operator.namespace!r}: it has no WAN; see which there are with: wanpool "
                f"namespaces, or define a WAN, for example with: {how_to_define()}",
                wan_idx=None,
                namespace=operator.namespace,
            )
        if seen.troubles and not seen.wans:
            pass  # there is nothing to show
        elif options.json:
            who = dict(zip(("networks", "holders"), _who(operator, seen.wans), strict=True))
            print_json(**document(operator, seen), **who)
        else:
            print("\n".join(coloured(text, colour) for text, colour in overview(operator, seen)), flush=True)
            if any(wan.seen.leased for wan in seen.wans):
                networks, holders = _who(operator, seen.wans)
                for title, rows in ((said("networks"), networks), (said("holders"), holders)):
                    print(f"\n{title}")
                    print("\n".join(_most(rows)), flush=True)
    tell_troubles(seen.troubles)
    return 1 if seen.troubles else 0


def tell_troubles(troubles: dict[int, str]) -> None:
    for trouble in troubles.values():
        print(f"wanpool: {trouble}", file=sys.stderr, flush=True)


def document(operator: Operator, seen: Seen) -> dict[str, Any]:
    return {
        "namespace": operator.namespace,
        "at_ms": max((wan.counters.at_ms for wan in seen.wans if wan.counters), default=None),
        "redis": seen.redis,
        "wans": [facts(wan, seen.health) for wan in seen.wans],
        "checker": seen.health.checker or None,
        "troubles": [{"wan_idx": wan_idx, "error": error} for wan_idx, error in seen.troubles.items()],
    }


def overview(operator: Operator, all_seen: Seen) -> list[tuple[str, str]]:
    """The Redis and the WANs as lines, each with its colour."""
    redis, wans = all_seen.redis, all_seen.wans
    known = ", ".join(f"{name} {value}" for name, value in redis.items() if name != "url")
    head = said("namespace") + f" {operator.namespace!r}: {redis['url']}" + (f" ({known})" if known else "")
    if not wans and all_seen.troubles:
        return [(head, "")]
    if not wans:
        none = said(
            "no WAN is defined; define one, for example with: {command}",
            command="wanpool init --fresh --wan 0=20000-21999",
        )
        unless = said("--fresh says that nobody can hold its ports; if Redis may have lost it, say --recover")
        return [(head, ""), (none, ""), (unless, "")]
    health = all_seen.health
    rows = [_headings(), *(_row(wan, health) for wan in wans)]
    lines = table(rows, right=(0, *range(3, 14)))
    note = said("sustains/s: leases a second if ports stay with their network / if they change networks")
    shown = len(rows[0])
    while sys.stdout.isatty() and shown > FEWEST and max(map(width, lines)) > size()[0]:
        shown = min(shown - 1, NARROW)
        lines = table([row[:shown] for row in rows], right=(0, *range(3, shown)))
        note = said("a wider terminal shows more")
    colours = ["bold", *(_colour(wan, health) for wan in wans)]
    return [
        (head, ""),
        *zip(lines, colours, strict=True),
        (note, "dim"),
        *(_lingering(wan) for wan in wans if wan.late),
        *((text, "red") for wan in wans if (text := down_text(health, wan.seen.wan_idx))),
        *((text, "dim") for text in _unchecked(health)),
    ]


def _unchecked(health: Health) -> list[str]:
    """A line if nobody checks any more."""
    late = [verdict for verdict in health.verdicts.values() if verdict.state == "unknown"]
    if not late:
        return []
    latest = min(late, key=lambda verdict: verdict.age)
    text = said(
        "nobody checks the line of WAN {wans} any more, the last one was {checker} {ago} ago: it counts as up",
        wans=", ".join(str(verdict.wan_idx) for verdict in late),
        checker=one_line(latest.checker),
        ago=span(abs(latest.age)),
    )
    return [text]


def _lingering(wan: WanStatus) -> tuple[str, str]:
    text = said(
        "WAN {wan.seen.wan_idx}: {wan.late} of the {wan.seen.rested} ports that have rested for this network wait up "
        "to 65 s more for plain sockets, which the kernel refuses a port in TIME_WAIT (docs/clients.md)",
        wan=wan,
    )
    return text, "dim"


def _headings() -> list[str]:
    return [
        *("WAN", said("name"), said("state"), said("total"), said("free")),
        *(said("leased"), said("cooling"), said("quarantine"), said("withheld")),
        *(said("grants/s"), said("sustains/s")),
        *(said("free in 1 min"), said("30 min"), said("1 h")),
    ]


def _row(wan: WanStatus, health: Health) -> list[str]:
    seen = wan.seen
    sustains = f"{_rate(wan.for_one_network)} / {_rate(wan.between_networks)}"
    state = {"open": said("open"), "draining": said("draining")}[seen.state]
    if seen.grace_ms:
        state = said("grace") + f" {span(seen.grace_ms / 1000)}"
    if health.state(seen.wan_idx) == "down":
        state += ", " + said("down")
    counts = [seen.total, seen.free, seen.leased, seen.cooling, wan.quarantined, seen.withheld]
    return [
        *(str(seen.wan_idx), one_line(seen.name) or "-", state, *map(str, counts)),
        *(_rate(wan.pace), sustains, *map(str, wan.frees)),
    ]


def _rate(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _colour(wan: WanStatus, health: Health) -> str:
    if health.state(wan.seen.wan_idx) == "down":
        return "red"
    if wan.seen.state != "open" or wan.seen.grace_ms:
        return "yellow"
    return "red" if wan.seen.free + wan.seen.rested == 0 else ""


def _who(operator: Operator, wans: list[WanStatus]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """How many ports each network and each holder has, those with most first."""
    networks: dict[str, Counter[int]] = {}
    holders: dict[str, Counter[int]] = {}
    for wan_idx, census in operator.census(wan.seen.wan_idx for wan in wans).items():
        for (holder, network), count in census.items():
            networks.setdefault(network, Counter())[wan_idx] += count
            holders.setdefault(holder, Counter())[wan_idx] += count

    def rows(name: str, found: dict[str, Counter[int]]) -> list[dict[str, Any]]:
        ordered = sorted(found.items(), key=lambda pair: (-pair[1].total(), pair[0]))
        return [{name: who, "leased": counts.total(), "wans": dict(counts)} for who, counts in ordered]

    return rows("network", networks), rows("holder", holders)


def _most(rows: list[dict[str, Any]]) -> list[str]:
    """The first of these rows as lines, and how many there are besides."""
    cells = [
        [
            str(row["leased"]),
            one_line(str(row.get("network") or row["holder"].rpartition(":")[0])),
            ", ".join(f"WAN {wan_idx}: {count}" for wan_idx, count in row["wans"].items()),
        ]
        for row in rows[:MOST_SHOWN]
    ]
    more = len(rows) - MOST_SHOWN
    return [
        *(f"  {line}" for line in table(cells, right=(0,))),
        *([said("  and {more} more: --json", more=more)] if more > 0 else []),
    ]
