"""From a WAN to a connection: take a port, connect from it, and take another where the system refuses one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from redis_wanpool.definition import checked_integer, checked_seconds, ports_text
from redis_wanpool.errors import PoolExhausted, PortRejected
from redis_wanpool.lease import LeaseState
from redis_wanpool.protocol.acquiring import Acquiring
from redis_wanpool.protocol.keeping import Keeping
from redis_wanpool.protocol.request import Request
from redis_wanpool.protocol.steps import Connect, Conversation, Resolve, Try
from redis_wanpool.sockets import Address, Failure, LeasedSocket, checked_source

FACTOR, MOST = 4, 64
"""how many more ports each attempt takes than the one before, and the most: where the system refuses one port, another
program has half the range, or the kernel takes its own from it"""


@dataclass(frozen=True, slots=True)
class Dial:
    """Where to, from where, how long, and how often."""

    address: Address
    timeout: float | None
    attempts: int = 3
    source_address: str = ""

    @staticmethod
    def of(address: Address, timeout: float | None, attempts: int, source_address: str | None) -> Dial:
        if timeout is not None:
            checked_seconds("timeout", timeout)
        return Dial(address, timeout, checked_integer("attempts", attempts, 1, 100), checked_source(source_address))


class Connecting(Acquiring, Keeping):
    """The part of the conversation that opens connections."""

    def connect(self, request: Request, dial: Dial) -> Conversation[tuple[LeaseState, LeasedSocket]]:
        """A lease, and a socket connected from its port; a port that the system refuses goes into quarantine.

        Raises:
            PortRejected: the system refused every port at each attempt, or too many of late.
            OSError: the name has no address, or the connection failed, and not because of the port.
        """
        targets = (yield Resolve(dial.address)).reply
        refused: list[LeaseState] = []
        for attempt in range(dial.attempts):
            count, avoid = min(FACTOR**attempt, MOST), tuple(lease.port for lease in refused[-MOST:])
            try:
                leases = yield from self.acquire(replace(request, count=count, least=1, avoid=avoid))
            except PoolExhausted:
                if refused:
                    break
                raise
            how, words = "unused", {}
            try:
                rejected, failure = yield from self._refused_among(leases, dial.source_address)
                good = next((lease for lease in leases if lease not in rejected), None)
                yield from self.release([lease for lease in leases if lease not in (good, *rejected)], how)
                words = yield from self.release(rejected, "rejected", failure.why)
                if good is not None:
                    how = "released"
                    result = (yield Connect(good, tuple(targets), dial.timeout, dial.source_address)).reply
            except BaseException:
                for lease in leases:
                    if lease.lease_id in self.leases:
                        self.leave_to_upkeep(lease, how)
                raise
            if good is not None:
                if isinstance(result, LeasedSocket):
                    return good, result
                failure = result
                if not failure.port_at_fault:
                    yield from self.release([good], "released" if failure.used else "unused")
                    raise failure.error
                words |= yield from self.release([good], "rejected", failure.why)
                rejected.append(good)
            refused += rejected
            if "unused" in words.values():
                break  # so many of late that no more go into quarantine
        ports = tuple(lease.port for lease in refused)
        raise PortRejected(
            f"the system refused {len(ports)} ports of WAN {refused[0].wan_idx} (namespace {self.namespace!r}), "
            f"{ports_text(','.join(map(str, ports)))}: {failure.error}; they are in quarantine. See what else uses "
            "them (ss -tanp), and keep the kernel out of the WAN's range (net.ipv4.ip_local_reserved_ports)",
            wan_idx=refused[0].wan_idx,
            ports=ports,
            free_in=None,
        ) from failure.error

    def _refused_among(
        self, leases: list[LeaseState], source_address: str
    ) -> Conversation[tuple[list[LeaseState], Failure]]:
        """Of several leases those whose ports the system refuses, up to the first that it does not; its last word."""
        rejected: list[LeaseState] = []
        failure = Failure(OSError())
        for lease in leases if len(leases) > 1 else ():
            refusal: Failure | None = (yield Try(lease, source_address)).reply
            if refusal is None or not refusal.port_at_fault:
                break
            rejected.append(lease)
            failure = refusal
        return rejected, failure
