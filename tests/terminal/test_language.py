"""Operators read their language, on any console."""

from __future__ import annotations

import io
import sys

import pytest

from redis_wanpool.terminal import language


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
        assert language.said("free", "空闲") == ("空闲" if zh else "free")
    finally:
        language.chinese.cache_clear()


def test_a_console_without_the_characters_shows_question_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    console = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(console, encoding="cp850", write_through=True))
    language.speak_anywhere()
    print("空 ports")
    assert console.getvalue().split() == [b"?", b"ports"]
