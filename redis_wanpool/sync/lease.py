"""A lease as a blocking caller holds it."""

import queue
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from redis_wanpool.model.address import Address
from redis_wanpool.model.checks import checked_timeout
from redis_wanpool.model.lease import Grant, LeaseState
from redis_wanpool.protocol import Dial
from redis_wanpool.sockets import dial, race
from redis_wanpool.sockets.leased import LeasedSocket
from redis_wanpool.sync.caller import Caller
from redis_wanpool.system.clock import boottime


class Lease(LeaseState):
    """The right to one port until `expires_at`; a context manager that gives it back."""

    def __init__(self, caller: Caller, grant: Grant) -> None:
        super().__init__(grant, boottime)
        self._caller = caller

    def __enter__(self) -> Self:
        self._caller.engine.protocol.ledger.anchors.pop(self.granted_id, None)
        return self

    def __exit__(self, *_: object) -> None:
        self._caller.give_back(self)

    def renew(self, ttl: float | None = None) -> None:
        """Makes the lease last at least `ttl` seconds from now (default: its own ttl); it never gets shorter.

        Raises:
            LeaseLost: the lease has ended.
        """
        engine = self._caller.engine
        try:
            self._caller.run(engine.protocol.renew_one(self, self.ttl if ttl is None else ttl))
        finally:
            engine.loss_watch.look_soon(self)

    def release(self, *, used: bool = True, closed: str | None = None) -> bool:
        """Gives the port back.

        Args:
            used: False if no packet left from the port: it is free for everybody at once.
            closed: how the connection ended; None: as a socket of ours saw it, else as a look at the port tells.
                "fin"; "drained" (read to the end before closing: no rest); "reset" (a
                cool-down of 15 s at most); "time_wait" (closed by this side first, without TCP timestamps: this system
                refuses the port for a minute, so it rests for 65 s).

        Returns:
            True when this holder ended the lease, now or before; False when it had expired or been revoked.
        """
        return self._caller.release(self, used=used, closed=closed)

    def wait_lost(self, timeout: float | None = None) -> bool:
        """Waits until the lease is lost, `timeout` seconds at most; returns whether it is."""
        timeout = checked_timeout(timeout)
        until = None if timeout is None else boottime() + timeout
        told: queue.SimpleQueue[None] = queue.SimpleQueue()
        listener: Callable[[], object] = lambda: told.put(None)  # noqa: E731  # a bound method equals others
        listeners = self._caller.engine.loss_watch.listeners
        listeners.add(listener)
        try:
            while not self.lost and self.ended is None and (until is None or boottime() < until):
                left = self.remaining() if until is None else min(self.remaining(), until - boottime())
                with suppress(queue.Empty):
                    told.get(timeout=max(0.001, left))
        finally:
            listeners.discard(listener)
        return self.lost

    def socket(self, *, source_address: str | None = None, close_on_loss: bool = False) -> LeasedSocket:
        """A TCP socket bound to the port; closing it leaves the lease as it is.

        Args:
            source_address: the IPv4 address to bind to, if this host has several; default: that of the route.
            close_on_loss: whether its connection ends when the lease does: reads find the end, writes fail.

        Raises:
            OSError: the system refuses the port.
        """
        self.check()
        return self._caller.engine.ties.bound(self, source_address, close_on_loss)

    def connect(
        self,
        address: Address,
        timeout: float | None = None,
        *,
        source_address: str | None = None,
        close_on_loss: bool = False,
    ) -> LeasedSocket:
        """A TCP connection from the port, to the IPv4 address of the host that answers first.

        Closing it leaves the lease as it is. One port may have connections to several servers at a time, but only one
        to the same address and port.

        Args:
            address: host and port.
            timeout: seconds to wait for a connection, and later the socket's timeout; None: the system's.
            source_address, close_on_loss: as for `socket`.

        Raises:
            OSError: the connection failed.
        """
        self.check()
        wanted = Dial.of(address, timeout, 1, source_address, close_on_loss)
        result = race.connect(self.port, dial.resolve(wanted.address), timeout, wanted.source_address)
        return self._caller.engine.ties.connected(self, result, close_on_loss)
