"""Reads a command line, and runs its verb."""

import argparse
import os
import sys
from collections.abc import Sequence

from redis_wanpool import __version__, settings
from redis_wanpool.cli import (
    acl,
    adopt,
    demo,
    doctor,
    events,
    explain,
    health,
    init,
    lease,
    leases,
    lua,
    metrics,
    namespaces,
    operate,
    proxy,
    router,
    run,
    server,
    status,
    tune,
    web,
)
from redis_wanpool.cli.verb import DONE, NO, NOT_ELEVATED, UNREACHABLE, USAGE, Command, Verbs
from redis_wanpool.errors import BackendUnavailable, InvalidValue, WanpoolError
from redis_wanpool.terminal.format import one_line
from redis_wanpool.terminal.language import hint, said, speak_anywhere
from redis_wanpool.transport.url import has_password
from redis_wanpool.tuning import NotElevated


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; answers with its exit code: 0 done, 1 no, 2 usage, 3 Redis unreachable, 77 not permitted."""
    speak_anywhere()
    options = command_line().parse_args(argv)
    try:
        if getattr(options, "config", None):
            os.environ["WANPOOL_CONFIG"] = options.config
        _refuse_password(getattr(options, "url", None))
        command: Command = options.command
        _say_whose_settings(options)
        code = command(options)
        sys.stdout.flush()
        return code
    except WanpoolError as error:
        return _fail(error)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `wanpool status | head`: nobody reads on
        _say_no_more()
        return DONE
    except OSError as error:  # a full disk behind standard output, a file that went away
        _say_no_more()
        return _fail(WanpoolError(": ".join(filter(None, (error.filename, error.strerror or str(error))))))


def _say_no_more() -> None:
    """What could not be printed is not tried again when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(error: WanpoolError) -> int:
    before = hint(error)
    print(f"wanpool: {before}{'：' if before else ''}{one_line(str(error))}", file=sys.stderr)
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), NO)


_CODES = {InvalidValue: USAGE, BackendUnavailable: UNREACHABLE, NotElevated: NOT_ELEVATED}


def _say_whose_settings(options: argparse.Namespace) -> None:
    """Names the wanpool.toml that nobody named, before it changes WANs or the system."""
    acts = any(options.command.__module__ == module.__name__ for module in (init, operate, tune))
    only_shows = getattr(options, "show", False) or getattr(options, "what", None) in ("show", "plan")
    if acts and not only_shows and not settings.is_chosen() and (found := settings.find()):
        print(said("settings of {file}", file=one_line(str(found.absolute()))), file=sys.stderr)


def _refuse_password(url: str | None) -> None:
    if url is not None and has_password(url):
        raise InvalidValue(
            "a password on the command line is seen by everybody on this machine; set WANPOOL_URL, or url in a "
            "wanpool.toml that only its owner can read"
        )


def command_line() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="wanpool",
        description="Source ports of WAN lines, leased through Redis.",
        epilog="exit codes: 0 done, 1 no, 2 usage, 3 Redis unreachable, 77 only an administrator may",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    verbs = Verbs(parser)
    seeing, acting = (status, leases, explain, events, namespaces), (lease, run, proxy, operate)
    for module in (demo, init, adopt, *seeing, *acting, health, metrics, web, doctor, tune, router, acl, lua, server):
        module.add_to(verbs)
    return parser
