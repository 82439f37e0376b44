"""One holder's side of the conversation: who it is, and what it knows of its leases."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import Any
from weakref import WeakValueDictionary

from redis_wanpool.errors import BackendUnavailable, InGrace, WanMismatch, WanNotDefined, WanpoolError
from redis_wanpool.model.checks import milliseconds
from redis_wanpool.model.durability import Durability
from redis_wanpool.model.holder import Holder, random_secret
from redis_wanpool.model.lease import Grant, LeaseState
from redis_wanpool.protocol.keys import WanKeys, namespace_keys
from redis_wanpool.protocol.scripts import script
from redis_wanpool.protocol.steps import Ask, Call, Conversation, Fork, T

LEASES_A_CALL = 500


class Ids(list[str]):
    """The lease_ids of one call."""


logger = logging.getLogger("redis_wanpool")


class Session:
    """What all parts of the conversation share."""

    def __init__(
        self,
        *,
        namespace: str,
        holder: Holder,
        network: str,
        rest: float,
        lease_ttl: float | None,
        make_lease: Callable[[Grant], LeaseState],
        on_failover: str,
        is_fake: bool = False,
        is_sharded: bool = False,
        kept: Sequence[tuple[int, int]] = (),
        durability: Durability | None = None,
        chance: Random | None = None,
        new_secret: Callable[[], str] = random_secret,
    ) -> None:
        self.namespace = namespace
        self.holder = holder
        self.network = network
        self.rest_ms = milliseconds(rest)
        self.ttl_ms = None if lease_ttl is None else milliseconds(lease_ttl)
        self.make_lease = make_lease
        self.is_fake = is_fake
        """whether the server is the in-process stand-in, which cannot tell who it is"""
        self.is_sharded = is_sharded
        """whether WANs are on several servers"""
        self.on_failover = on_failover
        """what is usual for a WAN that is defined on this server"""
        self.kept = kept
        """ranges of ports, first and last, that this system lets no program use"""
        self.durability = durability
        """what must have confirmed a grant before it counts; None: nothing else"""
        self.chance = chance or Random()
        """makes all random choices, so that a simulator can repeat them"""
        self.new_secret = new_secret
        """makes what nobody can guess of a lease_id"""
        self.leases: dict[str, LeaseState] = {}
        self.fresh: WeakValueDictionary[str, LeaseState] = WeakValueDictionary()
        """granted, and on their way to the caller: gone with the stack of a call that is interrupted"""
        self.in_flight: WeakValueDictionary[str, Ids] = WeakValueDictionary()
        """lease_id -> those of one call that is asking for leases, and holds them"""
        self.doubts: dict[tuple[int, str], tuple[str, str]] = {}
        """(wan_idx, lease_id) -> (port or "", how to end it): calls that have no answer yet, or never got one"""
        self.abandoned: set[tuple[int, str]] = set()
        """(wan_idx, ticket) of places in a queue to give up"""
        self.known: dict[int, str] = {}
        """wan_idx -> generation of the WANs that this object has seen: if one is missing, its data is lost"""
        self.suspects: dict[int, float] = {}
        """wan_idx -> until when (local time) a late duplicate of an unanswered call is looked for"""
        self.graces: dict[int, int] = {}
        """wan_idx -> when the last grace that it was told of ends, in ms of the WAN's time"""
        self.reasserts = False
        """whether leases are to be renewed at once, for Redis may have forgotten them"""
        self.registered = False
        self._outage = False
        self._chances: dict[int, tuple[float, float]] = {}
        """wan_idx -> (local time, chance in the choice among several)"""
        self._of_no_use_in: dict[int, tuple[int, ...]] = {}
        """wan_idx -> its ports that are kept so"""
        self._keys: dict[int, WanKeys] = {}

    def keep(self, leases: Iterable[LeaseState]) -> None:
        """Keeps new leases alive from now on, until they end."""
        for lease in leases:
            self.leases[lease.lease_id] = lease
            self.fresh.pop(lease.lease_id, None)

    def noticed_grace(self, wan_idx: int, ends_ms: int) -> None:
        """Has the leases of a WAN re-asserted, once a grace."""
        if self.graces.get(wan_idx) != ends_ms:
            self.graces[wan_idx] = ends_ms
            self.renew_soon(lease for lease in list(self.leases.values()) if lease.wan_idx == wan_idx)

    def renew_soon(self, leases: Iterable[LeaseState] | None = None) -> None:
        """Has these leases, or all, renewed at the next beat, which is due at once."""
        for lease in list(self.leases.values()) if leases is None else leases:
            lease.renew_at = 0.0
            self.reasserts = True

    def wan_keys(self, wan_idx: int) -> WanKeys:
        if wan_idx not in self._keys:
            self._keys[wan_idx] = WanKeys.of(self.namespace, wan_idx)
        return self._keys[wan_idx]

    def call(self, name: str, wan_idx: int, *args: str | int, timed: bool = True) -> Call:
        return Call(script(name), self.wan_keys(wan_idx).declared, args, timed)

    def call_namespace(self, name: str, *args: str | int) -> Call:
        return Call(script(name), namespace_keys(self.namespace), args, timed=False)

    def side_by_side(self, branches: Sequence[tuple[int, Conversation[T]]]) -> Conversation[list[T | WanpoolError]]:
        """What comes of each WAN's conversation, or its error; where there are several servers, all at once."""
        if self.is_sharded and len(branches) > 1:
            forked = Fork(tuple((self.wan_keys(wan_idx).declared[0], what) for wan_idx, what in branches))
            results: list[T | WanpoolError] = (yield forked).reply
            return results
        results = []
        for number, (_, conversation) in enumerate(branches, start=1):
            try:
                results.append((yield from conversation))
            except WanpoolError as error:
                results.append(error)
                if is_silence(error):  # it will not answer the others either
                    results += [error] * (len(branches) - number)
                    break
        return results

    def all_of(self, branches: Sequence[tuple[int, Conversation[T]]]) -> Conversation[list[T]]:
        """The same where each must come to something.

        Raises:
            WanpoolError: the first that one came to.
        """
        results = yield from self.side_by_side(branches)
        found = [result for result in results if not isinstance(result, WanpoolError)]
        if len(found) < len(results):
            raise next(result for result in results if isinstance(result, WanpoolError))
        return found

    def introduce(self) -> Conversation[None]:
        """Writes down in Redis who this holder is, and that it lives."""
        who = self.holder
        yield self.call_namespace(
            "register",
            who.id,
            who.host,
            who.boot_id,
            who.pid_namespace,
            who.pid,
            who.started,
            who.program,
            "reaps" if who.reaps else "-",
        )
        self.registered = True

    def at(self, wans: Iterable[int]) -> str:
        """These WANs, in a message."""
        numbers = sorted(set(wans))
        return f"WAN{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))} (namespace {self.namespace!r})"

    def gone(self, wan_idx: int) -> WanNotDefined:
        return WanNotDefined(
            f"WAN {wan_idx} (namespace {self.namespace!r}) was defined, and Redis knows it no longer: the data is "
            "gone, and granting its ports anew could give them out twice. Restore the data, or define it anew with a "
            f"grace in which holders re-assert their leases: wanpool init --recover --wan {wan_idx}=PORTS",
            wan_idx=wan_idx,
            namespace=self.namespace,
        )

    def refused(self, wan_idx: int, reply: Sequence[Any]) -> Conversation[WanpoolError]:
        """The error for a reply that any WAN script may give."""
        at = f"WAN {wan_idx} (namespace {self.namespace!r})"
        if reply[0] == "NOT_DEFINED":
            claim = (yield Ask(("HGET", namespace_keys(self.namespace)[0], str(wan_idx)))).reply
            if wan_idx in self.known or (claim or "").endswith(" ready"):
                return self.gone(wan_idx)
            return WanNotDefined(
                f"{at} is not defined; define it, for example with: wanpool init --wan {wan_idx}=20000-21999",
                wan_idx=wan_idx,
                namespace=self.namespace,
            )
        if reply[0] == "OTHER_PROTOCOL":
            return WanMismatch(
                f"{at} was written by another version of redis-wanpool (protocol {reply[1]}); "
                "use the same version on all machines",
                wan_idx=wan_idx,
                differences={"protocol": ("3", str(reply[1]))},
            )
        if reply[0] == "GRACE":
            return self.in_grace({wan_idx: reply[1] / 1000})
        return WanpoolError(f"{at}: unexpected answer {reply[0]!r}")

    def in_grace(self, left: Mapping[int, float]) -> InGrace:
        """The error for WANs in grace, by the seconds that it lasts yet."""
        soonest = min(left.values())
        return InGrace(
            f"{self.at(left)}: Redis was restarted or failed over, and may have forgotten grants; holders re-assert "
            f"their leases, and nothing is granted or taken away for {soonest:.1f} s. Wait (wait=seconds), or use "
            "another WAN",
            wan_idx=one_or_all(list(left)),
            retry_after=soonest,
        )

    def batches(self, leases: Iterable[LeaseState]) -> Iterable[tuple[int, list[LeaseState]]]:
        """The leases by WAN, a bounded number at a time."""
        by_wan: dict[int, list[LeaseState]] = {}
        for lease in leases:
            by_wan.setdefault(lease.wan_idx, []).append(lease)
        for wan_idx, all_of_it in by_wan.items():
            for i in range(0, len(all_of_it), LEASES_A_CALL):
                yield wan_idx, all_of_it[i : i + LEASES_A_CALL]


def is_silence(error: Exception) -> bool:
    """Whether a server did not answer: nor will it, just now, whatever else it is asked."""
    return isinstance(error, BackendUnavailable) and not error.answered


def one_or_all(wans: Sequence[int]) -> int | tuple[int, ...]:
    """The WANs of an error, as its attribute has them."""
    return wans[0] if len(wans) == 1 else tuple(sorted(wans))
