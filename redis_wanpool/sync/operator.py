"""The face for operators, people or programs, who look at WANs and change them, and hold no lease."""

from collections.abc import Callable, Iterable, Sequence
from typing import Unpack

from redis_wanpool.engine.pool_object import without_wans
from redis_wanpool.engine.reaper import HolderSeen, Reaper
from redis_wanpool.errors import LeaseLost, PortNotInRange
from redis_wanpool.model.checks import checked_lease_id, checked_port, checked_wan
from redis_wanpool.model.endings import SAID, end_reason
from redis_wanpool.model.ports import port_list, port_numbers, ports_text
from redis_wanpool.model.views import ListedLease
from redis_wanpool.model.wan import WanDefinition, WanOptions
from redis_wanpool.protocol import Conversation
from redis_wanpool.sync.lease import Lease
from redis_wanpool.sync.observer import Observer
from redis_wanpool.sync.pool import WanPortPool


class Operator(Observer):
    """Looks at the WANs of a namespace and changes them, and the leases of other processes.

    It leases nothing, starts no thread that outlives a call, and leaves the WANs of the configuration as they are.

    Args:
        url: where the Redis is, as for WanPortPool; None: from the configuration, or else the embedded server.
        namespace: one pool of WANs in a Redis; default "default".
        client: a redis.Redis to use instead of a URL.
        connect_timeout: seconds to wait for Redis, for a connection and for each answer.
        allow_eviction: whether to work on a Redis that may evict any key.
        allow_unsafe: whether to work even on a Redis that cannot keep the promises, to examine it.

    Every method may raise BackendUnavailable, if Redis does not answer or refuses; the first call also UnsafeRedis.
    """

    def pool(self, *, on_lost: Callable[[Lease], object] | None = None) -> WanPortPool:
        """Makes a pool object of the same namespace, to lease ports; it defines no WANs and reaps nothing.

        Args:
            on_lost: called once with each lease that is lost, from a thread of the pool.
        """
        return without_wans(WanPortPool(**self._reach, namespace=self.namespace, reap=False, on_lost=on_lost))

    # -- changing: WANs

    def define_wan(
        self, wan_idx: int, ports: str, *, recover: bool = False, fresh: bool = False, **options: Unpack[WanOptions]
    ) -> bool:
        """Defines a WAN, with the arguments of `WanPortPool.define_wan`; asking again for the same changes nothing.

        Returns:
            True if it was made, False if it was there already.

        Raises:
            WanMismatch: it is defined differently, or a port belongs to another WAN.
        """
        return self.define(WanDefinition.of(wan_idx, ports, **options), recover=recover, fresh=fresh)

    def define(self, wan: WanDefinition, *, recover: bool = False, fresh: bool = False) -> bool:
        """Defines a WAN as `define_wan` does."""
        return self._run(self._protocol.define_wan(wan, recover=recover, fresh=fresh))

    def drain(self, wan_idx: int) -> bool:
        """Grants nothing new on a WAN; running leases live on. Returns False if it was draining already."""
        return self._run(self._protocol.set_state(checked_wan(wan_idx), "drain"))

    def open(self, wan_idx: int) -> bool:
        """Ends a drain; returns False if the WAN was open already."""
        return self._run(self._protocol.set_state(checked_wan(wan_idx), "open"))

    def resize(self, wan_idx: int, ports: str) -> int:
        """Gives a WAN other ports; those that it loses leave when their lease and cool-down are over.

        Returns:
            How many have still to leave. Repeat the call after they have left, so that other WANs can have them.

        Raises:
            WanMismatch: a port belongs to another WAN.
        """
        return self._run(self._protocol.resize(checked_wan(wan_idx), ports_text(ports)))

    def remove(self, wan_idx: int, *, force: bool = False) -> int:
        """Removes a WAN and all that Redis knows of it; returns how many WANs are left.

        Args:
            wan_idx: the WAN.
            force: whether to end its leases at once, and to remove it even if its data is lost.

        Raises:
            WanNotDefined: there is no such WAN, or its data is lost and `force` is not given.
            WanInUse: leases live, and `force` is not given.
        """
        return self._run(self._protocol.remove(checked_wan(wan_idx), force=force))

    def migrate(self, wan_idx: int) -> bool:
        """Takes a WAN's data from the protocol before this one to this one, with all leases and cool-downs.

        Meanwhile nothing is granted or renewed. Holders that run the older version lose their leases when these expire.

        Returns:
            Whether there was anything to do.

        Raises:
            WanMismatch: its data is of an even older protocol, or of a newer one.
        """
        return self._run(self._protocol.migrate(checked_wan(wan_idx)))

    # -- changing: ports

    def withhold(self, ports: str) -> dict[int, dict[int, str]]:
        """Takes ports out of service, leased ones when their lease ends.

        Args:
            ports: a list like "20017,20100-20199", of any WANs.

        Returns:
            For each WAN and port its earlier state: free, leased, cooling, withheld, or "" if the WAN has lost it.

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
        """Ends leases of a WAN: their holders learn it at their next heartbeat, and the ports cool.

        Returns:
            For each port how its lease ended, now or before: "revoked" if this did it.
        """
        pairs = [(lease.port, lease.lease_id) for lease in leases]
        return self._run(self._protocol.revoke(checked_wan(wan_idx), pairs))

    def renew(self, wan_idx: int, port: int, lease_id: str, ttl: float) -> float:
        """Prolongs a lease, by its lease_id, to `ttl` seconds from now, if that is later than it would end.

        Returns:
            The time at which it now expires, in seconds since 1970 by the server's clock.

        Raises:
            LeaseLost: it has ended; `reason` says how, and is "gone" if Redis does not know it.
        """
        lease = checked_wan(wan_idx), checked_port(port), checked_lease_id(lease_id)
        told = self._run(self._protocol.renew_by_id(*lease, ttl))
        if isinstance(told, int):
            return told / 1000
        raise LeaseLost(
            f"port {port} of WAN {wan_idx} (namespace {self.namespace!r}): {SAID.get(told, 'no such lease lives')}",
            port=port,
            wan_idx=wan_idx,
            reason=told,
        )

    def release(self, wan_idx: int, port: int, lease_id: str, *, used: bool = True, closed: str = "time_wait") -> str:
        """Gives back a lease, by its lease_id.

        Args:
            wan_idx: the WAN.
            port: the port.
            lease_id: as the lease says it.
            used: False if no packet left from the port: it is free for everybody at once.
            closed: how the connection ended: "fin", "drained", "reset" or "time_wait".

        Returns:
            How it ended, now or before: "released", as it was closed, "unused", "expired", ..., or "gone" if Redis
            knows nothing of it.
        """
        lease = checked_wan(wan_idx), checked_port(port), checked_lease_id(lease_id)
        return self._run(self._protocol.release_by_id(*lease, end_reason(used, closed)))

    def reap(self, *, dry_run: bool = False) -> list[HolderSeen]:
        """Takes back the leases of dead processes of this machine, as `WanPortPool.reap` does."""
        return Reaper(self._protocol, self._run).now(dry_run=dry_run)
