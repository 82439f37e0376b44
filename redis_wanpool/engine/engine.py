"""What both faces stand on: settings, the protocol, and the threads that keep leases whatever the caller does."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import redis.exceptions

from redis_wanpool import settings as config
from redis_wanpool.engine import lifetime
from redis_wanpool.engine.fanout import side_by_side
from redis_wanpool.engine.handovers import Handovers
from redis_wanpool.engine.reaper import HolderSeen, Reaper
from redis_wanpool.engine.ticker import Background
from redis_wanpool.engine.wakeups import Wakeups
from redis_wanpool.errors import BackendUnavailable, InvalidValue, PoolClosed
from redis_wanpool.model.address import Failure, checked_source
from redis_wanpool.model.checks import checked_port, checked_seconds, checked_wan
from redis_wanpool.model.endings import end_reason
from redis_wanpool.model.lease import Grant, LeaseState
from redis_wanpool.protocol import Answer, Ask, Call, Connect, Conversation, Parallel, Protocol, Step
from redis_wanpool.protocol.steps import T
from redis_wanpool.sockets.dial import new_socket
from redis_wanpool.sockets.leased import LeasedSocket, Tie, shut_down_all
from redis_wanpool.system.clock import boottime
from redis_wanpool.system.identity import boot_clock, this_holder
from redis_wanpool.system.netsh import kept_ports
from redis_wanpool.transport import exchange
from redis_wanpool.transport.backend import Backend, given_client

logger = logging.getLogger("redis_wanpool")

NOT_HELD = "port %d of WAN %d (namespace %r) is not held by this pool object (%s) but by %s; nothing was released"


class Face:
    """A pool object: one holder, its leases, and their heartbeat."""

    blocking: bool

    def __init__(
        self,
        url: str | None = None,
        *,
        namespace: str | None = None,
        network: str | None = None,
        rest: float | None = None,
        client: Any = None,
        lease_ttl: float | None = None,
        on_lost: Callable[[Any], object] | None = None,
        reap: bool = True,
        release_on_sigterm: bool = False,
        connect_timeout: float = 2.0,
        allow_eviction: bool = False,
        min_replicas: int | None = None,
        fsync: bool | None = None,
    ) -> None:
        self._settings = config.settings(
            url=url,
            namespace=namespace,
            network=network,
            rest=rest,
            lease_ttl=lease_ttl,
            min_replicas=min_replicas,
            fsync=fsync,
        )
        if client is not None and url is not None:
            raise InvalidValue("give a url or a client, not both")
        self._backend = Backend(
            None if client is not None else self._settings.url,
            client=given_client(client, blocking=self.blocking),
            timeout=checked_seconds("connect_timeout", connect_timeout, 0.001),
        )
        self._on_lost = on_lost
        self._allow_eviction = allow_eviction
        self._reaps = bool(reap)
        self._closed = False
        self._begin()
        lifetime.watch_over(self, sigterm=release_on_sigterm)

    def _begin(self) -> None:
        """Starts afresh: at first, and in a forked child."""
        self._client: Any = None
        self._boot_clock = None if self._backend.is_fake else boot_clock()
        self._ready = False
        self.protocol = Protocol(
            namespace=self._settings.namespace,
            holder=this_holder(reaps=self._reaps),
            network=self._settings.network,
            rest=self._settings.rest,
            kept=kept_ports(),
            lease_ttl=self._settings.lease_ttl,
            durability=self._settings.durability,
            make_lease=self._make_lease,
            on_failover="continue" if self._backend.is_embedded or self._backend.is_fake else "grace",
            is_fake=self._backend.is_fake,
            is_sharded=not self._backend.given and self._backend.is_cluster,
        )
        self._heartbeat = Background("wanpool-heartbeat", self._beat)
        self._loss_watch = Background("wanpool-loss-watch", self._watch)
        self._reaper = Reaper(self.protocol, self._run_blocking)
        self._reaping = Background("wanpool-reaper", self._reaper.tick)
        self._handovers = Handovers()
        self._dropped: deque[tuple[LeaseState, str]] = deque()
        self._wakeups = Wakeups(
            self._blocking_client, lambda wan_idx: self.protocol.wan_keys(wan_idx).wake(self.holder), self._disconnect
        )

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self.protocol.leases)} leases"
        return f"<{type(self).__name__} namespace {self.namespace!r} at {self._backend.name}, {state}>"

    def __reduce__(self) -> str:
        raise TypeError(f"a {type(self).__name__} lives in its process; make one in each process")

    @property
    def namespace(self) -> str:
        return self._settings.namespace

    @property
    def network(self) -> str:
        """What the router sees as one source address; every process that shares it must say the same."""
        return self._settings.network

    @property
    def holder(self) -> str:
        """The id of this pool object, with which its lease_ids begin."""
        return self.protocol.holder.id

    @property
    def url(self) -> str:
        """Where the pool's Redis is, without a password."""
        return self._backend.name

    def _make_lease(self, grant: Grant) -> LeaseState:
        raise NotImplementedError

    def _tell_loss(self, lease: LeaseState) -> None:
        raise NotImplementedError

    # -- arguments

    @staticmethod
    def _how(used: bool, closed: str) -> str:
        return end_reason(used, closed)

    def _held(self, wan_idx: int, port: int) -> LeaseState | None:
        """Our lease of that port."""
        wanted = checked_wan(wan_idx), checked_port(port)
        leases = list(self.protocol.leases.values())
        return next((lease for lease in leases if (lease.wan_idx, lease.port) == wanted), None)

    def _log_not_held(self, wan_idx: int, port: int, holder: str) -> None:
        logger.warning(NOT_HELD, port, wan_idx, self.namespace, self.holder, holder)

    # -- talking to Redis from threads of our own, whatever the face

    def _blocking_client(self) -> Any:
        if self._client is None:
            self._client = self._backend.sync_client()
        return self._client

    def _prepare(self) -> Conversation[None]:
        return self.protocol.prepare(
            self._settings.wans, look=not self._backend.is_fake, allow_eviction=self._allow_eviction
        )

    def _is_prepared(self) -> None:
        self._ready = True
        self._reaping.due(boottime() + Reaper.INTERVAL)

    def _reap_now(self, dry_run: bool) -> list[HolderSeen]:
        self._check_open()
        if not self._ready:
            self._run_blocking(self._prepare())
            self._is_prepared()
        return self._reaper.now(dry_run=dry_run)

    def _run_blocking(self, conversation: Conversation[T]) -> T:
        """Leads a conversation to its end, in the calling thread."""
        try:
            step = next(conversation)
            while True:
                try:
                    answer = self._perform(step)
                except BackendUnavailable as error:
                    step = conversation.throw(error)
                else:
                    step = conversation.send(answer)
        except StopIteration as end:
            value: T = end.value
            return value
        finally:
            conversation.close()

    def _perform(self, step: Step) -> Answer:
        if isinstance(step, Parallel):
            return Answer(side_by_side(step.branches, self._backend.node_of, self._run_blocking), boottime())
        if not isinstance(step, (Call, Ask)):
            raise TypeError(f"{step} is for a caller, not for the background")
        try:
            return self._talk(step)
        except BackendUnavailable as error:
            if self._closed or not self._backend.should_retry(error):
                raise
            self.protocol.renew_soon()  # whoever answers now may have forgotten them
            return replace(self._talk(step), repeated=True)

    def _talk(self, step: Call | Ask) -> Answer:
        client = self._blocking_client()
        try:
            return exchange.run(client, step, self._boot_clock)
        except (redis.RedisError, OSError) as error:
            raise self._backend.translated(error, step.keys) from error

    # -- in the background

    def _beat(self) -> float | None:
        while self._dropped:
            lease, closed = self._dropped.popleft()
            if lease.ended is None:
                self.protocol.leave_to_upkeep(lease, self._how(True, closed))
        for lease in list(self.protocol.leases.values()):
            if lease.connections is not None and not lease.is_connected():
                self.protocol.leave_to_upkeep(lease, "released")
        if not self.protocol.has_work():
            return None
        pause = self._run_blocking(self.protocol.beat(boottime()))
        self._loss_watch.due(boottime())  # the renewals may have told of a revoked lease
        return pause

    def _watch(self) -> float | None:
        for lease in self.protocol.losses():
            shut_down_all(lease)
            try:
                self._tell_loss(lease)
            except Exception:
                logger.exception("on_lost failed for %r", lease)
        self._clear_up_soon()
        first = self.protocol.first_deadline()
        return None if first is None else max(0.0, min(first - boottime(), Protocol.LONGEST_PAUSE))

    def _watch_soon(self, lease: LeaseState) -> None:
        """After a renewal by hand, which may have found that the lease is lost."""
        if lease.lost:
            self._loss_watch.due(boottime())

    def _leased(self, leases: Sequence[LeaseState]) -> list[Any]:
        """The new leases, as `_make_lease` made them, kept from now on."""
        self._heartbeat.due(min(lease.renew_at for lease in leases))
        self._loss_watch.due(min(lease.deadline for lease in leases))
        self.protocol.keep(leases)  # last, for who is interrupted before has no lease
        if self._closed:
            self._clear_up_soon()
        return list(leases)

    # -- sockets

    def _bound(self, lease: LeaseState, source_address: str | None, close_on_loss: bool) -> LeasedSocket:
        """A socket of a lease; closing it leaves the lease as it is."""
        sock = new_socket(lease.port, checked_source(source_address))
        return self._tied(sock, lease, close_on_loss, None)

    def _connected(self, lease: LeaseState, result: LeasedSocket | Failure, close_on_loss: bool) -> LeasedSocket:
        """The same of a connection, if there is one."""
        if isinstance(result, Failure):
            raise result.error
        return self._tied(result, lease, close_on_loss, None)

    def _joined(
        self, step: Connect, result: LeasedSocket | Failure, release: Callable[[str], object]
    ) -> LeasedSocket | Failure:
        """A connection for which a port was leased, so that its end is the lease's."""
        if isinstance(result, Failure):
            return result
        if self._closed:
            result.close()
            self._check_open()
        return self._tied(result, step.lease, step.close_on_loss, release)

    def _tied(
        self, sock: LeasedSocket, lease: LeaseState, close_on_loss: bool, release: Callable[[str], object] | None
    ) -> LeasedSocket:
        """The socket, whose last close gives its port back by `release`, and whose end is the lease's if so wanted."""
        return sock.tied(Tie(lease, close_on_loss, release, self._let_go, self._handovers.watch))

    def _let_go(self, lease: LeaseState, closed: str) -> None:
        """Gives a port back soon, from anywhere: the garbage collector calls in the middle of what it interrupts."""
        if lease.ended is None:
            self._dropped.append((lease, closed))
            self._heartbeat.due(boottime())

    def _clear_up_soon(self) -> None:
        """After a call whose answer is not known."""
        if self._closed and self.protocol.has_work():  # a call that the closing met: there is no heartbeat any more
            with suppress(RuntimeError):  # nor new threads in an interpreter that is ending
                threading.Thread(target=self._give_back, daemon=True).start()
        elif self.protocol.doubts or self.protocol.abandoned or self.protocol.reasserts:
            self._heartbeat.due(boottime())
        elif self.protocol.registered and not self._heartbeat.runs:
            self._heartbeat.due(boottime() + 3600.0)  # so that there is a thread, which gives back at the end

    def _check_open(self) -> None:
        if self._closed:
            raise PoolClosed(f"this pool (namespace {self.namespace!r}) was closed; make another {type(self).__name__}")

    # -- the end

    def _begin_to_close(self) -> None:
        """Has the threads end, and the heartbeat's give everything back; waits for nothing."""
        if not self._closed:
            self._closed = True
            for lease in list(self.protocol.leases.values()):
                if not lease.detached:
                    shut_down_all(lease)
            self._loss_watch.stop()
            self._reaping.stop()
            self._handovers.stop()
            self._heartbeat.stop(self._give_back)

    def _wait_closed(self, seconds: float) -> None:
        """Waits for that, so many seconds at most."""
        self._heartbeat.join(seconds)

    def _close_down(self) -> None:
        """Gives everything back, however long it takes."""
        self._begin_to_close()
        self._wakeups.close()
        self._loss_watch.join(self._backend.timeout)
        if not self._heartbeat.join():
            self._give_back()

    def _give_back(self) -> None:
        if self.protocol.has_work() or self.protocol.registered:
            self._run_blocking(self.protocol.give_back())
        self._disconnect()

    def _disconnect(self) -> None:  # not those in use: they are of calls that the pool's end met
        self._backend.disconnect(self._client)

    def _begin_anew(self) -> None:
        """In a forked child: the parent's leases are not ours, nor are its threads, locks and connections."""
        for lease in list(self.protocol.leases.values()):
            lease.end("forked")
        lifetime.of_the_parent.append(dict(self.__dict__))
        self._begin()
