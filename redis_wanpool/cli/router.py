"""`wanpool router`: the router's configuration, from the WANs in Redis."""

import argparse
import difflib
import sys
from pathlib import Path

from redis_wanpool.cli.verb import DONE, NO, Verbs, answer, choose_wans, operator_of
from redis_wanpool.errors import InvalidValue
from redis_wanpool.model.ports import ports_text
from redis_wanpool.routers import Range, Site, Uplink, checked_word, largest_gap, linux, ranges_of, vendors

FORMATS = {
    "iproute2": linux.iproute2,
    "nftables": linux.nftables,
    "mwan3": vendors.mwan3,
    "routeros": vendors.routeros,
    "ikuai": vendors.ikuai,
    "opnsense": vendors.opnsense,
}


def add_to(verbs: Verbs) -> None:
    parser = verbs.add(
        router,
        "--format iproute2 --lan br0 --uplink 0=eth1,198.51.100.1 --uplink 1=ppp0 > routing.sh",
        "--format nftables --lan br0 --uplink 0=eth1 --uplink 1=ppp0 > nat.nft",
        "--format nftables --lan br0 --uplink 0=eth1 --uplink 1=ppp0 --diff nat.nft",
    )
    parser.add_argument("--format", choices=FORMATS, required=True, help="for which router")
    parser.add_argument(
        "--uplink", metavar="K=DEVICE[,GATEWAY]", action="append", default=[], help="the line of a WAN; for each WAN"
    )
    parser.add_argument(
        "--lan", metavar="DEVICE", action="append", required=True, help="where the holders are; repeat it; lo: here"
    )
    parser.add_argument(
        "--others", metavar="PORTS", help="ports for connections without a lease (default: most in a row)"
    )
    parser.add_argument(
        "--diff", metavar="OLD", type=Path, help="what changes against this file; - is the standard input"
    )


def router(options: argparse.Namespace) -> int:
    """Writes the router's configuration: routing by source port that fails closed, and NAT that keeps leased ports."""
    uplinks = _uplinks(options.uplink)
    lan = tuple(dict.fromkeys(checked_word("--lan", name) for name in options.lan))
    with operator_of(options) as operator:
        site = Site(operator.namespace, lan, (), (0, 0))
        known = operator.snapshots(choose_wans(operator, None))
    strange, missing = sorted(set(uplinks) - set(known)), sorted(set(known) - set(uplinks))
    if strange:
        raise InvalidValue(f"--uplink {strange[0]}=...: namespace {site.namespace!r} has no WAN {strange[0]}")
    if missing:
        raise InvalidValue(f"WAN {missing[0]}: say which line it is, like --uplink {missing[0]}=eth1,198.51.100.1")
    lines = tuple(
        Uplink(wan_idx, seen.name, ranges_of(seen.config["ports"]), *uplinks[wan_idx])
        for wan_idx, seen in known.items()
    )
    pools = [span for line in lines for span in line.ranges]
    others = largest_gap(pools) if options.others is None else _others(options.others, pools)
    text = FORMATS[options.format](Site(site.namespace, lan, lines, others))
    return _show(options, site.namespace, text)


def _uplinks(words: list[str]) -> dict[int, tuple[str, str]]:
    found: dict[int, tuple[str, str]] = {}
    for word in words:
        index, sign, line = word.partition("=")
        device, _, gateway = line.partition(",")
        if not sign or not index.isdecimal() or int(index) in found:
            raise InvalidValue(f"--uplink {word!r}: write it once for each WAN, like --uplink 0=eth1,198.51.100.1")
        found[int(index)] = checked_word("--uplink", device), checked_word("--uplink", gateway) if gateway else ""
    return found


def _others(text: str, pools: list[Range]) -> Range:
    ranges = ranges_of(ports_text(text))
    if len(ranges) != 1:
        raise InvalidValue(f"--others {text!r}: one range, like 40000-49999")
    ((first, last),) = ranges
    if any(first <= end and begin <= last for begin, end in pools):
        raise InvalidValue(f"--others {text!r}: ports of a WAN are among them, and those are for leases")
    return first, last


def _show(options: argparse.Namespace, namespace: str, text: str) -> int:
    about = {"namespace": namespace, "format": options.format}
    if options.diff is None:
        answer(options, text.splitlines(), **about, text=text)
        return DONE
    try:
        old = sys.stdin.read() if str(options.diff) == "-" else options.diff.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidValue(f"--diff {options.diff}: {error}") from None
    changes = difflib.unified_diff(old.splitlines(), text.splitlines(), str(options.diff), "now", lineterm="")
    lines = list(changes)
    answer(options, lines, **about, diff="".join(f"{line}\n" for line in lines))
    return NO if lines else DONE
