"""What a WAN looks like at one moment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from redis_wanpool.holder import host_and_pid


@dataclass(frozen=True, slots=True)
class ListedLease:
    """A live lease as anybody may see it; its lease_id proves holding, so it is kept from prints."""

    port: int
    holder: str
    fence: int
    network: str
    expires_ms: int
    lease_id: str

    def __repr__(self) -> str:
        return f"<lease of port {self.port} by {self.holder}>"

    @property
    def host(self) -> str:
        return host_and_pid(self.holder)[0]

    @property
    def pid(self) -> int:
        return host_and_pid(self.holder)[1]


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
    rested: int
    """how many of the cooling ports the asking network may have"""
    weight: int
    generation: str
    config: dict[str, str]
    now_ms: int
    leases: tuple[ListedLease, ...]

    @property
    def total(self) -> int:
        return self.free + self.leased + self.cooling + self.withheld

    @classmethod
    def parse(cls, wan_idx: int, reply: list[Any]) -> WanSnapshot:
        """Reads the reply of lua/snapshot.lua."""
        _, now_ms, free, leased, cooling, withheld, rested, flat, listed = reply
        config = dict(zip(flat[::2], flat[1::2], strict=True))
        rows = zip(*(listed[i::5] for i in range(5)), strict=True)
        return cls(
            wan_idx=wan_idx,
            name=config["name"],
            state="draining" if config["state"] == "draining" else "open",
            free=free,
            leased=leased,
            cooling=cooling,
            withheld=withheld,
            rested=rested,
            weight=int(config["weight"]),
            generation=config["generation"],
            config=config,
            now_ms=now_ms,
            leases=tuple(
                ListedLease(int(port), lease_id.rpartition("/")[0], int(fence), network, int(expires), lease_id)
                for port, lease_id, fence, network, expires in rows
            ),
        )

    def with_more(self, page: WanSnapshot) -> WanSnapshot:
        """This snapshot, with the leases of a later page."""
        known = {lease.port for lease in self.leases}
        return replace(self, leases=self.leases + tuple(lease for lease in page.leases if lease.port not in known))
