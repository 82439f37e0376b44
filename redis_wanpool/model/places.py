"""Where each port of a WAN is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Self

LETTERS = {"free": "f", "leased": "l", "cooling": "c", "quarantined": "q", "withheld": "w"}


@dataclass(frozen=True, slots=True)
class PortMap:
    """The state of each port of a WAN, and whose it is or was; read piece by piece, so not of one moment.

    Attributes:
        wan_idx: the WAN.
        ports: its ports, ascending.
        states: a letter for each: f free, l leased, c cooling, q in quarantine, w withheld.
        networks: the networks that appear.
        whose: for each port the index of the network that has it, or had it last while it cools; -1: none.
    """

    wan_idx: int
    ports: tuple[int, ...]
    states: str
    networks: tuple[str, ...]
    whose: tuple[int, ...]

    @classmethod
    def of(cls, wan_idx: int, ports: Sequence[int], states: Mapping[int, str], networks: Mapping[int, str]) -> Self:
        """Puts together what was read: what is in no other state is free."""
        names = sorted(set(networks.values()) - {""})
        index = {name: number for number, name in enumerate(names)}
        letters = "".join(LETTERS[states.get(port, "free")] for port in ports)
        whose = tuple(index.get(networks.get(port, ""), -1) for port in ports)
        return cls(wan_idx, tuple(ports), letters, tuple(names), whose)

    def runs(self) -> Iterator[tuple[int, int]]:
        """`whose`, as a network and for how many ports it goes on."""
        for network, ports in groupby(self.whose):
            yield network, sum(1 for _ in ports)
