"""The router's part, written for the router: source-port policy routing that fails closed, NAT that keeps the ports."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from redis_wanpool.errors import InvalidValue

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,30}")
Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Uplink:
    """The line of a WAN, as its router calls it."""

    wan_idx: int
    name: str
    ranges: tuple[Range, ...]
    device: str
    gateway: str  #: an address, or a name on routers that name them; "" for a line without one, such as PPPoE

    def ports(self, sign: str) -> str:
        """Its ports as a router writes them, with that sign within a range."""
        return ",".join(ports_between(first, last, sign) for first, last in self.ranges)


@dataclass(frozen=True, slots=True)
class Site:
    """What a router is to know."""

    namespace: str
    lan: tuple[str, ...]  #: the devices behind which the holders are; lo: on the router itself
    uplinks: tuple[Uplink, ...]
    others: Range  #: the ports to which the NAT moves all connections that have no lease


def checked_word(option: str, word: str) -> str:
    """The name of a device or gateway: these end up in what a router's administrator runs."""
    if not _WORD.fullmatch(word):
        raise InvalidValue(f"{option} {word!r}: a name has letters, digits and _ . - only, 31 at most")
    return word


def ranges_of(ports: str) -> tuple[Range, ...]:
    """The ranges of a list of ports in its canonical form."""
    parts = (part.partition("-") for part in ports.split(","))
    return tuple((int(first), int(last or first)) for first, _, last in parts)


def ports_between(first: int, last: int, sign: str) -> str:
    """A range as a router writes it."""
    return str(first) if first == last else f"{first}{sign}{last}"


def largest_gap(ranges: Sequence[Range]) -> Range:
    """The most ports in a row that belong to no WAN, above the well-known ones.

    Raises:
        InvalidValue: there are fewer than 4,096.
    """
    best, begin = (0, -1), 1024
    for first, last in [*sorted(ranges), (65_536, 65_536)]:
        if first - begin > best[1] - best[0] + 1:
            best = begin, first - 1
        begin = max(begin, last + 1)
    if best[1] - best[0] < 4095:
        raise InvalidValue(
            "the WANs leave no 4,096 ports in a row for connections without a lease; give ports for these: --others "
            "40000-49999, or give the WANs fewer"
        )
    return best


def header(site: Site, title: str, status: str, usage: Sequence[str], sign: str = "#") -> list[str]:
    """The comment with which every configuration begins."""
    lines = [f"wanpool router: {title}, for namespace {site.namespace!r}", *usage, status]
    for uplink in site.uplinks:
        name = f" ({''.join(sign if sign.isprintable() else '?' for sign in uplink.name)})" if uplink.name else ""
        via = f" via {uplink.gateway}" if uplink.gateway else ""
        lines.append(f"WAN {uplink.wan_idx}{name}: ports {uplink.ports('-')} by {uplink.device}{via}")
    return [f"{sign} {line}" for line in lines]
