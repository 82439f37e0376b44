"""The grammar of the command line: common options before or behind the verb, and typos told from what was meant."""

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import NoReturn

from redis_wanpool.errors import InvalidValue
from redis_wanpool.terminal.format import one_line

ALIASES = {"-h": "help", "--help": "help", "--version": "version"}


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are errors like all others: one line, with what may have been meant."""

    @property
    def actions(self) -> Sequence[argparse.Action]:
        """All that it takes: options and arguments."""
        return self._actions

    def error(self, message: str) -> NoReturn:
        if found := re.search(r"invalid choice: '?(.*?)'? \(choose from (.*)\)$", message):
            message += did_you_mean(found[1], re.findall(r"[^', ]+", found[2]))
        verb = self.prog.partition(" ")[2]
        raise InvalidValue(
            one_line(f"{verb}: {message} (wanpool help {verb})" if verb else f"{message} (wanpool help)")
        )


class CommandLine(Parser):
    """The parser of the whole command line."""

    def __init__(self) -> None:
        super().__init__(prog="wanpool", add_help=False, description="Source ports of WAN lines, leased through Redis.")
        self.groups: dict[str, dict[str, Parser]] = {}  #: title -> verb -> its parser
        self.common = Parser(prog="wanpool", add_help=False)  #: the options of all verbs
        common = self.common.add_argument_group("common options, before or behind the verb")
        common.add_argument(
            "--url", help="Redis, without a password (default: WANPOOL_URL, wanpool.toml, embedded server)"
        )
        common.add_argument(
            "--namespace", help='the pool of WANs (default: WANPOOL_NAMESPACE, wanpool.toml, "default")'
        )
        common.add_argument("--config", metavar="FILE", help="the wanpool.toml to use (default: WANPOOL_CONFIG)")
        common.add_argument("--json", action="store_true", help="facts as JSON")

    @property
    def verbs(self) -> dict[str, Parser]:
        return {verb: parser for group in self.groups.values() for verb, parser in group.items()}

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """The options of a command line; raises InvalidValue with what may have been meant."""
        words = self._in_order(sys.argv[1:] if args is None else args)
        options, left = self.parse_known_args(words, namespace)
        if left:
            self.verbs[words[0]].error(f"too much: {' '.join(left)}")
        return options

    def _in_order(self, words: Sequence[str]) -> list[str]:
        """The verb, then its options, then the common options that stood before it."""
        rest, before = list(words), []
        while rest and rest[0].startswith("-") and rest[0] not in ALIASES:
            taken = self._taken(self.common, rest[0])
            before += rest[:taken]
            del rest[:taken]
        verb, *behind = rest or ["help"]
        verb = ALIASES.get(verb, verb)
        if verb not in self.verbs:
            near = did_you_mean(verb, self.verbs)
            raise InvalidValue(one_line(f"there is no command {verb!r}{near} (wanpool help)"))
        self._check(self.verbs[verb], behind)
        return [verb, *before, *behind]

    def _check(self, parser: Parser, words: Sequence[str]) -> None:
        """Refuses an option that the verb does not have, before another one is missed because of it."""
        takes_all = any(action.nargs == argparse.REMAINDER for action in parser.actions)
        at = 0
        while at < len(words) and words[at] != "--":
            if re.match(r"-\D", words[at]):
                at += self._taken(parser, words[at])
            elif takes_all:
                return
            else:
                at += 1

    def _taken(self, parser: Parser, word: str) -> int:
        """How many words an option takes, with its value if that is a word; raises InvalidValue if there is none."""
        name, sign, _ = word.partition("=")
        known = {option: action for action in parser.actions for option in action.option_strings}
        meant = [name] if name in known else [one for one in known if name.startswith("--") and one.startswith(name)]
        if not meant:
            near = did_you_mean("--" + name.lstrip("-"), known)
            parser.error(f"there is no option {name}{near}")
        return 1 if sign or known[meant[0]].nargs == 0 else 2


def did_you_mean(word: str, names: Iterable[str]) -> str:
    near = get_close_matches(word, list(names), 1)
    return f". Did you mean {near[0]}?" if near else ""
