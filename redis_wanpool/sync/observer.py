"""Looks at the WANs of a namespace: the half of an Operator that changes nothing."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Self

from redis_wanpool.engine.performer import Performer
from redis_wanpool.engine.pool_object import backend_of
from redis_wanpool.errors import PoolClosed, WanpoolError
from redis_wanpool.model.checks import (
    MOST_PORTS_A_CALL,
    checked_integer,
    checked_port,
    checked_seconds,
    checked_wan,
    milliseconds,
)
from redis_wanpool.model.health import Health
from redis_wanpool.model.history import Counters, Event
from redis_wanpool.model.holder import Holder
from redis_wanpool.model.lease import Grant, LeaseState
from redis_wanpool.model.places import PortMap
from redis_wanpool.model.views import LeasePage, ListedLease, PortSeen, WanSnapshot, WanStatus
from redis_wanpool.protocol import Ask, Conversation, Protocol
from redis_wanpool.protocol.keys import namespace_keys
from redis_wanpool.protocol.namespaces import Namespaces
from redis_wanpool.protocol.steps import T
from redis_wanpool.settings import settings
from redis_wanpool.system.identity import this_holder

LOOKS_AHEAD = (60.0, 1800.0, 3600.0)
LONGEST_SINCE = 366 * 86_400.0  #: seconds back to which events are asked for


class Observer:
    """Looks at the WANs of a namespace, and at the Redis behind them; the arguments are those of Operator."""

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
        self._reach: dict[str, Any] = {"url": url, "client": client, "connect_timeout": connect_timeout}
        backend = backend_of(self._settings, blocking=True, **self._reach)
        self._performer = Performer(backend)
        self._allow_eviction = allow_eviction
        self._is_checked = allow_unsafe
        self._closed = False
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
        if not hasattr(self, "_protocol"):
            return f"<{type(self).__name__}, not made>"
        return f"<{type(self).__name__} namespace {self.namespace!r} at {self.url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections; the object is of no use afterwards."""
        self._closed = True
        self._performer.disconnect()

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
        """Sends a command that changes nothing to Redis, even to an unsafe one, and returns the reply.

        Args:
            words: the command and its arguments.
            at: the address of the one shard to ask; default: the one that has the key.
        """

        def asking() -> Conversation[Any]:
            return (yield Ask(words, at=at)).reply

        self._check_open()
        return self._performer.run(asking())

    def server_facts(self) -> dict[str, str]:
        """Returns facts about Redis: version, role, persistence, eviction; nothing for the stand-in."""
        return self._run(self._protocol.server_facts(look=not self.is_fake))

    # -- looking: at WANs

    def wans(self) -> tuple[int, ...]:
        """Returns the WANs of the namespace, ascending."""
        return self._run(self._protocol.wan_indexes(strict=True))

    def namespaces(self) -> Namespaces:
        """Returns the namespaces of this Redis that have WANs, by a look at the names of all its keys.

        The user needs the right to SCAN, which none of the users of `wanpool acl` has.
        """
        return self._run(self._protocol.namespaces())

    def claims(self) -> dict[int, str]:
        """Returns the ports of each WAN, even if it is not ready yet or has lost its data."""
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
        """Returns a snapshot of each of these WANs, or of all; asks different shards at once.

        Raises:
            WanpoolError: the first error of a WAN.
        """
        return self._all_of(wans, self._protocol.snapshot)

    def status(
        self, wans: Iterable[int] | None = None, looks_ahead: Sequence[float] = LOOKS_AHEAD
    ) -> dict[int, WanStatus | WanpoolError]:
        """Returns the state, counters, pace and outlook of each of these WANs, or all, or its error: it hides no other.

        Args:
            wans: default: all of the namespace.
            looks_ahead: seconds after which to say how many ports will be free.
        """
        for seconds in looks_ahead:
            checked_seconds("looks_ahead", seconds)

        def looking(wan_idx: int) -> Conversation[WanStatus]:
            seen = yield from self._protocol.snapshot(wan_idx)
            quarantined, late, *more = yield from self._protocol.outlook(wan_idx, looks_ahead)
            frees = tuple(min(seen.total - seen.leased - seen.withheld, seen.free + count) for count in more)
            counters = yield from self._protocol.counters(wan_idx)
            return WanStatus(seen, quarantined, frees, self._settings.rest, late, counters)

        indexes = self._indexes(wans)
        looks = self._run(self._protocol.side_by_side([(wan_idx, looking(wan_idx)) for wan_idx in indexes]))
        return dict(zip(indexes, looks, strict=True))

    def health(self) -> Health:
        """Returns what the health check found of each WAN's line, and who checks."""
        return self._run(self._protocol.health())[0]

    # -- looking: at what happened

    def events(
        self,
        wan_idx: int | None = None,
        *,
        since: float | None = None,
        limit: int = MOST_PORTS_A_CALL,
        after: Mapping[int, str] | None = None,
    ) -> list[Event]:
        """Returns what happened in a WAN, or in all, oldest first: the last 1,000 or so of each are kept.

        Args:
            wan_idx: the WAN; default: all of the namespace.
            since: only what happened in the last `since` seconds, by the server's clock.
            limit: how many at most, the newest; 1 to 1,000.
            after: WAN -> the id of the last event of it that is known: only later ones, the first of them.
        """
        most, ids = checked_integer("limit", limit, 1, MOST_PORTS_A_CALL), after or {}
        within_ms = None if since is None else milliseconds(checked_seconds("since", since, most=LONGEST_SINCE))

        def reading(wan_idx: int) -> Conversation[list[Event]]:
            return self._protocol.events(wan_idx, after=ids.get(wan_idx, ""), within_ms=within_ms, limit=most)

        found = chain.from_iterable(self._all_of(None if wan_idx is None else [wan_idx], reading).values())
        events = sorted(found, key=lambda event: event.order)
        return events if after is not None else events[-most:]

    def counters(self, wans: Iterable[int] | None = None) -> dict[int, Counters]:
        """Returns how often something happened in each of these WANs, or in all, since it was defined."""
        return self._all_of(wans, self._protocol.counters)

    # -- looking: at ports, leases and holders

    def port_map(self, wan_idx: int) -> PortMap:
        """Returns where each port of a WAN is; of many ports, it takes as many calls as there are thousands."""
        return self._run(self._protocol.port_map(checked_wan(wan_idx)))

    def explain(self, port: int) -> PortSeen:
        """Returns all that is known about a port.

        Raises:
            PortNotInRange: it belongs to no WAN.
        """
        wan_idx = self.wan_of(port)
        return self._run(self._protocol.explain(wan_idx, port))

    def leases(self, wan_idx: int, *, within: float | None = None) -> Iterator[ListedLease]:
        """Yields the live leases of a WAN by expiry, none twice; asks for them as it goes.

        Args:
            wan_idx: the WAN.
            within: only those that end within this many seconds, unless they are renewed.
        """
        return chain.from_iterable(self.lease_pages(wan_idx, within=within))

    def lease_pages(self, wan_idx: int, *, within: float | None = None) -> Iterator[list[ListedLease]]:
        """Yields the same in lists of up to 1,000, one for each call to Redis."""
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
        """Returns the processes that lease ports, or did within a day, on all machines."""
        return self._run(self._protocol.all_holders())

    def holder_of(self, lease: PortSeen | ListedLease) -> Holder | None:
        """Returns the process that holds a lease, or held it; None if nothing is known about it any more."""
        record = self.ask("HGET", namespace_keys(self.namespace)[1], lease.holder) if lease.holder else None
        return Holder.parse(lease.holder, record)

    # -- performing

    def _run(self, conversation: Conversation[T]) -> T:
        self._check_open()
        if not self._is_checked:
            look, is_named = not self.is_fake, self._performer.backend.is_named
            allow = self._allow_eviction
            self._performer.run(self._protocol.prepare((), look=look, allow_eviction=allow, is_named=is_named))
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
            raise PoolClosed(f"this {type(self).__name__} (namespace {self.namespace!r}) was closed; make another")


def _no_lease(grant: Grant) -> LeaseState:
    raise TypeError(f"granted to an observer: {grant.port}")
