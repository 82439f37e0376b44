"""What must have confirmed a grant before it counts: replicas, and the disks."""

from dataclasses import dataclass
from typing import Any, Self

from redis_wanpool.errors import InvalidValue
from redis_wanpool.model.checks import checked_integer

MOST_REPLICAS = 100
DEFAULT_TIMEOUT = 2.0  #: seconds to wait on a connection without a timeout
EARLIER = 0.25
"""seconds before a connection's timeout at which Redis must answer; its tick may come 100 ms late (hz 10)"""


@dataclass(frozen=True, slots=True)
class Durability:
    """What must confirm a grant: this many replicas; with `fsync`, their disks and the primary's."""

    replicas: int
    fsync: bool

    @classmethod
    def of(cls, min_replicas: int | None, fsync: bool | None) -> Self | None:
        """None if nothing has to confirm."""
        return cls(min_replicas or 0, bool(fsync)) if min_replicas or fsync else None

    @property
    def wanted(self) -> int:
        """How many servers must confirm."""
        return self.replicas + self.fsync

    def command(self, timeout: float | None) -> tuple[str | int, ...]:
        """The command that waits for them, for the connection that wrote, which has this timeout in seconds."""
        timeout = timeout or DEFAULT_TIMEOUT
        within_ms = max(1, int(1000 * max(timeout - EARLIER, timeout / 2)))  # 0 would be without a limit
        return ("WAITAOF", 1, self.replicas, within_ms) if self.fsync else ("WAIT", self.replicas, within_ms)

    def confirmed(self, reply: Any) -> int:
        """How many servers confirmed, by the reply to `command`."""
        primary, replicas = reply if self.fsync else (0, reply)
        return int(primary) + min(int(replicas), self.replicas)


def checked_min_replicas(value: object) -> int:
    return checked_integer("min_replicas", value, 0, MOST_REPLICAS)


def checked_fsync(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise InvalidValue(f"fsync {value!r}: must be true or false")
