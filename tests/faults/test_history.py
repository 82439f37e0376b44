"""The judge of the fault tests finds what is wrong in a doctored history, and nothing in a clean one."""

from __future__ import annotations

import json
from pathlib import Path

from history import Hold, read, violations

CLEAN = [
    Hold("a", 20000, 10, "one", begun=1.0, ended=2.0),
    Hold("b", 20000, 11, "one", begun=2.2, ended=3.0),
    Hold("c", 20000, 12, "two", begun=4.1, ended=5.0),
    Hold("d", 20001, 3, "two", begun=1.5, ended=9.0),
]


def judged(*changed: Hold) -> list[str]:
    return violations([*CLEAN, *changed], rest=0.1, cooldown=1.0)


def test_a_clean_history_is_clean() -> None:
    assert judged() == []


def test_two_holders_are_found() -> None:
    (said,) = judged(Hold("e", 20001, 4, "two", begun=8.9, ended=9.5))
    assert "two holders for 0.100 s" in said and "20001" in said


def test_two_holders_are_found_behind_a_short_hold() -> None:
    said = judged(Hold("e", 20001, 4, "two", begun=2.0, ended=2.1), Hold("f", 20001, 5, "two", begun=8.0, ended=8.5))
    assert len(said) == 2 and all("two holders" in line for line in said)


def test_a_cool_down_cut_short_is_found() -> None:
    (said,) = judged(Hold("e", 20000, 13, "one", begun=5.9, ended=6.0))
    assert "0.900 s after" in said


def test_a_rest_cut_short_is_found() -> None:
    (said,) = judged(Hold("e", 20000, 13, "two", begun=5.05, ended=6.0))
    assert "not 0.1 s" in said


def test_a_fence_that_does_not_grow_is_found() -> None:
    (said,) = judged(Hold("e", 20000, 12, "two", begun=5.2, ended=6.0))
    assert "fence does not grow" in said


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    lines = [
        *(["hold", 1.0, 20000, 7, "one"], ["use", 1.1], ["use", 1.2], ["lost", 1.9]),
        *(["hold", 2.0, 20001, 8, "one"], ["release", 2.5], ["True", 2.6], ["hold", 3.0, 20002, 9, "one"]),
    ]
    text = "\n".join(json.dumps(line) for line in lines)
    (tmp_path / "w1.history").write_text(text + '\n["use", 3.')
    first, second, third = read(tmp_path)
    assert (first.worker, first.port, first.fence, first.ended, first.uses, first.how) == (
        *("w1", 20000, 7),
        *(1.2, 2, "lost"),
    )
    assert (second.ended, second.how) == (2.0, "True")
    assert (third.begun, third.ended) == (3.0, 3.0)
