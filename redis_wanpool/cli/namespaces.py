"""`wanpool namespaces`: which pools of WANs a Redis has."""

import argparse

from redis_wanpool.cli.verb import DONE, NO, Verbs, answer, operator_of
from redis_wanpool.model.ports import port_numbers
from redis_wanpool.terminal.format import one_line, table
from redis_wanpool.terminal.language import said


def add_to(verbs: Verbs) -> None:
    verbs.add(namespaces, "", "--url redis://10.0.0.2/0 --json")


def namespaces(options: argparse.Namespace) -> int:
    """Lists the namespaces of the Redis that have WANs. It looks at the names of all keys, a million at most of each
    server, 1,000 a call, so its user needs the right to SCAN, which no user of `wanpool acl` has.
    """
    with operator_of(options) as operator:
        seen = operator.namespaces()
        rows = [
            {
                "namespace": name,
                "wans": None if wans is None else list(wans),
                "ports": None if wans is None else sum(_count(ports) for ports in wans.values()),
            }
            for name, wans in seen.found.items()
        ]
        lines = [[said("namespace"), "WAN", said("ports")]]
        for name, wans in seen.found.items():
            ports = "" if wans is None else ", ".join(filter(None, wans.values()))
            lines.append([name, "?" if wans is None else str(len(wans)), one_line(ports)[:60]])
        told = table(lines, right=(1,)) if seen.found else [said("no namespace has a WAN")]
        told += [] if seen.is_complete else [said("not all keys were looked at: there may be more")]
        answer(options, told, namespace=operator.namespace, namespaces=rows, complete=seen.is_complete)
        return DONE if seen.found else NO


def _count(ports: str) -> int:
    """How many ports a claim has; 0 if nobody can read it."""
    try:
        return len(port_numbers(ports))
    except ValueError:
        return 0
