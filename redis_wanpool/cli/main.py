"""Reads a command line, and runs its verb."""

import argparse
import os
import sys
from collections.abc import Sequence

from redis_wanpool import settings
from redis_wanpool.cli import (
    acl,
    adopt,
    completion,
    demo,
    doctor,
    events,
    explain,
    health,
    help,
    init,
    lease,
    leases,
    lua,
    metrics,
    migrate,
    namespaces,
    operate,
    proxy,
    router,
    run,
    server,
    status,
    tune,
    version,
    web,
)
from redis_wanpool.cli.parser import CommandLine
from redis_wanpool.cli.verb import DONE, NO, NOT_ELEVATED, UNREACHABLE, USAGE, Command, Verbs
from redis_wanpool.errors import BackendUnavailable, InvalidValue, WanpoolError
from redis_wanpool.terminal.format import one_line
from redis_wanpool.terminal.language import hint, said, speak_anywhere
from redis_wanpool.transport.url import has_password
from redis_wanpool.tuning import NotElevated


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; answers with its exit code: 0 done, 1 no, 2 usage, 3 Redis unreachable, 77 not permitted."""
    try:
        speak_anywhere()
        words = sys.argv[1:] if argv is None else argv
        options = command_line().parse_args(words)
        if options.config:
            os.environ["WANPOOL_CONFIG"] = options.config
        _check_url(options.url)
        command: Command = options.command
        _say_whose_settings(options)
        code = command(options)
        sys.stdout.flush()
        return code if words else USAGE  # it has listed the commands
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
    acts = any(options.command.__module__ == module.__name__ for module in (init, migrate, operate, tune))
    only_shows = getattr(options, "show", False) or getattr(options, "what", None) in ("show", "plan")
    if acts and not only_shows and not settings.is_chosen() and (found := settings.find()):
        print(said("settings of {file}", file=one_line(str(found.absolute()))), file=sys.stderr)


def _check_url(url: str | None) -> None:
    if url is not None and "://" not in url and "@" not in url:  # with an @ it may have a password
        path = url if ":" in url else f"{url}:6379"
        meant = f"unix://{url}" if url.startswith("/") else f"redis://{path}/0"
        raise InvalidValue(
            f"--url {one_line(url)} does not say how to speak to it; did you mean --url {one_line(meant)}?"
        )
    if url is not None and has_password(url):
        raise InvalidValue(
            "a password on the command line is seen by everybody on this machine; set WANPOOL_URL, or url in a "
            "wanpool.toml that only its owner can read"
        )


GROUPS = {
    "see": (status, leases, explain, events, namespaces, doctor, lua, version, help),
    "act": (lease, operate),
    "set up": (init, migrate, adopt, tune, router, acl, completion),
    "run": (run, proxy, health, metrics, web, server, demo),
}
"""what the verbs of each module are for, in the order of `wanpool help`"""


def command_line() -> CommandLine:
    """The parser of the whole command line."""
    line = CommandLine()
    verbs = Verbs(line)
    for group, modules in GROUPS.items():
        verbs.begin(group)
        for module in modules:
            module.add_to(verbs)
    return line
