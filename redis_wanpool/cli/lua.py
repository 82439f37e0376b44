"""`wanpool lua`: the scripts as Redis has them."""

import argparse
import re

from redis_wanpool.cli.verb import DONE, Verbs, answer
from redis_wanpool.errors import InvalidValue
from redis_wanpool.protocol.scripts import Script, names, script


def add_to(verbs: Verbs) -> None:
    parser = verbs.add(
        lua,
        "             # all scripts, with the SHA1 that EVALSHA and SLOWLOG show",
        "acquire",
        "acquire --json | jq -r .source",
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help="a script, like acquire (default: list all)")


def lua(options: argparse.Namespace) -> int:
    """Prints a script as Redis runs it, with the line numbers of its errors (user_script:17); asks no Redis."""
    if options.name is None:
        found = [script(name) for name in names()]
        width = max(len(one.name) for one in found)
        lines = [f"{one.name:{width}}  {one.sha}  {first_sentence(one)}" for one in found]
        rows = [{"name": one.name, "sha1": one.sha, "what": first_sentence(one)} for one in found]
        answer(options, lines, scripts=rows)
        return DONE
    if options.name not in names():
        raise InvalidValue(f"no script {options.name!r}; there are {', '.join(names())}")
    one = script(options.name)
    source = one.source.splitlines()
    width = len(str(len(source)))
    lines = [f"{number:{width}}  {line}".rstrip() for number, line in enumerate(source, 1)]
    answer(options, [f"{one.name}  SHA1 {one.sha}", *lines], name=one.name, sha1=one.sha, source=one.source)
    return DONE


def first_sentence(one: Script) -> str:
    """What the script does, by the beginning of its header."""
    header = " ".join(re.findall(r"^-- (.*)", one.source, re.MULTILINE)[:4])
    return re.split(r"(?<=[.:]) ", header)[0].rstrip(":") if header else ""
