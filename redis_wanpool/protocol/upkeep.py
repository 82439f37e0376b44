"""The work in the background: renewing, and clearing up after unanswered calls."""

from collections.abc import Sequence

from redis_wanpool.errors import BackendUnavailable, WanNotDefined, WanpoolError
from redis_wanpool.model.lease import LeaseState
from redis_wanpool.protocol.bounded import batches
from redis_wanpool.protocol.keeping import Keeping
from redis_wanpool.protocol.refusals import is_silence
from redis_wanpool.protocol.session import logger
from redis_wanpool.protocol.shelf import BEAT
from redis_wanpool.protocol.steps import Conversation


def _reason_after(error: WanpoolError | None) -> str:
    """How a lease ends if its renewal goes on failing like this."""
    if isinstance(error, WanNotDefined):
        return "data_lost"
    return "unreachable" if isinstance(error, BackendUnavailable) else "expired"


RETRY = 0.5  #: the most seconds until a failed beat is tried again


class Upkeep(Keeping):
    """The part of the conversation that the heartbeat holds."""

    def beat(self, now: float) -> Conversation[float]:
        """Renews what is due, and clears up; returns the most seconds until the next beat."""
        self.ledger.reasserts = False
        due: dict[int, list[Sequence[LeaseState]]] = {}
        for wan_idx, batch in batches(self.ledger.due(now)):
            due.setdefault(wan_idx, []).append(batch)
        kept = self.shelf.to_ask(now) if self.shelf is not None else []
        wans = sorted({*due, *self.ledger.to_clear_up(), *kept})
        branches = [(wan_idx, self._beat_there(wan_idx, due.get(wan_idx, []), now)) for wan_idx in wans]
        results = yield from self.side_by_side(branches)
        for wan_idx, result in zip(wans, results, strict=True):
            error = result if isinstance(result, WanpoolError) else None
            self.goes("keep the leases", wan_idx, error)
            for lease in (lease for batch in due.get(wan_idx, []) for lease in batch) if error else ():
                lease.reason_at_deadline = _reason_after(error)
        return self._next_beat(now, any(isinstance(result, WanpoolError) for result in results))

    def _beat_there(self, wan_idx: int, due: Sequence[Sequence[LeaseState]], now: float) -> Conversation[None]:
        """Renews what is due on one WAN, then clears up; goes on after an error, unless Redis does not answer."""
        first: WanpoolError | None = None
        parts = [*(self._renew(wan_idx, batch) for batch in due), self._clear_up(wan_idx, now)]
        if self.shelf is not None:
            parts.append(self._see_to_kept(wan_idx, now))
        for conversation in parts:
            try:
                yield from conversation
            except WanpoolError as error:
                first = first or error
                if is_silence(error):
                    break
        if first is not None:
            raise first

    def _renew(self, wan_idx: int, batch: Sequence[LeaseState]) -> Conversation[None]:
        for lease in batch:
            if lease.reason_at_deadline == "expired":
                lease.reason_at_deadline = "unreachable"  # until the answer arrives
        answer = yield from self.expect(self.renewal(wan_idx, batch), "RENEWED")
        self.renewed(batch, answer)
        if answer.reply[2] != self.ledger.count_on(wan_idx):
            self.ledger.differing.add(wan_idx)

    def _see_to_kept(self, wan_idx: int, now: float) -> Conversation[None]:
        """Asks what has changed in a WAN whose ports are kept, and gives back those that are not to be kept longer."""
        assert self.shelf is not None
        try:
            if wan_idx in self.shelf.to_ask(now):
                answer = yield from self.expect(self.renewal(wan_idx, []), "RENEWED")
                generation, epoch, is_scarce = answer.reply[4:7]
                if self.shelf.noticed(wan_idx, (generation, epoch), answer.sent, scarce=bool(is_scarce)):
                    self.renew_soon(lease for lease in self.ledger.kept() if lease.wan_idx == wan_idx)
        except WanpoolError:
            for idle in self.shelf.to_give_back(wan_idx, now):
                self.leave_to_upkeep(idle, idle.overall("unused")[0])
            raise
        yield from self.release(self.shelf.to_give_back(wan_idx, now), "unused")

    def _next_beat(self, now: float, failed: bool) -> float:
        leases = self.ledger.attached()
        if failed:
            return min([RETRY, *(lease.ttl / 10 for lease in leases)])
        due = [lease.renew_at - now for lease in leases]
        if self.shelf is not None and self.shelf.to_ask(now):
            due.append(BEAT)
        if self.ledger.to_clear_up():
            due.append(5.0)
        return max(0.02, min(due, default=3600.0) * self.random.uniform(0.8, 1.0))

    def _clear_up(self, wan_idx: int, now: float) -> Conversation[None]:
        """Gives back what unanswered calls may have taken on a WAN, and places in its queue."""
        ledger = self.ledger
        for (of_wan, lease_id), (port, end_reason) in list(ledger.doubts.items()):
            if of_wan == wan_idx and (of_wan, lease_id) not in ledger.under_way:
                yield self.ending(wan_idx, end_reason, [port, lease_id])
                ledger.settle(wan_idx, lease_id)
                ledger.suspect(wan_idx, now)
        for of_wan, ticket in list(ledger.abandoned):
            if of_wan == wan_idx:
                yield self.call("leave", wan_idx, ticket)
                ledger.abandoned.pop((wan_idx, ticket), None)
        if wan_idx in ledger.suspects or wan_idx in ledger.differing:
            ledger.differing.discard(wan_idx)
            yield from self._compare(wan_idx)
            if now > ledger.suspects.get(wan_idx, now):
                del ledger.suspects[wan_idx]

    def _compare(self, wan_idx: int) -> Conversation[None]:
        """Gives back leases that this holder does not know: a late duplicate of a call took their ports."""
        for port, lease_id, _ in (yield from self.held(wan_idx, self.holder.id)):
            if self.ledger.is_unknown(wan_idx, port, lease_id):
                yield self.call("release", wan_idx, "unused", 0, port, lease_id)

    def give_back(self) -> Conversation[None]:
        """Releases all but detached leases, as at the end of the process."""
        for part in (self.release_all(self.ledger.attached()), self._clear_up_everywhere(), self._take_leave()):
            try:
                yield from part
            except WanpoolError as error:
                logger.warning("some ports come back only when their ttl is over: %s", error)
                if not self.is_sharded:
                    return

    def _clear_up_everywhere(self) -> Conversation[None]:
        self.ledger.under_way.clear()  # the process may end before their answers come
        wans = sorted(self.ledger.to_clear_up())
        yield from self.all_of([(wan_idx, self._clear_up(wan_idx, 0.0)) for wan_idx in wans])

    def _take_leave(self) -> Conversation[None]:
        if self.registered:
            yield self.call_namespace("unregister", self.holder.id, self.holder.boot_id, self.holder.pid_namespace)
