"""One look at all WANs of a namespace, which metrics and pages share."""

import logging
from collections import OrderedDict, deque
from dataclasses import dataclass
from threading import Lock

from redis_wanpool.errors import BackendUnavailable, WanpoolError
from redis_wanpool.model.health import Health
from redis_wanpool.model.history import Event
from redis_wanpool.model.holder import Holder
from redis_wanpool.model.places import PortMap
from redis_wanpool.model.views import PortSeen, WanStatus
from redis_wanpool.sync.operator import Operator
from redis_wanpool.system.clock import boottime
from redis_wanpool.watch.paced import Paced

logger = logging.getLogger("redis_wanpool")

DAY = 86_400.0
TREND, SHORTEST_TREND = 120.0, 10.0  #: seconds over which it is seen whether free ports become fewer
MOST_EVENTS, MOST_PORTS_KEPT = 5_000, 1_000


@dataclass(frozen=True, slots=True)
class Reading:
    """All WANs at about one moment.

    Attributes:
        at_ms: when, by the server's clock; 0 if no WAN could be read.
        wans: the WANs that could be read.
        troubles: those that could not, and why.
        health: what is known of their lines.
        exhausted_in: seconds until a WAN has no free port, if it goes on as in the last two minutes.
    """

    at_ms: int
    wans: dict[int, WanStatus]
    troubles: dict[int, str]
    health: Health
    exhausted_in: dict[int, float]


@dataclass(frozen=True, slots=True)
class Held:
    """How many ports a process has of a network, in each WAN."""

    holder: str
    network: str
    program: str
    wans: dict[int, int]


class Watch:
    """Reads for many viewers what costs Redis one reading.

    Args:
        operator: where to read.
        pace: seconds between two readings at least.
    """

    def __init__(self, operator: Operator, pace: float = 1.0) -> None:
        self.operator = operator
        self._trend: dict[int, deque[tuple[float, int]]] = {}
        self._events: list[Event] = []
        self._known: dict[int, str] = {}
        self._maps: dict[int, Paced[PortMap]] = {}
        self._ports: OrderedDict[int, Paced[tuple[PortSeen, Holder | None]]] = OrderedDict()
        self._lock = Lock()
        self._pace = pace
        self.wans = Paced(self._look, pace)
        self.events = Paced(self._listen, pace)
        self.holders = Paced(self._count, 2 * pace)

    def _look(self) -> Reading:
        looks = self.operator.status()
        health = self.operator.health()
        wans = {wan_idx: one for wan_idx, one in looks.items() if not isinstance(one, WanpoolError)}
        errors = {wan_idx: one for wan_idx, one in looks.items() if isinstance(one, WanpoolError)}
        silent = [error for error in errors.values() if isinstance(error, BackendUnavailable)]
        if silent and not wans:
            raise silent[0]
        at_ms = max((one.counters.at_ms for one in wans.values() if one.counters), default=0)
        troubles = {wan_idx: str(error) for wan_idx, error in errors.items()}
        return Reading(at_ms, wans, troubles, health, self._exhausted_in(wans))

    def _exhausted_in(self, wans: dict[int, WanStatus]) -> dict[int, float]:
        found: dict[int, float] = {}
        now = boottime()
        self._trend = {wan_idx: self._trend.get(wan_idx, deque()) for wan_idx in wans}
        for wan_idx, trend in self._trend.items():
            free = wans[wan_idx].seen.free
            trend.append((now, free))
            while trend[0][0] < now - TREND:
                trend.popleft()
            then, before = trend[0]
            if now - then >= SHORTEST_TREND and before > free and free:
                found[wan_idx] = free * (now - then) / (before - free)
        return found

    def _listen(self) -> tuple[Event, ...]:
        """The events of the last day, oldest first; after the first look only what is new is asked for."""
        reading = self.wans.get()
        day_ago_ms = max(0, reading.at_ms - round(1000 * DAY))
        for wan_idx in reading.wans:
            known = self._known.get(wan_idx)
            try:
                if known is None:
                    new = self.operator.events(wan_idx, since=DAY)
                else:
                    new = self.operator.events(wan_idx, after={wan_idx: known})
            except WanpoolError as error:
                logger.warning("cannot read the events of WAN %s: %s", wan_idx, error)
                continue
            self._known[wan_idx] = new[-1].id if new else known or f"{day_ago_ms}-0"
            self._events += new
        kept = (event for event in self._events if event.at_ms >= day_ago_ms)
        self._events = sorted(kept, key=lambda event: event.order)[-MOST_EVENTS:]
        return tuple(self._events)

    def _count(self) -> tuple[Held, ...]:
        """Who holds how many ports, those with most first."""
        programs = {holder.id: holder.program for holder in self.operator.holders()}
        counts: dict[tuple[str, str], dict[int, int]] = {}
        for wan_idx in self.wans.get().wans:
            try:
                of_wan = self.operator.census([wan_idx])[wan_idx]
            except WanpoolError:  # it is gone since it was seen, or its trouble is told elsewhere
                continue
            for who, count in of_wan.items():
                counts.setdefault(who, {})[wan_idx] = count
        rows = (Held(*who, programs.get(who[0], ""), wans) for who, wans in counts.items())
        return tuple(sorted(rows, key=lambda row: (-sum(row.wans.values()), row.holder)))

    def port_map(self, wan_idx: int) -> PortMap:
        """Where each port of a WAN is."""
        if wan_idx not in self.wans.get().wans:
            return self.operator.port_map(wan_idx)  # which says why there is no such WAN
        with self._lock:
            found = self._maps.setdefault(wan_idx, Paced(lambda: self.operator.port_map(wan_idx), self._pace))
        return found.get()

    def explain(self, port: int) -> tuple[PortSeen, Holder | None]:
        """What is known about a port, and the process that has it, or had it last."""
        with self._lock:
            if port not in self._ports:
                self._ports[port] = Paced(lambda: self._explain(port), self._pace)
            self._ports.move_to_end(port)
            while len(self._ports) > MOST_PORTS_KEPT:
                self._ports.popitem(last=False)
            found = self._ports[port]
        return found.get()

    def _explain(self, port: int) -> tuple[PortSeen, Holder | None]:
        seen = self.operator.explain(port)
        return seen, self.operator.holder_of(seen)
