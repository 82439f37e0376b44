"""The usual lease, one port of one WAN that is granted at once: the shortest way to it."""

from typing import Any

from redis_wanpool.model.lease import LeaseState
from redis_wanpool.model.request import Request
from redis_wanpool.protocol.acquiring import Begun
from redis_wanpool.protocol.confirming import FIRST_PORT
from redis_wanpool.protocol.handing import Handing
from redis_wanpool.protocol.scripts import script
from redis_wanpool.protocol.steps import Call, Conversation, Look

MOST_WISHES = 256  #: how many kinds of requests are remembered


class Straight(Handing):
    """The part of the conversation that leases what is usual, and leaves the rest to the others."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._wishes: dict[tuple[object, ...], tuple[str | int, ...]] = {}
        """what alike requests have in common -> the arguments of the script that follow from it"""

    def lease(self, request: Request) -> Conversation[list[LeaseState]]:
        """Leases ports, as `hand_out` does, which goes on from the first answer if that is no plain grant."""
        wish = self._usual(request)
        if wish is None or request.wans is None:
            return (yield from self.hand_out(request))
        (wan_idx,) = request.wans
        if self.shelf is not None and request.ttl is None:
            reuse_address = request.reuse_address
            for lease in self.shelf.candidates(wan_idx, request.label, reuse_address=reuse_address):
                if reuse_address or not (failure := (yield Look((lease.port,))).reply[0]) or failure.is_vague:
                    return [lease]
                yield from self.release([lease], failure.lingers or "rejected", failure.why)
        ids = self._new_ids(request)
        self.ledger.asks(ids)
        try:
            call = Call(
                script("acquire"),
                self.wan_keys(wan_idx).declared,
                (*wish, ids[0]),
                durability=self.durability,
                wan_idx=wan_idx,
                alike=len(wish),
            )
            answer = yield call
            if answer.reply[0] == "GRANTED" and not self.is_short(answer):
                failure = None if request.reuse_address else (yield Look((answer.reply[FIRST_PORT],))).reply[0]
                leases = self._granted(wan_idx, request, ids, answer) if not failure or failure.is_vague else []
                if leases:
                    self.ledger.answered(ids)
                    return leases
        except BaseException:
            self.ledger.give_up((wan_idx,), ids)
            self.ledger.abandoned[wan_idx, ids[0]] = None
            raise
        return (yield from self.hand_out(request, Begun(ids, answer)))

    def _usual(self, request: Request) -> tuple[str | int, ...] | None:
        """The arguments for a request that is usual."""
        wans = request.wans
        if wans is None or len(wans) != 1 or request.count != 1 or request.detached or request.port is not None:
            return None
        if not self.registered or request.avoid or (self.kept and wans[0] not in self._of_no_use_in):
            return None
        avoid = self._of_no_use_in.get(wans[0], ())
        wait = self.LONGEST_PAUSE if request.wait is None else min(request.wait, self.LONGEST_PAUSE)
        key = wans[0], request.label, request.ttl, wait, request.reuse_address, self.known.get(wans[0]), avoid
        wish = self._wishes.get(key)
        if wish is None:
            if len(self._wishes) >= MOST_WISHES:
                self._wishes.clear()
            wish = self._wishes[key] = self.wish(wans[0], request, wait, avoid)
        return wish
