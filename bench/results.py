"""What a run found: rows of ours, what stands beside it, and their ratio round by round."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from bench.spread import Spread


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One thing that was measured; `ratio` is ours / theirs, each pair of one round."""

    part: str
    what: str
    unit: str
    ours: Spread
    against: str = ""
    theirs: Spread | None = None
    ratio: Spread | None = None
    goal: tuple[str, float] | None = None

    @classmethod
    def of(
        cls,
        part: str,
        what: str,
        unit: str,
        ours: Sequence[float],
        against: str = "",
        theirs: Sequence[float] = (),
        goal: tuple[str, float] | None = None,
    ) -> Row:
        ratios = [our / their for our, their in zip(ours, theirs, strict=True)] if theirs else []
        return cls(
            part,
            what,
            unit,
            Spread.of(ours),
            against,
            Spread.of(theirs) if theirs else None,
            Spread.of(ratios) if ratios else None,
            goal,
        )

    @property
    def met(self) -> bool | None:
        """Whether the goal is met by the median; None without a goal."""
        if self.goal is None or self.ratio is None:
            return None
        sign, value = self.goal
        return self.ratio.median <= value if sign == "<=" else self.ratio.median >= value

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"met": self.met}


@dataclasses.dataclass(frozen=True, slots=True)
class Size:
    """How much a run measures."""

    rounds: int
    pairs: int
    seconds: float
    expired: int
    ports: int
    processes: tuple[int, ...]


FULL = Size(rounds=31, pairs=200, seconds=1.0, expired=60_000, ports=10_000, processes=(1, 4, 16))
QUICK = Size(rounds=3, pairs=20, seconds=0.1, expired=3_000, ports=1_000, processes=(1, 2))
