"""The blocking face."""

from __future__ import annotations

from functools import cached_property, partial
from typing import Any, Unpack, cast

from redis_wanpool.engine import lifetime
from redis_wanpool.engine.pool_object import PoolObject
from redis_wanpool.engine.reaper import HolderSeen
from redis_wanpool.model.address import Address
from redis_wanpool.model.checks import checked_wan
from redis_wanpool.model.lease import Grant, LeaseState
from redis_wanpool.model.request import ANY, WanChoice
from redis_wanpool.model.views import WanSnapshot
from redis_wanpool.model.wan import WanDefinition, WanOptions
from redis_wanpool.protocol import Conversation, Dial, Request
from redis_wanpool.protocol.steps import T
from redis_wanpool.sockets.leased import LeasedSocket
from redis_wanpool.sync.caller import Caller
from redis_wanpool.sync.lease import Lease
from redis_wanpool.system import signals


class WanPortPool(PoolObject):
    """Leases source ports of WANs, coordinated by Redis.

    Args:
        url: redis://, redis+sentinel://, redis+cluster://, all with rediss for TLS, unix:// or fake://; None: from the
            configuration, or else the embedded server.
        namespace: one pool of WANs in a Redis; default "default".
        network: the id of what the router sees as one source address; default: this network namespace.
        rest: seconds before this network may have a port again; default by platform.
        client: a redis.Redis to use instead of a URL. Whatever its retries, a call is sent twice at most.
        lease_ttl: seconds a lease lasts without renewal; default: the WAN's.
        on_lost: called once with each lease that is lost, from a thread of the pool.
        reap: whether to take back the leases of dead processes of this machine and PID namespace.
        release_on_sigterm: whether SIGTERM gives everything back, in 2 s at most, and closes the pool, before the
            default or earlier handler. Not for programs that finish their work at SIGTERM: they give back at their
            exit anyway. Main thread only. A process that ignores the signal still does.
        connect_timeout: seconds to wait for Redis, for a connection and for each answer.
        allow_eviction: whether to work on a Redis that may evict any key.
        min_replicas: how many replicas must have a grant before it counts; else it is taken back (BackendUnavailable).
        fsync: whether a grant must also be on the disks of the primary and of these replicas (Redis 7.2, Valkey).
            Renewals wait for neither: holders re-assert in the grace those that a failover forgets.
        max_idle: how many ports of each WAN this object keeps for itself between leases: released, rested, and leased
            again without a word to Redis. A drained WAN, one with waiters or few free ports, and any change by an
            operator get them back within 2 s.
        idle_timeout: seconds after which a port that nobody leased again goes back.
    """

    blocking = True
    _instance: WanPortPool | None = None

    @cached_property
    def _caller(self) -> Caller:
        return Caller(self._engine)

    @classmethod
    def get_instance(cls) -> WanPortPool:
        """The pool object of this process, with URL and WANs from the configuration."""
        with lifetime.singleton():
            if cls._instance is None or cls._instance._engine.closed:
                cls._instance = cls()
            return cls._instance

    def __enter__(self) -> WanPortPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives everything back; the object is of no use afterwards."""
        self._engine.close()

    # -- WANs

    def define_wan(
        self, wan_idx: int, ports: str, *, recover: bool = False, fresh: bool = False, **options: Unpack[WanOptions]
    ) -> bool:
        """Defines a WAN; asking again for the same changes nothing.

        Redis cannot tell a new WAN from one whose data it has lost. So a WAN that is made begins with a grace, in which
        holders re-assert their leases and nothing is granted, until the server has been up for max_ttl +
        failover_margin; for all of that time if data was deleted as a whole since it started (FLUSHALL, FLUSHDB,
        SWAPDB), if it was a replica, and in a cluster.

        Args:
            wan_idx: its number, 0 or more.
            ports: a list like "20000-21999,23000".
            recover: whether to make the WAN again if its data is lost; it then begins with a whole grace.
            fresh: your word that nobody can hold these ports: no process leased them before, or max_ttl +
                failover_margin have passed since. The WAN then grants at once.
            lease_ttl: seconds a lease lasts without renewal; default: 60.
            max_ttl: the most seconds that a lease may ask for; default: lease_ttl.
            cooldown: seconds before another network may have a port: the router's memory of TIME_WAIT and a little
                more. The default, 125, fits Linux (net.netfilter.nf_conntrack_tcp_timeout_time_wait is 120).
            quarantine: seconds in which nobody gets a port that an operating system refused; default: 65.
            weight: its share when any WAN will do; default: 1.
            name: for people.
            max_per_network: how many ports one network may hold at a time; default: all.
            on_failover: what happens when Redis may have forgotten grants: "grace": for a while holders re-assert their
                leases and nothing new is granted; "continue": no pause, and ports may be granted twice. Default:
                "grace", but "continue" on the embedded server, which begins a grace itself if it died and holders live.
            failover_margin: seconds by which a grace is longer than max_ttl: the time that an old primary may outlive
                the failover. The default, 10, fits min-replicas-max-lag 10, the default of Redis (see docs/safety.md).

        Returns:
            True if it was made, False if it was there already.

        Raises:
            WanMismatch: it is defined differently, or a port belongs to another WAN.
        """
        definition = WanDefinition.of(wan_idx, ports, **options)
        return self._run(self._engine.protocol.define_wan(definition, recover=recover, fresh=fresh))

    def drain(self, wan_idx: int) -> None:
        """Grants nothing new on a WAN; running leases live on."""
        self._run(self._engine.protocol.set_state(checked_wan(wan_idx), "drain"))

    def open(self, wan_idx: int) -> None:
        """Ends a drain."""
        self._run(self._engine.protocol.set_state(checked_wan(wan_idx), "open"))

    def snapshot(self, wan_idx: int, *, leases: bool = False) -> WanSnapshot:
        """The counts of a WAN at one moment; with `leases`, who holds what."""
        return self._run(self._engine.protocol.snapshot(checked_wan(wan_idx), leases=leases))

    def wans(self) -> tuple[int, ...]:
        """The WANs of the namespace."""
        return self._run(self._engine.protocol.wan_indexes())

    # -- leases

    def acquire(
        self,
        wan: WanChoice = ANY,
        *,
        wait: float | None = 0.0,
        port: int | None = None,
        label: str = "",
        ttl: float | None = None,
        detached: bool = False,
        reuse_address: bool = False,
        sticky: str | None = None,
    ) -> Lease:
        """Leases one port, and keeps the lease alive until it is released.

        Args:
            wan: a WAN, several, or ANY (by weight and free share). Of several, one whose line a health check found down
                is passed by, unless all are.
            wait: seconds to wait for a port, and for trouble to pass: an outage, a failover, a grace, a busy server.
                The call takes no longer, but for one connect_timeout where Redis is silent. None: without limit.
            port: a wanted port.
            label: for people.
            ttl: seconds without renewal after which it ends; default: the pool's, or else the WAN's.
            detached: a lease that nobody renews, and that outlives this process.
            reuse_address: whether the port will be bound with SO_REUSEADDR, as `lease.socket()` and `lease.connect()`
                do. Else it is one that plain sockets can bind, too: the network's own ports are that only when nothing
                lingers on them, or 65 s after their end, and each is tried before it is handed out.
            sticky: a key, such as an account's name, of 1 to 256 characters: the same key gets the same WAN, on all
                machines, while its line is up and it does not drain (docs/health.md). It goes to no log, nor to Redis.

        Raises:
            PoolExhausted, InGrace, WanDraining, WanNotDefined, PortUnavailable, PortNotInRange, BackendUnavailable
        """
        request = Request.of(
            wan,
            wait=wait,
            port=port,
            label=label,
            ttl=ttl,
            detached=detached,
            reuse_address=reuse_address,
            sticky=sticky,
        )
        return self._lease(request)[0]

    def acquire_many(
        self,
        wan: int,
        count: int,
        *,
        at_least: int | None = None,
        wait: float | None = 0.0,
        label: str = "",
        ttl: float | None = None,
        reuse_address: bool = False,
    ) -> list[Lease]:
        """Leases up to 1,000 ports of one WAN in one round trip: all, or at least `at_least`, or none."""
        request = Request.of(
            checked_wan(wan),
            count=count,
            at_least=at_least,
            wait=wait,
            label=label,
            ttl=ttl,
            reuse_address=reuse_address,
        )
        return self._lease(request)

    def connect(
        self,
        wan: WanChoice,
        address: Address,
        *,
        wait: float | None = 0.0,
        timeout: float | None = None,
        attempts: int = 3,
        source_address: str | None = None,
        close_on_loss: bool = False,
        sticky: str | None = None,
        label: str = "",
    ) -> LeasedSocket:
        """A TCP connection from a leased port of a WAN; its last close releases the lease, its attribute `lease`.

        Files from `makefile` count as open, and so does an object that takes over the file descriptor, as
        `ssl.SSLContext.wrap_socket` does.

        Args:
            wan: as for acquire.
            address: host and port.
            wait: seconds to wait for a port, and for trouble to pass; None: without limit.
            timeout: seconds to wait for a connection, and later the socket's timeout; None: the system's.
            attempts: how often to take ports when the system refuses one: 1 at first, then 4, 16, 64, and so on.
            source_address: the IPv4 address to bind to, if this host has several; default: that of the route.
            close_on_loss: whether the connection ends when the lease does: reads find the end, writes fail.
            sticky: a key, as for acquire.
            label: of its lease, for people.

        Raises:
            PortRejected: the system refused every port that was tried, or too many recently.
            OSError: the connection failed; errors of `acquire`.
        """
        dial = Dial.of(address, timeout, attempts, source_address, close_on_loss)
        connecting = partial(self._engine.protocol.connect, dial=dial)
        return self._caller.run(
            self._engine.patiently(Request.of(wan, wait=wait, sticky=sticky, label=label), connecting)
        )

    def allocate_port(self, wan_idx: int) -> int:
        """The old name of `acquire`: leases a port of the WAN until `release_port`."""
        return self.acquire(checked_wan(wan_idx)).port

    def release_port(self, wan_idx: int, port: int) -> bool:
        """The old name of `release`; False if this object does not hold the port: then nothing changes."""
        return self._run(self._engine.releasing_port(wan_idx, port))

    def get_port_usage_info(self) -> dict[str, Any]:
        """The ports that each process uses, on all machines."""
        return self._run(self._engine.protocol.usage())

    def reap(self, *, dry_run: bool = False) -> list[HolderSeen]:
        """Takes back the leases of dead processes at once; returns what it found out about each holder.

        A process is dead only on proof: same boot of the same machine, same PID namespace, and no such process, or one
        with another start time. Leases that were renewed meanwhile stay, and so do detached ones.
        """
        return self._engine.reap_now(dry_run)

    def _lease(self, request: Request, *, legacy: bool = False) -> list[Lease]:
        leasing = self._engine.patiently(request, self._engine.protocol.lease, legacy=legacy)
        leases = self._engine.leased(self._caller.run(leasing))
        return self._engine.protocol.ledger.anchored(cast("list[Lease]", leases))

    def _make_lease(self, grant: Grant) -> Lease:
        return Lease(self._caller, grant)

    def _tell_loss(self, lease: LeaseState) -> None:
        if self._on_lost is not None:
            with signals.hearing():  # it may start programs
                self._on_lost(lease)

    def _run(self, conversation: Conversation[T]) -> T:
        return self._caller.run(self._engine.prepared(conversation))


def wans_for(pool: WanPortPool, request: Request) -> tuple[int, ...] | None:
    """The WANs to ask for, as a client that keeps connections needs them: of a request with a key, its one WAN."""
    return pool._caller.run(pool._engine.patiently(request, pool._engine.protocol.wans_for))
