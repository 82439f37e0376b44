"""`wanpool doctor` and `wanpool echo`: whether the router does its part."""

from __future__ import annotations

import argparse
import ipaddress
import json
import signal
from dataclasses import asdict

from redis_wanpool import sockets
from redis_wanpool.cli.operate import _pool
from redis_wanpool.definition import checked_integer, checked_port, port_numbers
from redis_wanpool.doctor import FAIL, Finding
from redis_wanpool.doctor.echo import PORT, Echo
from redis_wanpool.doctor.probe import Line, judge, look
from redis_wanpool.errors import InvalidValue, WanNotDefined, WanpoolError


def add_to(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from redis_wanpool.cli import add_verb

    parser = add_verb(
        verbs,
        "doctor",
        doctor,
        "Connects from ports of each WAN to an echo endpoint beyond the router, and says what is wrong with it.",
        "  wanpool doctor --echo 203.0.113.9:7801\n  wanpool doctor --echo 203.0.113.9:7801 --wan 1 --count 50 --json",
    )
    parser.add_argument("--echo", metavar="HOST:PORT", help="where `wanpool echo` runs, beyond the router")
    parser.add_argument("--wan", metavar="K", type=int, action="append", help="only this WAN; repeat it")
    parser.add_argument("--count", metavar="N", type=int, default=5, help="connections for each WAN (default: 5)")
    parser = add_verb(
        verbs,
        "echo",
        echo,
        "Listens, and tells each visitor the address and port that it is seen with; for `wanpool doctor --echo`.",
        "  wanpool echo --bind 203.0.113.9\n  wanpool echo --bind 0.0.0.0 --port 8080 --verbose",
    )
    parser.add_argument(
        "--bind", metavar="ADDRESS", default="127.0.0.1", help="(default: 127.0.0.1, this machine only)"
    )
    parser.add_argument("--port", metavar="N", type=int, default=PORT, help=f"(default: {PORT}; 0: any)")
    parser.add_argument("--verbose", action="store_true", help="a line for each visitor")


def doctor(options: argparse.Namespace) -> int:
    if options.echo is None:
        raise InvalidValue(
            "nothing to check with: start `wanpool echo --bind ADDRESS` on a machine beyond the router, and say here: "
            "wanpool doctor --echo ADDRESS:PORT"
        )
    target = _target(options.echo)
    count = checked_integer("count", options.count, 1, 1000)
    with _pool(options) as pool:
        known = pool.wans()
        if not known:
            raise WanNotDefined(
                f"namespace {pool.namespace!r} has no WAN; define one, for example with: "
                "wanpool init --wan 0=20000-21999"
            )
        leasable = {port for wan_idx in known for port in port_numbers(pool.snapshot(wan_idx).config["ports"])}
        wans = list(dict.fromkeys(options.wan or known))
        default, *lines = look(pool, target, wans, count)
        findings = judge(default, lines, leasable)
        if options.json:
            facts = {"schema": 1, "namespace": pool.namespace, "echo": options.echo, "default_line": default.facts()}
            rows = [line.facts() for line in lines]
            print(json.dumps({**facts, "wans": rows, "findings": [asdict(one) for one in findings]}))
        else:
            print(f"namespace {pool.namespace!r}, seen from {options.echo}")
            print("\n".join([*table([*lines, default]), *(text for one in findings for text in told(one))]))
    return 1 if any(one.severity == FAIL for one in findings) else 0


def _target(text: str) -> tuple[str, int]:
    """One address for all lines, though the name may have several."""
    host, sign, port = text.rpartition(":")
    if not sign or not host or not port.isdecimal():
        raise InvalidValue(f"--echo {text!r}: write it like --echo 203.0.113.9:{PORT}")
    try:
        return sockets.resolve((host, checked_port(int(port))))[0]
    except OSError as error:
        raise WanpoolError(f"--echo {text}: {error.strerror}; the endpoint needs an IPv4 address") from None


def table(lines: list[Line]) -> list[str]:
    """The lines as text."""
    rows = ["WAN      answered  kept       seen as"]
    for line in lines:
        name = "default" if line.wan_idx is None else str(line.wan_idx)
        answered, kept = f"{len(line.answers)} of {line.tried}", f"{line.kept} of {len(line.answers)}"
        rows.append(f"{name:7}  {answered:8}  {kept:9}  {', '.join(line.addresses) or '-'}")
    return rows


def told(finding: Finding) -> list[str]:
    """A finding as text."""
    rest = [f"      {name}: {text}" for name, text in (("means", finding.means), ("cure", finding.cure)) if text]
    return [f"{finding.severity:4}  {finding.seen}", *rest]


def echo(options: argparse.Namespace) -> int:
    endpoint = Echo(options.bind, options.port)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    address, port = endpoint.address
    beyond = not ipaddress.ip_address(address).is_loopback

    def visited(peer: str) -> None:
        if options.verbose:
            print(json.dumps({"peer": peer}) if options.json else peer, flush=True)

    try:
        if options.json:
            facts = {"schema": 1, "address": address, "port": port, "beyond_loopback": beyond}
            print(json.dumps(facts), flush=True)
        else:
            whom = "beyond loopback: it tells all who reach it their address" if beyond else "for this machine only"
            print(f"listens on {address}:{port}, {whom}")
            host = "HOST" if address == "0.0.0.0" else address
            print(f"ask it, from behind the router: wanpool doctor --echo {host}:{port}", flush=True)
        endpoint.serve(visited)
    except KeyboardInterrupt:
        return 0
    finally:
        endpoint.close()
    return 0
