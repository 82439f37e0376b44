"""One holder's side of the conversation: its settings, and how it makes calls and reads their answers."""

import logging
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from redis_wanpool.errors import WanpoolError
from redis_wanpool.model.checks import milliseconds
from redis_wanpool.model.durability import Durability
from redis_wanpool.model.holder import Holder, random_secret
from redis_wanpool.model.lease import Grant, LeaseState
from redis_wanpool.model.views import WanSnapshot
from redis_wanpool.protocol.keys import WanKeys, namespace_keys
from redis_wanpool.protocol.ledger import Ledger
from redis_wanpool.protocol.refusals import data_is_gone, not_defined, unexpected
from redis_wanpool.protocol.scripts import script
from redis_wanpool.protocol.shelf import Shelf
from redis_wanpool.protocol.steps import Answer, Ask, Call, Conversation, Parallel, T

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
        random: Random | None = None,
        new_secret: Callable[[], str] = random_secret,
    ) -> None:
        self.namespace = namespace
        self.holder = holder
        self.network = network
        self.rest_ms = milliseconds(rest)
        self.ttl_ms = None if lease_ttl is None else milliseconds(lease_ttl)
        self.make_lease = make_lease
        self.is_fake = is_fake  #: whether the server is the in-process stand-in, which has no replication id
        self.is_sharded = is_sharded  #: whether WANs are on several servers
        self.on_failover = on_failover  #: the default for WANs that are defined on this server
        self.kept = kept  #: ranges of ports, first and last, that this system lets no program use
        self.durability = durability  #: what must confirm a grant before it counts; None: Redis's answer is enough
        self.random = random or Random()  #: makes all random choices, so that a simulator can repeat them
        self.new_secret = new_secret  #: makes the part of a lease_id that nobody can guess
        self.ledger = ledger = Ledger()
        self.leases, self.doubts, self.abandoned = ledger.leases, ledger.doubts, ledger.abandoned
        self.renew_soon, self.leave_to_upkeep = ledger.renew_soon, ledger.leave_to_upkeep
        self.losses, self.first_deadline, self.has_work = ledger.losses, ledger.first_deadline, ledger.has_work
        self.known: dict[int, str] = {}
        """wan_idx -> generation of each WAN that this object has seen: if Redis lacks it, its data is lost"""
        self.shelf: Shelf | None = None  #: the ports that are kept between leases; None: none are
        self.registered = False
        self._troubles: set[tuple[str, object]] = set()
        """what this object cannot do, and in which WAN, as it said in the log; until it can"""
        self._looks: dict[int, tuple[float, WanSnapshot | WanpoolError]] = {}
        """wan_idx -> the last look for a choice among several: its local time, and what was seen, or is wrong"""
        self._weights: dict[int, int] = {}  #: wan_idx -> its weight, when it could last be read
        self._indexes: tuple[int, ...] = ()  #: the WANs of the namespace, as of `_indexes_at`
        self._indexes_at = self._health_at = float("-inf")  #: the local times of the last looks at these, and at health
        self._down_until: dict[int, float] = {}  #: wan_idx -> the local time until which its line counts as down
        self._of_no_use_in: dict[int, tuple[int, ...]] = {}  #: wan_idx -> the ports of the WAN in `kept`
        self._keys: dict[int, WanKeys] = {}

    @property
    def reasserts(self) -> bool:
        """Whether leases are to be renewed at once."""
        return self.ledger.reasserts

    def noticed_epoch(self, wan_idx: int, generation: str, epoch: int, sent: float) -> None:
        """Notes the epoch that an answer tells, and when it was asked for."""
        if self.shelf is not None:
            self.shelf.noticed(wan_idx, (generation, epoch), sent)

    def wan_keys(self, wan_idx: int) -> WanKeys:
        if wan_idx not in self._keys:
            self._keys[wan_idx] = WanKeys.of(self.namespace, wan_idx)
        return self._keys[wan_idx]

    def call(self, name: str, wan_idx: int, *args: str | int) -> Call:
        return Call(script(name), self.wan_keys(wan_idx).declared, args, wan_idx=wan_idx)

    def call_namespace(self, name: str, *args: str | int) -> Call:
        return Call(script(name), namespace_keys(self.namespace), args, timed=False)

    def side_by_side(self, branches: Sequence[tuple[int, Conversation[T]]]) -> Conversation[list[T | WanpoolError]]:
        """The result of each WAN's conversation, or its error; on several servers all run at once."""
        together = Parallel(tuple((self.wan_keys(wan_idx).declared[0], what) for wan_idx, what in branches))
        results: list[T | WanpoolError] = (yield together).reply if branches else []
        return results

    def all_of(self, branches: Sequence[tuple[int, Conversation[T]]]) -> Conversation[list[T]]:
        """The result of each WAN's conversation; raises the first error, if there is one."""
        if len(branches) == 1:
            return [(yield from branches[0][1])]
        results = yield from self.side_by_side(branches)
        found = [result for result in results if not isinstance(result, WanpoolError)]
        if len(found) < len(results):
            raise next(result for result in results if isinstance(result, WanpoolError))
        return found

    def goes(self, what: str, wan_idx: object, error: Exception | None) -> None:
        """Says in the log, once until it passes, what goes wrong in a WAN; None: it goes well."""
        if error is None:
            self._troubles.discard((what, wan_idx))
        elif (what, wan_idx) not in self._troubles:
            self._troubles.add((what, wan_idx))
            logger.warning("cannot %s of WAN %s (namespace %r), going on: %s", what, wan_idx, self.namespace, error)

    def wan_indexes(self, *, strict: bool = False) -> Conversation[tuple[int, ...]]:
        """All WANs of the namespace, ascending; other things there are passed by, or `strict` refuses them."""
        key = namespace_keys(self.namespace)[0]
        words = (yield Ask(("HKEYS", key))).reply
        for word in words if not strict else ():
            if not word.isdecimal():
                self.goes("read the ports", ascii(word), ValueError(f"{key} has a field that is no WAN index"))
        return tuple(sorted(int(word) for word in words if strict or word.isdecimal()))

    def introduce(self) -> Conversation[None]:
        """Registers this holder in Redis, as alive now."""
        holder = self.holder
        yield self.call_namespace(
            "register",
            holder.id,
            holder.host,
            holder.boot_id,
            holder.pid_namespace,
            holder.pid,
            holder.started,
            holder.program,
            "reaps" if holder.reaps else "-",
        )
        self.registered = True

    def expect(self, call: Call, *words: str) -> Conversation[Answer]:
        """The answer to a call of a WAN script; raises its error unless it begins with one of these words."""
        answer = yield call
        if answer.reply[0] not in words:
            assert call.wan_idx is not None
            raise (yield from self.refused(call.wan_idx, answer.reply))
        return answer

    def refused(self, wan_idx: int, reply: Sequence[Any]) -> Conversation[WanpoolError]:
        """The error for a reply that any WAN script may give."""
        if reply[0] != "NOT_DEFINED":
            return unexpected(self.namespace, wan_idx, reply)
        claim = (yield Ask(("HGET", namespace_keys(self.namespace)[0], str(wan_idx)))).reply
        if wan_idx in self.known or (claim or "").endswith(" ready"):
            return data_is_gone(self.namespace, wan_idx)
        return not_defined(self.namespace, wan_idx)
