"""Leasing ports: trying WANs, waiting, and saying why not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from redis_wanpool.errors import BackendUnavailable, WanMismatch, WanNotDefined, WanpoolError
from redis_wanpool.model.checks import MOST_PORTS_A_CALL, milliseconds
from redis_wanpool.model.lease import Grant, LeaseState, margin
from redis_wanpool.model.ports import port_numbers
from redis_wanpool.model.request import Request
from redis_wanpool.protocol.choosing import Choosing
from redis_wanpool.protocol.confirming import Confirming
from redis_wanpool.protocol.keeping import Keeping
from redis_wanpool.protocol.keys import namespace_keys
from redis_wanpool.protocol.ledger import Ids, Ledger
from redis_wanpool.protocol.refusals import Refusals, is_silence
from redis_wanpool.protocol.session import logger
from redis_wanpool.protocol.steps import Answer, Ask, Conversation, Sleep

SCARCE = ("EXHAUSTED", "CAPPED", "UNAVAILABLE")  #: refusals of a WAN whose ports this object may itself keep
SETTLE_FIRST, SETTLE_MORE = 8, 128
"""how many due ports an acquire settles besides its own: few, to be quick; more when it found nothing"""


@dataclass(frozen=True, slots=True)
class Begun:
    """The first request of an acquire, which was sent already: its ids are in flight, and it has this answer."""

    ids: Ids
    answer: Answer


class Attempt:
    """One acquire under way: its ids, the WANs that were asked for them, and how long it may still wait."""

    def __init__(
        self, request: Request, longest_pause: float, ledger: Ledger, new_ids: Callable[[], Ids], begun: Begun | None
    ) -> None:
        self.request = request
        self.wait = request.wait  #: seconds; None: without limit
        self._until: float | None = None
        self._longest_pause = longest_pause
        self._ledger = ledger
        self._new_ids = new_ids
        self._asked: set[int] = set()  #: the WANs in which these ids may have got ports, or a place in the queue
        self._queued: set[int] = set()  #: the WANs in whose queue they have a place, according to the answers
        self.is_settled = False
        """whether Redis holds nothing for these ids but what the caller gets, and places in queues"""
        self.answer = begun.answer if begun else None  #: to the first request, if it was sent before the attempt began
        self.ids = begun.ids if begun else self._begin()

    def _begin(self) -> Ids:
        ids = self._new_ids()
        self._ledger.asks(ids)
        return ids

    def begin_again(self) -> None:
        """Gives up what was granted, and goes on with other ids."""
        self._ledger.give_up(self._asked, self.ids)
        self.ids = self._begin()

    @property
    def ticket(self) -> str:
        """The id of the attempt in queues."""
        return self.ids[0]

    @property
    def queue_timeout(self) -> float:
        """Seconds for which a place in a queue is kept."""
        return self._longest_pause if self.wait is None else min(self.wait, self._longest_pause)

    def asks(self, wan_idx: int) -> None:
        """Notes that the WAN is about to be asked."""
        self._asked.add(wan_idx)

    def was_answered(self, sent: float) -> None:
        """Starts the wait, which counts from the first request."""
        if self._until is None and self.wait is not None:
            self._until = sent + self.wait

    def has_place(self, wan_idx: int, has: bool) -> None:
        """Notes whether the attempt has a place in the WAN's queue."""
        (self._queued.add if has else self._queued.discard)(wan_idx)

    def has_waited(self, now: float) -> None:
        """Notes the wait that is left after a pause."""
        self.wait = None if self._until is None else max(0.0, self._until - now)

    def end(self) -> None:
        """Leaves the remains of the attempt to upkeep."""
        if not self.is_settled:
            self._ledger.give_up(self._asked, self.ids)
        places = self._queued if self.is_settled else self._asked
        self._ledger.abandoned.update({(wan_idx, self.ticket): None for wan_idx in places})
        self._ledger.answered(self.ids)


class Acquiring(Choosing, Confirming, Keeping):
    """The part of the conversation that leases ports."""

    LONGEST_PAUSE = 5.0
    """seconds after which a waiter asks again even without a call: calls are hints, and may be lost"""

    def acquire(self, request: Request, begun: Begun | None = None) -> Conversation[list[LeaseState]]:
        """Leases ports of one of the wanted WANs, waiting as long as the request allows; they are not kept yet.

        Args:
            begun: the first request, if it was sent already.
        """
        attempt = Attempt(request, self.LONGEST_PAUSE, self.ledger, lambda: self._new_ids(request), begun)
        try:
            while True:
                ttl = request.ttl or (self.ttl_ms or 0) / 1000
                refusals = Refusals(self.namespace, request, ttl, self.LONGEST_PAUSE)
                order = yield from self._order(request)
                is_gone = False
                for wan_idx in order:
                    try:
                        leases = yield from self._try(wan_idx, attempt, refusals)
                    except WanpoolError as error:
                        if is_silence(error) or not self._goes_on_without(wan_idx, order, error):
                            is_gone = type(error) is WanNotDefined and (yield from self._has_moved(request, order))
                            if not is_gone:
                                raise
                        attempt.begin_again()  # what it may have granted goes back
                        continue
                    if leases is None:
                        continue
                    if len(leases) >= request.least:
                        attempt.is_settled = True
                        return leases
                    attempt.begin_again()
                    refusals.retry_in.append(0.01)
                    break
                if is_gone or (refusals.draining and (yield from self._has_moved(request, order))):
                    continue
                refusals.passed_by = self.passed_by(request.wans, order)
                may_wait = attempt.wait is None or attempt.wait > 0 or not (refusals.free_in or refusals.grace)
                if not (refusals.retry_in and may_wait):
                    attempt.is_settled = True
                    raise refusals.error()
                yield from self._pause(attempt, refusals)
        except WanpoolError as error:
            attempt.is_settled = attempt.is_settled or not isinstance(error, BackendUnavailable)
            raise
        finally:
            attempt.end()

    def _try(self, wan_idx: int, attempt: Attempt, refusals: Refusals) -> Conversation[list[LeaseState] | None]:
        """The leases that one WAN grants; None if it refuses."""
        queue_timeout = attempt.queue_timeout
        attempt.asks(wan_idx)
        answer = yield from self._ask_for(wan_idx, attempt, queue_timeout)
        attempt.was_answered(answer.sent)
        if answer.reply[0] != "GRANTED":
            if answer.reply[0] == "GRACE":
                self.ledger.noticed_grace(wan_idx, answer.reply[2])
            if not refusals.note(wan_idx, answer.reply):
                raise (yield from self.refused(wan_idx, answer.reply))
            if wan_idx in refusals.free_in:  # a WAN that drains leaves the places as they are
                attempt.has_place(wan_idx, queue_timeout > 0)
            return None
        if self.is_short(answer):
            attempt.has_place(wan_idx, False)
            attempt.is_settled = yield from self.take_back(wan_idx, attempt.ids, answer)
            raise self.short(wan_idx, answer)
        leases = self._granted(wan_idx, attempt.request, attempt.ids, answer)
        attempt.has_place(wan_idx, False)
        return leases

    def _pause(self, attempt: Attempt, refusals: Refusals) -> Conversation[None]:
        """Sleeps until a port may be free, or a WAN calls, or the wait is over."""
        seconds = min(refusals.retry_in)
        wans = () if attempt.request.port is not None else tuple(refusals.free_in)
        for _ in range(2):
            answer = yield Sleep(seconds if attempt.wait is None else min(seconds, attempt.wait), attempt.ticket, wans)
            attempt.has_waited(answer.sent)
            if not answer.reply:
                return
            seconds = min(seconds, answer.reply)  # called ahead of time

    def _new_ids(self, request: Request) -> Ids:
        return Ids(self.holder.new_lease_id(request.detached, self.new_secret) for _ in range(request.count))

    def _order(self, request: Request) -> Conversation[Sequence[int]]:
        """The WANs to try, best first."""
        if not self.registered:
            yield from self.introduce()
        if request.wans is not None and request.is_of_one:
            return request.wans
        if request.sticky is not None:
            return (yield from self.by_key(request.wans, request.sticky))
        return (yield from self.by_share(request.wans))

    def _has_moved(self, request: Request, order: Sequence[int]) -> Conversation[bool]:
        """Whether a key's WAN is another one now: its own was drained, or removed, since this object looked."""
        if request.sticky is None or request.is_of_one:
            return False
        self.look_again()
        return tuple((yield from self.by_key(request.wans, request.sticky))) != tuple(order)

    def _goes_on_without(self, wan_idx: int, order: Sequence[int], error: WanpoolError) -> bool:
        """Whether others may grant what a broken WAN did not."""
        if wan_idx == order[-1] or type(error) not in (WanpoolError, BackendUnavailable, WanMismatch, WanNotDefined):
            return False
        self.goes("look at the ports", wan_idx, error)
        return True

    def _ask_for(self, wan_idx: int, attempt: Attempt, queue_timeout: float) -> Conversation[Answer]:
        avoid = (*attempt.request.avoid, *(yield from self._of_no_use(wan_idx)))
        answer, attempt.answer = attempt.answer, None
        while True:
            if answer is None or answer.reply[0] == "MORE":
                settle = SETTLE_FIRST if answer is None else SETTLE_MORE
                words = self.wish(wan_idx, attempt.request, queue_timeout, avoid, settle)
                answer = yield self.to_be_confirmed(self.call("acquire", wan_idx, *words, *attempt.ids))
            elif answer.reply[0] in SCARCE and (yield from self._makes_room(wan_idx)):
                answer = None
            else:
                return answer

    def _makes_room(self, wan_idx: int) -> Conversation[bool]:
        """Gives back the idle ports of a WAN that are kept; False if there are none."""
        idle = self.shelf.emptied(wan_idx) if self.shelf is not None else []
        yield from self.release(idle, "unused")
        return bool(idle)

    def wish(
        self, wan_idx: int, request: Request, queue_timeout: float, avoid: Sequence[int], settle: int = SETTLE_FIRST
    ) -> tuple[str | int, ...]:
        """The arguments of the script that are the same for all alike requests: all but the ids."""
        ttl_ms = self.ttl_ms if request.ttl is None else milliseconds(request.ttl)
        holder = self.holder
        return (
            holder.detached_id if request.detached else holder.id,
            self.network,
            self.rest_ms,
            holder.host,
            0 if request.detached else holder.pid,
            request.label,
            "" if ttl_ms is None else ttl_ms,
            milliseconds(queue_timeout) if queue_timeout > 0 and request.port is None else "",
            "" if request.port is None else request.port,
            ",".join(map(str, avoid)),
            request.least,
            settle,
            self.known.get(wan_idx, ""),
            "" if request.reuse_address else "plain",
        )

    def _of_no_use(self, wan_idx: int) -> Conversation[tuple[int, ...]]:
        """The WAN's ports that this system lets no program use, as many as an acquire can avoid."""
        if self.kept and wan_idx not in self._of_no_use_in:
            claim = (yield Ask(("HGET", namespace_keys(self.namespace)[0], str(wan_idx)))).reply
            found = [port for port in port_numbers(claim.split(" ")[0]) if self._is_kept(port)] if claim else []
            if len(found) > MOST_PORTS_A_CALL:
                logger.warning(
                    "this system keeps %d ports of WAN %d (namespace %r) for itself; it is granted more than it can "
                    "use. See whose they are with: wanpool tune show",
                    len(found),
                    wan_idx,
                    self.namespace,
                )
            self._of_no_use_in[wan_idx] = tuple(found[:MOST_PORTS_A_CALL])
        return self._of_no_use_in.get(wan_idx, ())

    def _is_kept(self, port: int) -> bool:
        return any(first <= port <= last for first, last in self.kept)

    def _granted(self, wan_idx: int, request: Request, ids: Ids, answer: Answer) -> list[LeaseState]:
        now_ms, expires_ms, max_ttl_ms, lease_ttl_ms, generation, epoch, *pairs = answer.reply[1:]
        ttl = lease_ttl_ms / 1000
        if request.ttl is not None:
            ttl = request.ttl
        elif self.ttl_ms is not None:
            ttl = self.ttl_ms / 1000
        leases = [
            self.make_lease(
                Grant(
                    namespace=self.namespace,
                    wan_idx=wan_idx,
                    port=port,
                    lease_id=lease_id,
                    fence=fence,
                    label=request.label,
                    ttl=ttl,
                    max_ttl=max_ttl_ms / 1000,
                    detached=request.detached,
                    reuse_address=request.reuse_address,
                    expires_at=expires_ms / 1000,
                    deadline=answer.sent + (expires_ms - now_ms) / 1000 - margin(ttl),
                    generation=generation,
                    epoch=epoch,
                )
            )
            for lease_id, port, fence in zip(ids, pairs[::2], pairs[1::2], strict=True)
            if port and expires_ms > now_ms
        ]
        self.known[wan_idx] = generation
        self.noticed_epoch(wan_idx, generation, epoch, answer.sent)
        if any(self._is_kept(lease.port) for lease in leases):
            self._of_no_use_in.pop(wan_idx, None)  # the WAN has other ports than before
        for lease in leases:
            lease.renew_at = answer.sent + ttl / 3
            self.ledger.granted(lease)
        return leases
