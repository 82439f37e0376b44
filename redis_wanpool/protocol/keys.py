"""Every key name in Redis."""

from dataclasses import dataclass
from typing import Self

PROTOCOL = "4"  #: the version of the data in Redis, which each WAN notes (see lua/lib/wan.lua)
MIGRATES_FROM = "3"  #: the version whose data can be taken to this one (see lua/migrate.lua)

WAN_KEYS = (
    "config",
    "free",
    "withheld",
    "leased",
    "cooling",
    "grants",
    "waiting",
    "waiters",
    "networks",
    "leaving",
    "nothing",
)
"""The keys of a WAN, in the order in which every WAN script gets them (see lua/lib/keys.lua).

No script writes "nothing". While a slot moves, a cluster runs a script only if all declared keys are in one place: so
it does not run ours, which would stop halfway at the first other key (a lease's) that has moved already.
"""


@dataclass(frozen=True, slots=True)
class WanKeys:
    """The keys of one WAN; they share a hash tag, so they live in one cluster slot."""

    prefix: str
    declared: tuple[str, ...]

    @classmethod
    def of(cls, namespace: str, wan_idx: int) -> Self:
        prefix = f"wanpool:{{{namespace}:{wan_idx}}}:"
        return cls(prefix, tuple(prefix + name for name in WAN_KEYS))

    def lease(self, port: int) -> str:
        return f"{self.prefix}lease:{port}"

    def wake(self, holder: str) -> str:
        """The list that a release pushes to, to wake a waiter of this holder."""
        return f"{self.prefix}wake:{holder}"


def namespace_keys(namespace: str) -> tuple[str, str, str, str]:
    """The keys of a namespace, in the order in which every namespace script gets them (see lua/lib/namespace.lua)."""
    prefix = f"wanpool:{{{namespace}}}:"
    return prefix + "wans", prefix + "holders", prefix + "health", prefix + "nothing"
