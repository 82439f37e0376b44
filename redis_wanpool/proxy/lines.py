"""Which WANs a user name means."""

import re
from dataclasses import dataclass

from redis_wanpool.aio.pool import AsyncWanPortPool
from redis_wanpool.errors import WanNotDefined
from redis_wanpool.model.checks import checked_text
from redis_wanpool.model.request import ANY, Request, WanChoice
from redis_wanpool.system.clock import boottime

_WAN = re.compile(r"wan(0|[1-9][0-9]{0,5})")
_ANY = re.compile(r"any(?:-(.{1,100}))?")
_NEWS = 1.0  #: seconds before an unknown name is looked up again


class UnknownName(Exception):
    """A user name means no WAN, or more than one."""


@dataclass(frozen=True, slots=True)
class Line:
    """Where a client's connections leave: a WAN, several, or any; `key` is the KEY of `any-KEY`."""

    wan: WanChoice
    key: str = ""
    takes_any_user: bool = False  #: whether what a client says as its user name is no matter

    def request(self, wait: float | None, label: str) -> Request:
        """What to lease; the same key gets the same WAN."""
        return Request.of(self.wan, wait=wait, label=label, sticky=self.key or None)

    def __str__(self) -> str:
        return f"WAN {self.wan}" if isinstance(self.wan, int) else f"WANs {self.wan}" if self.wan is not ANY else "any"


class Lines:
    """The WANs of a pool, and their names."""

    def __init__(self, pool: AsyncWanPortPool) -> None:
        self._pool = pool
        self._looked_at = -_NEWS
        self.names: dict[int, str] = {}  #: the name of each WAN

    async def look(self) -> None:
        """Reads them."""
        self._looked_at = boottime()
        names = {}
        for wan_idx in await self._pool.wans():
            try:
                names[wan_idx] = (await self._pool.snapshot(wan_idx)).name
            except WanNotDefined:  # removed meanwhile, or its data is lost
                names[wan_idx] = ""
        self.names = names

    async def of(self, user: str) -> Line:
        """The line of a user name: wan1, any, any-KEY, or the name of a WAN.

        Raises:
            UnknownName: it means none.
            WanpoolError: Redis does not tell.
        """
        if not user:
            raise UnknownName("none was given")
        if match := _WAN.fullmatch(user):
            return Line(int(match[1]))
        if match := _ANY.fullmatch(user):
            return Line(ANY, checked_text("user", match[1] or ""))
        found = self._named(user)
        if not found and boottime() >= self._looked_at + _NEWS:
            await self.look()
            found = self._named(user)
        if len(found) == 1:
            return Line(found[0])
        raise UnknownName(f"WANs {found} have this name" if found else "no WAN has this name")

    def _named(self, user: str) -> list[int]:
        return [wan_idx for wan_idx, name in self.names.items() if name and name == user]
