"""Ties sockets to their leases, so that the end of one ends the other."""

from collections.abc import Callable

from redis_wanpool.engine.handovers import Handovers
from redis_wanpool.engine.heartbeat import Heartbeat
from redis_wanpool.model.address import Failure, checked_source
from redis_wanpool.model.lease import LeaseState
from redis_wanpool.protocol import Connect
from redis_wanpool.sockets.dial import new_socket
from redis_wanpool.sockets.leased import LeasedSocket, Tie


class Ties:
    """The sockets of a pool object."""

    def __init__(self, heartbeat: Heartbeat, check_open: Callable[[], None]) -> None:
        self._heartbeat = heartbeat
        self._check_open = check_open
        self._handovers = Handovers()

    def bound(self, lease: LeaseState, source_address: str | None, close_on_loss: bool) -> LeasedSocket:
        """A socket of a lease; closing it leaves the lease as it is."""
        return self._tied(new_socket(lease.port, checked_source(source_address)), lease, close_on_loss, None)

    def connected(self, lease: LeaseState, result: LeasedSocket | Failure, close_on_loss: bool) -> LeasedSocket:
        """The same for a connection; raises the OSError if it failed."""
        if isinstance(result, Failure):
            raise result.error
        return self._tied(result, lease, close_on_loss, None)

    def joined(
        self, step: Connect, result: LeasedSocket | Failure, release: Callable[[str], object]
    ) -> LeasedSocket | Failure:
        """A connection for which a port was leased; its end ends the lease, which `release` gives back."""
        if isinstance(result, Failure):
            return result
        try:
            self._check_open()
        except BaseException:
            result.close()
            raise
        return self._tied(result, step.lease, step.close_on_loss, release)

    def see_to(self) -> None:
        """Goes on watching file descriptors if that has ended."""
        self._handovers.looking.see_to()

    def stop(self) -> None:
        """Stops watching file descriptors."""
        self._handovers.looking.stop()

    def _tied(
        self, sock: LeasedSocket, lease: LeaseState, close_on_loss: bool, release: Callable[[str], object] | None
    ) -> LeasedSocket:
        return sock.tied(Tie(lease, close_on_loss, release, self._heartbeat.let_go, self._handovers.watch))
