"""`wanpool events`: what happened, when, to which ports, and who did it."""

import argparse
import sys
import time
from dataclasses import asdict
from typing import Any

from redis_wanpool import Operator
from redis_wanpool.cli.verb import DONE, Verbs, choose_wans, operator_of, print_json
from redis_wanpool.errors import BackendUnavailable
from redis_wanpool.model.checks import checked_wan
from redis_wanpool.model.history import Event
from redis_wanpool.model.holder import host_and_pid
from redis_wanpool.model.ports import port_list
from redis_wanpool.terminal.format import iso, one_line, padded, seconds_of
from redis_wanpool.terminal.language import said, tell

EVERY = 1.0  #: seconds between two looks of --follow


def add_to(verbs: Verbs) -> None:
    parser = verbs.add(events, "", "--wan 0 --since 1h", "--follow", "--since 24h --json")
    parser.add_argument("--wan", metavar="K", type=int, help="only of this WAN")
    parser.add_argument("--since", metavar="SPAN", help="only of the last 30m, 1h, 7d (default: all that is kept)")
    parser.add_argument("--limit", metavar="N", type=int, default=1000, help="the last N, 1 to 1000 (default: 1000)")
    parser.add_argument("--follow", action="store_true", help="go on with what happens; with --json a document a line")


def events(options: argparse.Namespace) -> int:
    """Tells what happened to the WANs, oldest first: definitions, drains, revoked and expired leases, graces, refusals;
    about 1,000 entries of each WAN are kept.
    """
    since = None if options.since is None else seconds_of("--since", options.since)
    with operator_of(options) as operator:
        wan_idx = None if options.wan is None else checked_wan(options.wan)
        wans = choose_wans(operator, None if wan_idx is None else [wan_idx])
        known: dict[int, str] = {}
        for wan in wans if options.follow else ():  # what is older than these is not told later
            known |= {event.wan_idx: event.id for event in operator.events(wan, limit=1)}
        found = operator.events(wan_idx, since=since, limit=options.limit)
        _show(operator, found, options)
        known |= {event.wan_idx: event.id for event in found}
        if not found and not options.json and not options.follow:
            tell("nothing is noted (namespace {namespace!r})", namespace=operator.namespace)
        return _follow(operator, known, options) if options.follow else DONE


def _follow(operator: Operator, known: dict[int, str], options: argparse.Namespace) -> int:
    """What happens after the events that are known, until it is interrupted; also while Redis does not answer."""
    trouble = False
    try:
        while True:
            time.sleep(EVERY)
            try:
                found = operator.events(options.wan, after=known)
            except BackendUnavailable as error:
                if not trouble:
                    print(f"wanpool: {one_line(str(error))}", file=sys.stderr, flush=True)
                trouble = True
                continue
            trouble = False
            known |= {event.wan_idx: event.id for event in found}
            if found:
                _show(operator, found, options)
    except KeyboardInterrupt:
        return DONE


def _show(operator: Operator, found: list[Event], options: argparse.Namespace) -> None:
    if options.json:
        print_json(namespace=operator.namespace, events=[facts(event) for event in found])
    else:
        print("".join(f"{line(event)}\n" for event in found), end="", flush=True)


def facts(event: Event) -> dict[str, Any]:
    """For programs; `what` is null for an entry that cannot be read."""
    return {**asdict(event), "what": event.what or None, "at_ms": event.at_ms, "ports": list(event.ports)}


def line(event: Event) -> str:
    """For people: what others wrote moves no cursor."""
    what = what_text(event.what) if event.what else said("unreadable")
    who = one_line(event.who) or _process(event.holder)
    of = _process(event.holder) if event.who else ""
    parts = [
        _number(event),
        said("by {who}", who=who) if who else "",
        said("lease of {holder}", holder=of) if of else "",
        f'"{one_line(event.label)}"' if event.label else "",
        said("network {network}", network=one_line(event.network)) if event.network else "",
        one_line(event.why),
    ]
    return f"{iso(event.at_ms)}  WAN {event.wan_idx:<3} {padded(what, 10)} " + ", ".join(filter(None, parts))


def _number(event: Event) -> str:
    if not event.ports:
        return "" if event.count <= 1 else f"{event.count}"
    more = " ..." if event.count > len(event.ports) else ""
    some = f" ({event.count})" if event.count > 1 else ""
    return port_list(event.ports) + more + some


def _process(holder: str) -> str:
    if not holder:
        return ""
    host, pid = host_and_pid(holder)
    return one_line(f"{host}:{pid}" if pid else f"{host} " + said("(detached)"))


def what_text(what: str) -> str:
    """An event's kind, for people."""
    known = {
        "defined": said("defined", "of events"),
        "resized": said("resized", "of events"),
        "drained": said("drained", "of events"),
        "opened": said("opened", "of events"),
        "withheld": said("withheld", "of events"),
        "restored": said("restored", "of events"),
        "revoked": said("revoked", "of events"),
        "reaped": said("reaped", "of events"),
        "rejected": said("rejected", "of events"),
        "expired": said("expired", "of events"),
        "grace": said("grace"),
        "refused": said("refused", "of events"),
    }
    return known.get(what) or one_line(what)
