"""The face for people and programs that run a pool: they look at its WANs and change them, and hold no lease."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, Unpack

from redis_wanpool.engine.engine import CLOSED
from redis_wanpool.engine.reaper import HolderSeen, Reaper
from redis_wanpool.errors import InvalidValue, LeaseLost, PoolClosed, PortNotInRange, WanpoolError
from redis_wanpool.model.lease import SAID, Grant, LeaseState
from redis_wanpool.model.views import LeasePage, ListedLease, PortSeen, WanSnapshot, WanStatus
from redis_wanpool.model.wan import (
    WanDefinition,
    WanOptions,
    checked_port,
    checked_seconds,
    checked_wan,
    milliseconds,
    port_list,
    port_numbers,
    ports_text,
)
from redis_wanpool.protocol import Ask, Conversation, Protocol
from redis_wanpool.protocol.keys import namespace_keys
from redis_wanpool.protocol.steps import T
from redis_wanpool.settings import settings
from redis_wanpool.sync.lease import Lease
from redis_wanpool.sync.pool import WanPortPool
from redis_wanpool.system.identity import Holder, this_holder

LOOKS_AHEAD = (60.0, 1800.0, 3600.0)


class Operator:
    """Looks at the WANs of a namespace and changes them, whoever leases their ports.

    It is no holder, leases nothing, and starts no thread that outlives a call. The WANs of the configuration are left
    as they are.

    Args:
        url: where the Redis is, as for WanPortPool; None: from the configuration, last the embedded server.
        namespace: one pool of WANs in a Redis; default "default".
        client: a redis.Redis to use instead of a URL.
        connect_timeout: seconds to wait for Redis, for a connection and for each answer.
        allow_eviction: whether to work on a Redis that may evict any key.
        allow_unsafe: whether to work on any Redis, also one that cannot keep the promises, as an examiner does.

    Every method may raise BackendUnavailable, if Redis does not answer or refuses; and at first UnsafeRedis.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        namespace: str | None = None,
        client: Any = None,
        connect_timeout: float = 2.0,
        allow_eviction: bool = False,
        allow_unsafe: bool = False,
    ) -> None:
        self._settings = settings(url=url, namespace=namespace)
        self._reach = {"url": url, "client": client, "connect_timeout": connect_timeout}
        self._performer = _Performer(self._settings.namespace, **self._reach)
        self._allow_eviction = allow_eviction
        self._is_checked = allow_unsafe
        self._closed = False
        backend = self._performer.backend
        self._protocol = Protocol(
            namespace=self._settings.namespace,
            holder=this_holder(),
            network=self._settings.network,
            rest=self._settings.rest,
            lease_ttl=None,
            make_lease=_no_lease,
            on_failover="continue" if backend.is_embedded or backend.is_fake else "grace",
            is_fake=backend.is_fake,
            is_sharded=not backend.given and backend.is_cluster,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} namespace {self.namespace!r} at {self.url}>"

    def __enter__(self) -> Operator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections; the object is of no use then."""
        self._closed = True
        self._performer.close()

    def pool(self, *, on_lost: Callable[[Lease], object] | None = None) -> WanPortPool:
        """Makes a pool object of the same namespace, to lease ports; it defines no WANs and reaps nothing.

        Args:
            on_lost: called once with each lease that is lost, from a thread of the pool.
        """
        pool = WanPortPool(**self._reach, namespace=self.namespace, reap=False, on_lost=on_lost)
        pool._settings = replace(pool._settings, wans=())
        return pool

    @property
    def namespace(self) -> str:
        """The namespace of these WANs."""
        return self._settings.namespace

    @property
    def network(self) -> str:
        """The network of this process, which `rested` of a snapshot is about."""
        return self._settings.network

    @property
    def url(self) -> str:
        """Where the Redis is, without a password."""
        return self._performer.backend.name

    @property
    def is_embedded(self) -> bool:
        """Whether the Redis is the server that the package starts."""
        return self._performer.backend.is_embedded

    @property
    def is_fake(self) -> bool:
        """Whether the Redis is the in-process stand-in."""
        return self._performer.backend.is_fake

    @property
    def shards(self) -> list[str]:
        """The addresses of a cluster's primaries, as far as they are known; one "" for a single server."""
        return self._performer.backend.shards

    # -- looking: at Redis

    def ask(self, *words: str, at: str = "") -> Any:
        """Asks Redis a command that changes nothing, also a Redis that is unsafe, and returns the reply.

        Args:
            words: the command and its arguments.
            at: the address of the one shard to ask; default: the one that has the key.
        """

        def asking() -> Conversation[Any]:
            return (yield Ask(words, at=at)).reply

        self._check_open()
        return self._performer.run(asking())

    def server_facts(self) -> dict[str, str]:
        """Returns what Redis says of itself: version, role, persistence, eviction; nothing of the stand-in."""
        return self._run(self._protocol.server_facts(look=not self.is_fake))

    # -- looking: at WANs

    def wans(self) -> tuple[int, ...]:
        """Returns the WANs of the namespace, ascending."""
        return self._run(self._protocol.wan_indexes())

    def claims(self) -> dict[int, str]:
        """Returns the ports of each WAN, also of one that is not ready yet or has lost its data."""
        return self._run(self._protocol.claims())

    def ports_by_wan(self) -> dict[int, list[int]]:
        """Returns the same as numbers, ascending."""
        return self._run(self._protocol.ports_by_wan())

    def wan_of(self, port: int) -> int:
        """Returns the WAN to which a port belongs.

        Raises:
            PortNotInRange: it belongs to none.
        """
        return self._run(self._protocol.wan_of(checked_port(port)))

    def snapshot(self, wan_idx: int, *, leases: bool = False) -> WanSnapshot:
        """Returns the counts of a WAN at one moment; with `leases`, also who holds what."""
        return self._run(self._protocol.snapshot(checked_wan(wan_idx), leases=leases))

    def snapshots(self, wans: Iterable[int] | None = None) -> dict[int, WanSnapshot]:
        """Returns a snapshot of each of these WANs, or of all; of those on different shards at once.

        Raises:
            WanpoolError: the first that a WAN came to.
        """
        return self._all_of(wans, self._protocol.snapshot)

    def status(
        self, wans: Iterable[int] | None = None, looks_ahead: Sequence[float] = LOOKS_AHEAD
    ) -> dict[int, WanStatus | WanpoolError]:
        """Returns the state, pace and outlook of each of these WANs, or of all, or its error: one hides no other.

        Args:
            wans: default: all of the namespace.
            looks_ahead: seconds after which to say how many ports will be free.
        """
        for seconds in looks_ahead:
            checked_seconds("looks_ahead", seconds)

        def looking(wan_idx: int) -> Conversation[WanStatus]:
            seen = yield from self._protocol.snapshot(wan_idx)
            quarantined, *more = yield from self._protocol.outlook(wan_idx, looks_ahead)
            frees = tuple(min(seen.total - seen.leased - seen.withheld, seen.free + count) for count in more)
            return WanStatus(seen, quarantined, frees, self._settings.rest)

        indexes = self._indexes(wans)
        looks = self._run(self._protocol.side_by_side([(wan_idx, looking(wan_idx)) for wan_idx in indexes]))
        return dict(zip(indexes, looks, strict=True))

    # -- looking: at ports, leases and holders

    def explain(self, port: int) -> PortSeen:
        """Returns all that is known of a port.

        Raises:
            PortNotInRange: it belongs to no WAN.
        """
        wan_idx = self.wan_of(port)
        return self._run(self._protocol.explain(wan_idx, port))

    def leases(self, wan_idx: int, *, within: float | None = None) -> Iterator[ListedLease]:
        """Yields the live leases of a WAN by expiry, none twice; asks for them as it goes.

        Args:
            wan_idx: the WAN.
            within: only those that end within so many seconds, unless they are renewed.
        """
        return chain.from_iterable(self.lease_pages(wan_idx, within=within))

    def lease_pages(self, wan_idx: int, *, within: float | None = None) -> Iterator[list[ListedLease]]:
        """Yields the same, up to 1,000 at a time, as Redis tells of them."""
        checked_wan(wan_idx)
        within_ms = None if within is None else milliseconds(checked_seconds("within", within))
        return self._lease_pages(wan_idx, within_ms)

    def _lease_pages(self, wan_idx: int, within_ms: int | None) -> Iterator[list[ListedLease]]:
        page: LeasePage | None = None
        listed: set[tuple[int, str]] = set()
        while page is None or not page.is_last:
            page = self._run(self._protocol.lease_page(wan_idx, page, within_ms=within_ms))
            new = [lease for lease in page.leases if (lease.port, lease.lease_id) not in listed]
            listed.update((lease.port, lease.lease_id) for lease in new)
            yield new

    def census(self, wans: Iterable[int] | None = None) -> dict[int, Counter[tuple[str, str]]]:
        """Returns how many ports each (holder, network) holds, for each of these WANs, or all."""
        return self._all_of(wans, self._protocol.census)

    def holders(self) -> list[Holder]:
        """Returns the processes that have leased ports of late, on all machines."""
        return self._run(self._protocol.all_holders())

    def holder_of(self, lease: PortSeen | ListedLease) -> Holder | None:
        """Returns the process that holds a lease, or held it; None if nothing is known of it any more."""
        record = self.ask("HGET", namespace_keys(self.namespace)[1], lease.holder) if lease.holder else None
        return Holder.parse(lease.holder, record)

    # -- changing: WANs

    def define_wan(self, wan_idx: int, ports: str, *, recover: bool = False, **options: Unpack[WanOptions]) -> bool:
        """Defines a WAN, with the arguments of `WanPortPool.define_wan`; asking again for the same changes nothing.

        Returns:
            True if it was made, False if it was there, the same.

        Raises:
            WanMismatch: it is defined differently, or a port belongs to another WAN.
        """
        return self.define(WanDefinition.of(wan_idx, ports, **options), recover=recover)

    def define(self, wan: WanDefinition, *, recover: bool = False) -> bool:
        """Defines a WAN as `define_wan` does."""
        return self._run(self._protocol.define_wan(wan, recover=recover))

    def drain(self, wan_idx: int) -> None:
        """Grants nothing new on a WAN; running leases live on."""
        self._run(self._protocol.set_state(checked_wan(wan_idx), "drain"))

    def open(self, wan_idx: int) -> None:
        """Ends a drain."""
        self._run(self._protocol.set_state(checked_wan(wan_idx), "open"))

    def resize(self, wan_idx: int, ports: str) -> int:
        """Gives a WAN other ports; those that it loses leave when their lease and cool-down are over.

        Returns:
            How many have still to leave. Ask for the same again then, and other WANs can have them.

        Raises:
            WanMismatch: a port belongs to another WAN.
        """
        return self._run(self._protocol.resize(checked_wan(wan_idx), ports_text(ports)))

    def remove(self, wan_idx: int, *, force: bool = False) -> int:
        """Removes a WAN and all that Redis knows of it; returns how many WANs are left.

        Args:
            wan_idx: the WAN.
            force: whether its leases end at once, or its claim goes though its data is lost.

        Raises:
            WanNotDefined: there is none, or its data is lost and `force` is not given.
            WanInUse: leases live, and `force` is not given.
        """
        return self._run(self._protocol.remove(checked_wan(wan_idx), force=force))

    # -- changing: ports

    def withhold(self, ports: str) -> dict[int, dict[int, str]]:
        """Takes ports out of service, leased ones when their lease ends.

        Args:
            ports: a list like "20017,20100-20199", of any WANs.

        Returns:
            For each WAN and port where it was: free, leased, cooling, withheld, or "" if it is the WAN's no longer.

        Raises:
            PortNotInRange: one belongs to no WAN; nothing was done.
        """
        return self._run(self._moving("withhold", port_numbers(ports_text(ports))))

    def restore(self, ports: str) -> dict[int, dict[int, str]]:
        """Puts withheld ports back into service; they cool first. Takes, returns and raises what `withhold` does."""
        return self._run(self._moving("restore", port_numbers(ports_text(ports))))

    def _moving(self, verb: str, ports: Sequence[int]) -> Conversation[dict[int, dict[int, str]]]:
        found = yield from self._protocol.ports_by_wan()
        by_wan = {wan_idx: sorted(set(ports).intersection(mine)) for wan_idx, mine in found.items()}
        strange = sorted(set(ports).difference(*by_wan.values()))
        if strange:
            raise PortNotInRange(
                f"{port_list(strange)}: of no WAN of namespace {self.namespace!r}, so nothing was "
                "done; see their ports with: wanpool init --show",
                port=strange[0],
                wan_idx=None,
            )
        moved: dict[int, dict[int, str]] = {}
        for wan_idx, mine in by_wan.items():
            if mine:
                moved[wan_idx] = yield from self._protocol.move(verb, wan_idx, mine)
        return moved

    # -- changing: leases of others

    def revoke(self, wan_idx: int, leases: Iterable[ListedLease]) -> dict[int, str]:
        """Ends leases of a WAN: their holders learn it at their next heartbeat, the ports cool.

        Returns:
            For each port how its lease ended, now or before: "revoked" if this did it.
        """
        pairs = [(lease.port, lease.lease_id) for lease in leases]
        return self._run(self._protocol.revoke(checked_wan(wan_idx), pairs))

    def renew(self, wan_idx: int, port: int, lease_id: str, ttl: float) -> float:
        """Prolongs a lease of anybody who knows its lease_id to `ttl` seconds from now, if that is later.

        Returns:
            When it expires then, in seconds since 1970 by the server's clock.

        Raises:
            LeaseLost: it has ended; `reason` says how, and is "gone" if Redis knows nothing of it.
        """
        told = self._run(self._protocol.renew_by_id(checked_wan(wan_idx), checked_port(port), lease_id, ttl))
        if isinstance(told, int):
            return told / 1000
        raise LeaseLost(
            f"port {port} of WAN {wan_idx} (namespace {self.namespace!r}): {SAID.get(told, 'no such lease lives')}",
            port=port,
            wan_idx=wan_idx,
            reason=told,
        )

    def release(self, wan_idx: int, port: int, lease_id: str, *, used: bool = True, closed: str = "fin") -> str:
        """Gives back a lease of anybody who knows its lease_id.

        Args:
            wan_idx: the WAN.
            port: the port.
            lease_id: as the lease says it.
            used: False if no packet left from the port: then it is free for all at once.
            closed: how the connection ended: "fin", "drained", "reset" or "time_wait".

        Returns:
            How it ended, now or before: "released", as it was closed, "unused", "expired", ..., or "gone" if Redis
            knows nothing of it.
        """
        if closed not in CLOSED:
            raise InvalidValue(f"closed {closed!r}: must be one of {', '.join(CLOSED)}")
        how = "unused" if not used else "released" if closed == "fin" else closed
        return self._run(self._protocol.release_by_id(checked_wan(wan_idx), checked_port(port), lease_id, how))

    def reap(self, *, dry_run: bool = False) -> list[HolderSeen]:
        """Takes back what dead processes of this machine held, as `WanPortPool.reap` does."""
        return Reaper(self._protocol, self._run).now(dry_run=dry_run)

    # -- performing

    def _run(self, conversation: Conversation[T]) -> T:
        self._check_open()
        if not self._is_checked:
            look = not self.is_fake
            self._performer.run(self._protocol.prepare((), look=look, allow_eviction=self._allow_eviction))
            self._is_checked = True
        return self._performer.run(conversation)

    def _indexes(self, wans: Iterable[int] | None) -> tuple[int, ...]:
        return self.wans() if wans is None else tuple(dict.fromkeys(map(checked_wan, wans)))

    def _all_of(self, wans: Iterable[int] | None, leading: Callable[[int], Conversation[T]]) -> dict[int, T]:
        indexes = self._indexes(wans)
        found = self._run(self._protocol.all_of([(wan_idx, leading(wan_idx)) for wan_idx in indexes]))
        return dict(zip(indexes, found, strict=True))

    def _check_open(self) -> None:
        if self._closed:
            raise PoolClosed(f"this Operator (namespace {self.namespace!r}) was closed; make another")


def _no_lease(grant: Grant) -> LeaseState:
    raise TypeError(f"an Operator leases nothing, and was granted {grant.port}")


class _Performer:
    """Leads conversations to their end. To be replaced by the engine's."""

    def __init__(self, namespace: str, **reach: Any) -> None:
        self._pool = WanPortPool(**reach, namespace=namespace, reap=False)
        self.backend = self._pool._backend

    def run(self, conversation: Conversation[T]) -> T:
        return self._pool._run_blocking(conversation)

    def close(self) -> None:
        self._pool.close()
