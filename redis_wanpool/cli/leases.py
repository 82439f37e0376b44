"""`wanpool leases`: who holds what, page by page."""

import argparse
import fnmatch
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

from redis_wanpool import Operator
from redis_wanpool.cli.verb import DONE, NO, Verbs, choose_wans, operator_of
from redis_wanpool.model.views import ListedLease
from redis_wanpool.terminal.format import counted, moment, one_line, padded, seconds_of, until
from redis_wanpool.terminal.language import said, tell

MOST_NAMED = 10  #: networks in a message
Wanted = Callable[[ListedLease], bool]


def add_to(verbs: Verbs) -> None:
    parser = verbs.add(leases, "", "--wan 0 --holder host1 --expiring 60s", "--label 'daily*' --json")
    parser.add_argument("--wan", metavar="K", type=int, action="append", help="only this WAN; repeat it")
    add_filters(parser)
    parser.add_argument("--expiring", metavar="SPAN", help="only those that end within 60s, 5m, 1h unless renewed")
    parser.add_argument("--absolute", action="store_true", help="times of the server's clock, not how far off they are")


def add_filters(parser: argparse.ArgumentParser) -> None:
    """The options that choose leases by what they say."""
    parser.add_argument("--holder", metavar="H", help="only of this host, host:pid or holder; * and ? stand for others")
    parser.add_argument("--network", metavar="N", help="only of this network; * and ? stand for others")
    parser.add_argument("--label", metavar="L", help="only with this label; * and ? stand for others")


def wanted(options: argparse.Namespace) -> Wanted:
    """Whether a lease is among those that the options choose."""
    holder, network, label = options.holder, options.network, options.label

    def is_wanted(lease: ListedLease) -> bool:
        whose = (lease.holder, f"{lease.host}:{lease.pid}", lease.host)
        return (
            (holder is None or any(fnmatch.fnmatchcase(name, holder) for name in whose))
            and (network is None or fnmatch.fnmatchcase(lease.network, network))
            and (label is None or fnmatch.fnmatchcase(lease.label, label))
        )

    return is_wanted


def leases(options: argparse.Namespace) -> int:
    """Lists the live leases; those that end first unless they are renewed come first."""
    within = None if options.expiring is None else seconds_of("--expiring", options.expiring)
    is_wanted = wanted(options)
    with operator_of(options) as operator:
        show = as_json if options.json else as_text
        networks: set[str] = set()

        def pages(wan_idx: int) -> Iterator[list[ListedLease]]:
            for page in operator.lease_pages(wan_idx, within=within):
                networks.update(lease.network for lease in page)
                yield [lease for lease in page if is_wanted(lease)]

        found = ((wan_idx, page) for wan_idx in choose_wans(operator, options.wan) for page in pages(wan_idx))
        show(operator, found, options)
        wanted_network = options.network if within is None else None  # a network may have none that end soon
        if wanted_network is None or any(fnmatch.fnmatchcase(name, wanted_network) for name in networks):
            return DONE
    there = ", ".join(map(one_line, sorted(networks)[:MOST_NAMED])) or said("none")
    trouble = said(
        "no live lease is of network {network}; those that have some: {there}",
        network=one_line(wanted_network),
        there=there,
    )
    print(f"wanpool: {trouble}", file=sys.stderr)
    return NO


def as_json(operator: Operator, found: Iterator[tuple[int, list[ListedLease]]], options: argparse.Namespace) -> None:
    """One document, written as it comes."""
    head, comma = json.dumps({"schema": 1, "namespace": operator.namespace})[:-1] + ', "leases": [', ""
    for wan_idx, page in found:
        print(head, end="")  # with the first page: where there is none, there is no document either
        head = ""
        for lease in page:
            print(f"{comma}\n{json.dumps(row(wan_idx, lease))}", end="")
            comma = ","
        print(end="", flush=True)
    print("\n]}")


def row(wan_idx: int, lease: ListedLease) -> dict[str, Any]:
    """A lease as JSON has it. Not its lease_id: who knows that can release it."""
    names = ("holder", "host", "pid", "network", "label", "acquired_at")
    facts = {name: getattr(lease, name) for name in names}
    return {
        **{"wan_idx": wan_idx, "port": lease.port, **facts},
        **{"expires_at_ms": lease.expires_at_ms, "idle": lease.is_idle},
    }


def as_text(operator: Operator, found: Iterator[tuple[int, list[ListedLease]]], options: argparse.Namespace) -> None:
    heads = [said("port"), "WAN", said("ends"), said("since"), said("process"), "", ""]
    heads[5:] = [said("label"), said("network")]
    widths = [6, 4, 24, 24, 28, 20, 0] if options.absolute else [6, 4, 14, 18, 28, 20, 0]
    count = 0
    for wan_idx, page in found:
        lines = [] if count or not page else [heads]
        for lease in page:
            now_ms = lease.seen_at_ms
            since = moment(lease.acquired_at)
            process = f"{lease.host}:{lease.pid}" if lease.pid else f"{lease.host} " + said("(detached)")
            if lease.is_idle:
                process += " " + said("(idle)")
            begun = "-" if since is None else until(since, now_ms, absolute=options.absolute)
            ends = until(lease.expires_at_ms, now_ms, absolute=options.absolute)
            words = one_line(process), one_line(lease.label) or "-", one_line(lease.network)
            lines.append([str(lease.port), str(wan_idx), ends, begun, *words])
        count += len(page)
        print("".join(f"{line_of(cells, widths)}\n" for cells in lines), end="", flush=True)
    tell(
        "{leases} (namespace {namespace!r})", leases=counted(count, "lease"), namespace=operator.namespace, count=count
    )


def line_of(cells: list[str], widths: list[int]) -> str:
    """Cells in columns of these widths; a longer cell pushes the others on."""
    return "  ".join(padded(cell, size) for cell, size in zip(cells, widths, strict=True)).rstrip()
