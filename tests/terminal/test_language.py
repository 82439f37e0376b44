"""Operators read their language, on any console."""

from __future__ import annotations

import ast
import io
import re
import string
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import redis_wanpool
from redis_wanpool import errors
from redis_wanpool.terminal import language
from redis_wanpool.tuning import NotElevated

PACKAGE = Path(redis_wanpool.__file__).parent
CATALOGUE = tomllib.loads((PACKAGE / "terminal/zh.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("environment", "zh"),
    [
        ({"LANG": "zh_CN.UTF-8"}, True),
        ({"LANG": "zh_TW", "LC_ALL": "C"}, False),
        ({"LANG": "de_DE", "LC_MESSAGES": "zh_CN"}, True),
        ({"LC_ALL": "", "LANG": "zh_CN"}, True),
        ({}, False),
    ],
)
def test_the_language_is_the_users(environment: dict[str, str], zh: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    language.chinese.cache_clear()
    try:
        assert language.said("free") == ("空闲" if zh else "free")
    finally:
        language.chinese.cache_clear()


def test_a_console_without_the_characters_shows_question_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    console = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(console, encoding="cp850", write_through=True))
    language.speak_anywhere()
    print("空 ports")
    assert console.getvalue().split() == [b"?", b"ports"]


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Each place where the package says something in the user's language."""
    for path in sorted(set(PACKAGE.rglob("*.py")) - {Path(language.__file__)}):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("said", "tell"):
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", node


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def words_of(call: ast.Call) -> list[str]:
    """The text, and the table of its Chinese."""
    return [*(str(one.value) for one in call.args if isinstance(one, ast.Constant)), "texts"][:2]


def test_each_text_stands_as_it_is_in_the_code() -> None:
    assert not [place for place, call in calls() if not all(isinstance(one, ast.Constant) for one in call.args)]
    assert len(list(calls())) > 300


def test_each_text_has_its_chinese_with_its_fields() -> None:
    wrong = []
    for place, call in calls():
        english, table = words_of(call)
        chinese = CATALOGUE[table].get(english)
        given = {keyword.arg for keyword in call.keywords}
        named = fields(english) | fields(chinese or "")
        if chinese is None or given != {re.split(r"[.\[]", name)[0] for name in named}:
            wrong.append(f"{place}: {english!r}: {chinese!r}")
    assert not wrong, "\n".join(wrong)


def test_the_catalogue_has_nothing_that_nobody_says() -> None:
    said = {(table, english) for english, table in (words_of(call) for _, call in calls())}
    texts = {(table, english) for table in CATALOGUE.keys() - {"errors"} for english in CATALOGUE[table]}
    assert not texts - said


def test_errors_have_a_hint_in_chinese(chinese: None) -> None:
    kinds = [*(kind for kind in vars(errors).values() if isinstance(kind, type)), NotElevated]
    assert not set(CATALOGUE["errors"]) - {kind.__name__ for kind in kinds}
    assert language.hint(errors.PoolClosed("closed")) == ""
    assert language.hint(NotElevated("root may")) == "需要管理员权限"
