"""Linux: rules of iproute2, and a table of nftables."""

from redis_wanpool.errors import InvalidValue
from redis_wanpool.routers import Range, Site, Uplink, header, ports_between

PREFERENCE, TABLE = 7000, 7000
"""of ip-rule(8): 7000 for networks that the router knows, 7001 or 7002 for the WANs; and of the tables, plus the WAN"""
VERIFIED = "verified: loaded, run and undone in network namespaces, with Linux 6.18, iproute2 6.1 and nftables 1.0.6"
LAST = 4_000_000  #: a metric that no route prefers


def iproute2(site: Site) -> str:
    """A POSIX shell script: each WAN's ports go by its table, which ends in an unreachable route."""
    for uplink in site.uplinks:
        if len(uplink.device) > 15:
            raise InvalidValue(f"--uplink {uplink.wan_idx}={uplink.device}: a device of Linux has at most 15 letters")
    usage = [
        "source-port policy routing that fails closed; for the NAT: wanpool router --format nftables",
        "set up: sh FILE (again at any time: it changes what differs, and lets no packet through meanwhile)",
        "take away: sh FILE remove",
        f"uses preferences {PREFERENCE} to {PREFERENCE + 2} of ip rule, and tables {TABLE} + WAN",
    ]
    tables = [str(TABLE + uplink.wan_idx) for uplink in site.uplinks]
    rules = [
        f"ip -4 rule add pref $new iif {lan} ipproto tcp sport {ports_between(first, last, '-')} "
        f"lookup {TABLE + uplink.wan_idx}"
        for uplink in site.uplinks
        for first, last in uplink.ranges
        for lan in site.lan
    ]
    known = "ipproto tcp lookup main suppress_prefixlength 0"
    lines = [
        "#!/bin/sh",
        *header(site, "iproute2", VERIFIED, usage),
        "set -eu",
        "clear() { while ip -4 rule del pref $1 2>/dev/null; do :; done; }",
        'if [ "${1:-}" = remove ]; then',
        f"  for pref in {PREFERENCE} {PREFERENCE + 1} {PREFERENCE + 2}; do clear $pref; done",
        f"  for table in {' '.join(tables)}; do ip -4 route flush table $table 2>/dev/null || :; done",
        "  exit 0",
        "fi",
        "failed=0",
        "# What no line takes is refused: these routes stay when a line is down.",
        *(f"ip -4 route replace unreachable default metric {LAST} table {table}" for table in tables),
        *(f"{_default(uplink)} || failed=1" for uplink in site.uplinks),
        "# The new rules stand before the old ones go.",
        f"old={PREFERENCE + 1} new={PREFERENCE + 2}",
        f'if [ -z "$(ip -4 rule show pref {PREFERENCE + 1})" ]; then old={PREFERENCE + 2} new={PREFERENCE + 1}; fi',
        "clear $new",
        *rules,
        "clear $old",
        f"clear {PREFERENCE}",
        "# What the router reaches without a default route, such as its LANs, it reaches as ever.",
        *(f"ip -4 rule add pref {PREFERENCE} iif {lan} {known}" for lan in site.lan),
        'if [ $failed = 1 ]; then echo "a line is down: its ports are refused; run this again when it is up" >&2; fi',
        "exit $failed",
    ]
    return "\n".join(lines) + "\n"


def _default(uplink: Uplink) -> str:
    via = f"via {uplink.gateway} " if uplink.gateway else ""
    return f"ip -4 route replace default {via}dev {uplink.device} table {TABLE + uplink.wan_idx}"


def nftables(site: Site) -> str:
    """A table for `nft -f` that replaces itself: NAT that keeps leased ports, and a forward chain that fails closed."""
    usage = [
        "NAT that keeps leased ports for the pool; for the routing: wanpool router --format iproute2",
        "set up: nft -f FILE (again at any time: it is replaced as a whole)",
        "take away: nft delete table ip wanpool",
        "this table translates before those of priority srcnat (100): what it takes, these do not see",
    ]
    lines = [
        *header(site, "nftables", VERIFIED, usage),
        "table ip wanpool",
        "delete table ip wanpool",
        "table ip wanpool {",
        "  chain forward {",
        "    type filter hook forward priority filter - 5;",
        *(f"    {line}" for uplink in site.uplinks for line in _astray(site, uplink)),
        "  }",
        "  chain postrouting {",
        "    type nat hook postrouting priority srcnat - 5;",
        *(f"    {line}" for uplink in site.uplinks for line in _translation(site, uplink)),
        "  }",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _set(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{{ {', '.join(words)} }}"


def _sports(ranges: tuple[Range, ...]) -> str:
    return _set([ports_between(first, last, "-") for first, last in ranges])


def _astray(site: Site, uplink: Uplink) -> list[str]:
    """Refuses a WAN's ports on every other line."""
    others = [f'"{other.device}"' for other in site.uplinks if other.device != uplink.device]
    lans = [f'"{lan}"' for lan in site.lan if lan != "lo"]
    if not others or not lans:
        return []
    return [
        f"iifname {_set(lans)} oifname {_set(others)} ct direction original tcp sport {_sports(uplink.ranges)} "
        "reject with icmp type net-unreachable"
    ]


def _translation(site: Site, uplink: Uplink) -> list[str]:
    """Leased ports stay, those of other connections go where no lease is."""
    whose = "" if "lo" in site.lan else "fib saddr type != local "
    first, last = site.others
    kept = [
        f'oifname "{uplink.device}" {whose}tcp sport {ports_between(*span, "-")} masquerade to :{span[0]}-{span[1]}'
        for span in uplink.ranges
    ]
    return [
        *kept,
        f'oifname "{uplink.device}" meta l4proto tcp masquerade to :{first}-{last}',
        f'oifname "{uplink.device}" masquerade',
    ]
