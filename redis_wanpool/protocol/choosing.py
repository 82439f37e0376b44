"""Which of several WANs: by weight and free share, or the one of a key; passing by those whose line is down."""

from collections.abc import Iterable, Sequence
from typing import Any

from redis_wanpool.errors import WanNotDefined, WanpoolError
from redis_wanpool.model import rendezvous
from redis_wanpool.model.request import Request
from redis_wanpool.model.views import WanSnapshot
from redis_wanpool.protocol.health import Checking
from redis_wanpool.protocol.keys import namespace_keys
from redis_wanpool.protocol.refusals import is_silence
from redis_wanpool.protocol.steps import Conversation, Look, Parallel

LOOKS_LAST = 1.0  #: seconds for which a look at several WANs, and at the health of their lines, counts as fresh
SILENT = 9.0
"""seconds more until the health is asked for again of a server that was silent: lists of WANs may be on others"""

Looks = dict[int, WanSnapshot | WanpoolError]


class Choosing(Checking):
    """The part of the conversation that chooses a WAN."""

    def by_share(self, wans: tuple[int, ...] | None) -> Conversation[Sequence[int]]:
        """The WANs in random order; more weight and a larger share of available ports come earlier.

        One that is broken, or whose server is silent, is passed by; and one whose line is down, unless all are.
        """
        looks = yield from self._look_at_several((yield from self.wan_indexes()) if wans is None else wans, wans)
        errors = [look for look in looks.values() if isinstance(look, WanpoolError)]
        if errors and len(errors) == len(looks):
            raise errors[0]
        chances = {idx: _chance(look) for idx, look in looks.items() if not isinstance(look, WanpoolError)}
        # Efraimidis and Spirakis, weighted random sampling, 2006: the largest random ** (1 / weight) comes first
        return sorted(
            self._up(chances), key=lambda idx: self.random.random() ** (1 / max(chances[idx], 1e-9)), reverse=True
        )

    def by_key(self, wans: tuple[int, ...] | None, key: str) -> Conversation[Sequence[int]]:
        """The one WAN of a key; none if the namespace has no WAN.

        A WAN that drains, or whose line is down, leaves its keys to the others, unless there is no other. One that is
        exhausted or in grace does not, nor does one that cannot be read: its keys wait for it.
        """
        now = (yield Look(())).sent
        if wans is None and (not self._indexes or now - self._indexes_at > LOOKS_LAST):
            self._indexes, self._indexes_at = (yield from self.wan_indexes()), now
        looks = yield from self._look_at_several(self._indexes if wans is None else wans, wans)
        weights: dict[int, int] = {}
        for wan_idx, look in looks.items():
            if isinstance(look, WanSnapshot):
                weights[wan_idx] = self._weights[wan_idx] = look.weight
            elif wan_idx in self._weights:
                weights[wan_idx] = self._weights[wan_idx]
            elif not isinstance(look, WanNotDefined):  # which is being defined, or was removed
                raise look
        drains = {idx for idx, look in looks.items() if isinstance(look, WanSnapshot) and look.state == "draining"}
        candidates = self._up([idx for idx in weights if idx not in drains] or weights)
        return (rendezvous.choose(key, {idx: weights[idx] for idx in candidates}),) if candidates else ()

    def wans_for(self, request: Request) -> Conversation[tuple[int, ...] | None]:
        """The WANs to ask for, as a client that keeps connections needs them: of a request with a key, its one WAN."""
        if request.sticky is None or request.is_of_one:
            return request.wans
        return tuple((yield from self.by_key(request.wans, request.sticky))) or request.wans

    def passed_by(self, wans: tuple[int, ...] | None, order: Sequence[int]) -> list[int]:
        """Those of the wanted WANs that are left out because their line is down."""
        return sorted(idx for idx in self._down_until if idx not in order and (wans is None or idx in wans))

    def look_again(self) -> None:
        """Makes the next choice look first."""
        self._looks, self._indexes = {}, ()

    def _look_at_several(self, wanted: Sequence[int], named: tuple[int, ...] | None) -> Conversation[Looks]:
        """A look at each of these WANs, no older than LOOKS_LAST; and at the health of all, where that is older."""
        now = (yield Look(())).sent
        found = {idx: look for idx in wanted if (look := self._looks.get(idx)) and now - look[0] <= LOOKS_LAST}
        old = [idx for idx in wanted if idx not in found]
        branches: list[tuple[str, Conversation[Any]]] = [
            (self.wan_keys(idx).declared[0], self._look_at(idx)) for idx in old
        ]
        if wanted and now - self._health_at > LOOKS_LAST:
            branches.append((namespace_keys(self.namespace)[0], self._look_at_health()))
        looks = (yield Parallel(tuple(branches))).reply if branches else []
        if len(looks) > len(old):
            error = looks[-1] if isinstance(looks[-1], WanpoolError) else None
            self._health_at = now + SILENT if error and is_silence(error) else now
            self.goes("read the health", "*", error)
        for wan_idx, look in zip(old, looks, strict=False):
            if isinstance(look, WanNotDefined) and named is not None:
                raise look
            found[wan_idx] = self._looks[wan_idx] = now, look
            self.goes("look at the ports", wan_idx, look if isinstance(look, WanpoolError) else None)
        self._down_until = {idx: until for idx, until in self._down_until.items() if until >= now}
        return {idx: found[idx][1] for idx in wanted}

    def _look_at(self, wan_idx: int) -> Conversation[WanSnapshot]:
        answer = yield from self.expect(self.call("snapshot", wan_idx, self.network, 0), "SNAPSHOT")
        return WanSnapshot.parse(wan_idx, answer.reply)

    def _look_at_health(self) -> Conversation[None]:
        """Notes which lines are down, and until when that counts; without an answer, what was known counts on."""
        health, sent = yield from self.health()
        down = [verdict for verdict in health.verdicts.values() if verdict.state == "down"]
        self._down_until = {verdict.wan_idx: sent + verdict.left for verdict in down}

    def _up(self, wans: Iterable[int]) -> list[int]:
        """Those whose line is not down; all if there is none."""
        wans = list(wans)
        return [idx for idx in wans if idx not in self._down_until] or wans


def _chance(seen: WanSnapshot) -> float:
    """How likely a WAN is to grant, beside others."""
    if seen.state != "open" or seen.grace_ms or seen.total == 0:
        return 0.0
    return seen.weight * (seen.free + seen.rested) / seen.total
