"""What all verbs share: their options, and the exit codes."""

import argparse
import json
from collections.abc import Callable, Iterable, Sequence

from redis_wanpool import Operator
from redis_wanpool.cli.parser import CommandLine, Parser
from redis_wanpool.errors import WanNotDefined
from redis_wanpool.model.wan import how_to_define

DONE, NO, USAGE, UNREACHABLE, NOT_ELEVATED = 0, 1, 2, 3, 77  #: 77 is EX_NOPERM of sysexits(3)

Command = Callable[[argparse.Namespace], int]


class Verbs:
    """The verbs of a command line, in groups."""

    def __init__(self, line: CommandLine) -> None:
        self.line = line
        self._verbs = line.add_subparsers(title="verbs", metavar="VERB", required=True, parser_class=Parser)
        self._group: dict[str, Parser] = {}

    def begin(self, group: str) -> None:
        """What is added from now on belongs to this group."""
        self._group = self.line.groups.setdefault(group, {})

    def add(self, command: Command, *examples: str) -> argparse.ArgumentParser:
        """A verb with the name and the text of its function, and the options that all verbs share.

        Args:
            command: the function.
            examples: what follows the verb; or whole lines, which are known by the word wanpool in them.
        """
        verb, text = command.__name__.rstrip("_"), " ".join((command.__doc__ or "").split())
        lines = (line if "wanpool" in line else f"wanpool {verb} {line}".rstrip() for line in examples)
        parser = self._group[verb] = self._verbs.add_parser(
            verb,
            parents=[self.line.common],
            help=text[:1].lower() + text[1:].rstrip("."),
            description=text,
            epilog="\n  ".join(["examples:", *lines]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.set_defaults(command=command)
        return parser


def operator_of(options: argparse.Namespace, *, allow_unsafe: bool = False) -> Operator:
    """An Operator on the Redis and the namespace that the options name."""
    return Operator(options.url, namespace=options.namespace, allow_unsafe=allow_unsafe)


def choose_wans(operator: Operator, chosen: Sequence[int] | None) -> list[int]:
    """The WANs that were asked for, each once; None: all of the namespace.

    Raises:
        WanNotDefined: one of them is not defined, or there is none.
    """
    known, namespace = operator.wans(), operator.namespace
    wans = list(dict.fromkeys(known if chosen is None else chosen))
    missing = next((wan_idx for wan_idx in wans if wan_idx not in known), None)
    if missing is not None:
        there = ", ".join(map(str, known)) or "none"
        raise WanNotDefined(
            f"WAN {missing} (namespace {namespace!r}) is not defined, so nothing was done; the namespace has: {there}. "
            f"Define it, for example with: {how_to_define(missing)}",
            wan_idx=missing,
            namespace=namespace,
        )
    if not wans:
        raise WanNotDefined(
            f"namespace {namespace!r} has no WAN; define one, for example with: {how_to_define()}",
            wan_idx=None,
            namespace=namespace,
        )
    return wans


def answer(options: argparse.Namespace, lines: Iterable[str], **facts: object) -> None:
    """Prints lines for people, or facts where the options ask for JSON."""
    if options.json:
        print_json(**facts)
    else:
        for line in lines:
            print(line)


def print_json(**facts: object) -> None:
    """Prints one document for programs, with the number of its schema."""
    print(json.dumps({"schema": 1, **facts}), flush=True)
