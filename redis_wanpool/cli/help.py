"""`wanpool help`: all commands in groups, or one with all that it takes."""

import argparse
import shutil
import textwrap
from collections.abc import Iterator

from redis_wanpool.cli.parser import CommandLine, did_you_mean
from redis_wanpool.cli.verb import DONE, Verbs, answer
from redis_wanpool.errors import InvalidValue

EXIT_CODES = "exit codes: 0 done, 1 no, 2 usage, 3 Redis unreachable, 77 only an administrator may, 130 interrupted"


def add_to(verbs: Verbs) -> None:
    parser = verbs.add(help_, "", "status")
    parser.add_argument("verb", metavar="VERB", nargs="?", help="a command, like status (default: lists all)")
    parser.set_defaults(line=verbs.line)


def help_(options: argparse.Namespace) -> int:
    """Lists the commands, or says all about one."""
    line: CommandLine = options.line
    if options.verb is None:
        groups = {
            title: {verb: summary(parser) for verb, parser in group.items()} for title, group in line.groups.items()
        }
        answer(options, overview(line), groups=groups)
        return DONE
    if options.verb not in line.verbs:
        raise InvalidValue(
            f"there is no command {options.verb!r}{did_you_mean(options.verb, line.verbs)} (wanpool help)"
        )
    text = line.verbs[options.verb].format_help()
    answer(options, [text.rstrip()], verb=options.verb, text=text)
    return DONE


def summary(parser: argparse.ArgumentParser) -> str:
    """What a verb does, up to the first stop of its description."""
    text = parser.description or ""
    first = min((at for mark in (". ", "; ", ": ") if (at := text.find(mark)) > 0), default=len(text))
    return text[:1].lower() + text[1:first].rstrip(".")


def overview(line: CommandLine) -> Iterator[str]:
    """All verbs, in groups, as wide as the terminal."""
    yield "usage: wanpool [COMMON OPTIONS] VERB ..."
    yield ""
    yield str(line.description)
    columns = min(shutil.get_terminal_size().columns, 120) - 2
    for title, group in line.groups.items():
        yield ""
        yield f"{title}:"
        for verb, parser in group.items():
            yield from textwrap.wrap(f"  {verb:<11} {summary(parser)}", columns, subsequent_indent=" " * 14)
    yield ""
    yield line.common.format_help().partition("\n\n")[2].rstrip()
    yield ""
    yield "wanpool help VERB says all about one, with examples."
    yield from textwrap.wrap(EXIT_CODES, columns, subsequent_indent=" " * 12)
