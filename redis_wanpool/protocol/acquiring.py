"""Leasing ports: trying WANs, waiting, and saying why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from redis_wanpool.errors import (
    BackendUnavailable,
    InvalidValue,
    PoolExhausted,
    PortNotInRange,
    PortRejected,
    PortUnavailable,
    WanDraining,
    WanNotDefined,
    WanpoolError,
)
from redis_wanpool.model.checks import MOST_PORTS_A_CALL, milliseconds
from redis_wanpool.model.lease import Grant, LeaseState, margin
from redis_wanpool.model.ports import port_numbers
from redis_wanpool.model.request import Request
from redis_wanpool.model.views import WanSnapshot
from redis_wanpool.protocol.confirming import Confirming
from redis_wanpool.protocol.keys import namespace_keys
from redis_wanpool.protocol.session import Ids, is_silence, logger, one_or_all
from redis_wanpool.protocol.steps import Answer, Ask, Conversation, Sleep
from redis_wanpool.protocol.wans import Wans

CHANCES_LAST = 1.0
"""seconds for which what was seen of several WANs is good enough to choose among them"""

SETTLE_FIRST, SETTLE_MORE = 8, 128
"""how many due ports an acquire settles besides its own: few, so that it keeps its pace; and when it found nothing"""


@dataclass(slots=True)
class Refusals:
    """What the WANs said that would not grant."""

    draining: list[int] = field(default_factory=list)
    free_in: dict[int, float | None] = field(default_factory=dict)
    back: list[float] = field(default_factory=list)
    caps: dict[int, int] = field(default_factory=dict)
    rejecting: dict[int, float] = field(default_factory=dict)
    """seconds for which this network gets no free port of a WAN, for its systems refused so many"""
    grace: dict[int, float] = field(default_factory=dict)
    """seconds for which a WAN grants nothing, for it may have forgotten grants"""
    port_is: str = ""


class Acquiring(Wans, Confirming):
    """The part of the conversation that leases ports."""

    LONGEST_PAUSE = 5.0
    """seconds after which a waiter asks again though nothing called it: calls are hints, and may be lost"""

    def acquire(self, request: Request) -> Conversation[list[LeaseState]]:
        """Leases ports of one of the wanted WANs, waiting as long as the request allows; nobody keeps them yet."""
        ids = self._new_ids(request)
        asked: set[int] = set()
        queued: set[int] = set()
        done = False
        try:
            until: float | None = None
            wait = request.wait
            while True:
                wans = yield from self._order(request)
                refusals = Refusals()
                for wan_idx in wans:
                    asked.add(wan_idx)
                    patience = self.LONGEST_PAUSE if wait is None else min(wait, self.LONGEST_PAUSE)
                    answer = yield from self._ask_for(wan_idx, request, ids, patience)
                    if until is None and wait is not None:
                        until = answer.sent + wait
                    if answer.reply[0] == "GRANTED" and self.is_short(answer):
                        queued.discard(wan_idx)
                        done = yield from self.take_back(wan_idx, ids, answer)
                        raise self.short(wan_idx, answer)
                    if answer.reply[0] == "GRANTED":
                        leases = self._granted(wan_idx, request, ids, answer)
                        queued.discard(wan_idx)
                        if len(leases) >= request.least:
                            done = True
                            return leases
                        self._give_up(asked, ids)
                        ids = self._new_ids(request)
                        refusals.back.append(0.01)
                        break
                    yield from self._note_refusal(wan_idx, request, answer.reply, refusals)
                    if wan_idx in refusals.free_in:  # a WAN that drains leaves the places as they are
                        (queued.add if patience > 0 else queued.discard)(wan_idx)
                if not refusals.back or (wait is not None and wait <= 0 and (refusals.free_in or refusals.grace)):
                    done = True
                    raise self._exhausted(request, refusals)
                heard = () if request.port is not None else tuple(refusals.free_in)
                wait = yield from self._pause(min(refusals.back), ids[0], heard, until)
        except WanpoolError as error:
            done = done or not isinstance(error, BackendUnavailable)
            raise
        finally:
            if not done:
                self._give_up(asked, ids)
            self.abandoned.update((wan_idx, ids[0]) for wan_idx in (queued if done else asked))
            self._answered(ids)

    def _pause(
        self, seconds: float, ticket: str, wans: tuple[int, ...], until: float | None
    ) -> Conversation[float | None]:
        """Sleeps until a port may be free, or a call came; tells how long one may wait yet."""
        answer = yield Sleep(seconds, ticket, wans)
        if answer.reply:  # called ahead of time
            answer = yield Sleep(min(answer.reply, seconds), ticket, wans)
        return None if until is None else max(0.0, until - answer.sent)

    def _give_up(self, asked: set[int], ids: Ids) -> None:
        """Leaves it to upkeep to give back whatever came, or may yet come, of these ids."""
        self.doubts.update({(wan_idx, lease_id): ("", "unused") for wan_idx in asked for lease_id in ids})
        self._answered(ids)

    def _answered(self, ids: Ids) -> None:
        for lease_id in ids:
            self.in_flight.pop(lease_id, None)

    def _new_ids(self, request: Request) -> Ids:
        ids = Ids(self.holder.new_lease_id(request.detached, self.new_secret) for _ in range(request.count))
        self.in_flight.update(dict.fromkeys(ids, ids))
        return ids

    def _order(self, request: Request) -> Conversation[Sequence[int]]:
        """The WANs to try, best first."""
        if not self.registered:
            yield from self.introduce()
        if request.wans is not None and len(request.wans) == 1:
            return request.wans
        return (yield from self.by_share(request.wans))

    def by_share(self, wans: tuple[int, ...] | None) -> Conversation[Sequence[int]]:
        """The WANs in random order, those with more weight and a larger share of ports to be had earlier."""
        now: float | None = None
        if wans is None:
            answer = yield Ask(("HKEYS", namespace_keys(self.namespace)[0]))
            now, wans = answer.sent, tuple(sorted(map(int, answer.reply)))
        elif not self.is_sharded:
            now = yield from self._look_at_chance(wans[0])
        seen_at = {wan_idx: self._chances.get(wan_idx, (0.0, 0.0))[0] for wan_idx in wans}
        old = [wan_idx for wan_idx in wans if now is None or now - seen_at[wan_idx] > CHANCES_LAST]
        looks = yield from self.side_by_side([(wan_idx, self._look_at_chance(wan_idx)) for wan_idx in old])
        for wan_idx, result in zip(old, looks, strict=True):
            if isinstance(result, WanpoolError):
                if not (is_silence(result) and self.is_sharded):
                    raise result
                self._chances[wan_idx] = now or 0.0, 0.0  # its server does not answer: the others come first
        chances = {wan_idx: self._chances[wan_idx][1] for wan_idx in wans}
        # Efraimidis and Spirakis, weighted random sampling, 2006: the largest random ** (1 / weight) comes first
        return sorted(
            chances, key=lambda wan_idx: self.chance.random() ** (1 / max(chances[wan_idx], 1e-9)), reverse=True
        )

    def _look_at_chance(self, wan_idx: int) -> Conversation[float]:
        """Sees how likely a WAN is to grant; the local time at which it was asked."""
        answer = yield self.call("snapshot", wan_idx, self.network, 0)
        if answer.reply[0] != "SNAPSHOT":
            raise (yield from self.refused(wan_idx, answer.reply))
        self._chances[wan_idx] = answer.sent, self._chance(wan_idx, answer)
        return answer.sent

    def _chance(self, wan_idx: int, answer: Answer) -> float:
        seen = WanSnapshot.parse(wan_idx, answer.reply)
        if seen.state != "open" or seen.grace_ms or seen.total == 0:
            return 0.0
        return seen.weight * (seen.free + seen.rested) / seen.total

    def _ask_for(self, wan_idx: int, request: Request, ids: Ids, patience: float) -> Conversation[Answer]:
        ttl_ms = self.ttl_ms if request.ttl is None else milliseconds(request.ttl)
        who = self.holder
        avoid = (*request.avoid, *(yield from self._of_no_use(wan_idx)))
        arguments: list[str | int] = [
            who.detached_id if request.detached else who.id,
            self.network,
            self.rest_ms,
            who.host,
            0 if request.detached else who.pid,
            request.label,
            "" if ttl_ms is None else ttl_ms,
            milliseconds(patience) if patience > 0 and request.port is None else "",
            "" if request.port is None else request.port,
            ",".join(map(str, avoid)),
            request.least,
        ]
        settle = SETTLE_FIRST
        while True:
            call = self.call("acquire", wan_idx, *arguments, settle, self.known.get(wan_idx, ""), *ids)
            answer = yield self.to_be_confirmed(call)
            if answer.reply[0] != "MORE":
                return answer
            settle = SETTLE_MORE

    def _of_no_use(self, wan_idx: int) -> Conversation[tuple[int, ...]]:
        """The WAN's ports that this system lets no program use, as many as an acquire can avoid."""
        if self.kept and wan_idx not in self._of_no_use_in:
            claim = (yield Ask(("HGET", namespace_keys(self.namespace)[0], str(wan_idx)))).reply
            found = [port for port in port_numbers(claim.split(" ")[0]) if self._is_kept(port)] if claim else []
            if len(found) > MOST_PORTS_A_CALL:
                logger.warning(
                    "this system keeps %d ports of WAN %d (namespace %r) for itself; it is granted more than it can "
                    "use. See whose they are with: wanpool tune show",
                    len(found),
                    wan_idx,
                    self.namespace,
                )
            self._of_no_use_in[wan_idx] = tuple(found[:MOST_PORTS_A_CALL])
        return self._of_no_use_in.get(wan_idx, ())

    def _is_kept(self, port: int) -> bool:
        return any(first <= port <= last for first, last in self.kept)

    def _granted(self, wan_idx: int, request: Request, ids: Ids, answer: Answer) -> list[LeaseState]:
        now_ms, expires_ms, max_ttl_ms, lease_ttl_ms, generation, *pairs = answer.reply[1:]
        ttl = lease_ttl_ms / 1000
        if request.ttl is not None:
            ttl = request.ttl
        elif self.ttl_ms is not None:
            ttl = self.ttl_ms / 1000
        leases = [
            self.make_lease(
                Grant(
                    namespace=self.namespace,
                    wan_idx=wan_idx,
                    port=port,
                    lease_id=lease_id,
                    fence=fence,
                    label=request.label,
                    ttl=ttl,
                    max_ttl=max_ttl_ms / 1000,
                    detached=request.detached,
                    expires_at=expires_ms / 1000,
                    deadline=answer.sent + (expires_ms - now_ms) / 1000 - margin(ttl),
                )
            )
            for lease_id, port, fence in zip(ids, pairs[::2], pairs[1::2], strict=True)
            if port and expires_ms > now_ms
        ]
        self.known[wan_idx] = generation
        if any(self._is_kept(lease.port) for lease in leases):
            self._of_no_use_in.pop(wan_idx, None)  # the WAN has other ports than before
        for lease in leases:
            lease.renew_at = answer.sent + ttl / 3
            self.fresh[lease.lease_id] = lease
        return leases

    def _note_refusal(
        self, wan_idx: int, request: Request, reply: Sequence[Any], refusals: Refusals
    ) -> Conversation[None]:
        word = reply[0]
        at = f"WAN {wan_idx} (namespace {self.namespace!r})"
        if word == "DRAINING":
            refusals.draining.append(wan_idx)
        elif word in ("EXHAUSTED", "CAPPED"):
            refusals.free_in[wan_idx] = None if reply[1] < 0 else reply[1] / 1000
            refusals.back.append(max(reply[2], 10) / 1000)
            if word == "CAPPED":
                refusals.caps[wan_idx] = reply[3]
        elif word == "REJECTING":
            refusals.rejecting[wan_idx] = refusals.free_in[wan_idx] = reply[1] / 1000
            refusals.back.append(max(reply[2], 10) / 1000)
        elif word == "UNAVAILABLE":
            free_in = None if reply[2] < 0 else reply[2] / 1000
            refusals.free_in[wan_idx] = free_in
            refusals.port_is = reply[1]
            refusals.back.append(min(0.25, max(0.01, free_in or 0.25)))
        elif word == "GRACE":
            refusals.grace[wan_idx] = reply[1] / 1000
            refusals.back.append(min(self.LONGEST_PAUSE, max(reply[1], 10) / 1000))
            self.noticed_grace(wan_idx, reply[2])
        elif word == "NOT_IN_RANGE":
            raise PortNotInRange(
                f"port {request.port} does not belong to {at}; see its ports with: wanpool init --show",
                port=request.port,
                wan_idx=wan_idx,
            )
        elif word == "TTL":
            raise InvalidValue(
                f"ttl {request.ttl or (self.ttl_ms or 0) / 1000:g} s is more than the max_ttl of {at}, "
                f"{reply[1] / 1000:g} s; ask for less, or define the WAN with a longer max_ttl"
            )
        else:
            raise (yield from self.refused(wan_idx, reply))

    def _exhausted(self, request: Request, refusals: Refusals) -> WanpoolError:
        tried = [*refusals.free_in, *refusals.grace, *refusals.draining]
        if not tried:
            return WanNotDefined(
                f"namespace {self.namespace!r} has no WAN; define one, for example with: "
                "wanpool init --wan 0=20000-21999",
                wan_idx=None,
                namespace=self.namespace,
            )
        at = self.at(tried)
        if refusals.grace and not refusals.free_in:
            return self.in_grace(refusals.grace)
        if not refusals.free_in:
            return WanDraining(
                f"{at}: draining, nothing new is granted; use another WAN, or end the drain with: "
                f"wanpool open {tried[0]}",
                wan_idx=tried[0],
            )
        known = [seconds for seconds in refusals.free_in.values() if seconds is not None]
        known += refusals.grace.values()
        free_in = min(known, default=None)
        if refusals.port_is:
            when = "" if free_in is None else f"; it is free by itself in {free_in:.1f} s at the latest"
            return PortUnavailable(
                f"port {request.port} of {at} is {refusals.port_is}{when}. Wait (wait=seconds), or take any port",
                port=request.port,
                state=refusals.port_is,
                free_in=free_in,
            )
        barred = sorted(refusals.rejecting)
        if barred and len(barred) == len(refusals.free_in):
            return PortRejected(
                f"{self.at(barred)}: the systems of this network refused so many of its ports of late that it gets no "
                f"free one for {free_in:.0f} s; see what else uses the WAN's ports there (ss -tanp), and keep the "
                "kernel out of them (net.ipv4.ip_local_reserved_ports)",
                wan_idx=one_or_all(barred),
                ports=(),
                free_in=free_in,
            )
        need = "no port is free" if request.count == 1 else f"fewer than {request.least} ports are free"
        if refusals.grace:
            need += f" (WAN {', '.join(map(str, sorted(refusals.grace)))} in grace after a failover or restart)"
        if barred:
            need += f" (of WAN {', '.join(map(str, barred))} none for this network, whose systems refused too many)"
        if refusals.caps:
            need = f"this network holds as many ports as it may ({max(refusals.caps.values())}, max_per_network)"
        when = "" if free_in is None else f"; the next one is free in {free_in:.1f} s at the latest"
        return PoolExhausted(
            f"{at}: {need}{when}. Wait (wait=seconds), release sooner, or give the WAN more ports",
            wan_idx=one_or_all(tried),
            free_in=free_in,
        )
