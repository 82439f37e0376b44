"""The documentation is right about this repository: the files that it names, the tests and mutants of each promise."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from mutants import MUTANTS

import redis_wanpool
from redis_wanpool.protocol import scripts

TESTS = Path(__file__).parent
ROOT = TESTS.parent
PLACES = {"redis_wanpool": Path(redis_wanpool.__file__).parent, "lua": scripts.folder(), "tests": TESTS}
"""where these folders are when the suite runs against the installed package"""
PAGES = [
    *ROOT.glob("README*.md"),
    *sorted((ROOT / "docs").rglob("*.md")),
    scripts.folder() / "README.md",
    ROOT / "CONTRIBUTING.md",
]
NAMED = re.compile(r"(?<![\w/.-])(redis_wanpool|lua|tests|docs)/([\w./-]*\w/?)")
PROMISES = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in (ROOT / "docs/promises.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ")
][1:]
"""the rows of the table: number, promise, what can break it, tests, mutants"""


@pytest.mark.parametrize("page", [page for page in PAGES if page.exists()], ids=lambda page: "-".join(page.parts[-2:]))
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    named = NAMED.findall(page.read_text(encoding="utf-8"))
    missing = [f"{top}/{rest}" for top, rest in named if not (PLACES.get(top, ROOT / top) / rest).exists()]
    assert missing == []


def test_the_architecture_names_files() -> None:
    assert len(NAMED.findall((ROOT / "docs/architecture.md").read_text(encoding="utf-8"))) > 50


@pytest.mark.parametrize("row", PROMISES, ids=lambda row: row[1].strip("*").split("**")[0])
def test_the_tests_of_a_promise_exist(row: list[str]) -> None:
    files = [TESTS / name for name in re.findall(r"`([\w/]+(?:\.py|/))`", row[3])]
    assert files and all(file.exists() for file in files)
    classes = {
        node.name
        for file in files
        if file.suffix == ".py"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    }
    assert set(re.findall(r"`(Test\w+)`", row[3])) <= classes


def test_each_mutant_stands_beside_its_promise() -> None:
    named = [name for row in PROMISES for name in row[4].split("; ")]
    assert sorted(named) == sorted(mutant.name for mutant in MUTANTS)
