"""One WAN as its owner wants it."""

from dataclasses import dataclass
from typing import Any, Self, TypedDict

from redis_wanpool.model.checks import (
    SHORTEST_TTL,
    checked_integer,
    checked_on_failover,
    checked_seconds,
    checked_text,
    checked_wan,
    milliseconds,
)
from redis_wanpool.model.ports import ports_text

COOLDOWN = 125.0  #: seconds; a little more than the 120 of Linux routers (nf_conntrack_tcp_timeout_time_wait)


def how_to_define(wan_idx: int = 0, ports: str = "") -> str:
    """How to define a WAN, for messages: nobody else can say whether somebody may hold its ports.

    Args:
        ports: as the command takes them; "": an example.
    """
    return (
        f"wanpool init --fresh --wan {wan_idx}={ports or '20000-21999'} if nobody can hold its ports (a first start), "
        "or with --recover in place of --fresh if Redis may have lost it"
    )


class WanOptions(TypedDict, total=False):
    """The options of a WAN besides its ports; `WanPortPool.define_wan` explains them."""

    lease_ttl: float
    max_ttl: float | None
    cooldown: float
    quarantine: float
    weight: int
    name: str
    max_per_network: int | None
    on_failover: str | None
    failover_margin: float


@dataclass(frozen=True, slots=True)
class WanDefinition:
    """One WAN as its owner wants it; make it with `WanDefinition.of`, which checks the values."""

    wan_idx: int
    ports: str
    lease_ttl: float
    max_ttl: float
    cooldown: float
    quarantine: float
    weight: int
    name: str
    max_per_network: int
    on_failover: str | None  #: "grace" or "continue"; None: the default for the server where it is made
    failover_margin: float

    @classmethod
    def of(
        cls,
        wan_idx: Any,
        ports: Any,
        *,
        lease_ttl: Any = 60.0,
        max_ttl: Any = None,
        cooldown: Any = COOLDOWN,
        quarantine: Any = 65.0,
        weight: Any = 1,
        name: Any = "",
        max_per_network: Any = None,
        on_failover: Any = None,
        failover_margin: Any = 10.0,
    ) -> Self:
        longest = checked_seconds("max_ttl", lease_ttl if max_ttl is None else max_ttl, SHORTEST_TTL)
        return cls(
            wan_idx=checked_wan(wan_idx),
            ports=ports_text(ports),
            lease_ttl=checked_seconds("lease_ttl", lease_ttl, SHORTEST_TTL, longest),
            max_ttl=longest,
            cooldown=checked_seconds("cooldown", cooldown),
            quarantine=checked_seconds("quarantine", quarantine),
            weight=checked_integer("weight", weight, 1, 1_000_000),
            name=checked_text("name", name, 64),
            max_per_network=0
            if max_per_network is None
            else checked_integer("max_per_network", max_per_network, 1, 65_535),
            on_failover=None if on_failover is None else checked_on_failover(on_failover),
            failover_margin=checked_seconds("failover_margin", failover_margin),
        )

    def fields(self) -> dict[str, str]:
        """The definition as Redis has it."""
        return {
            "lease_ttl_ms": str(milliseconds(self.lease_ttl)),
            "max_ttl_ms": str(milliseconds(self.max_ttl)),
            "cooldown_ms": str(milliseconds(self.cooldown)),
            "quarantine_ms": str(milliseconds(self.quarantine)),
            "max_per_network": str(self.max_per_network),
            "failover_margin_ms": str(milliseconds(self.failover_margin)),
            **({} if self.on_failover is None else {"on_failover": self.on_failover}),
            "weight": str(self.weight),
            "ports": self.ports,
            "name": self.name,
        }
