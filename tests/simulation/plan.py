"""What a seed stands for: the size of a world, what its users do, and which faults happen when."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

from redis_wanpool.model.wan import WanDefinition

FIRST_PORT = 20000


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong at a moment; `amount` and `seconds` say how much, `who` of which it is."""

    at: float
    kind: str
    who: int
    amount: float
    seconds: float

    def __str__(self) -> str:
        return f"{self.at:8.3f} {self.kind} ({self.who}, {self.amount:.3f}, {self.seconds:.1f} s)"


@dataclass(frozen=True)
class Plan:
    """A world before it begins."""

    seed: int
    hosts: int
    processes: int
    users: int  #: of each process
    services: int
    wans: tuple[WanDefinition, ...]
    ttl: float
    cooldown: float
    rest: float
    hold: float  #: seconds for which a user keeps a port, at most
    idle: float  #: and for which it does nothing then
    quiet: float  #: when the last fault is over
    faults: tuple[Fault, ...]
    absent: frozenset[int] = frozenset()  #: processes that are left out
    grace: bool = True
    stops: bool = True  #: whether the first wrong ends the run
    tells: frozenset[str] = field(default=frozenset())  #: the scripts of which a story tells

    def most(self, wan_idx: int) -> int:
        """How many ports of a WAN one network may have at once."""
        wan = self.wans[wan_idx]
        first, _, last = wan.ports.partition("-")
        count = int(last or first) - int(first) + 1
        return min(count, wan.max_per_network or count)

    def without(self, faults: tuple[Fault, ...], absent: frozenset[int]) -> Plan:
        return replace(self, faults=faults, absent=absent)


KINDS = {
    "lost": 3, "deaf": 4, "cut": 4, "twice": 4, "late": 4, "kill": 4, "stop": 4, "suspend": 1, "close": 1,
    "promote": 4, "restart": 3, "yesterday": 1, "empty": 0, "replica": 1, "freeze": 2, "step": 2, "drain": 1,
    "withhold": 2, "revoke": 3, "block": 1,
}  # fmt: skip
"""kind of fault -> how often it is chosen"""


def planned(seed: int, *, grace: bool = True, only: tuple[str, ...] = ()) -> Plan:
    """The world of a seed."""
    dice = Random(f"plan {seed}")
    ttl = dice.choice((4.0, 10.0, 20.0, 60.0))
    cooldown = dice.choice((0.0, 0.0, 1.0, 3.0, 10.0, 125.0))
    rest = dice.choice((0.0, 0.0, 0.5, 1.0, 1.0, 5.0))
    services = dice.choice((1, 1, 1, 2))
    wans = tuple(
        WanDefinition.of(
            wan_idx,
            f"{FIRST_PORT + 100 * wan_idx}-{FIRST_PORT + 100 * wan_idx + dice.choice((0, 2, 5, 11, 23, 47, 47, 47))}",
            lease_ttl=ttl,
            max_ttl=ttl * dice.choice((1, 1, 2)),
            cooldown=cooldown,
            quarantine=dice.choice((0.0, 5.0, 65.0)),
            max_per_network=dice.choice((None, None, None, 2)),
            on_failover=None if grace else "continue",
        )
        for wan_idx in range(dice.choice((1, 1, 2, 3)))
    )
    quiet = dice.choice((30.0, 60.0, 120.0))
    number = dice.choice((0, 2, 4, 8, 16))
    kinds = dice.choices(only, k=number) if only else dice.choices(list(KINDS), list(KINDS.values()), k=number)
    faults = sorted(
        (
            Fault(
                round(dice.uniform(1, quiet - 1), 3),
                kind,
                dice.randrange(1000),
                round(dice.random(), 3),
                round(dice.choice((0.5, 5.0, 30.0)) * dice.random() + 0.1, 1),
            )
            for kind in kinds
        ),
        key=lambda fault: fault.at,
    )
    return Plan(
        seed=seed,
        hosts=dice.choice((1, 2, 3)),
        processes=dice.choice((2, 3, 4, 6)),
        users=dice.choice((1, 2, 4, 4)),
        services=services,
        wans=wans,
        ttl=ttl,
        cooldown=cooldown,
        rest=rest,
        hold=dice.choice((0.02, 0.05, 0.2, 1.0, 3 * ttl)),
        idle=dice.choice((0.005, 0.02, 0.1)),
        quiet=quiet,
        faults=tuple(faults),
        grace=grace,
    )
