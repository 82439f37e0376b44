"""What goes on behind the user's back: renewing, noticing losses, clearing up after calls without an answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from redis_wanpool.errors import BackendUnavailable, WanpoolError
from redis_wanpool.model.lease import LeaseState
from redis_wanpool.protocol.keeping import Keeping
from redis_wanpool.protocol.session import is_silence, logger
from redis_wanpool.protocol.steps import Conversation

SUSPECT_FOR = 60.0
"""seconds for which a late duplicate of a call without an answer is looked for"""
RETRY = 0.5
BEAT_A_TTL = 3


class Upkeep(Keeping):
    """The part of the conversation that the heartbeat holds."""

    def beat(self, now: float) -> Conversation[float]:
        """Renews what is due, and clears up; tells how many seconds the next beat may be away."""
        failed = self.reasserts = False
        due: dict[int, list[list[LeaseState]]] = {}
        for wan_idx, batch in self.batches(self._due(now)):
            due.setdefault(wan_idx, []).append(batch)
        wans = sorted({*due, *self._to_clear_up()})
        branches = [(wan_idx, self._beat_there(wan_idx, due.get(wan_idx, []), now)) for wan_idx in wans]
        for wan_idx, result in zip(wans, (yield from self.side_by_side(branches)), strict=True):
            if isinstance(result, WanpoolError):
                failed = self._failed(f"renew the leases of WAN {wan_idx}", result)
                for lease in (lease for batch in due.get(wan_idx, []) for lease in batch):
                    lease.unreachable = isinstance(result, BackendUnavailable)
        self._outage = failed
        return self._next_beat(now, failed)

    def _beat_there(self, wan_idx: int, batches: Sequence[list[LeaseState]], now: float) -> Conversation[None]:
        """What there is to do on one WAN; goes on after a trouble, unless Redis does not answer."""
        todo = [("clear up after an unanswered call", self._clear_up(wan_idx, now))]
        todo += [(f"renew {len(batch)} leases of WAN {wan_idx}", self._renew(wan_idx, batch)) for batch in batches]
        first: WanpoolError | None = None
        for what, conversation in todo:
            try:
                yield from conversation
            except WanpoolError as error:
                self._failed(what, error)
                first = first or error
                if is_silence(error):
                    break
        if first is not None:
            raise first

    def _renew(self, wan_idx: int, batch: Sequence[LeaseState]) -> Conversation[None]:
        for lease in batch:
            lease.unreachable = True  # until the answer is there
        answer = yield self.renewal(wan_idx, batch)
        if answer.reply[0] != "RENEWED":
            raise (yield from self.refused(wan_idx, answer.reply))
        self.renewed(batch, answer)
        if answer.reply[2] != self._held_here(wan_idx):
            yield from self._compare(wan_idx)

    def losses(self) -> list[LeaseState]:
        """The leases that ended without our release since the last call."""
        lost = [lease for lease in list(self.leases.values()) if lease.lost]
        for lease in lost:
            known = self.leases.pop(lease.lease_id, None) is not None and lease.end(lease.reason or "expired")
            if known and not lease.detached:  # which another process may have renewed
                # Redis may still think otherwise for the length of the margin: the port need not wait for it
                self.doubts[lease.wan_idx, lease.lease_id] = str(lease.port), "released"
        return lost

    def first_deadline(self) -> float | None:
        """The local time at which the next lease is lost if nothing renews it."""
        return min((lease.deadline for lease in list(self.leases.values())), default=None)

    def has_work(self) -> bool:
        return bool(self.leases or self.doubts or self.abandoned or self.suspects)

    def _due(self, now: float) -> Iterable[LeaseState]:
        """The leases to renew now, with those that would be due a little later, to save a call."""
        for lease in list(self.leases.values()):
            if not lease.detached and lease.reason is None and lease.renew_at <= now + lease.ttl / BEAT_A_TTL / 4:
                yield lease

    def _next_beat(self, now: float, failed: bool) -> float:
        leases = [lease for lease in list(self.leases.values()) if not lease.detached]
        if failed:
            return min([RETRY, *(lease.ttl / 10 for lease in leases)])
        due = [lease.renew_at - now for lease in leases]
        if self.suspects or self.doubts or self.abandoned:
            due.append(5.0)
        return max(0.02, min(due, default=3600.0) * self.chance.uniform(0.8, 1.0))

    def _failed(self, what: str, error: WanpoolError) -> bool:
        if not self._outage:
            logger.warning("cannot %s, going on trying: %s", what, error)
        self._outage = True
        return True

    def _held_here(self, wan_idx: int) -> int:
        return sum(lease.wan_idx == wan_idx and not lease.detached for lease in list(self.leases.values()))

    def _to_clear_up(self) -> set[int]:
        """The WANs of unanswered calls."""
        return {wan_idx for wan_idx, _ in [*self.doubts, *self.abandoned]} | set(self.suspects)

    def _clear_up(self, wan_idx: int, now: float) -> Conversation[None]:
        """Gives back what unanswered calls may have taken on a WAN, and places in its queue."""
        for (of_wan, lease_id), (port, how) in list(self.doubts.items()):
            if of_wan == wan_idx:
                yield self.ending(wan_idx, how, [port, lease_id])
                self.doubts.pop((wan_idx, lease_id), None)
                self.suspects[wan_idx] = now + SUSPECT_FOR
        for place in list(self.abandoned):
            if place[0] == wan_idx:
                yield self.call("leave", *place)
                self.abandoned.discard(place)
        if wan_idx in self.suspects:
            yield from self._compare(wan_idx)
            if now > self.suspects[wan_idx]:
                del self.suspects[wan_idx]

    def _compare(self, wan_idx: int) -> Conversation[None]:
        """Gives back what we hold and know nothing of: what a duplicate took that came after the lease's end."""
        for port, lease_id, _ in (yield from self.held(wan_idx, self.holder.id)):
            # In the order in which another thread moves an id on: in flight, fresh, kept, in doubt.
            if lease_id in self.in_flight or lease_id in self.fresh:
                continue
            known = self.leases.get(lease_id)
            expected = known is not None and (known.wan_idx, known.port) == (wan_idx, port)
            if not expected and (wan_idx, lease_id) not in self.doubts:
                yield self.call("release", wan_idx, "unused", port, lease_id)

    def give_back(self) -> Conversation[None]:
        """Releases all but detached leases, as at the end of the process."""
        leases = [lease for lease in list(self.leases.values()) if not lease.detached]
        for part in (self.release(leases), self._clear_up_everywhere(), self._take_leave()):
            try:
                yield from part
            except WanpoolError as error:
                logger.warning("some ports come back by their ttl only: %s", error)
                if not self.is_sharded:
                    return

    def _clear_up_everywhere(self) -> Conversation[None]:
        yield from self.all_of([(wan_idx, self._clear_up(wan_idx, 0.0)) for wan_idx in sorted(self._to_clear_up())])

    def _take_leave(self) -> Conversation[None]:
        if self.registered:
            who = self.holder
            yield self.call_namespace("unregister", who.id, who.boot_id, who.pid_namespace)
