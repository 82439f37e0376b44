"""Operators read their language, on any console; each text has its Chinese, with the same fields."""

from __future__ import annotations

import ast
import fnmatch
import io
import string
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import redis_wanpool
from redis_wanpool import errors
from redis_wanpool.doctor import finding
from redis_wanpool.terminal import language
from redis_wanpool.tuning import NotElevated

PACKAGE = Path(redis_wanpool.__file__).parent
FINDINGS = tomllib.loads((PACKAGE / "doctor/findings.toml").read_text(encoding="utf-8"))
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


def calls(*names: str) -> Iterator[tuple[str, ast.Call]]:
    """Each place where the package calls a function of that name."""
    for path in sorted(set(PACKAGE.rglob("*.py")) - {Path(language.__file__), Path(finding.__file__)}):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", node


def fields(*texts: str) -> set[str]:
    """The names of their fields, of {line.name} the first one."""
    named = {name for text in texts for _, name, _, _ in string.Formatter().parse(text) if name is not None}
    return {name.partition(".")[0] for name in named}


def words_of(call: ast.Call) -> list[str]:
    """The text, and the table of its Chinese."""
    return [*(str(one.value) for one in call.args if isinstance(one, ast.Constant)), "texts"][:2]


def given(call: ast.Call) -> set[str]:
    return {str(keyword.arg) for keyword in call.keywords}


def said_texts() -> set[tuple[str, ...]]:
    """All that is said: the table of its Chinese, and its English."""
    in_code = {(table, english) for english, table in (words_of(call) for _, call in calls("said", "tell"))}
    return in_code | {("texts", text) for texts in FINDINGS.values() for text in texts.values()}


def test_each_text_stands_as_it_is_in_the_code() -> None:
    found = list(calls("said", "tell"))
    assert not [place for place, call in found if not all(isinstance(one, ast.Constant) for one in call.args)]
    assert len(found) > 200


def test_each_text_has_its_chinese() -> None:
    assert not {(table, english) for table, english in said_texts() if english not in CATALOGUE[table]}


def test_the_catalogue_has_nothing_that_nobody_says() -> None:
    texts = {(table, english) for table in CATALOGUE.keys() - {"errors"} for english in CATALOGUE[table]}
    assert not texts - said_texts()


def test_each_text_gets_its_fields_in_both_languages() -> None:
    wrong = []
    for place, call in calls("said", "tell"):
        english, table = words_of(call)
        if fields(english, CATALOGUE[table][english]) != given(call):
            wrong.append(f"{place}: {english!r}")
    assert not wrong, "\n".join(wrong)


def names_of(node: ast.expr, function: ast.AST) -> set[str]:
    """The findings that an expression names."""
    if isinstance(node, ast.Constant):
        return {str(node.value)}
    if isinstance(node, ast.IfExp):
        return names_of(node.body, function) | names_of(node.orelse, function)
    if isinstance(node, ast.JoinedStr):
        pattern = "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values)
        return set(fnmatch.filter(FINDINGS, pattern))
    assert isinstance(node, ast.Name), ast.unparse(node)
    named = [one for one in ast.walk(function) if isinstance(one, ast.Assign)]
    return {name for one in named if ast.unparse(one.targets[0]) == node.id for name in names_of(one.value, function)}


def test_each_finding_has_its_texts_and_gets_their_fields() -> None:
    used, wrong = set(), []
    for path in [*sorted(Path(finding.__file__).parent.glob("*.py")), PACKAGE / "cli/doctor.py"]:
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for call in ast.walk(function) if isinstance(function, ast.FunctionDef) else ():
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "found":
                    names = names_of(call.args[1], function)
                    texts = [FINDINGS.get(name, {}) for name in names]
                    used |= names
                    seen = all("seen" in one for one in texts) or "seen" in given(call)
                    wanted = fields(*(text for one in texts for text in in_both(one)))
                    if not names or not seen or wanted != given(call) - {"code", "seen", "means", "cure"}:
                        wrong.append(f"{path.name}:{call.lineno}: {ast.unparse(call)}")
    assert not wrong, "\n".join(wrong)
    assert not FINDINGS.keys() - used


def in_both(texts: dict[str, str]) -> list[str]:
    return [*texts.values(), *(CATALOGUE["texts"][text] for text in texts.values())]


def test_errors_have_a_hint_in_chinese(chinese: None) -> None:
    kinds = [*(kind for kind in vars(errors).values() if isinstance(kind, type)), NotElevated]
    assert not set(CATALOGUE["errors"]) - {kind.__name__ for kind in kinds}
    assert language.hint(errors.PoolClosed("closed")) == ""
    assert language.hint(NotElevated("root may")) == "需要管理员权限"
