"""Routers that are configured by their vendor's means; written after their documentation, and never run."""

import json
from itertools import product

from redis_wanpool.errors import InvalidValue
from redis_wanpool.routers import Site, Uplink, header, ports_between

UNVERIFIED = "not verified: written after the documentation of {}, and never loaded; try it on one WAN first"
MULTIPORT = 7  #: ranges that one rule of iptables' multiport takes: 15 ports, and a range counts as two


def mwan3(site: Site) -> str:
    """For /etc/config/mwan3 of OpenWrt; the uplinks are its interfaces."""
    usage = [
        "put it into /etc/config/mwan3, above its other rules; then: mwan3 restart",
        "--uplink K=INTERFACE names an interface of mwan3; its policy fails closed (last_resort unreachable)",
        "--lan names interfaces of OpenWrt, like lan",
        "a build that wants 1024-2048 in place of 1024:2048 says so in LuCI's help at the field",
        "for the NAT, where fw4 is in use: wanpool router --format nftables",
    ]
    lines = header(site, "mwan3", UNVERIFIED.format("mwan3 2.11 (OpenWrt)"), usage)
    for uplink in site.uplinks:
        name = f"wanpool{uplink.wan_idx}"
        lines += ["", f"config member '{name}'", f"\toption interface '{uplink.device}'", "\toption metric '1'"]
        lines += ["", f"config policy '{name}'", f"\tlist use_member '{name}'", "\toption last_resort 'unreachable'"]
        parts = [uplink.ranges[start : start + MULTIPORT] for start in range(0, len(uplink.ranges), MULTIPORT)]
        for number, (part, lan) in enumerate(product(parts, ("",) if "lo" in site.lan else site.lan)):
            suffix = f"_{number}" if number else ""
            lines += [
                *("", f"config rule '{name}{suffix}'", "\toption family 'ipv4'", "\toption proto 'tcp'"),
                *([f"\toption src_iface '{lan}'"] if lan else []),
                f"\toption src_port '{','.join(ports_between(first, last, ':') for first, last in part)}'",
                f"\toption use_policy '{name}'",
            ]
    return "\n".join(lines) + "\n"


def routeros(site: Site) -> str:
    """Commands for the terminal of RouterOS 7."""
    usage = [
        "paste it, or: /import FILE. It first takes away what it made before, which is what has a comment 'wanpool'",
        "the rule for fasttrack must leave these connections alone: add connection-mark=no-mark to it",
        "its NAT forgets a closed connection after 10 s: define the WANs with a cool-down of 15 s",
        "--uplink K=INTERFACE,GATEWAY; --lan is an interface list",
    ]
    clear = ["/routing/rule", "/ip/firewall/mangle", "/ip/firewall/nat", "/ip/route", "/routing/table"]
    lines = header(site, "RouterOS", UNVERIFIED.format("RouterOS 7.15"), usage)
    lines += [f'{menu}/remove [find comment~"^wanpool"]' for menu in clear]
    for uplink in site.uplinks:
        mark, gateway = f"wanpool{uplink.wan_idx}", uplink.gateway or uplink.device
        comment = f'comment="{mark}"'
        lines += [
            f"/routing/table/add name={mark} fib {comment}",
            f"/ip/route/add dst-address=0.0.0.0/0 gateway={gateway} routing-table={mark} {comment}",
            f"/routing/rule/add routing-mark={mark} action=lookup-only-in-table table={mark} {comment}",
        ]
        for lan in site.lan:
            where = f"chain=prerouting in-interface-list={lan} dst-address-type=!local"
            lines += [
                f"/ip/firewall/mangle/add {where} connection-state=new protocol=tcp src-port={uplink.ports('-')} "
                f"action=mark-connection new-connection-mark={mark} passthrough=yes {comment}",
                f"/ip/firewall/mangle/add {where} connection-mark={mark} action=mark-routing "
                f"new-routing-mark={mark} passthrough=no {comment}",
            ]
        nat = f"/ip/firewall/nat/add chain=srcnat out-interface={uplink.device} protocol=tcp"
        for first, last in uplink.ranges:
            span = ports_between(first, last, "-")
            lines.append(f"{nat} src-port={span} action=masquerade to-ports={span} {comment}")
        lines.append(f"{nat} action=masquerade to-ports={site.others[0]}-{site.others[1]} {comment}")
    return "\n".join(lines) + "\n"


def ikuai(site: Site) -> str:
    """Commands of ikuai-cli."""
    usage = [
        "run it where ikuai-cli is logged in; the same stands in its web pages under 流控分流, 五元组分流",
        "interface binding makes it fail closed; its NAT keeps source ports where it can, and offers no more",
        "that a range of ports is written with a dash is not in what could be read: look at one rule on the device",
    ]
    lines = header(site, "iKuai", UNVERIFIED.format("ikuai-cli of June 2026"), usage)
    for uplink in site.uplinks:
        what = f"--name wanpool{uplink.wan_idx} --protocol tcp --src-port {uplink.ports('-')}"
        line = f"--interface {uplink.device} --iface-band 1"
        lines.append(f"ikuai-cli routing stream five-tuple create {what} {line}")
    return "\n".join(lines) + "\n"


def opnsense(site: Site) -> str:
    """Calls of the API of OPNsense, as a shell script."""
    usage = [
        "KEY, SECRET: of a user of the API. HOST: the router",
        "set up: KEY=... SECRET=... HOST=... sh FILE; a second run makes the rules a second time",
        "take away: delete the rules that are called wanpool under Firewall: Automation",
        "--uplink K=INTERFACE,GATEWAY as OPNsense names them, like 0=opt1,WAN0_GW; --lan likewise",
        "its NAT does not move the port (staticnatport), and forgets a connection after 90 s: a cool-down of 95 s fits",
    ]
    lines = ["#!/bin/sh", *header(site, "OPNsense", UNVERIFIED.format("OPNsense 26.1"), usage), "set -eu"]
    lines += [
        "call() {",
        '  printf "user = \\"%s:%s\\"\\n" "$KEY" "$SECRET" |',
        '    curl -sSf -K - -H "Content-Type: application/json" -d "$2" "https://$HOST/api/firewall/$1"',
        "}",
    ]
    for uplink in site.uplinks:
        lines += [line for lan in site.lan for line in _opnsense(uplink, lan)]
    return "\n".join([*lines, "call filter/apply '{}'"]) + "\n"


def _opnsense(uplink: Uplink, lan: str) -> list[str]:
    if not uplink.gateway:
        raise InvalidValue(
            f"--uplink {uplink.wan_idx}={uplink.device}: OPNsense wants a gateway's name, too, like "
            f"{uplink.wan_idx}={uplink.device},WAN{uplink.wan_idx}_GW"
        )
    lines = []
    for first, last in uplink.ranges:
        common = {"description": f"wanpool {uplink.wan_idx}", "ipprotocol": "inet", "protocol": "TCP"}
        common["source_port"] = ports_between(first, last, "-")
        rule = {**common, "interface": lan, "direction": "in", "gateway": uplink.gateway}
        nat = {**common, "interface": uplink.device, "target": "wanip", "staticnatport": "1"}
        lines.append(f"call filter/addRule '{json.dumps({'rule': rule})}'")
        lines.append(f"call source_nat/add_rule '{json.dumps({'rule': nat})}'")
    return lines
