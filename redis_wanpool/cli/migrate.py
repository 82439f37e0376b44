"""`wanpool migrate`: takes the data of an older version to this one."""

import argparse

from redis_wanpool.cli.verb import DONE, Verbs, answer, choose_wans, operator_of
from redis_wanpool.terminal.language import said


def add_to(verbs: Verbs) -> None:
    parser = verbs.add(migrate, "", "0 1 --namespace prod", "--json")
    parser.add_argument("wans", metavar="WAN", type=int, nargs="*", help="its number (default: all of the namespace)")


def migrate(options: argparse.Namespace) -> int:
    """Takes WANs whose data an older version wrote to this one, with all leases and cool-downs.

    Stop the programs that run the older version first. Leases of those that still run end when their ttl is over; their
    ports cool as ever.
    """
    with operator_of(options) as operator:
        migrated = {wan_idx: operator.migrate(wan_idx) for wan_idx in choose_wans(operator, options.wans or None)}
        namespace = repr(operator.namespace)
        told = (
            said("WAN {wan_idx} (namespace {namespace}): taken to this version", wan_idx=wan_idx, namespace=namespace)
            if is_new
            else said("WAN {wan_idx} (namespace {namespace}): is of this version", wan_idx=wan_idx, namespace=namespace)
            for wan_idx, is_new in migrated.items()
        )
        rows = [{"wan_idx": wan_idx, "migrated": is_new} for wan_idx, is_new in migrated.items()]
        answer(options, told, namespace=operator.namespace, wans=rows)
    return DONE
