"""A key's WAN: the same on all machines, by weight, and no other key moves when WANs come and go."""

from __future__ import annotations

import math
from hashlib import sha256

import pytest

from redis_wanpool.model.rendezvous import BITS, choose, distance

KEYS = [f"account-{number}" for number in range(3_000)]
VECTORS = {
    ("account-7", 0): 7_967_409,
    ("account-7", 1): 34_967_631,
    ("account-7", 2): 1_961_969,
    ("用户", 0): 13_618_844,
    ("a b:c", 12): 23_604_963,
}
"""distances that no machine and no version may find otherwise: another one would send accounts to other addresses"""


@pytest.mark.parametrize(("key", "wan_idx"), VECTORS)
def test_the_distance_is_the_same_everywhere(key: str, wan_idx: int) -> None:
    assert distance(key, wan_idx) == VECTORS[key, wan_idx]


def test_it_is_the_logarithm_of_the_hash() -> None:
    for key in KEYS[:500]:
        hashed = (int.from_bytes(sha256(f"3:{key}".encode()).digest()[:4], "big") // 2 + 1) / 2**31
        assert distance(key, 3) / 2**BITS == pytest.approx(-math.log2(hashed), abs=2**-20)


def test_it_fits_into_64_bits() -> None:
    """As lua/README.md tells those who write it in another language."""
    assert max(distance(key, 0) for key in KEYS) <= 31 << BITS < 2**64 // 1_000_000


def test_each_wan_has_its_share_by_weight() -> None:
    weights = {0: 1, 1: 2, 5: 5}
    counts = dict.fromkeys(weights, 0)
    for key in KEYS:
        counts[choose(key, weights)] += 1
    for wan_idx, weight in weights.items():
        assert counts[wan_idx] / len(KEYS) == pytest.approx(weight / 8, abs=0.03)


def test_a_wan_that_comes_moves_its_share_only() -> None:
    before = {key: choose(key, {0: 1, 1: 1, 2: 1}) for key in KEYS}
    after = {key: choose(key, {0: 1, 1: 1, 2: 1, 3: 1}) for key in KEYS}
    moved = [key for key in KEYS if before[key] != after[key]]
    assert all(after[key] == 3 for key in moved)
    assert len(moved) / len(KEYS) == pytest.approx(1 / 4, abs=0.025)


def test_a_wan_that_goes_moves_its_keys_only() -> None:
    before = {key: choose(key, {0: 1, 1: 3, 2: 1}) for key in KEYS}
    after = {key: choose(key, {0: 1, 2: 1}) for key in KEYS}
    assert all(before[key] == after[key] for key in KEYS if before[key] != 1)
    left = [after[key] for key in KEYS if before[key] == 1]
    assert left.count(0) / len(left) == pytest.approx(1 / 2, abs=0.04), "they are spread over all that stay"


def test_a_weight_that_grows_takes_keys_and_gives_none() -> None:
    before = {key: choose(key, {0: 1, 1: 1}) for key in KEYS[:2000]}
    after = {key: choose(key, {0: 1, 1: 2}) for key in KEYS[:2000]}
    assert {(before[key], after[key]) for key in before} == {(0, 0), (1, 1), (0, 1)}
