"""The parts of a pool object, and what it does at its beginning, at a fork, and at its end."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from redis_wanpool.engine import lifetime
from redis_wanpool.engine.heartbeat import Heartbeat
from redis_wanpool.engine.loss_watch import LossWatch
from redis_wanpool.engine.performer import Performer
from redis_wanpool.engine.reaper import HolderSeen, Reaper
from redis_wanpool.engine.ticker import Ticker
from redis_wanpool.engine.ties import Ties
from redis_wanpool.engine.wakeups import Wakeups
from redis_wanpool.errors import PoolClosed, WanpoolError
from redis_wanpool.model.checks import checked_port, checked_wan
from redis_wanpool.model.endings import checked_closed
from redis_wanpool.model.lease import Grant, LeaseState
from redis_wanpool.protocol import Conversation, Protocol, Request
from redis_wanpool.protocol.patience import patiently
from redis_wanpool.protocol.shelf import Shelf
from redis_wanpool.protocol.steps import T
from redis_wanpool.settings import Settings
from redis_wanpool.sockets.leased import drop_copies, shut_down_all
from redis_wanpool.system.clock import boottime
from redis_wanpool.system.greenlets import greenlets
from redis_wanpool.system.identity import this_holder
from redis_wanpool.system.netsh import kept_ports
from redis_wanpool.transport.backend import Backend

logger = logging.getLogger("redis_wanpool")

LeaseT = TypeVar("LeaseT", bound=LeaseState)

SILENCE = 2.0
"""seconds without an answer of Redis after which the end of a pool object no longer waits"""
NOT_HELD = "port %d of WAN %d (namespace %r) is not held by this pool object (%s) but by %s; nothing was released"


class Engine:
    """One holder, its leases, and the threads that keep them, whatever the caller does."""

    def __init__(
        self,
        settings: Settings,
        backend: Backend,
        *,
        make_lease: Callable[[Grant], LeaseState],
        on_lost: Callable[[LeaseState], object],
        reaps: bool,
        release_on_sigterm: bool,
        allow_eviction: bool,
        max_idle: int,
        idle_timeout: float,
    ) -> None:
        self.settings = settings
        self.backend = backend
        self.closed = False
        self.at_fork: Callable[[], object] = lambda: None  #: called in a forked child, for the face's own state
        self._make_lease = make_lease
        self._on_lost = on_lost
        self._reaps = reaps
        self._allow_eviction = allow_eviction
        self._max_idle, self._idle_timeout = max_idle, idle_timeout
        self._begin()
        lifetime.watch_over(self, sigterm=release_on_sigterm)

    def _begin(self) -> None:
        """Starts without leases: at first, and in a forked child."""
        settings, backend = self.settings, self.backend
        self.is_ready = self._started = False
        self._greenlets = greenlets()
        self.performer = Performer(backend)
        self.performer.tries_again = not self.closed
        self.protocol = Protocol(
            namespace=settings.namespace,
            holder=this_holder(reaps=self._reaps),
            network=settings.network,
            rest=settings.rest,
            kept=kept_ports(),
            lease_ttl=settings.lease_ttl,
            durability=settings.durability,
            make_lease=self._make_lease,
            on_failover="continue" if backend.is_embedded or backend.is_fake else "grace",
            is_fake=backend.is_fake,
            is_sharded=not backend.given and backend.is_cluster,
        )
        self.performer.before_repeat = self.protocol.renew_soon
        self.heartbeat = Heartbeat(self.protocol, self.performer, lambda: self.loss_watch.due(boottime()))
        if self._max_idle and not self.closed:
            self.protocol.shelf = Shelf(
                self._max_idle,
                self._idle_timeout,
                rest=settings.rest,
                ledger=self.protocol.ledger,
                make_lease=self._make_lease,
                now=boottime,
                beat_at=self.heartbeat.due,
            )
        self.loss_watch = LossWatch(self.protocol, self._on_lost, self._watched)
        self.ties = Ties(self.heartbeat, self.check_open)
        self.reaper = Reaper(self.protocol, self.performer.run)
        self.reaping = Ticker("wanpool-reaper", self.reaper.tick)
        self.wakeups = Wakeups(
            self.performer.client,
            lambda wan_idx: self.protocol.wan_keys(wan_idx).wake(self.protocol.holder.id),
            self.performer.disconnect,
        )

    def _watched(self) -> None:
        """After each look for lost leases, which may have left some to give back: the others must be there."""
        self.heartbeat.clear_up_soon()
        for ticker in (self.heartbeat, self.reaping):
            ticker.see_to()
        self.ties.see_to()

    # -- calls

    def check_open(self) -> None:
        """Raises PoolClosed if the pool object was closed; makes sure that it fits the threads that there are now."""
        if self.closed:
            raise PoolClosed(f"this pool (namespace {self.settings.namespace!r}) was closed; make another")
        if greenlets() != self._greenlets:
            if self._started:
                raise WanpoolError(
                    "gevent has patched this process after the pool was first used, and its threads and greenlets "
                    "would wait for each other; call gevent.monkey.patch_all() before that, as early as possible"
                )
            self._begin()  # with locks and queues that fit

    def prepared(self, conversation: Conversation[T]) -> Conversation[T]:
        """A conversation, and what comes before all others."""
        return conversation if self.is_ready else self._prepared(conversation)

    def _prepared(self, conversation: Conversation[T]) -> Conversation[T]:
        if not self.is_ready:
            self._started = True
            for ticker in (self.heartbeat, self.loss_watch, self.reaping):  # they are there before the first lease
                ticker.start()
            yield from self.protocol.prepare(
                self.settings.wans,
                look=not self.backend.is_fake,
                allow_eviction=self._allow_eviction,
                is_named=self.backend.is_named,
            )
            self.backend.take_part()
            self.is_ready = True
            self.reaping.due(boottime() + Reaper.INTERVAL)
            self.heartbeat.due(boottime())  # it connects now: later the process may lack a file descriptor
        return (yield from conversation)

    def patiently(
        self, request: Request, talk: Callable[[Request], Conversation[T]], *, legacy: bool = False
    ) -> Conversation[T]:
        """The result of a conversation about a request, which waits for trouble to pass as long as the request allows.

        Args:
            legacy: whether it waits `legacy_wait` seconds for that, and no longer than the request for a port.
        """
        if legacy:
            limit = self.settings.legacy_wait
            return patiently("allocate_port", limit, lambda _: self.prepared(talk(request)), " (legacy_wait)")
        if request.wait == 0.0:
            return self.prepared(talk(request))
        return patiently("acquire", request.wait, lambda left: self.prepared(talk(replace(request, wait=left))))

    def leased(self, leases: Sequence[LeaseT]) -> list[LeaseT]:
        """The new leases, kept alive from now on, as long as something refers to them."""
        first = leases[0]  # of several, which end later
        if first.serial:  # its port has been kept alive all the time
            return list(leases)
        self.heartbeat.due(first.renew_at)
        self.loss_watch.due(first.deadline)
        self.protocol.ledger.keep(leases)  # last: a caller that is interrupted before has no lease
        if self.closed:
            self.heartbeat.clear_up_soon()
        return list(leases)

    def releasing(self, lease: LeaseState, used: bool, closed: str | None) -> Conversation[bool]:
        """Gives a port back, once its connections have ended; False if the lease had expired or been revoked."""
        checked_closed(closed)
        shut_down_all(lease)
        return self.protocol.release_one(lease, used=used, closed=closed)

    def releasing_port(self, wan_idx: int, port: int) -> Conversation[bool]:
        """Gives back our lease of that port; False, and a line in the log, if we hold none."""
        wanted = checked_wan(wan_idx), checked_port(port)
        leases = self.protocol.ledger.kept()
        held = (lease for lease in leases if lease.idle_since is None)
        lease = next((lease for lease in held if (lease.wan_idx, lease.port) == wanted), None)
        if lease is not None:
            return (yield from self.protocol.release_one(lease))
        holder = yield from self.protocol.holder_of(wan_idx, port)
        logger.warning(NOT_HELD, port, wan_idx, self.settings.namespace, self.protocol.holder.id, holder)
        return False

    def reap_now(self, dry_run: bool) -> list[HolderSeen]:
        """Reaps at once."""
        self.check_open()
        if not self.is_ready:
            self.performer.run(self.prepared(self.protocol.introduce()))
        return self.reaper.now(dry_run=dry_run)

    # -- the end

    def begin_to_close(self) -> None:
        """Makes the threads end, and the heartbeat's give everything back; does not wait for them."""
        if not self.closed:
            self.closed = True
            if self.protocol.shelf is not None:
                self.protocol.shelf.is_closed = True
            self.performer.tries_again = False
            for lease in self.protocol.ledger.kept():
                if not lease.detached:
                    shut_down_all(lease)
            self.loss_watch.stop()
            self.reaping.stop()
            self.ties.stop()
            self.heartbeat.stop(self.heartbeat.give_back)

    def wait_closed(self, seconds: float) -> None:
        """Waits for that, for at most this many seconds."""
        self.heartbeat.join(seconds)

    def close(self) -> None:
        """Gives everything back, as long as Redis answers."""
        began = boottime()
        self.begin_to_close()
        self.wakeups.close()
        self.loss_watch.join(min(self.backend.timeout, SILENCE))
        self.loss_watch.teller.join(min(self.backend.timeout, SILENCE))
        if not self.heartbeat.join(0.0):
            self.heartbeat.give_back()
        while self.heartbeat.is_alive and (left := max(began, self.performer.heard) + SILENCE - boottime()) > 0:
            self.heartbeat.join(left)
        if self.heartbeat.is_alive:
            logger.warning("Redis does not answer: what is not given back in a moment comes back when its ttl is over")

    def begin_again(self) -> None:
        """In a forked child: the parent's leases are not ours, nor are its threads, locks and connections."""
        leases = self.protocol.ledger.kept()
        for lease in leases:
            lease.end("forked")
        drop_copies(leases)
        if self._greenlets:  # which live on in the child, as threads do not
            for kept in (self.heartbeat, self.loss_watch, self.reaping, self.ties):
                kept.stop()
            self.wakeups.close()
        lifetime.of_the_parent.append(dict(self.__dict__))
        self._begin()
        self.at_fork()
