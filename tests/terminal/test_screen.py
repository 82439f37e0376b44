"""What is drawn with letters, and the keys that are heard."""

from __future__ import annotations

import os
import pty
import sys
from typing import Any

import pytest

from redis_wanpool.cli.watching import View
from redis_wanpool.terminal.keyboard import Keyboard
from redis_wanpool.terminal.screen import bar, sparks


@pytest.mark.parametrize(
    ("parts", "drawn"),
    [
        ({"leased": 1, "cooling": 1, "free": 9998}, "█▒········"),
        ({"leased": 9999, "withheld": 1}, "█████████x"),
        ({"leased": 0, "free": 5}, "··········"),
        ({}, "··········"),
        ({"leased": 5, "cooling": 5}, "█████▒▒▒▒▒"),
        ({"leased": 3, "cooling": 3, "withheld": 3, "free": 1}, "███▒▒▒xxx·"),
    ],
)
def test_a_bar_has_a_cell_for_what_is_there(parts: dict[str, int], drawn: str) -> None:
    assert bar(parts, 10) == drawn


def test_sparks_rise_with_the_numbers() -> None:
    assert sparks([0, 1, 2, 7]) == "▁▂▃█" and sparks([]) == "" and sparks([0, 0]) == "▁▁"


def test_keys_are_told_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    with open(slave, encoding="utf-8") as stdin, monkeypatch.context() as context:  # noqa: PTH123 - a descriptor
        context.setattr(sys, "stdin", stdin)
        keyboard = Keyboard()
        with keyboard.listening():
            assert keyboard.hears and keyboard.read(0) == []
            os.write(master, "a\x1b[A\x1bOB电".encode())
            heard: list[str] = []
            while len(heard) < 4:
                heard += keyboard.read(20)
            assert heard == ["a", "\x1b[A", "\x1bOB", "电"]
            keyboard.wake()
            assert keyboard.read(20) == []
        assert not keyboard.hears
    os.close(master)


def test_there_may_be_no_keyboard(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for stdin in (None, (tmp_path / "no-terminal").open("w+")):
        monkeypatch.setattr(sys, "stdin", stdin)
        keyboard = Keyboard()
        with keyboard.listening():
            assert not keyboard.hears
            keyboard.wake()
    stdin.close()


def test_what_keys_do() -> None:
    view = View()
    for key in ("j", "\x1b[B", "k", "s", "/", "n", "q", "x", "\x7f", "\r"):
        view.press(key)
    assert (view.first, view.by_name, view.filter, view.is_typing, view.ended) == (0, True, "nq", False, False)
    view.press("\x1b")
    view.press("q")
    assert (view.filter, view.ended) == ("", True)
