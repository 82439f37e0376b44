"""The simulator finds what is wrong, tells the same story each time, and finds nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("simulate.py")


def simulate(*options: str, hash_seed: str = "0") -> tuple[int, str]:
    """How the simulator ends, and what it says on standard output."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *options],
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        check=False,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.returncode, done.stdout


def test_some_worlds_are_as_they_should_be() -> None:
    code, said = simulate("--seed", "1", "--seeds", "3")
    assert code == 0, said
    assert said.startswith("3 seeds, ")


@pytest.mark.slow
def test_a_seed_has_one_story_on_every_version_of_the_server() -> None:
    stories = {
        simulate("--seed", "4", "--story", "--server", name, hash_seed=number)
        for name, number in (("redis-6.2", "1"), ("redis-8.2", "2"), ("valkey-9.1", "3"), ("valkey-9.1", "4"))
    }
    assert len(stories) == 1
    assert len(next(iter(stories))[1].splitlines()) > 100


@pytest.mark.slow
def test_without_grace_a_failover_gives_a_port_to_two() -> None:
    focus = "--seconds", "60", "--kinds", "promote,restart,stop", "--only", "still has it"
    code, said = simulate("--seeds", "500", "--no-grace", *focus)
    assert code == 1 and "is granted to" in said, said
