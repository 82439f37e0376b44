"""What a WAN looks like at one moment."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from redis_wanpool.model.history import Counters
from redis_wanpool.model.holder import host_and_pid

NUMBERS = ("cooldown_ms", "lease_ttl_ms", "max_ttl_ms", "failover_margin_ms")  #: fields of config

HOUR_MS, MOST_GRACES = 3_600_000, 60  #: for how long the beginning of a grace is noted, and of how many at most


def paired(flat: Sequence[str]) -> dict[str, str]:
    """The fields and values of a hash, as a script returns them one after the other."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


@dataclass(frozen=True, slots=True)
class ListedLease:
    """A live lease as others see it; its lease_id proves holding, so `repr` leaves it out."""

    port: int
    holder: str
    fence: int
    network: str
    expires_ms: int
    lease_id: str
    label: str = ""
    acquired_at: str = ""  #: as text for people; "" if it was not asked for, or the server has evicted it
    is_idle: bool = False  #: whether its holder keeps it between two leases
    expires_at_ms: int = 0  #: by the server's clock, like all times for people
    seen_at_ms: int = 0  #: when the lease was seen, by the server's clock

    def __repr__(self) -> str:
        return f"<lease of port {self.port} by {self.holder}>"

    @property
    def host(self) -> str:
        return host_and_pid(self.holder)[0]

    @property
    def pid(self) -> int:
        return host_and_pid(self.holder)[1]

    @classmethod
    def parse(cls, row: tuple[Any, ...], now_ms: int, ahead_ms: int) -> Self:
        """Reads a row of the reply of lua/leases.lua."""
        port, expires_ms, grant, label, acquired_at, use = row
        lease_id, fence, network, *_ = grant.split(" ")
        return cls(
            *(
                port,
                lease_id.rpartition("/")[0],
                int(fence),
                network,
                expires_ms,
                lease_id,
                label,
                acquired_at,
                use == "idle",
            ),
            expires_at_ms=expires_ms + ahead_ms,
            seen_at_ms=now_ms + ahead_ms,
        )


@dataclass(frozen=True, slots=True)
class LeasePage:
    """A page of the leases of a WAN, by expiry."""

    leases: tuple[ListedLease, ...]
    is_last: bool

    @property
    def end(self) -> tuple[int, int]:
        """The expiry and the port of its last lease."""
        return self.leases[-1].expires_ms, self.leases[-1].port


@dataclass(frozen=True, slots=True)
class PortSeen:
    """All that is known about a port at one moment; times are in ms by a clock `ahead_ms` behind the server's."""

    wan_idx: int
    port: int
    now_ms: int
    ahead_ms: int
    state: str  #: free, leased, cooling, withheld, or "" if it does not belong to the WAN; as it was last settled
    due_ms: int
    """When its lease ends unless it is renewed, or when its cooling ends; -1 if it is neither leased nor cooling."""
    rested_ms: int  #: when the network that had it last may have it again; -1 if that is not why it cools
    becomes: str  #: withheld or removed, when its lease or its cooling is over; else ""
    lease_id: str  #: the lease_id of the last lease; "" if there never was one
    fence: int
    network: str
    ended: str  #: how the last lease ended, or "live"; "" if there never was one
    free_ms: int  #: the earliest time at which other networks may have it
    rest_ms: int
    is_plain: bool
    """whether a plain socket, without SO_REUSEADDR, may have it after its rest; of a lease, whether it is for one"""
    lease: dict[str, str]
    quarantine: dict[str, str]

    @property
    def holder(self) -> str:
        return self.lease_id.rpartition("/")[0]

    @classmethod
    def parse(cls, wan_idx: int, port: int, reply: list[Any]) -> Self:
        """Reads the reply of lua/explain.lua."""
        _, *standing, grant, lease, quarantine = reply
        words = grant.split(" ") if grant else ("", "0", "", "0", "0", "")
        lease_id, fence, network, rest_ms, free_ms, ended = words[:6]
        last = lease_id, int(fence), network, ended, int(free_ms), int(rest_ms), "plain" in words[6:]
        facts: list[Any] = [wan_idx, port, *standing, *last, paired(lease), paired(quarantine)]
        return cls(*facts)


@dataclass(frozen=True, slots=True)
class WanSnapshot:
    """The ports of a WAN by state; free, leased, cooling and withheld always add up to total."""

    wan_idx: int
    name: str
    state: str
    free: int
    leased: int
    cooling: int
    withheld: int
    rested: int  #: how many of the cooling ports the asking network may have
    weight: int
    generation: str
    config: dict[str, str]
    now_ms: int
    grace_ms: int  #: milliseconds for which nothing new is granted after a failover or restart; 0 without a grace
    leases: tuple[ListedLease, ...]

    @property
    def total(self) -> int:
        return self.free + self.leased + self.cooling + self.withheld

    @property
    def pace(self) -> float:
        """Recent grants a second, over 10 s or more."""
        before_ms, before, last_ms, last = map(int, self.config.get("pace", "0 0 0 0").split(" "))
        since_ms, count = (before_ms, before) if before_ms else (last_ms, last)
        return (int(self.config.get("granted", 0)) - count) / max(1.0, (self.now_ms - since_ms) / 1000)

    @property
    def is_new(self) -> bool:
        """Whether its grace began with its definition."""
        return self.grace_ms > 0 and self.config.get("new_until_ms", "") == self.config.get("grace_until_ms")

    @property
    def graces(self) -> int:
        """How many graces began in the last hour; 60 at most are counted."""
        begun = self.config.get("graces", "").split(" ")[:MOST_GRACES]
        return sum(at_ms.isdecimal() and self.now_ms - int(at_ms) < HOUR_MS for at_ms in begun)

    @classmethod
    def parse(cls, wan_idx: int, reply: list[Any]) -> Self:
        """Reads the reply of lua/snapshot.lua."""
        _, now_ms, grace_ms, *counts, flat, listed = reply
        config = paired(flat)
        rows = zip(*(listed[i::5] for i in range(5)), strict=True)
        leases = tuple(
            ListedLease(int(port), lease_id.rpartition("/")[0], int(fence), network, int(expires), lease_id)
            for port, lease_id, fence, network, expires in rows
        )
        state = "draining" if config["state"] == "draining" else "open"
        settled = int(config["weight"]), config["generation"], config
        facts: list[Any] = [wan_idx, config["name"], state, *counts, *settled, now_ms, grace_ms, leases]
        found = cls(*facts)
        _ = found.pace, [int(config[name]) for name in NUMBERS]  # here, not where somebody reads them later
        return found

    def with_more(self, leases: Sequence[ListedLease]) -> Self:
        """This snapshot, with the leases of a later page."""
        known = {lease.port for lease in self.leases}
        return replace(self, leases=self.leases + tuple(lease for lease in leases if lease.port not in known))


@dataclass(frozen=True, slots=True)
class WanStatus:
    """A WAN at one moment, with its pace and its outlook."""

    seen: WanSnapshot
    quarantined: int
    frees: tuple[int, ...]
    """How many ports are free to all after each time that was asked for, if no lease ends early and none is granted."""
    rest: float  #: seconds before the asking network may have a port again
    late: int = 0
    """How many of its rested ports plain sockets, which bind without SO_REUSEADDR, cannot have yet; 1,000 at most."""
    counters: Counters | None = None  #: how often what happened; None: it was not asked for

    @property
    def pace(self) -> float:
        """Grants a second, recently."""
        return self.seen.pace

    @property
    def waiting(self) -> int:
        """Calls that wait for a port."""
        return int(self.seen.config.get("waiting", 0))

    @property
    def hold(self) -> float:
        """Mean seconds that a lease lasts, by Little's law; 0 if nothing is granted."""
        return self.seen.leased / self.pace if self.pace else 0.0

    def sustains(self, wait: float) -> float | None:
        """Leases a second that its ports carry if each waits `wait` seconds between two; None: any number."""
        each = self.hold + wait
        return self.seen.total / each if each else None

    @property
    def for_one_network(self) -> float | None:
        """The same if its ports stay with their network."""
        return self.sustains(self.rest)

    @property
    def between_networks(self) -> float | None:
        """The same if its ports change networks."""
        return self.sustains(max(self.rest, int(self.seen.config["cooldown_ms"]) / 1000))
