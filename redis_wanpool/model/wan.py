"""What a WAN is, and which values are acceptable."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypedDict

from redis_wanpool.errors import InvalidValue

SHORTEST_TTL = 0.5
LONGEST_TTL = 86_400.0
MOST_PORTS_A_CALL = 1_000
_NAMESPACE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_NETWORK = re.compile(r"[A-Za-z0-9_.:/-]{1,64}")
_LEASE_ID = re.compile(r"[!-~]+:\d+:[!-~]+/[A-Za-z0-9_-]+")
_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


def checked_namespace(value: object) -> str:
    if isinstance(value, str) and _NAMESPACE.fullmatch(value):
        return value
    raise InvalidValue(f"namespace {value!r}: use 1 to 64 of A-Z a-z 0-9 _ . -")


def checked_network(value: object) -> str:
    if isinstance(value, str) and _NETWORK.fullmatch(value):
        return value
    raise InvalidValue(f"network {value!r}: use 1 to 64 of A-Z a-z 0-9 _ . : / -")


def checked_integer(name: str, value: object, least: int, most: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    raise InvalidValue(f"{name} {value!r}: must be an integer from {least} to {most}")


def checked_wan(value: object) -> int:
    return checked_integer("wan_idx", value, 0, 999_999)


def checked_port(value: object) -> int:
    return checked_integer("port", value, 1, 65_535)


def checked_lease_id(value: object) -> str:
    if isinstance(value, str) and _LEASE_ID.fullmatch(value):
        return value
    raise InvalidValue(
        f"lease_id {value!r}: give it as the lease has it, or as wanpool acquire printed it behind the port"
    )


def checked_seconds(name: str, value: object, least: float = 0.0, most: float = LONGEST_TTL) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most:
        return float(value)
    raise InvalidValue(f"{name} {value!r}: must be a number of seconds from {least:g} to {most:g}")


def checked_ttl(value: object, most: float = LONGEST_TTL) -> float:
    return checked_seconds("ttl", value, SHORTEST_TTL, most)


def checked_text(name: str, value: object, most: int = 128) -> str:
    if isinstance(value, str) and len(value) <= most and value.isprintable():
        return value
    raise InvalidValue(f"{name} {value!r}: must be printable text of at most {most} characters")


def checked_on_failover(value: object) -> str:
    if isinstance(value, str) and value in ("grace", "continue"):
        return value
    raise InvalidValue(
        f'on_failover {value!r}: must be "grace" (holders re-assert, nothing new is granted for a while) or "continue"'
    )


def milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def ports_text(ports: object) -> str:
    """The canonical form of a list of ports like "20000-21999,23000": ascending, neighbours joined.

    Raises:
        InvalidValue: it is empty, a port is outside 1 to 65535, or ranges are reversed or overlap.
    """
    if not isinstance(ports, str) or not ports.strip():
        raise InvalidValue(f'ports {ports!r}: give a list of ports and ranges, like "20000-21999,23000"')
    ranges: list[tuple[int, int]] = []
    for part in ports.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise InvalidValue(f'ports {ports!r}: {part.strip()!r} is neither a port nor a range like "20000-21999"')
        first, last = int(match[1]), int(match[2] or match[1])
        if not 1 <= first <= last <= 65_535:
            raise InvalidValue(f"ports {ports!r}: {part.strip()!r} must go up, within 1 to 65535")
        ranges.append((first, last))
    ranges.sort()
    joined = [ranges[0]]
    for first, last in ranges[1:]:
        if first <= joined[-1][1]:
            raise InvalidValue(f"ports {ports!r}: {first} stands in two of its ranges")
        if first == joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return _spelled(joined)


def _spelled(ranges: Iterable[tuple[int, int]]) -> str:
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def port_ranges(ports: Iterable[int]) -> list[tuple[int, int]]:
    """Ports as ranges, first and last of each, ascending."""
    found: list[tuple[int, int]] = []
    for port in sorted(set(ports)):
        if found and port == found[-1][1] + 1:
            found[-1] = (found[-1][0], port)
        else:
            found.append((port, port))
    return found


def port_list(ports: Iterable[int]) -> str:
    """Ports as a list in its canonical form; "" for none."""
    return _spelled(port_ranges(ports))


def port_numbers(ports: str) -> list[int]:
    """The ports of a list in its canonical form, ascending."""
    ranges = (part.partition("-") for part in ports.split(","))
    return [port for first, _, last in ranges for port in range(int(first), int(last or first) + 1)]


class WanOptions(TypedDict, total=False):
    """What may be said of a WAN besides its ports; `WanPortPool.define_wan` says what each means."""

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
    on_failover: str | None
    """"grace" or "continue"; None: what is usual for the server where it is made"""
    failover_margin: float

    @classmethod
    def of(
        cls,
        wan_idx: Any,
        ports: Any,
        *,
        lease_ttl: Any = 60.0,
        max_ttl: Any = None,
        cooldown: Any = 125.0,
        quarantine: Any = 65.0,
        weight: Any = 1,
        name: Any = "",
        max_per_network: Any = None,
        on_failover: Any = None,
        failover_margin: Any = 10.0,
    ) -> WanDefinition:
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
        """The definition as it stands in Redis."""
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
