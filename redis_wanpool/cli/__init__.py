"""The command line: `wanpool`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from redis_wanpool import __version__
from redis_wanpool.backend import has_password
from redis_wanpool.errors import BackendUnavailable, InvalidValue, WanpoolError

DONE, NO, USAGE, UNREACHABLE = 0, 1, 2, 3

Command = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; answers with its exit code: 0 done, 1 no, 2 usage, 3 Redis unreachable."""
    options = _parser().parse_args(argv)
    try:
        if getattr(options, "config", None):
            os.environ["WANPOOL_CONFIG"] = options.config
        _refuse_password(getattr(options, "url", None))
        command: Command = options.command
        return command(options)
    except InvalidValue as error:
        return _fail(error, USAGE)
    except BackendUnavailable as error:
        return _fail(error, UNREACHABLE)
    except WanpoolError as error:
        return _fail(error, NO)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `wanpool status | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def _fail(error: WanpoolError, code: int) -> int:
    print(f"wanpool: {error}", file=sys.stderr)
    return code


def _refuse_password(url: str | None) -> None:
    if url is not None and has_password(url):
        raise InvalidValue(
            "a password on the command line is seen by everybody on this machine; set WANPOOL_URL, or url in a "
            "wanpool.toml that only its owner can read"
        )


def _parser() -> argparse.ArgumentParser:
    from redis_wanpool.cli import adopt, define, demo, doctor, embedded, operate, status

    parser = argparse.ArgumentParser(
        prog="wanpool",
        description="Source ports of WAN lines, leased through Redis.",
        epilog="exit codes: 0 done, 1 no, 2 usage, 3 Redis unreachable",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for module in (demo, define, adopt, status, operate, doctor, embedded):
        module.add_to(verbs)
    return parser


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
