"""Failovers to a server that has not heard of the last grants: nobody's port is granted to another."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from chance import SEED
from failovers import TTL, replay

ROUNDS = int(os.environ.get("WANPOOL_FAILOVERS", "2"))
pytestmark = pytest.mark.long


@pytest.mark.timeout(120 + 15 * ROUNDS)
def test_with_a_grace_no_port_has_two_holders_and_nobody_loses_one(tmp_path: Path) -> None:
    grace = replay(tmp_path / "grace", "grace", ROUNDS, SEED)
    assert grace.wrongs == []
    assert grace.told_lost == []
    assert grace.lost_grants >= ROUNDS
    assert min(grace.back_after) > TTL and len(grace.holds) > 20


@pytest.mark.timeout(300)
def test_the_same_without_it_does_grant_twice(tmp_path: Path) -> None:
    """Or the test above would prove nothing."""
    naive = replay(tmp_path / "continue", "continue", max(4, ROUNDS // 5), SEED)
    assert any("two holders" in line for line in naive.wrongs)
