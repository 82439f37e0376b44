"""One small wrong per promise, and the tests that must notice it, as mutants.txt tells them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mutant:
    """What is changed, and where the suite has to fail for it."""

    promise: str
    name: str
    file: str
    old: str
    new: str
    tests: str
    chosen: str = ""
    """a selection among the tests, as pytest's -k"""

    def misplaced(self, root: Path) -> str:
        """ "" if what it changes, and the tests that notice it, are there, or what is wrong."""
        for path in (self.file, *self.tests.split(" ")):
            if not (root / path).is_file():
                return f"there is no {path}"
        times = (root / self.file).read_text(encoding="utf-8").count(self.old)
        return "" if times == 1 else f"{self.file} has it {times} times, not once: {self.old!r}"


def read(text: str) -> Iterator[Mutant]:
    """The mutants of a text whose paragraphs are, after the first, a promise or a mutant."""
    promise = ""
    for name, *lines in map(str.splitlines, text.split("\n\n")[1:]):
        if name.startswith("== "):
            promise = name[3:]
            continue
        file, old, new, tests = ("\n".join(line[2:] for line in lines if line[0] == mark) for mark in "@-+?")
        tests, _, chosen = tests.partition(" -k ")
        yield Mutant(promise, name, file, old, new, tests, chosen)


MUTANTS = list(read(Path(__file__).with_suffix(".txt").read_text(encoding="utf-8")))
