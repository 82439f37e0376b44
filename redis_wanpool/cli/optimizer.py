"""The old names of `wanpool tune`: generate_optimization_suggestions, print_optimization_guide, and a module to run."""

import argparse
from collections.abc import Sequence

from redis_wanpool.cli import main as wanpool
from redis_wanpool.cli.tune import planned, pool_ports, shown
from redis_wanpool.errors import WanpoolError
from redis_wanpool.terminal.language import speak_anywhere, tell
from redis_wanpool.tuning import Status, TuningError
from redis_wanpool.tuning.machine import this_machine


def generate_optimization_suggestions() -> list[dict[str, str]]:
    """What would help leased ports on this machine: setting, current, recommended, reason. Changes nothing.

    Empty where nothing is to be done, or nothing is known of this system.
    """
    try:
        settings = this_machine().settings(_ports())
    except TuningError:
        return []
    return [
        {
            "setting": one.name,
            "current": one.value or "",
            "recommended": ", ".join(str(change.after) for change in one.changes),
            "reason": one.why,
        }
        for one in settings
        if one.status == Status.SUGGESTION
    ]


def print_optimization_guide() -> None:
    """Prints the settings of this machine, what would help, and how to do it. Changes nothing."""
    speak_anywhere()
    try:
        system = this_machine()
        settings = system.settings(_ports())
    except TuningError as error:
        print(error)
    else:
        print("\n".join([*shown(system, settings), "", *planned(settings)]))
    print()
    tell(
        "To do it, as administrator:   wanpool tune apply\n"
        "To take it back:              wanpool tune undo\n"
        "A port carries 1 / TIME_WAIT connections a second to one destination: 16384 ports carry 137 a second with "
        "120 s, 546 with 30 s.\n"
        "Other programs may be affected, and some settings want a restart: both are told before anything is done.\n"
        "`netsh int ip reset` is no way back: it throws away the machine's IP configuration, addresses, gateways and "
        "DNS servers, and not only what was tuned. Only when nothing else helps."
    )


def _ports() -> set[int]:
    try:
        return pool_ports(argparse.Namespace(ports=None, url=None, namespace=None))[0]
    except WanpoolError:
        return set()


def main(argv: Sequence[str] | None = None) -> int:
    """Shows and advises; with --apply does what `wanpool tune apply` does."""
    parser = argparse.ArgumentParser(prog="win_socket_optimizer", description="Shows this machine's TCP settings.")
    parser.add_argument("--apply", action="store_true", help="as administrator: make the changes (wanpool tune apply)")
    if parser.parse_args(argv).apply:
        return wanpool.main(["tune", "apply"])
    print_optimization_guide()
    return 0
