"""Work on many leases or ports in calls of bounded size."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from redis_wanpool.model.lease import LeaseState

T = TypeVar("T")
LEASES_A_CALL = 500


def pages(items: Sequence[T], most: int = LEASES_A_CALL) -> Iterator[Sequence[T]]:
    """The items in order, `most` at a time."""
    for first in range(0, len(items), most):
        yield items[first : first + most]


def batches(leases: Iterable[LeaseState]) -> Iterator[tuple[int, Sequence[LeaseState]]]:
    """The leases by WAN, in pages."""
    by_wan: dict[int, list[LeaseState]] = {}
    for lease in leases:
        by_wan.setdefault(lease.wan_idx, []).append(lease)
    for wan_idx, of_wan in by_wan.items():
        for page in pages(of_wan):
            yield wan_idx, page
