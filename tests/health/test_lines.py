"""After how many rounds a line is down, and up again."""

from __future__ import annotations

import pytest

from redis_wanpool.health.lines import Lines
from redis_wanpool.health.probe import Probe
from redis_wanpool.model.health import Health, Verdict

YES, NO, NOTHING = Probe(True, 0.01), Probe(False, why="no answer"), Probe(None, why="PoolExhausted")


def states(begin: str, *probes: Probe, fall: int = 3, rise: int = 2) -> list[str]:
    """The state after each round; what is written before the first is `begin`."""
    lines, found, state = Lines(fall, rise), [], begin
    for probe in probes:
        verdict = Verdict(0, state, "then", 0.0, 5.0, None, "h:1:x", "")
        health = Health({} if state == "unknown" else {0: verdict})
        (seen,) = lines.weigh({0: probe}, health)
        written = seen.judgement()
        state = state if written is None else written.found
        assert seen.state == state
        found.append(state)
    return found


@pytest.mark.parametrize(
    ("begin", "probes", "expected"),
    [
        ("unknown", [YES], ["up"]),
        ("unknown", [NO, NO, NO], ["unknown", "unknown", "down"]),
        ("up", [NO, NO, NO, NO], ["up", "up", "down", "down"]),
        ("up", [NO, NO, YES, NO, NO, NO], ["up", "up", "up", "up", "up", "down"]),
        ("down", [YES, YES, YES], ["down", "up", "up"]),
        ("down", [YES, NO, YES, YES], ["down", "down", "down", "up"]),
        ("up", [NO, NOTHING, NO, NOTHING, NO], ["up", "up", "up", "up", "down"]),
        ("down", [NOTHING, YES, NOTHING, YES], ["down", "down", "down", "up"]),
        ("unknown", [NOTHING, NOTHING, NOTHING], ["unknown"] * 3),
    ],
)
def test_a_line_falls_and_rises_by_rounds_in_a_row(begin: str, probes: list[Probe], expected: list[str]) -> None:
    assert states(begin, *probes) == expected


def test_one_round_is_enough_if_it_is_said_so() -> None:
    assert states("up", NO, YES, NO, fall=1, rise=1) == ["down", "up", "down"]


def test_what_is_not_a_wan_any_more_is_forgotten() -> None:
    lines, nothing = Lines(2, 2), Health({})
    lines.weigh({0: NO, 1: NO}, nothing)
    lines.weigh({1: NO}, nothing)
    zero, one = lines.weigh({0: NO, 1: NO}, nothing)
    assert (zero.state, one.state) == ("unknown", "down")
