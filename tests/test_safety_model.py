"""The model of the protocol: nothing wrong with all rules, and something without any one of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from safety_model import QUICK, RULES, Bounds, Search

LARGE = 4
"""more requests, failovers or losses than that take a while: `python tests/safety_model.py` looks at those, too"""


def size(bounds: Bounds) -> int:
    return bounds.sends + bounds.failovers + bounds.losses


def within(bounds: Bounds, value: object) -> Any:
    """A case that takes seconds, if it is large."""
    return pytest.param(value, marks=[pytest.mark.long] * (size(bounds) >= LARGE))


@pytest.mark.parametrize("bounds", [within(bounds, bounds) for bounds in QUICK])
def test_with_all_rules_nothing_goes_wrong(bounds: Bounds) -> None:
    search = Search(bounds)
    assert search.run() is None
    print(f"{search.states} states")
    assert search.states > 10_000


@pytest.mark.parametrize("rule", [within(RULES[rule][2], rule) for rule in RULES if size(RULES[rule][2]) <= LARGE])
def test_without_any_one_of_them_something_does(rule: str) -> None:
    _, wrong, bounds = RULES[rule]
    path = Search(bounds, rule, (wrong,)).run()
    assert path is not None and path[-1] == f"wrong: {wrong}"


def test_the_page_about_it_has_the_same_rules() -> None:
    page = (Path(__file__).parents[1] / "docs/safety.md").read_text(encoding="utf-8")
    table = page.partition("| rule | without it | result |\n")[2].partition("\n\n")[0]
    assert re.findall(r"^\| (\w.*?) \|", table, re.MULTILINE) == list(RULES)
