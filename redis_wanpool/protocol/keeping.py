"""Keeping leases and giving them back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from redis_wanpool.model.checks import checked_ttl, milliseconds
from redis_wanpool.model.lease import OURS, LeaseState, margin
from redis_wanpool.protocol.session import LEASES_A_CALL, Session
from redis_wanpool.protocol.steps import Answer, Call, Conversation

REJECTS = {"rejected": "", "rejected after use": "used"}
"""ways to give back what the system refused -> what lua/reject.lua is told of it"""


def _word(how: str) -> str:
    """How a lease ends that is given back so."""
    return "rejected" if how in REJECTS else how


class Keeping(Session):
    """The part of the conversation that renews and releases."""

    def release(
        self, leases: Iterable[LeaseState], how: str = "released", why: str = ""
    ) -> Conversation[dict[str, str]]:
        """Gives leases back; tells of each how it ended, now or before. `why` the system refused what is "rejected"."""
        words: dict[str, str] = {}
        rows = [(wan_idx, self._release_batch(wan_idx, batch, how, why)) for wan_idx, batch in self.batches(leases)]
        for told in (yield from self.all_of(rows)):
            words.update(told)
        return words

    def _release_batch(
        self, wan_idx: int, batch: Sequence[LeaseState], how: str, why: str
    ) -> Conversation[dict[str, str]]:
        words: dict[str, str] = {}
        pairs = [item for lease in batch for item in (lease.port, lease.lease_id)]
        for lease in batch:  # first the doubt: a lease in neither would look like one that we know nothing of
            self.doubts[wan_idx, lease.lease_id] = str(lease.port), how
            self.leases.pop(lease.lease_id, None)
        asked_before, wanted = [lease.asked_to_end for lease in batch], _word(how)
        for lease in batch:
            lease.asked_to_end = wanted
        answer = yield self.ending(wan_idx, how, pairs, why)
        if answer.reply[0] not in ("RELEASED", "REJECTED"):
            raise (yield from self.refused(wan_idx, answer.reply))
        told_of = dict(zip(batch, answer.reply[2:], strict=True))
        unsure = [lease for lease, told in told_of.items() if told == "unsure"]
        if unsure:
            told_of.update((yield from self._reasserted_and_ended(wan_idx, unsure, how, why)))
        for (lease, told), asked in zip(told_of.items(), asked_before, strict=True):
            word = _how_gone(lease, answer, wanted if answer.repeated else asked) if told == "gone" else told
            self.doubts.pop((wan_idx, lease.lease_id), None)
            lease.end(word)
            lease.asked_to_end = None
            words[lease.lease_id] = word
        return words

    def _reasserted_and_ended(
        self, wan_idx: int, leases: Sequence[LeaseState], how: str, why: str
    ) -> Conversation[dict[LeaseState, str]]:
        """Gives back leases that Redis has forgotten, so that their ports rest and cool as they should."""
        told = dict.fromkeys(leases, "gone")
        ours = [lease for lease in leases if lease.reason is None]
        if ours:
            answer = yield self.renewal(wan_idx, ours)
            if answer.reply[0] != "RENEWED":
                raise (yield from self.refused(wan_idx, answer.reply))
            told.update(zip(ours, answer.reply[4:], strict=True))
        back = [lease for lease in ours if isinstance(told[lease], int)]
        if back:
            pairs = [item for lease in back for item in (lease.port, lease.lease_id)]
            answer = yield self.ending(wan_idx, how, pairs, why)
            if answer.reply[0] not in ("RELEASED", "REJECTED"):
                raise (yield from self.refused(wan_idx, answer.reply))
            told.update(zip(back, answer.reply[2:], strict=True))
        return told

    def leave_to_upkeep(self, lease: LeaseState, how: str) -> None:
        """Ends a lease here and now; upkeep tells Redis."""
        self.doubts[lease.wan_idx, lease.lease_id] = str(lease.port), how
        self.leases.pop(lease.lease_id, None)
        lease.end(_word(how))

    def ending(self, wan_idx: int, how: str, pairs: Sequence[str | int], why: str = "") -> Call:
        """The call that ends leases, given as port or "", lease_id and so on."""
        if how in REJECTS:
            why = why or "refused by the operating system"
            return self.call("reject", wan_idx, self.network, self.holder.host, why, REJECTS[how], *pairs)
        return self.call("release", wan_idx, how, *pairs)

    def release_one(self, lease: LeaseState, how: str) -> Conversation[bool]:
        """True when this holder ended the lease, now or before."""
        if lease.ended in OURS:
            return True
        if lease.ended == "forked":
            return False
        words = yield from self.release([lease], how)
        return words[lease.lease_id] in OURS or words[lease.lease_id] == "rejected" == _word(how)

    def held(self, wan_idx: int, holder: str) -> Conversation[list[tuple[int, str, str]]]:
        """What a holder holds in a WAN: port, lease_id and expires_at of each."""
        found: list[tuple[int, str, str]] = []
        cursor = "0"
        while True:
            answer = yield self.call("held", wan_idx, holder, cursor, LEASES_A_CALL)
            if answer.reply[0] != "HELD":
                raise (yield from self.refused(wan_idx, answer.reply))
            _, cursor, *facts = answer.reply
            found += zip(map(int, facts[::3]), facts[1::3], facts[2::3], strict=True)
            if cursor == "0":
                return found

    def renew_one(self, lease: LeaseState, ttl: float) -> Conversation[None]:
        """Prolongs a lease to `ttl` seconds from now, if that is later than it would end."""
        lease.check()
        checked_ttl(ttl, lease.max_ttl)
        answer = yield self.renewal(lease.wan_idx, [lease], ttl)
        if answer.reply[0] != "RENEWED":
            raise (yield from self.refused(lease.wan_idx, answer.reply))
        self.renewed([lease], answer, ttl)
        lease.check()

    def renewal(self, wan_idx: int, leases: Sequence[LeaseState], ttl: float | None = None) -> Call:
        """The call that renews these leases of one WAN and one kind."""
        detached = bool(leases) and leases[0].detached
        who = self.holder
        fields: list[str | int] = []
        for lease in leases:
            ttl_ms = milliseconds(lease.ttl if ttl is None else ttl)
            fields += (lease.port, lease.lease_id, lease.fence, ttl_ms, lease.label)
        return self.call(
            "renew",
            wan_idx,
            who.detached_id if detached else who.id,
            self.network,
            self.rest_ms,
            who.host,
            0 if detached else who.pid,
            *fields,
        )

    def renewed(self, leases: Sequence[LeaseState], answer: Answer, ttl: float | None = None) -> None:
        """Notes what the renewal said of each lease."""
        now_ms = answer.reply[1]
        for lease, result in zip(leases, answer.reply[4:], strict=True):
            if isinstance(result, int):
                left = (result - now_ms) / 1000
                lease.extend(result / 1000, answer.sent + left - margin(max(lease.ttl, ttl or 0.0)))
                lease.renew_at = answer.sent + lease.ttl / 3
            else:
                lease.end(_how_gone(lease, answer, lease.asked_to_end) if result == "gone" else result)


def _how_gone(lease: LeaseState, answer: Answer, asked: str | None) -> str:
    """How a lease ended of which Redis knows no longer, its port being granted anew.

    If that was before it can have expired, an earlier request to end it was executed, or else somebody revoked it.
    """
    return asked or "revoked" if answer.sent < lease.deadline else "expired"
