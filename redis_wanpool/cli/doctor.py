"""`wanpool doctor` and `wanpool echo`: what makes the promises false, and whether the router does its part."""

import argparse
import ipaddress
import json
import signal
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from redis_wanpool import Operator
from redis_wanpool import settings as config
from redis_wanpool.cli.verb import Verbs, operator_of, print_json
from redis_wanpool.doctor.echo import PORT, Echo
from redis_wanpool.doctor.examine import examine_machine, examine_redis, no_redis
from redis_wanpool.doctor.finding import FAIL, OK, WARN, Finding, found
from redis_wanpool.doctor.probe import Line, look
from redis_wanpool.doctor.router import judge
from redis_wanpool.doctor.wans import WanFacts
from redis_wanpool.errors import BackendUnavailable, InvalidValue, UnsafeRedis, WanpoolError
from redis_wanpool.model.checks import checked_integer, checked_port
from redis_wanpool.model.ports import port_numbers
from redis_wanpool.sockets.dial import resolve
from redis_wanpool.terminal.language import said
from redis_wanpool.transport.url import public_url

COUNT = 5


def add_to(verbs: Verbs) -> None:
    parser = verbs.add(doctor, "", "--echo 203.0.113.9:7801", "--echo 203.0.113.9:7801 --wan 1 --count 50 --json")
    parser.add_argument(
        "--echo", metavar="HOST:PORT", help="where `wanpool echo` runs, beyond the router: asks it, too"
    )
    parser.add_argument("--wan", metavar="K", type=int, action="append", help="ask only from this WAN; repeat it")
    parser.add_argument("--count", metavar="N", type=int, help=f"connections for each WAN (default: {COUNT})")
    parser = verbs.add(echo, "--bind 203.0.113.9", "--bind 0.0.0.0 --port 8080 --verbose")
    parser.add_argument(
        "--bind", metavar="ADDRESS", default="127.0.0.1", help="(default: 127.0.0.1, this machine only)"
    )
    parser.add_argument("--port", metavar="N", type=int, default=PORT, help=f"(default: {PORT}; 0: any)")
    parser.add_argument("--verbose", action="store_true", help="a line for each visitor")


def doctor(options: argparse.Namespace) -> int:
    """Looks for what makes the promises false: in Redis, in the WANs, on this machine; with --echo in the router."""
    if options.echo is None and (options.wan or options.count is not None):
        raise InvalidValue(
            "--wan and --count are for --echo: start `wanpool echo --bind ADDRESS` on a machine beyond the router, and "
            "say here: wanpool doctor --echo ADDRESS:PORT"
        )
    target = None if options.echo is None else _target(options.echo)
    count = COUNT if options.count is None else checked_integer("count", options.count, 1, 1000)
    settings = config.settings(url=options.url, namespace=options.namespace)
    embedded = said("the embedded server")
    where = embedded if settings.url is None else public_url(settings.url)
    lines: list[Line] = []
    try:
        operator = operator_of(options, allow_unsafe=True)
    except (BackendUnavailable, UnsafeRedis) as error:  # there is no embedded server
        redis = no_redis(error)
        findings = [*redis.findings, *examine_machine(None, settings, redis)]
    else:
        with operator:
            redis = examine_redis(operator, settings)
            findings = [*redis.findings, *examine_machine(operator, settings, redis)]
            if target is not None and redis.reached:
                try:
                    lines, more = _probe(operator, target, redis.wans or (), options.wan, count)
                    findings += more
                except WanpoolError as error:
                    findings.append(found(FAIL, "not-probed", error=error))
    if options.json:
        facts: dict[str, Any] = {}
        if options.echo is not None:
            rows = [line.facts() for line in lines]
            facts = {"echo": options.echo, "default_line": rows[0] if rows else None, "wans": rows[1:]}
        print_json(namespace=settings.namespace, findings=[asdict(one) for one in findings], **facts)
    else:
        heading = said("namespace {namespace!r} at {where}", namespace=settings.namespace, where=where)
        if options.echo is not None:
            heading += said(", seen from {echo}", echo=options.echo)
        texts = [heading, *(table([*lines[1:], lines[0]]) if lines else [])]
        print("\n".join([*texts, *(text for one in findings for text in told(one)), summary(findings)]))
    if not redis.reached:
        return 3
    return 1 if any(one.severity == FAIL for one in findings) else 0


def _probe(
    operator: Operator, target: tuple[str, int], seen: Sequence[WanFacts], wans: list[int] | None, count: int
) -> tuple[list[Line], list[Finding]]:
    """The default line and those of the WANs, and what they tell; nothing where no WAN is whole."""
    known = [wan.wan_idx for wan in seen if wan.snapshot is not None]
    if not known:
        return [], []
    leasable = {port for wan in seen if wan.ports for port in port_numbers(wan.ports)}
    with operator.pool() as pool:
        default, *lines = look(pool, target, list(dict.fromkeys(wans or known)), count)
    return [default, *lines], judge(default, lines, leasable)


def _target(text: str) -> tuple[str, int]:
    """One address for all lines, though the name may have several."""
    host, sign, port = text.rpartition(":")
    if not sign or not host or not port.isdecimal():
        raise InvalidValue(f"--echo {text!r}: write it like --echo 203.0.113.9:{PORT}")
    try:
        return resolve((host, checked_port(int(port))))[0]
    except OSError as error:
        raise WanpoolError(f"--echo {text}: {error.strerror}; the endpoint needs an IPv4 address") from None


def table(lines: list[Line]) -> list[str]:
    """The lines as text."""
    rows = ["WAN      answered  kept       seen as"]
    for line in lines:
        name = "default" if line.wan_idx is None else str(line.wan_idx)
        answered, kept = f"{line.answered} of {line.tried}", f"{line.kept} of {line.answered}"
        rows.append(f"{name:7}  {answered:8}  {kept:9}  {', '.join(line.addresses) or '-'}")
    return rows


def told(finding: Finding) -> list[str]:
    """A finding as text."""
    rows = [f"{finding.severity:4}  {finding.seen}"]
    for name, text in ((said("means"), finding.means), (said("cure"), finding.cure)):
        label = f"      {name}: "
        rows += [f"{label if i == 0 else ' ' * len(label)}{part}" for i, part in enumerate(text.splitlines())]
    return rows


def summary(findings: list[Finding]) -> str:
    """How many there are of each severity."""
    return ", ".join(f"{sum(one.severity == name for one in findings)} {name}" for name in (OK, WARN, FAIL))


def echo(options: argparse.Namespace) -> int:
    """Listens, and tells each visitor the address and port that it is seen with; for `wanpool doctor --echo`."""
    endpoint = Echo(options.bind, options.port)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    address, port = endpoint.address
    beyond = not ipaddress.ip_address(address).is_loopback

    def visited(peer: str) -> None:
        if options.verbose:
            print(json.dumps({"peer": peer}) if options.json else peer, flush=True)

    try:
        if options.json:
            print_json(address=address, port=port, beyond_loopback=beyond)
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
