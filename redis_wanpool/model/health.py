"""What the health check found of the lines."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

FRESH = 3  #: intervals for which a verdict counts
LONGEST_WHY = 120  #: letters
CHECKER = "checker"  #: the field of the hash that says who checks
_VERDICT = re.compile(r"(up|down) (\S+) (\d{1,15}) (\d{1,10}) (-|\d{1,9}(?:\.\d{1,3})?) (\S+) ?(.*)", re.DOTALL)
_CLAIM = re.compile(r"(\S+) (\d{1,15}) (\d{1,10})")
_WAN = re.compile(r"0|[1-9]\d{0,5}")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a checker found of a WAN's line; all times are in seconds."""

    wan_idx: int
    found: str  #: "up" or "down", as it was found
    since: str  #: since when, by the server's clock, as text for people
    age: float  #: how long ago it was found; less than 0 if the server's clock went back since then
    interval: float  #: how often the checker looks
    round_trip: float | None  #: how long the target took to answer; None if none did
    checker: str
    why: str  #: how the last connection went, if not well

    @property
    def left(self) -> float:
        """For how long the verdict still counts; less than 0 if it does not."""
        return FRESH * self.interval - abs(self.age)

    @property
    def state(self) -> str:
        """What counts now: "up", "down", or "unknown", which choices take for up."""
        return self.found if self.left >= 0 else "unknown"

    @property
    def round_trip_ms(self) -> float | None:
        return None if self.round_trip is None else round(self.round_trip * 1000, 3)


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of all lines of a namespace at one moment."""

    verdicts: dict[int, Verdict]
    checker: str = ""  #: who checks; "" if nobody does
    unreadable: tuple[str, ...] = ()  #: fields that no checker of this version wrote

    def state(self, wan_idx: int) -> str:
        """Up, down or unknown."""
        verdict = self.verdicts.get(wan_idx)
        return "unknown" if verdict is None else verdict.state

    @classmethod
    def parse(cls, reply: Sequence[Any]) -> Self:
        """Reads the reply of lua/verdicts.lua; what it cannot read counts as unknown."""
        _, now_ms, *flat = reply
        verdicts: dict[int, Verdict] = {}
        checker, unreadable = "", []
        for field, value in zip(flat[::2], flat[1::2], strict=True):
            if field == CHECKER and (claim := _CLAIM.fullmatch(value)):
                checker = claim[1] if 0 <= int(claim[2]) - now_ms <= FRESH * int(claim[3]) else ""
            elif _WAN.fullmatch(field) and (words := _VERDICT.fullmatch(value)):
                found, since, checked_ms, interval_ms, round_trip, by, why = words.groups()
                verdicts[int(field)] = Verdict(
                    wan_idx=int(field),
                    found=found,
                    since=since,
                    age=(now_ms - int(checked_ms)) / 1000,
                    interval=int(interval_ms) / 1000,
                    round_trip=None if round_trip == "-" else float(round_trip) / 1000,
                    checker=by,
                    why=why,
                )
            else:
                unreadable.append(field)
        return cls(dict(sorted(verdicts.items())), checker, tuple(sorted(unreadable)))


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a checker says of a WAN's line."""

    wan_idx: int
    found: str  #: "up" or "down"
    round_trip: float | None  #: in seconds
    why: str = ""

    def words(self) -> tuple[str, str, str, str]:
        """What lua/judge.lua takes."""
        round_trip = "-" if self.round_trip is None else f"{self.round_trip * 1000:.3f}"
        return str(self.wan_idx), self.found, round_trip, " ".join(self.why.split())[:LONGEST_WHY]
