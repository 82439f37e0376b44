"""From a WAN to a connection: take a port, connect from it, and take another where the system refuses one."""

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from redis_wanpool.errors import BackendUnavailable, PoolExhausted, PortRejected
from redis_wanpool.model.address import Dial, Failure
from redis_wanpool.model.lease import LeaseState
from redis_wanpool.model.ports import port_list
from redis_wanpool.model.request import Request
from redis_wanpool.protocol.refusals import at, one_or_all
from redis_wanpool.protocol.steps import Connect, Conversation, Resolve, Try
from redis_wanpool.protocol.straight import Straight

if TYPE_CHECKING:
    from redis_wanpool.sockets.leased import LeasedSocket

FACTOR, MOST = 4, 64
"""each attempt takes FACTOR times as many ports, MOST at most: where one is refused, half the range often is"""


class Connecting(Straight):
    """The part of the conversation that opens connections."""

    def connect(self, request: Request, dial: Dial) -> Conversation["LeasedSocket"]:
        """A socket connected from a leased port; a port that the system refuses goes into quarantine.

        Raises:
            PortRejected: the system refused every port at each attempt, or too many recently.
            OSError: the name has no address, or the connection failed for another reason than the port.
        """
        resolved = yield Resolve(dial.address)
        wait = request.wait or 0.0
        refused: list[LeaseState] = []
        failure, too_many = Failure(OSError()), None
        for attempt in range(dial.attempts):
            count, avoid = min(FACTOR**attempt, MOST), tuple(lease.port for lease in refused[-MOST:])
            try:
                wanted = replace(request, count=count, least=1, avoid=avoid, reuse_address=True)
                leases = yield from self.lease(wanted)
            except (PoolExhausted, PortRejected) as error:
                if not refused:
                    raise
                too_many = error if isinstance(error, PortRejected) else None
                break
            end_reason, words = "unused", {}
            try:
                self.ledger.keep(leases)
                self.ledger.anchored(leases)
                rejected, failure, seen = yield from self._refused_among(leases, dial.source_address)
                good = next((lease for lease in leases if lease not in rejected), None)
                yield from self.release([lease for lease in leases if lease not in (good, *rejected)], end_reason)
                words = yield from self.release(rejected, "rejected", failure.why)
                if good is not None:
                    end_reason = "released"
                    connected = yield Connect(
                        good, (*resolved.reply, *dial.others), dial.timeout, dial.source_address, dial.close_on_loss
                    )
                    if not isinstance(connected.reply, Failure):
                        return cast("LeasedSocket", connected.reply)
                    failure, seen = connected.reply, connected.sent
                    if not failure.port_at_fault:
                        with suppress(BackendUnavailable):  # upkeep goes on trying; the error below matters more
                            yield from self.release([good], "released" if failure.used else "unused")
                        raise failure.error
                    end_reason = "rejected after use" if failure.used else "rejected"
                    words |= yield from self.release([good], end_reason, failure.why)
                    rejected.append(good)
            except BaseException:
                for lease in leases:
                    if lease.granted_id in self.leases:
                        self.leave_to_upkeep(lease, end_reason)
                raise
            refused += rejected
            if request.wait is not None:
                request = replace(request, wait=max(0.0, resolved.sent + wait - seen))
            if words and "rejected" not in words.values():
                break  # so many recently that no more go into quarantine
        ports = tuple(lease.port for lease in refused)
        wans = tuple({lease.wan_idx for lease in refused})
        raise PortRejected(
            f"the system refused {len(ports)} ports of {at(self.namespace, wans)}, {port_list(ports)}: "
            f"{failure.error}; nobody gets them for a while, unless there are too many of them. See what else uses "
            "them (ss -tanp), and keep the kernel out of the WAN's range (net.ipv4.ip_local_reserved_ports)",
            wan_idx=one_or_all(wans),
            ports=ports,
            free_in=None if too_many is None else too_many.free_in,
        ) from failure.error

    def _refused_among(
        self, leases: list[LeaseState], source_address: str
    ) -> Conversation[tuple[list[LeaseState], Failure, float]]:
        """The leases before the first, of several, whose port the system accepts; the last refusal, and its time."""
        rejected: list[LeaseState] = []
        failure, seen = Failure(OSError()), 0.0
        for lease in leases if len(leases) > 1 else ():
            answer = yield Try(lease, source_address)
            seen = answer.sent
            if answer.reply is None or not answer.reply.port_at_fault:
                break
            rejected.append(lease)
            failure = answer.reply
        return rejected, failure, seen
