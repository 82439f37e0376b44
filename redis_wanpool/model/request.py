"""What an acquire asks for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from redis_wanpool.errors import InvalidValue
from redis_wanpool.model.checks import (
    MOST_PORTS_A_CALL,
    checked_integer,
    checked_key,
    checked_port,
    checked_seconds,
    checked_text,
    checked_ttl,
    checked_wan,
)


class AnyWan:
    """Any WAN of the namespace, by weight and free share."""

    def __repr__(self) -> str:
        return "ANY"


ANY = AnyWan()
WanChoice = int | Sequence[int] | AnyWan


@dataclass(slots=True)  # not frozen: it would take four times as long to make
class Request:
    """What an acquire asks for."""

    wans: tuple[int, ...] | None  #: None: any WAN of the namespace
    count: int = 1
    least: int = 1
    wait: float | None = 0.0
    port: int | None = None
    label: str = ""
    ttl: float | None = None
    detached: bool = False
    avoid: tuple[int, ...] = ()
    reuse_address: bool = False  #: whether the ports will be bound with SO_REUSEADDR
    sticky: str | None = field(default=None, repr=False)
    """the key whose WAN it is to be; it may name somebody's account, so it goes to no log and not to Redis"""

    @property
    def is_of_one(self) -> bool:
        """Whether it asks for one WAN by its number: that is granted as asked, whatever its line's health and a key."""
        return self.wans is not None and len(self.wans) == 1

    @classmethod
    def of(
        cls,
        wan: WanChoice,
        *,
        count: int = 1,
        at_least: int | None = None,
        wait: float | None = 0.0,
        port: int | None = None,
        label: str = "",
        ttl: float | None = None,
        detached: bool = False,
        avoid: Sequence[int] = (),
        reuse_address: bool = False,
        sticky: str | None = None,
    ) -> Self:
        """Checks the arguments of a caller; raises InvalidValue."""
        wans: tuple[int, ...] | None
        if isinstance(wan, AnyWan):
            wans = None
        elif isinstance(wan, (list, tuple, set, frozenset, range)):
            wans = tuple(dict.fromkeys(checked_wan(wan_idx) for wan_idx in wan))
            if not wans:
                raise InvalidValue("wan: give at least one WAN, or ANY")
        else:
            wans = (checked_wan(wan),)
        if port is not None and (wans is None or len(wans) != 1):
            raise InvalidValue(f"port {port!r}: a wanted port needs one WAN, not {wan!r}")
        checked_integer("count", count, 1, MOST_PORTS_A_CALL)
        return cls(
            wans=wans,
            count=count,
            least=count if at_least is None else checked_integer("at_least", at_least, 1, count),
            wait=None if wait is None else checked_seconds("wait", wait, 0.0, 1e9),
            port=None if port is None else checked_port(port),
            label=checked_text("label", label),
            ttl=None if ttl is None else checked_ttl(ttl),
            detached=bool(detached),
            avoid=tuple(avoid),
            reuse_address=bool(reuse_address),
            sticky=None if sticky is None else checked_key(sticky),
        )
