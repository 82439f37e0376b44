"""Finds other holders, and takes back the leases of dead ones."""

from collections.abc import Sequence
from dataclasses import dataclass

from redis_wanpool.errors import BackendUnavailable, WanpoolError
from redis_wanpool.model.holder import Holder
from redis_wanpool.protocol.bounded import pages
from redis_wanpool.protocol.keeping import Keeping
from redis_wanpool.protocol.keys import namespace_keys
from redis_wanpool.protocol.looking import Looking
from redis_wanpool.protocol.steps import Ask, Conversation

HOLDERS_A_CALL = 500


@dataclass(frozen=True, slots=True)
class HeldLease:
    """A lease of another holder, as it was seen."""

    wan_idx: int
    port: int
    lease_id: str
    expires_at: str


class Reaping(Looking, Keeping):
    """The part of the conversation that is about other holders."""

    def neighbours(self, after: str, count: int) -> Conversation[list[Holder]]:
        """The holders of this PID namespace whose ids come after `after`, ascending, `count` at most."""
        holder = self.holder
        answer = yield self.call_namespace("neighbours", holder.boot_id, holder.pid_namespace, after, count)
        ids, records = answer.reply[1::2], answer.reply[2::2]
        return [found for found in map(Holder.parse, ids, records) if found is not None]

    def all_holders(self) -> Conversation[list[Holder]]:
        """All holders of the namespace, on all machines."""
        key = namespace_keys(self.namespace)[1]
        ids = sorted((yield Ask(("HKEYS", key))).reply)
        found: list[Holder] = []
        for page in pages(ids, HOLDERS_A_CALL):
            records = (yield Ask(("HMGET", key, *page))).reply
            found += [holder for holder in map(Holder.parse, page, records) if holder is not None]
        return found

    def leases_of(self, holder: str) -> Conversation[list[HeldLease]]:
        """The leases of a holder in all WANs."""
        indexes = yield from self.wan_indexes()
        of_each = yield from self.side_by_side([(wan_idx, self._held_there(wan_idx, holder)) for wan_idx in indexes])
        for wan_idx, leases in zip(indexes, of_each, strict=True):
            error = leases if isinstance(leases, WanpoolError) else None
            if isinstance(error, BackendUnavailable):  # its leases there may be seen later
                raise error
            self.goes("look after the dead", wan_idx, error)
        return [lease for leases in of_each if not isinstance(leases, WanpoolError) for lease in leases]

    def _held_there(self, wan_idx: int, holder: str) -> Conversation[list[HeldLease]]:
        held = yield from self.held(wan_idx, holder)
        return [HeldLease(wan_idx, port, lease_id, expires_at) for port, lease_id, expires_at in held]

    def reap(self, holder: Holder, leases: Sequence[HeldLease]) -> Conversation[dict[int, tuple[int, ...]]]:
        """Ends the leases that nobody renewed since they were seen, and forgets the holder.

        A holder is not forgotten if one of its leases was renewed: it lives.

        Returns:
            wan_idx -> the ports that came back.
        """
        of_wan: dict[int, list[HeldLease]] = {}
        for lease in leases:
            of_wan.setdefault(lease.wan_idx, []).append(lease)
        rows = yield from self.all_of(
            [(wan_idx, self._reap_there(wan_idx, of_wan[wan_idx])) for wan_idx in sorted(of_wan)]
        )
        if not any("live" in row.values() for row in rows):
            yield self.call_namespace("unregister", holder.id, holder.boot_id, holder.pid_namespace)
        ended = {
            wan_idx: tuple(sorted(port for port, word in row.items() if word == "reaped"))
            for wan_idx, row in zip(sorted(of_wan), rows, strict=True)
        }
        return {wan_idx: ports for wan_idx, ports in ended.items() if ports}

    def _reap_there(self, wan_idx: int, leases: Sequence[HeldLease]) -> Conversation[dict[int, str]]:
        """How each lease of one WAN ended, by its port; "live" of one that was renewed."""
        words: dict[int, str] = {}
        for page in pages(leases):
            triples = [item for lease in page for item in (lease.port, lease.lease_id, lease.expires_at)]
            answer = yield from self.expect(self.call("reap", wan_idx, self.holder.words, *triples), "REAPED")
            words.update(zip((lease.port for lease in page), answer.reply[2:], strict=True))
        return words
