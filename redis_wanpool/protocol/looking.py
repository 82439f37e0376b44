"""Looking at ports and leases, whoever has them; nothing changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from redis_wanpool.errors import PortNotInRange
from redis_wanpool.model.checks import MOST_PORTS_A_CALL, milliseconds
from redis_wanpool.model.ports import port_numbers
from redis_wanpool.model.views import PortSeen
from redis_wanpool.protocol.keys import namespace_keys
from redis_wanpool.protocol.steps import Ask, Conversation
from redis_wanpool.protocol.wans import Wans


class Looking(Wans):
    """The part of the conversation that is about what stands in Redis."""

    def claims(self) -> Conversation[dict[int, str]]:
        """The ports of each WAN, also of one that is not ready yet or has lost its data."""
        flat = (yield Ask(("HGETALL", namespace_keys(self.namespace)[0]))).reply
        pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
        try:
            found = sorted((int(wan_idx), claim.split(" ")[0]) for wan_idx, claim in pairs)
        except ValueError:
            raise self.unreadable() from None
        return dict(found)

    def ports_by_wan(self) -> Conversation[dict[int, list[int]]]:
        """The same as numbers."""
        claims = yield from self.claims()
        try:
            return {wan_idx: port_numbers(ports) for wan_idx, ports in claims.items()}
        except ValueError:
            raise self.unreadable() from None

    def wan_of(self, port: int) -> Conversation[int]:
        """The WAN to which a port belongs.

        Raises:
            PortNotInRange: to none.
        """
        for wan_idx, ports in (yield from self.ports_by_wan()).items():
            if port in ports:
                return wan_idx
        raise PortNotInRange(
            f"port {port} belongs to no WAN of namespace {self.namespace!r}; see their ports with: wanpool init --show",
            port=port,
            wan_idx=None,
        )

    def outlook(self, wan_idx: int, looks_ahead: Sequence[float]) -> Conversation[list[int]]:
        """How many ports are in quarantine, and how many become free to all within each of so many seconds."""
        answer = yield self.call("outlook", wan_idx, *map(milliseconds, looks_ahead))
        if answer.reply[0] != "OUTLOOK":
            raise (yield from self.refused(wan_idx, answer.reply))
        counts: list[int] = answer.reply[1:]
        return counts

    def census(self, wan_idx: int) -> Conversation[Counter[tuple[str, str]]]:
        """How many ports each (holder, network) holds."""
        counts: Counter[tuple[str, str]] = Counter()
        end = ("", "")
        while True:
            answer = yield self.call("census", wan_idx, *end, MOST_PORTS_A_CALL, "")
            if answer.reply[0] != "CENSUS":
                raise (yield from self.refused(wan_idx, answer.reply))
            _, expires_at, port, *flat = answer.reply
            for holder, network, count in zip(*[iter(flat)] * 3, strict=True):
                counts[holder, network] += count
            end = (expires_at, port)
            if not port:
                return counts

    def explain(self, wan_idx: int, port: int) -> Conversation[PortSeen]:
        """All that is known of a port."""
        answer = yield self.call("explain", wan_idx, port)
        if answer.reply[0] != "EXPLAINED":
            raise (yield from self.refused(wan_idx, answer.reply))
        return PortSeen.parse(wan_idx, port, answer.reply)
