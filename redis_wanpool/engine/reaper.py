"""Looks at the processes beside this one, and takes back the leases of dead ones."""

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from redis_wanpool.errors import WanpoolError
from redis_wanpool.model.holder import Holder
from redis_wanpool.protocol import Conversation, HeldLease, Protocol
from redis_wanpool.system.clock import boottime
from redis_wanpool.system.liveness import ALIVE, DEAD, Verdict, verdict

logger = logging.getLogger("redis_wanpool")

Ports = dict[int, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class HolderSeen:
    """What `reap` saw of a holder, and what it did."""

    id: str
    host: str
    pid: int
    program: str
    verdict: str  #: "alive", "dead" or "unknown"
    why: str
    ports: Ports  #: wan_idx -> the ports of a dead holder that were, or in a dry run would be, taken back


@dataclass(slots=True)
class Suspect:
    """A holder that was found dead, its leases then, and how often in a row it was found dead."""

    leases: list[HeldLease]
    strikes: int = field(default=0)


class Reaper:
    """Looks once each interval; a process found dead in three looks in a row loses the leases not renewed since.

    The holders of a PID namespace form a ring, by their ids. Each looks at those after itself, until it has seen some
    that live and look, too: so some look at each holder, a single survivor looks at all, and none looks at thousands.
    """

    INTERVAL = 5.0
    STRIKES = 3
    ENOUGH_ALIVE = 8
    PAGE = 32
    INTRODUCE_EVERY = 300.0
    """seconds between a holder's signs of life; after a day of silence it is forgotten (lua/register.lua)"""

    def __init__(self, protocol: Protocol, run: Callable[[Any], Any]) -> None:
        self._protocol = protocol
        self._run = run
        self._suspects: dict[str, Suspect] = {}
        self._introduce_at = boottime() + self.INTRODUCE_EVERY

    def tick(self) -> float:
        """Looks once; returns the seconds until the next look."""
        pause: float = self._run(self.looking())
        return pause

    def looking(self) -> Conversation[float]:
        """The conversation of a look."""
        suspects, self._suspects = self._suspects, {}  # a look that fails ends the row
        try:
            if self._protocol.holder.reaps:
                self._suspects = yield from self._strike(suspects, (yield from self._dead_beside()))
            if self._protocol.registered and boottime() >= self._introduce_at:
                yield from self._protocol.introduce()
                self._introduce_at = boottime() + self.INTRODUCE_EVERY
        except WanpoolError as error:  # the heartbeat complains
            logger.debug("cannot look after the dead, going on trying: %s", error)
        return self.INTERVAL * random.uniform(0.8, 1.0)

    def _dead_beside(self) -> Conversation[list[tuple[Holder, str]]]:
        here = self._protocol.holder
        dead: list[tuple[Holder, str]] = []
        alive, after, is_round = 0, here.id, False
        while True:
            page = yield from self._protocol.neighbours(after, self.PAGE)
            for holder in page:
                if is_round and holder.id >= here.id:
                    return dead
                seen = verdict(holder, here)
                if seen.word == DEAD:
                    dead.append((holder, seen.why))
                alive += seen.word == ALIVE and holder.reaps
                if alive >= self.ENOUGH_ALIVE:
                    return dead
            if len(page) == self.PAGE:
                after = page[-1].id
            elif is_round:
                return dead
            else:
                after, is_round = "", True

    def _strike(self, suspects: dict[str, Suspect], dead: list[tuple[Holder, str]]) -> Conversation[dict[str, Suspect]]:
        still: dict[str, Suspect] = {}
        for holder, why in dead:
            suspect = suspects.get(holder.id) or Suspect((yield from self._protocol.leases_of(holder.id)))
            suspect.strikes += 1
            if suspect.strikes < self.STRIKES:
                still[holder.id] = suspect
            else:
                yield from self._take_back(holder, why, suspect.leases)
        return still

    def _take_back(self, holder: Holder, why: str, leases: list[HeldLease]) -> Conversation[Ports]:
        ports = yield from self._protocol.reap(holder, leases)
        count = sum(map(len, ports.values()))
        if count:
            logger.warning(
                "took back %d ports (namespace %r) of process %d (%s) on %s: %s",
                count,
                self._protocol.namespace,
                holder.pid,
                holder.program,
                holder.host,
                why,
            )
        return ports

    def now(self, *, dry_run: bool) -> list[HolderSeen]:
        """Looks at all holders of the namespace at once, three times at dead ones, and takes back their leases."""
        found: list[HolderSeen] = self._run(self._looking_at_all(dry_run))
        return found

    def _looking_at_all(self, dry_run: bool) -> Conversation[list[HolderSeen]]:
        here = self._protocol.holder
        found = []
        for holder in (yield from self._protocol.all_holders()):
            seen = verdict(holder, here)
            ports: Ports = {}
            if seen.word == DEAD:
                leases = yield from self._protocol.leases_of(holder.id)
                seen = self._seen_again(holder, seen)
                if seen.word == DEAD and dry_run:
                    for lease in leases:
                        ports[lease.wan_idx] = (*ports.get(lease.wan_idx, ()), lease.port)
                elif seen.word == DEAD:
                    ports = yield from self._take_back(holder, seen.why, leases)
            found.append(HolderSeen(holder.id, holder.host, holder.pid, holder.program, seen.word, seen.why, ports))
        return found

    def _seen_again(self, holder: Holder, seen: Verdict) -> Verdict:
        for _ in range(self.STRIKES - 1):
            if seen.word == DEAD:
                seen = verdict(holder, self._protocol.holder)
        return seen
