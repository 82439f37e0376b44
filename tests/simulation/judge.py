"""Judges a world by its true time, with rules of its own; it knows nothing of how the scripts decide."""

from __future__ import annotations

import traceback
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from redis_wanpool.model.endings import OURS
from redis_wanpool.protocol import Call

if TYPE_CHECKING:
    from primaries import Node
    from process import Process
    from world import World

SLACK = 0.5  #: seconds that a clock which is not noticed to be wrong may cost
LINGER = 65.0


ENDINGS = ("RELEASED", "REJECTED", "REVOKED", "REAPED")


class Wrong(Exception):
    """Something that must never be."""


Entry = tuple[int, bytes]  #: an entry of a server's log, which others may have from it: its number, and what it is


@dataclass
class Use:
    """What is truly so of one lease."""

    lease_id: str
    wan_idx: int
    port: int
    fence: int
    network: str
    rest: float
    plain: bool
    granted: float
    known_by: list[Entry]  #: what says in a server's log that there is this lease
    lease: Any = None  #: the holder's object, once a user has it
    process: Process | None = None
    ended: float | None = None  #: since when nobody uses the port
    how: str = "expired"  #: how it ended for the two clocks
    revoked: bool = False  #: whether an operator ended it, so that its holder may believe too long
    told: bool = False  #: whether on_lost was called
    ending: Entry | None = None  #: the first request to end it
    acts: set[str] = field(default_factory=set)  #: the scripts that were asked to end it

    def believes(self, now: float) -> bool:
        """Whether a user takes the port for its own at this moment."""
        if self.lease is None or self.ended is not None or self.process is None or self.process.is_dead:
            return False
        if self.lease.reason is None:
            return True
        self.ended = self.over(now)
        return False

    def over(self, now: float) -> float:
        """Since when its holder knows, or would if it looked, that the lease is over."""
        if self.lease is None or self.process is None:
            return now
        return min(now, self.process.host.when(self.lease.deadline))


class Judge:
    """Hears what every server does and what every holder is told."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.uses: dict[str, Use] = {}
        self.of_port: dict[tuple[int, int], list[Use]] = {}
        self.fences: dict[tuple[int, int], Use] = {}
        self.wrongs: list[str] = []
        self.words: Counter[str] = Counter()
        self._granted_before: set[tuple[str, int, int]] = set()
        self.steps_back = (
            False  #: whether a server's clock went back; then a fence may meet one that was forgotten long ago
        )
        self.holds = 0
        self.max_ttl = 0.0

    def wrong(self, what: str, *, error: bool = False) -> None:
        """Notes something that must not be."""
        told = f"{what}\n{traceback.format_exc()}" if error else what
        self.wrongs.append(f"{self.world.loop.now:.3f} {told}")
        self.world.tell(f"WRONG: {told}")
        if self.world.plan.stops:
            raise Wrong(what)

    # -- what servers do

    def executed(self, node: Node, number: int, call: Call, args: Any, reply: Any, wrong: str) -> None:
        """After each script."""
        name, word = call.script.name, reply[0]
        self.words[f"{name} {word}"] += 1
        world = self.world
        if wrong:
            self.wrong(f"after {name} on {node.name}, WAN {call.wan_idx}: {wrong}")
        if world.story is not None and name in world.plan.tells:
            world.tell(f"{node.name}: {name} {' '.join(map(str, args[2:]))} -> {reply}")
        entry = number, node.memory.log[number]
        if word == "GRANTED":
            self._granted(node, entry, call, args, reply)
        elif word == "RENEWED":
            for lease_id, told in zip(args[8::6], reply[7:], strict=False):
                if lease_id in self.uses and isinstance(told, int):
                    self.uses[lease_id].known_by.append(entry)
        elif word in ENDINGS:
            self._ended(node, entry, name, args, reply)

    def _ended(self, node: Node, entry: Entry, name: str, args: Any, reply: Any) -> None:
        first, step = {"release": (4, 2), "reject": (6, 2), "revoke": (3, 2), "reap": (3, 3)}[name]
        for lease_id, told in zip(args[first + 1 :: step], reply[2:], strict=True):
            self.words[f"{name}: {told}"] += 1
            use = self.uses.get(str(lease_id))
            if use is None:
                continue
            use.acts.add(name)
            if use.ended is None and use.process is not None and use.process.engine.closed:
                use.ended = self.world.loop.now  # a call outlived its pool object, which gives back what it got
            if told not in ("gone", "unsure", "expired") and (use.ending is None or not node.knows(use.ending)):
                if use.ending is not None and use.how != "unused":
                    use.how = "fin"  # how it ended was forgotten, and only that it did is told again
                use.ending = entry
            if name == "revoke" and told == "revoked":
                use.revoked, use.ended, use.how = True, use.ended or self.world.loop.now, "revoked"
            if name == "reap" and told == "reaped" and use.process is not None and not use.process.is_dead:
                self.wrong(f"{use.lease_id} was reaped, and its process lives")

    def _granted(self, node: Node, entry: Entry, call: Call, args: Any, reply: Any) -> None:
        now = self.world.loop.now
        ids, pairs = args[16:], reply[7:]
        assert call.wan_idx is not None
        self.max_ttl = max(self.max_ttl, reply[3] / 1000)
        for lease_id, port, fence in zip(ids, pairs[::2], pairs[1::2], strict=True):
            if not port:
                continue
            if (lease_id, port, fence) in self._granted_before:
                continue
            self._granted_before.add((lease_id, port, fence))
            if lease_id in self.uses:
                known = self.uses[lease_id]
                if known.believes(now) and self.is_known(known):  # a late duplicate may get one when it is over
                    self.wrong(f"{lease_id} got port {port} after it had got {known.port}")
            place = (call.wan_idx, port)
            use = Use(lease_id, call.wan_idx, port, fence, args[3], args[4] / 1000, args[15] == "plain", now, [entry])
            for other in self.of_port.get(place, ()):
                self._beside(node, use, other)
            last = self.fences.get(place)
            if last is None or fence > last.fence:
                self.fences[place] = use
            elif not self.steps_back or any(map(node.knows, last.known_by)):
                self.wrong(f"port {port}: fence {fence} after {last.fence}")
            if lease_id not in self.uses or self.uses[lease_id].lease is None:
                self.uses[lease_id] = use  # else it is a late duplicate's
            self.of_port.setdefault(place, []).append(use)

    def _beside(self, node: Node, use: Use, other: Use) -> None:
        """Compares a new grant with an earlier one of the same port."""
        now = self.world.loop.now
        if other.believes(now):
            self.wrong(f"port {use.port} is granted to {use.lease_id}, and {other.lease_id} still has it")
            return
        if other.lease is None or other.ended is None or not any(map(node.knows, other.known_by)):
            return
        process = other.process
        lives = process is not None and not process.is_dead and not process.is_stopped and not other.revoked
        if lives and other.lease.lost and not other.told and other.lease_id in process.protocol.leases:
            self.wrong(f"port {use.port} is granted to {use.lease_id}, and nobody told {other.lease_id} of its loss")
        rested, cooled = self._clocks(node, other)
        since = now - other.ended
        if use.network == other.network:
            if since < min(rested, cooled) * 0.998 - SLACK:
                self.wrong(
                    f"port {use.port} rested {since:.3f} s, not {rested:g}: {use.lease_id} after {other.lease_id}"
                )
        elif since < cooled * 0.998 - SLACK:
            self.wrong(f"port {use.port} cooled {since:.3f} s, not {cooled:g}: {use.lease_id} after {other.lease_id}")

    def _clocks(self, node: Node, use: Use) -> tuple[float, float]:
        """How long a port must rest and cool after this use."""
        cooldown = self.world.plan.cooldown
        rest, how = (
            use.rest,
            use.how if use.ending is not None and node.knows(use.ending) else "expired",
        )  # nobody said how
        rested, cooled = rest, max(cooldown, rest)
        if how == "unused":
            return 0.0, 0.0
        if how == "drained":
            rested, cooled = 0.0, cooldown
        elif how == "reset":
            cooled = max(min(cooldown, 15.0), rest)
        elif how == "time_wait":
            rested, cooled = max(rest, LINGER), max(cooldown, rest, LINGER)
        elif how == "rejected":
            rested = cooled = 0.0 if how == "rejected" else cooled
        return rested, cooled

    def is_known(self, use: Use) -> bool:
        """Whether the primary of today knows of a lease."""
        primary = self.world.services[use.wan_idx % len(self.world.services)].primary
        return any(map(primary.knows, use.known_by))

    # -- what holders are told

    def handed(self, process: Process, leases: list[Any]) -> None:
        """A user has these leases now."""
        now = self.world.loop.now
        for lease in leases:
            self.holds += 1
            use = self.uses[lease.lease_id]
            use.lease, use.process = lease, process
            if process.engine.closed:  # which gives back what a late call got
                self.stops_using(lease, "fin")
                continue
            if lease.reason is not None:
                continue
            for other in self.of_port[use.wan_idx, use.port]:
                if other is not use and other.believes(now) and not other.revoked:
                    self.wrong(f"port {use.port}: {use.lease_id} has it, and so has {other.lease_id}")

    def stops_using(self, lease: Any, how: str) -> None:
        """A user lets go of a lease, before it says so to anybody."""
        use = self.uses[lease.lease_id]
        if use.ended is None:
            use.ended, use.how = self.world.loop.now, how

    def dropped(self, lease: Any) -> None:
        """A user forgets a lease; nothing here may keep it."""
        use = self.uses[lease.lease_id]
        self.stops_using(lease, "time_wait")
        use.lease = None

    def told_lost(self, process: Process, lease: Any) -> None:
        """on_lost was called."""
        use = self.uses[lease.lease_id]
        if use.ended is None:
            use.ended = use.over(self.world.loop.now)
        use.told = True
        self._check_reason(process, lease, use, lease.reason)

    def told(self, process: Process, lease: Any, was_ours: bool) -> None:
        """A release was answered."""
        use = self.uses[lease.lease_id]
        reason = lease.reason
        if was_ours != (reason in OURS) and not (was_ours and use.acts and reason in ("expired", "unreachable")):
            self.wrong(f"{lease.lease_id}: release says {was_ours}, and the lease {reason}")
        self._check_reason(process, lease, use, reason)

    def _check_reason(self, process: Process, lease: Any, use: Use, reason: str | None) -> None:
        self.words[f"end: {reason}"] += 1
        is_over = process.clock() >= lease.deadline - 1e-6
        good = {
            "revoked": "revoke" in use.acts or not self.is_known(use),
            "reaped": "reap" in use.acts,
            "expired": is_over,
            "unreachable": is_over,
            "forked": True,
        }.get(str(reason), bool(use.acts & {"release", "reject"}))
        if not good:
            self.wrong(f"{lease.lease_id} (port {lease.port}) is told {reason}, which is not so: {sorted(use.acts)}")

    def died(self, process: Process) -> None:
        """Nobody uses the ports of a dead process any more."""
        for use in self.uses.values():
            if use.process is process and use.ended is None:
                use.ended = use.over(self.world.loop.now)
