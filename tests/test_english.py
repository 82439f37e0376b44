"""The list of phrases refuses what it is meant to, where people read it, and nothing else."""

from __future__ import annotations

import pytest
from english import in_text


@pytest.mark.parametrize(
    ("suffix", "source", "found"),
    [
        (".md", "It is kept for\nwho waits.", [(1, "for who")]),
        (".md", "Fine.\n\n- Who asks may be interrupted.", [(3, "Who asks")]),
        (".md", "The port is free again by itself.", [(1, "free again by itself")]),
        (".md", "```\nwhoever\n```\nand `anew`, or whoever", [(4, "whoever")]),
        (".py", '"""One.\n\nAt least so many.\n"""\n', [(3, "so many")]),
        (".py", 'print(f"{1} defines " f"it anew")\n', [(1, "anew")]),
        (".py", "x = 1\n# this is for\n# who waits\n", [(2, "for who")]),
        (".lua", '-- Tells what stands there.\nlocal whoever = "anew"\n', [(1, "what stands")]),
    ],
)
def test_a_phrase_is_found_in_its_line(suffix: str, source: str, found: list[tuple[int, str]]) -> None:
    assert [(finding.line, finding.words) for finding in in_text(source, suffix)] == found


@pytest.mark.parametrize(
    "text",
    [
        "A holder, who may have died, and its host.",
        "Who holds what, by process.",
        "Who is it?",
        "It is a word that stands by itself.",
        "So many ports were refused that no more go into quarantine.",
        "As many as there are, and as long as it lasts.",
    ],
)
def test_good_english_passes(text: str) -> None:
    assert list(in_text(text, ".md")) == []
    assert list(in_text(f'"""{text}"""\n', ".py")) == []


def test_code_is_not_prose() -> None:
    assert list(in_text("for who in anew: whoever(who)\n", ".py")) == []
