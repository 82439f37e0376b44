"""Refuses phrases that a native technical editor would change: in docstrings, comments, messages and pages.

python tests/support/english.py          # each finding with its line; fails if there is one
python tests/support/english.py --list   # how many there are in each folder, also in those that are left for later
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
LOOKED_AT = [f"{folder}/**/*.py" for folder in ("redis_wanpool", "tests", "bench")]
LOOKED_AT += ["redis_wanpool/doctor/*.toml", "lua/**/*", "docs/**/*.md", "*.md", "*.py"]
LATER = {
    "redis_wanpool/cli": "what operators read is edited as a whole, in both languages",
    "redis_wanpool/doctor": "the same",
    "redis_wanpool/tuning": "the same",
    "redis_wanpool/routers": "the same",
    "tests": "users do not read it",
    "bench": "the same",
}
"""what is not refused yet, and why"""

_OWN = r"(?:one's|its|their|our|your|my|his|her) own"
_ALONE = r"(?:itself|himself|themselves)"
_ACTS = (
    r"(?:ask|become|begin|come|end|expire|free|go|happen|move|refuse|renew|restart|return|settle|start|stop)"
    r"(?:s|d|ed|ped)?"
)
PHRASES = {
    r"whoever": "any client that, every process that",
    r"(?:by|for|from|of|than|that|to|which|with) who": 'a noun: "for who waits" -> "for waiters"',
    r"(?:so (?:is|are|does|do)|nor (?:is|are|does|do)) who": "a noun before who",
    r"(?:what|whatever)(?: else)? (?:stands|stood)": 'the thing itself: "the value", "the definition in Redis"',
    r"such a one": "it, one of these",
    r"anew": "again, a new one",
    r"so (?:many|long)(?! as)(?![^.;]* that)": 'that many, this long; "at least so many" -> "at least that many"',
    rf"of {_OWN}": 'its own: "a server of its own" -> "its own server"',
    rf"{_ACTS}(?: \S+){{0,3}} by {_ALONE}": "automatically, without help",
    r"belongs? into": "belongs in",
    r"(?<!\bpart )of late": "recently",
    r"to be had": "available",
    r"what (?:came|comes|will come|may yet come) of": "the result of",
    r"for (?:it|there|they|nobody|one) (?:are|can|did|does|had|has|have|is|knows?|may|was|were|will|would)": "because",
}
"""what is refused -> what to write in its place"""
_REFUSED = [(re.compile(rf"\b(?:{phrase})\b", re.IGNORECASE), better) for phrase, better in PHRASES.items()]
_WHO = (
    r'(?:^|(?<=[.;!] )|(?<=\*\*)|(?<=[-|#] ))"?'
    r"Who (?!we |this |it |they )\w+(?![^.]*(?:\?|\b(?:what|which|how|when)\b))"
)
"""a clause in place of a noun; not a question, nor one that is only mentioned: "Who holds how many ports" """
_REFUSED.append((re.compile(_WHO), 'a noun: "Who asks may" -> "A caller may"'))

ALLOWED = {("lua/README.md", "Who wins"): "the name of a rule: it answers this question"}
"""rightful uses: a file and the words, and why they are right; one that is not needed is refused"""


class Finding(NamedTuple):
    """A phrase in its place."""

    file: str
    line: int
    words: str
    better: str


class Passage:
    """A text that may go over several lines, with the line on which each part stands."""

    def __init__(self, parts: list[tuple[int, str]]) -> None:
        self._starts: list[int] = []
        self._lines: list[int] = []
        self.text = ""
        for line, part in parts:
            self.text += " " if self.text else ""
            self._starts.append(len(self.text))
            self._lines.append(line)
            self.text += " ".join(part.split())

    def line(self, at: int) -> int:
        return self._lines[bisect_right(self._starts, at) - 1]


def of_python(source: str) -> Iterator[Passage]:
    """The strings of a program, put together as Python does, and its comments."""
    inside = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            inside |= {id(part) for part in node.values}
            words = [str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values]
            yield Passage([(node.lineno, "".join(words))])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield from paragraphs(node.value, node.lineno)
    comments = [
        token for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type == tokenize.COMMENT
    ]
    yield from together([(token.start[0], token.string.lstrip("#: ")) for token in comments])


def of_lua(source: str) -> Iterator[Passage]:
    """The comments of a script."""
    lines = enumerate(source.splitlines(), start=1)
    yield from together([(number, line.partition("--")[2]) for number, line in lines if "--" in line])


def of_markdown(source: str) -> Iterator[Passage]:
    """The paragraphs, list items and table rows of a page, without its code."""
    text = re.sub(r"^ *```.*?^ *```$", lambda code: "\n" * code[0].count("\n"), source, flags=re.MULTILINE | re.DOTALL)
    yield from paragraphs(re.sub(r"`[^`\n]*`", "`x`", text), 1)


def of_toml(source: str) -> Iterator[Passage]:
    """The texts of a table."""
    for number, line in enumerate(source.splitlines(), start=1):
        if match := re.fullmatch(r"\w+ = [\"'](.*)[\"']", line):
            yield Passage([(number, match[1])])


def together(lines: list[tuple[int, str]]) -> Iterator[Passage]:
    """Lines that follow each other are one passage."""
    block: list[tuple[int, str]] = []
    for number, line in lines:
        if block and number != block[-1][0] + 1:
            yield Passage(block)
            block = []
        block.append((number, line))
    if block:
        yield Passage(block)


def paragraphs(text: str, first: int) -> Iterator[Passage]:
    """A text in passages; an empty line, a list item and a table row each begin another one."""
    block: list[tuple[int, str]] = []
    for number, line in enumerate(text.split("\n"), start=first):
        if block and (not line.strip() or re.match(r"\s*(?:[-*|#]|\d+\.) ?", line)):
            yield Passage(block)
            block = []
        if line.strip():
            block.append((number, line))
    if block:
        yield Passage(block)


READERS = {".py": of_python, ".toml": of_toml, ".lua": of_lua, ".md": of_markdown}


def in_text(source: str, suffix: str, file: str = "") -> Iterator[Finding]:
    """What is refused in a text."""
    for passage in READERS[suffix](source):
        for pattern, better in _REFUSED:
            for match in pattern.finditer(passage.text):
                yield Finding(file, passage.line(match.start()), match[0], better)


def later(file: str) -> bool:
    return any(file == place or file.startswith(place + "/") for place in LATER)


def main() -> None:
    files = {path for pattern in LOOKED_AT for path in ROOT.glob(pattern) if path.suffix in READERS}
    found = [
        finding
        for path in sorted(files)
        for finding in in_text(path.read_text(encoding="utf-8"), path.suffix, path.relative_to(ROOT).as_posix())
        if path != Path(__file__)
    ]
    used = {(one.file, words) for one in found for file, words in ALLOWED if one.file == file and words in one.words}
    found = [one for one in found if not any(one.file == file and words in one.words for file, words in used)]
    if "--list" in sys.argv:
        counts = Counter("/".join(one.file.split("/")[: 2 if one.file[0] in "rd" else 1]) for one in found)
        for place, count in sorted(counts.items()):
            print(f"{count:4}  {place}{'  (later)' if later(place) else ''}")
        return
    refused = [one for one in found if not later(one.file)]
    for one in refused:
        print(f"{one.file}:{one.line}: {one.words!r}: write {one.better}")
    for file, words in ALLOWED.keys() - used:
        print(f"tests/support/english.py: {file} no longer has {words!r}; take it out of ALLOWED")
    sys.exit(bool(refused or ALLOWED.keys() - used))


if __name__ == "__main__":
    main()
