"""What all verbs share: their options, and the exit codes."""

from __future__ import annotations

import argparse
from collections.abc import Callable

DONE, NO, USAGE, UNREACHABLE, NOT_ELEVATED = 0, 1, 2, 3, 77
"""77 is EX_NOPERM of sysexits(3)"""

Command = Callable[[argparse.Namespace], int]


def add_verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    command: Command,
    text: str,
    examples: str,
) -> argparse.ArgumentParser:
    """A verb with the options that all verbs share."""
    parser = verbs.add_parser(
        name,
        help=text[0].lower() + text[1:].rstrip("."),
        description=text,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=command)
    common = parser.add_argument_group("common options")
    common.add_argument("--url", help="Redis, without a password (default: WANPOOL_URL, wanpool.toml, embedded server)")
    common.add_argument("--namespace", help='the pool of WANs (default: WANPOOL_NAMESPACE, wanpool.toml, "default")')
    common.add_argument("--config", metavar="FILE", help="the wanpool.toml to use (default: WANPOOL_CONFIG)")
    common.add_argument("--json", action="store_true", help="facts as JSON")
    return parser
