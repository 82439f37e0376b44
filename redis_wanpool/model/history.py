"""What happened in a WAN, and how often: its events, and its counters."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

LONGEST = 200  #: letters of a field that are kept
_ID = re.compile(r"(\d{1,20})-(\d{1,20})")
_NUMBER = re.compile(r"\d{1,18}")
_PORTS = re.compile(r"\d{1,5}(,\d{1,5})*")
WORDS = ("who", "holder", "label", "host", "network", "why")


@dataclass(frozen=True, slots=True)
class Event:
    """Something rare that happened in a WAN; its texts are data of others, and may be anything.

    Attributes:
        wan_idx: the WAN.
        id: its id in the stream: the server's clock in ms, and a serial.
        what: defined, resized, drained, opened, withheld, restored, revoked, reaped, rejected, expired, grace, refused,
            or what a later version writes; "" if the entry cannot be read.
        count: how many ports or calls it is about.
        ports: the first 16 of these ports.
        who: the operator, as program@host.
        holder: the process that has or had the lease, as host:pid:token.
        label: of its lease.
        host: where it runs.
        network: its network.
        why: the reason; of an entry that cannot be read, its contents.
    """

    wan_idx: int
    id: str
    what: str = ""
    count: int = 0
    ports: tuple[int, ...] = ()
    who: str = ""
    holder: str = ""
    label: str = ""
    host: str = ""
    network: str = ""
    why: str = ""

    @property
    def order(self) -> tuple[int, int]:
        """What sorts events by time; of an id that cannot be read, the beginning."""
        match = _ID.fullmatch(self.id)
        return (int(match[1]), int(match[2])) if match else (0, 0)

    @property
    def at_ms(self) -> int:
        """When it happened, by the server's clock."""
        return self.order[0]

    @property
    def is_readable(self) -> bool:
        """Whether a script of a known version wrote it."""
        return bool(self.what)

    @classmethod
    def parse(cls, wan_idx: int, entry: Any) -> Self:
        """Reads an entry of the stream; one that nobody can read is shown as it is."""
        entry_id, flat = str(entry[0]), entry[1] or []
        fields = dict(zip(flat[::2], flat[1::2], strict=False))
        what, count, ports = (str(fields.get(name, "")) for name in ("what", "count", "ports"))
        if not what or not _NUMBER.fullmatch(count or "1") or (ports and not _PORTS.fullmatch(ports)):
            return cls(wan_idx, entry_id, why=" ".join(map(str, flat))[:LONGEST])
        words = {name: str(fields.get(name, ""))[:LONGEST] for name in WORDS}
        numbers = tuple(map(int, ports.split(","))) if ports else ()
        return cls(wan_idx, entry_id, what[:LONGEST], int(count or 1), numbers, **words)


@dataclass(frozen=True, slots=True)
class Counters:
    """How often something happened in a WAN since it was defined.

    Attributes:
        at_ms: when they were read, by the server's clock.
        since_ms: since when they count, by the server's clock; 0 if that is not known.
        granted: leases.
        ended: leases that ended, by how: released, drained, reset, time_wait, unused, rejected, revoked, reaped or
            expired.
        refused: calls that got no port, by why: exhausted, draining, grace, capped, rejecting, unavailable.
        graces: how many graces began.
        grace_seconds: how long they last or lasted, in all.
    """

    at_ms: int
    since_ms: int
    granted: int
    ended: dict[str, int]
    refused: dict[str, int]
    graces: int
    grace_seconds: float

    @classmethod
    def parse(cls, reply: Sequence[Any]) -> Self:
        """Reads the reply of lua/counters.lua."""
        _, at_ms, since_ms, *flat = reply
        numbers = {str(name): int(number) for name, number in zip(flat[::2], flat[1::2], strict=True)}

        def of(kind: str) -> dict[str, int]:
            named = (name.partition(":") for name in sorted(numbers))
            return {what[:LONGEST]: numbers[f"{kind}:{what}"] for first, sign, what in named if sign and first == kind}

        grace = numbers.get("grace_ms", 0) / 1000
        whole = numbers.get("granted", 0), of("ended"), of("refused"), numbers.get("graces", 0), grace
        return cls(int(at_ms), int(since_ms), *whole)

    def facts(self) -> dict[str, Any]:
        """For programs."""
        names = ("since_ms", "granted", "ended", "refused", "graces", "grace_seconds")
        return {name: getattr(self, name) for name in names}
