"""From a WAN to a connection: take a port, connect from it, and take another where the system refuses one."""

from __future__ import annotations

from dataclasses import replace

from redis_wanpool.definition import checked_integer, checked_seconds
from redis_wanpool.errors import PortRejected
from redis_wanpool.lease import LeaseState
from redis_wanpool.protocol.acquiring import Acquiring, Request
from redis_wanpool.protocol.keeping import Keeping
from redis_wanpool.protocol.steps import Connect, Conversation
from redis_wanpool.sockets import LeasedSocket


class Connecting(Acquiring, Keeping):
    """The part of the conversation that opens connections."""

    def connect(
        self, request: Request, address: tuple[str, int], timeout: float | None, attempts: int
    ) -> Conversation[tuple[LeaseState, LeasedSocket]]:
        """A lease, and a socket connected from its port; a port that the system refuses goes into quarantine.

        Raises:
            PortRejected: the system refused a port at each attempt.
            OSError: the connection failed, and not because of the port.
        """
        checked_integer("attempts", attempts, 1, 100)
        if timeout is not None:
            checked_seconds("timeout", timeout)
        refused: list[int] = []
        error: OSError | None = None
        while len(refused) < attempts:
            (lease,) = yield from self.acquire(replace(request, avoid=tuple(refused)))
            try:
                result = (yield Connect(lease, address, timeout)).reply
            except BaseException:
                self.leave_to_upkeep(lease, "released")
                raise
            if isinstance(result, LeasedSocket):
                return lease, result
            how = "rejected" if result.port_at_fault else "released" if result.used else "unused"
            yield from self.release([lease], how)
            if not result.port_at_fault:
                raise result.error
            refused.append(lease.port)
            error = result.error
        raise PortRejected(
            f"the system refused ports {', '.join(map(str, refused))} of WAN {lease.wan_idx} "
            f"(namespace {self.namespace!r}): {error}; they are in quarantine. See what else uses them, "
            "and keep the kernel out of the WAN's range (net.ipv4.ip_local_reserved_ports)",
            wan_idx=lease.wan_idx,
            ports=tuple(refused),
        ) from error
