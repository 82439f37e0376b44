"""What both faces share: how a pool object is made, and its identity."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from redis_wanpool.engine.engine import Engine
from redis_wanpool.errors import InvalidValue
from redis_wanpool.model.checks import MOST_PORTS_A_CALL, checked_flag, checked_integer, checked_seconds
from redis_wanpool.model.lease import Grant, LeaseState, OfThisProcess
from redis_wanpool.settings import Settings, settings
from redis_wanpool.transport.backend import Backend, given_client

PoolT = TypeVar("PoolT", bound="PoolObject")


def backend_of(settled: Settings, url: str | None, client: Any, connect_timeout: float, *, blocking: bool) -> Backend:
    """The Redis that these arguments name; raises InvalidValue if they contradict each other, or one is invalid."""
    if client is not None and url is not None:
        raise InvalidValue("give a url or a client, not both")
    return Backend(
        None if client is not None else settled.url,
        client=given_client(client, blocking=blocking),
        timeout=checked_seconds("connect_timeout", connect_timeout, 0.001),
    )


def without_wans(pool: PoolT) -> PoolT:
    """A pool object that has done nothing yet, and that will not define the WANs of the configuration."""
    pool._engine.settings = replace(pool._engine.settings, wans=())
    return pool


class PoolObject(OfThisProcess, ABC):
    """A pool object with its engine; each face adds its kind of lease, and a caller that performs steps."""

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
        max_idle: int = 0,
        idle_timeout: float = 5.0,
    ) -> None:
        settled = settings(
            url=url,
            namespace=namespace,
            network=network,
            rest=rest,
            lease_ttl=lease_ttl,
            min_replicas=min_replicas,
            fsync=fsync,
        )
        if on_lost is not None and not callable(on_lost):
            raise InvalidValue(f"on_lost {on_lost!r}: must be a function of a lease")
        self._on_lost = on_lost
        self._engine = Engine(
            settled,
            backend_of(settled, url, client, connect_timeout, blocking=self.blocking),
            make_lease=self._make_lease,
            on_lost=self._tell_loss,
            reaps=checked_flag("reap", reap),
            release_on_sigterm=checked_flag("release_on_sigterm", release_on_sigterm),
            allow_eviction=checked_flag("allow_eviction", allow_eviction),
            max_idle=checked_integer("max_idle", max_idle, 0, MOST_PORTS_A_CALL),
            idle_timeout=checked_seconds("idle_timeout", idle_timeout, 0.0),
        )

    def __repr__(self) -> str:
        engine: Engine | None = getattr(self, "_engine", None)
        if engine is None:
            return f"<{type(self).__name__}, not made>"
        state = "closed" if engine.closed else f"{len(engine.protocol.leases)} leases"
        return f"<{type(self).__name__} namespace {self.namespace!r} at {engine.backend.name}, {state}>"

    @property
    def namespace(self) -> str:
        """The pool of WANs that this object uses."""
        return self._engine.settings.namespace

    @property
    def network(self) -> str:
        """The id of what the router sees as one source address; all processes that share that must give the same id."""
        return self._engine.settings.network

    @property
    def holder(self) -> str:
        """The id of this pool object; its lease_ids begin with it."""
        return self._engine.protocol.holder.id

    @property
    def url(self) -> str:
        """Where the pool's Redis is, without a password."""
        return self._engine.backend.name

    @abstractmethod
    def _make_lease(self, grant: Grant) -> LeaseState:
        """A lease of this face."""

    @abstractmethod
    def _tell_loss(self, lease: LeaseState) -> None:
        """Calls `on_lost` as this face does."""
