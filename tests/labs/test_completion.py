"""Shells that a bare machine lacks complete the command line, too."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from command_line import says
from completing import TYPED, completed


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_zsh_completes() -> None:
    assert completed("zsh", "-f", "-i", prepare="autoload -Uz compinit && compinit -u -D; PS1='$ '") == TYPED


def test_fish_completes() -> None:
    Path("script").write_text(says("completion", "fish"), encoding="utf-8")
    asked = "; ".join(["source script", *(f"complete -C '{typed}'" for typed in TYPED)])
    done = subprocess.run(["fish", "-N", "-c", asked], capture_output=True, text=True, check=True, timeout=60)
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == list(TYPED.values())
