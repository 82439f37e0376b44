"""Reads what happened in WANs, how often, and where each port is."""

from collections.abc import Iterator, Sequence
from typing import Any

from redis_wanpool.model.checks import MOST_PORTS_A_CALL
from redis_wanpool.model.history import Counters, Event
from redis_wanpool.model.places import PortMap
from redis_wanpool.model.ports import port_numbers
from redis_wanpool.model.views import LeasePage
from redis_wanpool.protocol.bounded import pages
from redis_wanpool.protocol.looking import Looking
from redis_wanpool.protocol.refusals import not_defined
from redis_wanpool.protocol.scripts import script
from redis_wanpool.protocol.steps import Ask, Call, Conversation


class History(Looking):
    """The part of the conversation that is for people on call."""

    def events(
        self, wan_idx: int, *, after: str = "", within_ms: int | None = None, limit: int = MOST_PORTS_A_CALL
    ) -> Conversation[list[Event]]:
        """The last entries, oldest first; with `after`, the first ones behind that id."""
        within = "" if within_ms is None else within_ms
        keys = self.wan_keys(wan_idx).declared
        reply = (yield Call(script("events"), keys, (after, within, limit), timed=False, wan_idx=wan_idx)).reply
        found = [Event.parse(wan_idx, entry) for entry in reply[2]]
        return sorted(found, key=lambda event: event.order)

    def counters(self, wan_idx: int) -> Conversation[Counters]:
        """The exact numbers, also those that the last second added."""
        answer = yield from self.expect(self.call("counters", wan_idx), "COUNTERS")
        return Counters.parse(answer.reply)

    def port_map(self, wan_idx: int) -> Conversation[PortMap]:
        """Where each port is, in calls of bounded size: Redis answers others in between."""
        ports = (yield from self.claims()).get(wan_idx)
        if ports is None:
            raise not_defined(self.namespace, wan_idx)
        keys = self.wan_keys(wan_idx)
        leased, cooling = keys.declared[3:5]
        now_ms = (yield from self.snapshot(wan_idx)).now_ms
        states: dict[int, str] = {}
        networks: dict[int, str] = {}
        page: LeasePage | None = None
        while page is None or not page.is_last:
            page = yield from self.lease_page(wan_idx, page)
            for lease in page.leases:
                states[lease.port], networks[lease.port] = "leased", lease.network
        cools = [port for port, at_ms in (yield from self._scored(cooling)).items() if at_ms > now_ms]
        cools += [port for port, at_ms in (yield from self._scored(leased)).items() if at_ms <= now_ms]  # unsettled
        for some in pages(sorted(set(cools) - states.keys()), MOST_PORTS_A_CALL):
            grants = (yield Ask(("HMGET", keys.declared[5], *map(str, some)))).reply
            networks |= {port: _network(grant) for port, grant in zip(some, grants, strict=True)}
            states |= dict.fromkeys(some, "cooling")
        for port, at_ms in (yield from self._scored(keys.prefix + "quarantined")).items():
            if at_ms > now_ms and states.get(port) == "cooling":
                states[port] = "quarantined"
        states |= dict.fromkeys((yield from self._withheld(keys.declared[2])), "withheld")
        return PortMap.of(wan_idx, port_numbers(ports), states, networks)

    def _scored(self, key: str) -> Conversation[dict[int, float]]:
        """The ports in a ZSET, and their scores."""
        found: dict[int, float] = {}
        start = 0
        while start <= len(found):
            stop = start + MOST_PORTS_A_CALL - 1
            flat = (yield Ask(("ZRANGE", key, str(start), str(stop), "WITHSCORES"))).reply
            found.update((int(port), float(score)) for port, score in _pairs(flat))
            start += MOST_PORTS_A_CALL
        return found

    def _withheld(self, key: str) -> Conversation[set[int]]:
        found: set[int] = set()
        cursor = "0"
        while True:
            cursor, members = (yield Ask(("SSCAN", key, cursor, "COUNT", str(MOST_PORTS_A_CALL)))).reply
            found.update(map(int, members))
            cursor = str(int(cursor))
            if cursor == "0":
                return found


def _pairs(reply: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Members and scores, which redis-py returns in pairs or one after the other."""
    if reply and isinstance(reply[0], (list, tuple)):
        return iter(reply)
    return zip(reply[::2], reply[1::2], strict=True)


def _network(grant: str | None) -> str:
    return (grant or "").split(" ")[2:3][0] if (grant or "").count(" ") >= 2 else ""
