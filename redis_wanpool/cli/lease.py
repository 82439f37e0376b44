"""`wanpool acquire`, `renew`, `release`: leases for shell scripts; `wanpool revoke`: those of others."""

import argparse
from collections.abc import Iterable, Iterator, Sequence

from redis_wanpool import ANY, Operator
from redis_wanpool.cli.leases import add_filters, wanted
from redis_wanpool.cli.verb import DONE, NO, Verbs, answer, choose_wans, operator_of
from redis_wanpool.errors import InvalidValue, LeaseLost
from redis_wanpool.model.checks import checked_lease_id
from redis_wanpool.model.endings import CLOSED, OURS, SAID
from redis_wanpool.model.ports import port_numbers, ports_text
from redis_wanpool.model.views import ListedLease
from redis_wanpool.terminal.format import counted, iso, one_line, seconds_of


def add_to(verbs: Verbs) -> None:
    parser = verbs.add(
        acquire,
        "read port id < <(wanpool acquire --wan 0 --ttl 60s --label nightly)",
        "curl --local-port $port https://example.com/; wanpool release $port $id",
        "--ttl 5m --wait 10s --json    # any WAN",
    )
    parser.add_argument("--wan", metavar="K", type=int, action="append", help="(default: any) repeat it for several")
    parser.add_argument("--ttl", metavar="SPAN", required=True, help="how long, like 60s or 5m; see renew")
    parser.add_argument("--wait", metavar="SPAN", default="0", help="how long to wait for a port (default: not at all)")
    parser.add_argument("--label", metavar="L", default="", help="for people")
    parser.add_argument("--port", metavar="PORT", type=int, help="this one, of one WAN")
    parser.add_argument(
        "--sticky", metavar="KEY", help="the WAN of this key, such as an account's name, while it is up"
    )
    parser = verbs.add(renew, "$port $id --ttl 60s")
    _of_one(parser)
    parser.add_argument("--ttl", metavar="SPAN", required=True, help="how long, like 60s or 5m")
    parser = verbs.add(release, "$port $id", "$port $id --unused    # no packet left from it")
    _of_one(parser)
    parser.add_argument("--unused", action="store_true", help="never connected: free for all at once")
    parser.add_argument("--closed", choices=CLOSED, help="how the connection ended (default: time_wait)")
    parser = verbs.add(revoke, "20017", "--holder host1:4242", "--network 'b1*' --wan 0 --dry-run")
    parser.add_argument("ports", metavar="PORTS", nargs="?", help="like 20017,20100-20199")
    parser.add_argument("--wan", metavar="K", type=int, action="append", help="only of this WAN; repeat it")
    parser.add_argument("--lease", metavar="LEASE_ID", help="only this one")
    add_filters(parser)
    parser.add_argument("--dry-run", action="store_true", help="look, and change nothing")


def _of_one(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("port", metavar="PORT", type=int)
    parser.add_argument("lease_id", metavar="LEASE_ID", help="as acquire printed it")


def acquire(options: argparse.Namespace) -> int:
    """Leases a port for a span, without a process that keeps it; prints PORT LEASE_ID."""
    ttl, wait = seconds_of("--ttl", options.ttl), seconds_of("--wait", options.wait)
    with operator_of(options) as operator, operator.pool() as pool:
        how = {"port": options.port, "label": options.label, "sticky": options.sticky}
        lease = pool.acquire(options.wan or ANY, wait=wait, ttl=ttl, detached=True, **how)
        facts = {"lease_id": lease.lease_id, "expires_at_ms": round(lease.expires_at * 1000)}
        told = [f"{lease.port} {lease.lease_id}"]
        answer(options, told, namespace=pool.namespace, wan_idx=lease.wan_idx, port=lease.port, **facts)
    return DONE


def renew(options: argparse.Namespace) -> int:
    """Prolongs a lease to a span from now; it never gets shorter."""
    port, lease_id, ttl = options.port, checked_lease_id(options.lease_id), seconds_of("--ttl", options.ttl)
    with operator_of(options) as operator:
        wan_idx = operator.wan_of(port)
        expires_at_ms, ended = None, None
        try:
            expires_at_ms = round(operator.renew(wan_idx, port, lease_id, ttl) * 1000)
            said = f"expires at {iso(expires_at_ms)}"
        except LeaseLost as error:
            ended, said = error.reason, _how(error.reason)
        facts = {"renewed": ended is None, "expires_at_ms": expires_at_ms, "ended": ended}
        told = [f"port {port} of WAN {wan_idx} (namespace {operator.namespace!r}): {said}"]
        answer(options, told, namespace=operator.namespace, wan_idx=wan_idx, port=port, **facts)
    return DONE if ended is None else NO


def release(options: argparse.Namespace) -> int:
    """Gives a lease back."""
    port, lease_id = options.port, checked_lease_id(options.lease_id)
    with operator_of(options) as operator:
        wan_idx = operator.wan_of(port)
        ended = operator.release(wan_idx, port, lease_id, used=not options.unused, closed=options.closed or "time_wait")
        ours = ended in OURS
        told = [f"port {port} of WAN {wan_idx} (namespace {operator.namespace!r}): {_how(ended)}"]
        answer(options, told, namespace=operator.namespace, wan_idx=wan_idx, port=port, released=ours, ended=ended)
    return DONE if ours else NO


def _how(word: str) -> str:
    return SAID.get(word, "no such lease lives: it ended, and the port has gone on since; or the LEASE_ID is not of it")


def revoke(options: argparse.Namespace) -> int:
    """Ends the leases of others; their holders learn it at their next heartbeat, the ports cool."""
    chosen = (options.ports, options.lease, options.holder, options.network, options.label)
    if all(choice is None for choice in chosen):
        raise InvalidValue("say whose leases to end: PORTS, --lease, --holder, --network or --label")
    ports = None if options.ports is None else set(port_numbers(ports_text(options.ports)))
    is_wanted = wanted(options)

    def is_chosen(lease: ListedLease) -> bool:
        return is_wanted(lease) and (ports is None or lease.port in ports) and options.lease in (None, lease.lease_id)

    ended: list[dict[str, object]] = []
    with operator_of(options) as operator:
        wans = choose_wans(operator, options.wan)
        if ports is not None:  # no other WAN's leases need be looked through
            others = {wan_idx for wan_idx, mine in operator.ports_by_wan().items() if ports.isdisjoint(mine)}
            wans = [wan_idx for wan_idx in wans if wan_idx not in others]
        _refuse_namesakes(options.holder, filter(is_chosen, _leases(operator, wans)))
        for wan_idx in wans:
            for page in operator.lease_pages(wan_idx):
                leases = list(filter(is_chosen, page))
                words = dict.fromkeys((lease.port for lease in leases), "live")
                if not options.dry_run:
                    words = operator.revoke(wan_idx, leases)
                for lease in leases:
                    one = {"wan_idx": wan_idx, "port": lease.port, "holder": lease.holder, "ended": words[lease.port]}
                    ended.append(one)
                    if not options.json:
                        print(one_line(f"port {lease.port} of WAN {wan_idx}, held by {lease.holder}: {one['ended']}"))
        did = "would end" if options.dry_run else "ended; their ports cool, and their holders learn it soon"
        told = [f"{counted(len(ended), 'lease')} (namespace {operator.namespace!r}) {did}"]
        answer(options, told, namespace=operator.namespace, dry_run=options.dry_run, leases=ended)
    return DONE if ended else NO


def _leases(operator: Operator, wans: Sequence[int]) -> Iterator[ListedLease]:
    for wan_idx in wans:
        for page in operator.lease_pages(wan_idx):
            yield from page


def _refuse_namesakes(named: str | None, leases: Iterable[ListedLease]) -> None:
    """Refuses a host:pid that several holders have, as process 1 of two containers with one host name."""
    if named is None or not named.rpartition(":")[2].isdecimal():
        return
    holders = sorted({lease.holder for lease in leases if f"{lease.host}:{lease.pid}" == named})
    if len(holders) > 1:
        raise InvalidValue(
            f"--holder {named!r} fits {len(holders)} holders, so nothing was done: {', '.join(holders)}; name one of "
            f"them, or all: --holder '{named}:*'"
        )
