"""Handing out ports that any socket can bind: each is tried on this system before a caller has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from redis_wanpool.errors import PoolExhausted, PortRejected, PortUnavailable, WanpoolError
from redis_wanpool.model.address import Failure
from redis_wanpool.model.checks import MOST_PORTS_A_CALL
from redis_wanpool.model.lease import LeaseState
from redis_wanpool.model.ports import port_list
from redis_wanpool.model.request import Request
from redis_wanpool.protocol.acquiring import Acquiring, Begun
from redis_wanpool.protocol.refusals import at, one_or_all
from redis_wanpool.protocol.steps import Conversation, Look, Sleep

FACTOR, ATTEMPTS = 4, 3
"""how many more ports each attempt takes than the one before, and how many attempts there are"""
PAUSE = 1.0
"""seconds after which a waiter tries again"""
LINGER = 65.0
"""seconds after which no old connection keeps a plain socket away: Linux keeps TIME_WAIT for 60"""


class Handing(Acquiring):
    """The part of the conversation that hands out bare ports."""

    def hand_out(self, request: Request, begun: Begun | None = None) -> Conversation[list[LeaseState]]:
        """Leases ports; those for plain sockets are such that this system lets a plain socket bind them.

        A port that is refused to plain sockets only goes back to where it was; one that is refused altogether goes
        into quarantine. Others are taken instead.

        Raises:
            PoolExhausted, PortUnavailable, PortRejected: the system refused every port at each attempt.
        """
        if request.reuse_address or request.detached:
            return (yield from self.acquire(request, begun))
        began = begun.answer.sent if begun else (yield Look(())).sent
        wait = request.wait
        while True:
            good: list[LeaseState] = []
            refused: dict[LeaseState, Failure] = {}
            try:
                yield from self._take(request, wait, good, refused, begun)
            except BaseException:
                for lease in good:
                    self.leave_to_upkeep(lease, "unused")
                raise
            if len(good) >= request.least:
                return good
            begun = None
            yield from self.release(good, "unused")
            now = (yield Look(())).sent
            if wait is not None:
                wait = max(0.0, began + (request.wait or 0.0) - now)
                if wait == 0.0:
                    raise self._none_to_hand_out(request, refused)
            yield Sleep(PAUSE if wait is None else min(PAUSE, wait), "", ())

    def _take(
        self,
        request: Request,
        wait: float | None,
        good: list[LeaseState],
        refused: dict[LeaseState, Failure],
        begun: Begun | None,
    ) -> Conversation[None]:
        """Adds leases to `good` until there are as many as were asked for, or too many are refused."""
        for attempt in range(ATTEMPTS):
            missing = request.count - len(good)
            avoid = tuple(lease.port for lease in refused)[-MOST_PORTS_A_CALL:]
            count = min(missing * FACTOR**attempt, MOST_PORTS_A_CALL)
            wanted = replace(request, count=count, least=1 if attempt else request.least, wait=wait, avoid=avoid)
            try:
                leases = yield from self.acquire(wanted, None if attempt else begun)
            except (PoolExhausted, PortUnavailable):
                if not attempt:
                    raise
                return
            looked = dict(zip(leases, (yield Look(tuple(lease.port for lease in leases))).reply, strict=True))
            failed = {lease: failure for lease, failure in looked.items() if failure and not failure.is_vague}
            fine = [lease for lease in leases if lease not in failed]
            good += fine[:missing]
            refused.update(failed)
            yield from self._put_back(fine[missing:], failed)
            if len(good) == request.count or request.port is not None:
                return
            wait = 0.0

    def _put_back(self, surplus: Sequence[LeaseState], failed: dict[LeaseState, Failure]) -> Conversation[None]:
        yield from self.release(surplus, "unused")
        for how in ("lingers", "time_wait"):
            yield from self.release([lease for lease, failure in failed.items() if failure.lingers == how], how)
        rejected = {lease: failure for lease, failure in failed.items() if failure.port_at_fault}
        yield from self.release(rejected, "rejected", next((failure.why for failure in rejected.values()), ""))

    def _none_to_hand_out(self, request: Request, refused: dict[LeaseState, Failure]) -> WanpoolError:
        wans = sorted({lease.wan_idx for lease in refused})
        ports = tuple(lease.port for lease in refused)
        reusable = sum(failure.lingers == "lingers" for failure in refused.values())
        where, seen = at(self.namespace, wans), f"old connections linger on this system (port {port_list(ports)})"
        way_out = "Use sockets with SO_REUSEADDR (reuse_address=True, pool.connect), or wait" if reusable else "Wait"
        if all(failure.port_at_fault for failure in refused.values()):
            return PortRejected(
                f"the system refused {len(ports)} ports of {where}, {port_list(ports)}: "
                f"{next(iter(refused.values())).error}; nobody gets them for a while. See what else uses them "
                "(ss -tanp), and keep the kernel out of the WAN's range (net.ipv4.ip_local_reserved_ports)",
                wan_idx=one_or_all(wans),
                ports=ports,
                free_in=None,
            )
        if request.port is not None:
            return PortUnavailable(
                f"{where}: {seen}, and keep plain sockets away for up to {LINGER:g} s. {way_out}",
                port=request.port,
                state="lingering",
                free_in=LINGER,
            )
        return PoolExhausted(
            f"{where}: no port for a plain socket: {seen}. {way_out}",
            wan_idx=one_or_all(wans),
            free_in=LINGER,
            reusable=reusable,
        )
