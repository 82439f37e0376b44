"""Numbers with their spread: a noisy machine tells no single truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of what was measured, and how far it spreads."""

    median: float
    p10: float
    p90: float
    least: float
    most: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        ordered = sorted(values)
        return cls(
            quantile(ordered, 0.5),
            quantile(ordered, 0.1),
            quantile(ordered, 0.9),
            ordered[0],
            ordered[-1],
            len(ordered),
        )


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which that share of the ordered values lies, interpolated."""
    at = share * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)
