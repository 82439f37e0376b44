"""The WAN of a key, the same on all machines: weighted rendezvous hashing in integers, as lua/README.md specifies it.

Of independent hashes h between 0 and 1, the largest h ** (1 / weight) belongs to each WAN as often as its weight says
(https://www.snia.org/sites/default/files/SDC15_presentations/dist_sys/Jason_Resch_New_Consistent_Hashings_Rev.pdf).
That is the least -log2(h) / weight. Floating point would round the logarithm differently from machine to machine.
"""

from collections.abc import Mapping
from hashlib import sha256

BITS = 24  #: binary digits behind the point of a logarithm


def choose(key: str, weights: Mapping[int, int]) -> int:
    """The WAN of a key among these, at least one, each with its weight."""
    best, best_distance = -1, 0
    for wan_idx in sorted(weights):
        away = distance(key, wan_idx)
        if best < 0 or away * weights[best] < best_distance * weights[wan_idx]:
            best, best_distance = wan_idx, away
    return best


def distance(key: str, wan_idx: int) -> int:
    """-log2 of the hash of both, as a fraction of 1, in units of 2 ** -24."""
    digest = sha256(f"{wan_idx}:{key}".encode()).digest()
    value = (int.from_bytes(digest[:4], "big") >> 1) + 1
    logarithm = value.bit_length() - 1
    mantissa = value << (31 - logarithm)
    for _ in range(BITS):
        mantissa = mantissa * mantissa >> 31
        carry = mantissa >> 32
        mantissa >>= carry
        logarithm = logarithm << 1 | carry
    return (31 << BITS) - logarithm
