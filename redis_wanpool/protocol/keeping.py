"""Renews leases and gives them back."""

from collections.abc import Iterable, Sequence
from typing import Any

from redis_wanpool.model.checks import checked_flag, checked_ttl, milliseconds
from redis_wanpool.model.endings import CLEAN, OURS, REJECTS, end_reason, final_word
from redis_wanpool.model.lease import LeaseState, margin
from redis_wanpool.protocol.bounded import LEASES_A_CALL, batches
from redis_wanpool.protocol.ledger import Ids
from redis_wanpool.protocol.session import Session, logger
from redis_wanpool.protocol.steps import Answer, Call, Conversation, Look

GONE = ("gone", "data_lost")
"""answers about a lease of which Redis knows nothing; by the second its data is not that which granted the lease"""


class Keeping(Session):
    """The part of the conversation that renews and releases."""

    def release(
        self, leases: Iterable[LeaseState], end_reason: str = "released", why: str = ""
    ) -> Conversation[dict[str, str]]:
        """Gives leases back.

        Args:
            why: what the system said, if it refused the ports.

        Returns:
            lease_id -> how the lease ended, now or before.
        """
        words: dict[str, str] = {}
        by_end: dict[str, list[LeaseState]] = {}
        for lease in leases:
            by_end.setdefault(lease.overall(end_reason)[0], []).append(lease)
        rows = [
            (
                wan_idx,
                self._release_batch(wan_idx, batch, overall, why, min(one.overall(end_reason)[1] for one in batch)),
            )
            for overall, alike in by_end.items()
            for wan_idx, batch in batches(alike)
        ]
        for told in (yield from self.all_of(rows)):
            words.update(told)
        return words

    def _release_batch(
        self, wan_idx: int, batch: Sequence[LeaseState], end_reason: str, why: str, ago: float
    ) -> Conversation[dict[str, str]]:
        ids = Ids(lease.granted_id for lease in batch)
        self.ledger.under_way.update({(wan_idx, lease_id): ids for lease_id in ids})
        try:
            return (yield from self._released_batch(wan_idx, batch, end_reason, why, ago))
        finally:
            for lease_id in ids:
                self.ledger.under_way.pop((wan_idx, lease_id), None)

    def _released_batch(
        self, wan_idx: int, batch: Sequence[LeaseState], end_reason: str, why: str, ago: float
    ) -> Conversation[dict[str, str]]:
        pairs = [item for lease in batch for item in (lease.port, lease.granted_id)]
        for lease in batch:
            self.ledger.doubt(lease, end_reason)
        asked_before, wanted = [lease.asked_to_end for lease in batch], final_word(end_reason)
        for lease in batch:
            lease.asked_to_end = wanted
        answer = yield self.ending(wan_idx, end_reason, pairs, why, ago)
        return (yield from self._ended(wan_idx, batch, end_reason, why, answer, asked_before))

    def _ended(
        self,
        wan_idx: int,
        batch: Sequence[LeaseState],
        end_reason: str,
        why: str,
        answer: Answer,
        asked_before: Sequence[str | None],
    ) -> Conversation[dict[str, str]]:
        """How these leases have ended, by the answer to the call that was to end them."""
        words: dict[str, str] = {}
        wanted = final_word(end_reason)
        if answer.reply[0] not in ("RELEASED", "REJECTED"):
            raise (yield from self.refused(wan_idx, answer.reply))
        told_of = dict(zip(batch, answer.reply[2:], strict=True))
        asked_of = {
            lease: wanted if answer.repeated or (wan_idx, lease.granted_id) not in self.ledger.doubts else asked
            for lease, asked in zip(batch, asked_before, strict=True)  # what is no longer in doubt was asked by upkeep
        }
        unsure = [
            lease for lease, told in told_of.items() if told == "unsure" or (told == "gone" and asked_of[lease] is None)
        ]
        if unsure:
            told_of.update((yield from self._reasserted_and_ended(wan_idx, unsure, end_reason, why)))
        for lease, told in told_of.items():
            word = _reason_gone(lease, answer, asked_of[lease], told) if told in GONE else told
            self.ledger.settle(wan_idx, lease.granted_id)
            lease.end(word)
            lease.asked_to_end = None
            words[lease.granted_id] = word
        return words

    def _reasserted_and_ended(
        self, wan_idx: int, leases: Sequence[LeaseState], end_reason: str, why: str
    ) -> Conversation[dict[LeaseState, str]]:
        """Gives back leases that Redis has forgotten, so that their ports rest and cool as they should."""
        told = dict.fromkeys(leases, "gone")
        ours = [lease for lease in leases if lease.reason is None]
        if ours:
            answer = yield from self.expect(self.renewal(wan_idx, ours), "RENEWED")
            told.update(zip(ours, self._results(ours, answer), strict=True))
        back = [lease for lease in ours if isinstance(told[lease], int)]
        if back:
            pairs = [item for lease in back for item in (lease.port, lease.granted_id)]
            answer = yield from self.expect(self.ending(wan_idx, end_reason, pairs, why), "RELEASED", "REJECTED")
            told.update(zip(back, answer.reply[2:], strict=True))
        return told

    def ending(
        self, wan_idx: int, end_reason: str, pairs: Sequence[str | int], why: str = "", ago: float = 0.0
    ) -> Call:
        """The call that ends leases whose use ended `ago` seconds ago; `pairs` alternates a port, or "", and its id."""
        if end_reason in REJECTS:
            why = why or "refused by the operating system"
            return self.call("reject", wan_idx, self.network, self.holder.host, why, REJECTS[end_reason], *pairs)
        return self.call("release", wan_idx, end_reason, int(ago * 1000), *pairs)

    def release_one(self, lease: LeaseState, *, used: bool = True, closed: str | None = None) -> Conversation[bool]:
        """True when this holder ended the lease, now or before.

        Args:
            used: whether packets may have left from the port.
            closed: how its connection ended; None: as our sockets saw it, or as a look at the port tells.
        """
        checked_flag("used", used)
        if lease.ended in OURS:
            return True
        if lease.ended == "forked":
            return False
        reason = end_reason(used, closed or ((yield from self._look_at_end(lease)) if used else "fin"))
        if self.shelf is not None and self.shelf.keeps(lease, reason):
            return True
        return (yield from self._release_single(lease, reason)) in OURS

    def _release_single(self, lease: LeaseState, end_reason: str) -> Conversation[str]:
        """As `release`, of one lease that ends as it is to, as nearly all do."""
        end_reason, ago = lease.overall(end_reason)
        ledger, key, ids = self.ledger, (lease.wan_idx, lease.granted_id), Ids((lease.granted_id,))
        ledger.under_way[key] = ids
        try:
            ledger.doubt(lease, end_reason)
            asked_before, lease.asked_to_end = lease.asked_to_end, final_word(end_reason)
            answer = yield self.ending(lease.wan_idx, end_reason, (lease.port, lease.granted_id), ago=ago)
            if answer.reply[0] == "RELEASED" and answer.reply[2] in OURS:
                told: str = answer.reply[2]
                ledger.settle(*key)
                lease.end(told)
                lease.asked_to_end = None
                return told
            words = yield from self._ended(lease.wan_idx, [lease], end_reason, "", answer, [asked_before])
            return words[lease.granted_id]
        finally:
            ledger.under_way.pop(key, None)

    def release_all(self, leases: Iterable[LeaseState]) -> Conversation[None]:
        """Gives leases back of which nobody says how they ended."""
        by_end: dict[str, list[LeaseState]] = {}
        for lease in leases:
            reason = (
                "unused" if lease.idle_since is not None else end_reason(True, (yield from self._look_at_end(lease)))
            )
            by_end.setdefault(reason, []).append(lease)
        for reason, alike in by_end.items():
            yield from self.release(alike, reason)

    def _look_at_end(self, lease: LeaseState) -> Conversation[str]:
        """How a lease's connection ended, as far as can be seen."""
        if lease.seen_end is not None:
            return lease.seen_end
        if lease.detached:  # its port may be used on another system
            return "time_wait"
        if (yield Look((lease.port,), closed=True)).reply[0] is None:
            return CLEAN
        return "fin" if lease.reuse_address else "time_wait"

    def held(self, wan_idx: int, holder: str) -> Conversation[list[tuple[int, str, str]]]:
        """The leases of a holder in a WAN: port, lease_id and expires_at of each."""
        found: list[tuple[int, str, str]] = []
        cursor = "0"
        while True:
            answer = yield from self.expect(self.call("held", wan_idx, holder, cursor, LEASES_A_CALL), "HELD")
            _, cursor, *facts = answer.reply
            found += zip(map(int, facts[::3]), facts[1::3], facts[2::3], strict=True)
            if cursor == "0":
                return found

    def renew_one(self, lease: LeaseState, ttl: float) -> Conversation[None]:
        """Prolongs a lease to `ttl` seconds from now, if that is later than it would end."""
        lease.check()
        checked_ttl(ttl, lease.max_ttl)
        answer = yield from self.expect(self.renewal(lease.wan_idx, [lease], ttl), "RENEWED")
        self.renewed([lease], answer, ttl)
        lease.check()

    def renewal(self, wan_idx: int, leases: Sequence[LeaseState], ttl: float | None = None) -> Call:
        """The call that renews these leases of one WAN and one kind."""
        detached = bool(leases) and leases[0].detached
        holder = self.holder
        fields: list[str | int] = []
        for lease in leases:
            ttl_ms = milliseconds(lease.ttl if ttl is None else ttl)
            fields += (lease.port, lease.granted_id, lease.granted_fence, ttl_ms, lease.label, lease.kept_as)
        return self.call(
            "renew",
            wan_idx,
            holder.detached_id if detached else holder.id,
            self.network,
            self.rest_ms,
            holder.host,
            0 if detached else holder.pid,
            *fields,
        )

    def _results(self, leases: Sequence[LeaseState], answer: Answer) -> list[Any]:
        """The results of a renewal; the log gets the ports that were set aside meanwhile."""
        generation, epoch, _, *results = answer.reply[4:]
        if leases:
            self.noticed_epoch(leases[0].wan_idx, generation, epoch, answer.sent)
        more = results[len(leases) :]
        for port, record in zip(more[::2], more[1::2], strict=True):
            key = self.wan_keys(leases[0].wan_idx).prefix + "grants"
            logger.error("port %s is out of service: %s says %a of it, which cannot be read", port, key, record[:200])
        found: list[Any] = []
        for lease, result in zip(leases, results, strict=False):
            if isinstance(result, int):
                lease.generation = generation  # it is in this data now, if it was not before
            is_lost = result == "gone" and lease.generation != generation and answer.sent < lease.deadline
            found.append("data_lost" if is_lost else result)
        return found

    def renewed(self, leases: Sequence[LeaseState], answer: Answer, ttl: float | None = None) -> None:
        """Notes the result of a renewal for each lease."""
        now_ms = answer.reply[1]
        for asked, result in zip(leases, self._results(leases, answer), strict=True):
            lease = self.ledger.leases.get(asked.granted_id, asked)  # a port that is kept may be in other hands by now
            lease.generation = asked.generation
            if isinstance(result, int):
                left = (result - now_ms) / 1000
                lease.extend(result / 1000, answer.sent + left - margin(max(lease.ttl, ttl or 0.0)))
                lease.renew_at = answer.sent + lease.ttl / 3
            else:
                lease.end(_reason_gone(lease, answer, lease.asked_to_end, result) if result in GONE else result)


def _reason_gone(lease: LeaseState, answer: Answer, asked: str | None, told: str) -> str:
    """How a lease ended whose port has been granted again, or whose data was lost, so that Redis no longer knows it.

    Before the lease can have expired, either an earlier request to end it was executed, or the data was lost, or
    somebody revoked it.
    """
    if answer.sent >= lease.deadline:
        return "expired"
    return asked or ("revoked" if told == "gone" else told)
