"""Simulated Redis servers, and the services that they form: a primary, its replicas, and what failures make of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from redis_wanpool.errors import BackendUnavailable
from redis_wanpool.protocol import Ask, Call

if TYPE_CHECKING:
    from store import Memory
    from world import World

EPOCH = 1_700_000_000.0  #: what the servers' clocks showed when the world began, before they went wrong
OLD = 10_000_000  #: seconds for which the first servers have run by then
NO_ID = "0" * 40


class Trouble(BackendUnavailable):
    """What a caller hears instead of an answer."""

    again: bool = False  #: whether its connection was broken, so that it sends once more
    passing = True


def silence() -> Trouble:
    return Trouble("no answer", answered=False)


def broken() -> Trouble:
    return Trouble("the connection was broken", answered=False, again=True)


def refusal(why: str) -> Trouble:
    return Trouble(why, answered=True)


class Node:
    """One server process; a restart makes another."""

    def __init__(self, world: World, name: str, memory: Memory, dice: Random, *, began: float, ahead: float) -> None:
        self.world = world
        self.name = name
        self.memory = memory
        self.dice = dice
        self.began = began
        self.ahead = ahead  #: seconds by which its clock is ahead of the true time
        self.rate = 1.0
        self.run_id = hex_id(dice)
        self.replid, self.second = hex_id(dice), NO_ID
        self.role = "master"
        self.replicas = 1
        self.is_up = True
        self.is_stopped = False
        self.refuses = ""  #: why it refuses requests
        self.ran: list[str] = []  #: commands of those that exchange whole data sets
        self.queue: list[Callable[[], object]] = []
        """what arrived while it was stopped"""
        self.poppers: dict[str, deque[Callable[[str], object]]] = {}

    def clock(self) -> float:
        return EPOCH + self.ahead + self.world.loop.now * self.rate

    def facts(self) -> str:
        uptime = int(self.world.loop.now - self.began)
        numbers = f"{int(self.clock() * 1e6)} {self.dice.randrange(1, 2147483647)}"
        ids = f"{self.replid} {self.second} {self.run_id} {self.role} {self.replicas}"
        return f"{numbers} {ids} {len(self.memory.log)} {uptime} {' '.join(self.ran)}"

    def run(self, call: Call, args: tuple[str | int, ...]) -> Any:
        """The reply of a script; raises Trouble if the server takes no requests."""
        if self.refuses:
            raise refusal(self.refuses)
        number = len(self.memory.log)
        prefix = call.keys[0].rpartition(":")[0]
        listening = " ".join(name for name in self.poppers if name.startswith(prefix)) if self.poppers else ""
        reply, wrong, *popped = self.memory.run(call.script.name, call.keys, args, self.facts(), listening)
        self.world.judge.executed(self, number, call, args, reply, wrong)
        for name, value in zip(popped[::2], popped[1::2], strict=True):
            waiting = self.poppers[name]
            tell = waiting.popleft()
            if not waiting:
                del self.poppers[name]
            tell(value)
        return reply

    def knows(self, entry: tuple[int, bytes]) -> bool:
        """Whether its data come of this entry of a log."""
        number, what = entry
        return number < len(self.memory.log) and self.memory.log[number] is what

    def ask(self, step: Ask) -> Any:
        if step.words[0] == "INFO":
            info = {"redis_version": "7.2.0", "role": self.role, "maxmemory_policy": "noeviction", "tcp_port": 1}
            info["master_replid"] = self.replid
            return [["", info | {"connected_slaves": self.replicas}]]
        reply = self.memory.ask(*step.words)
        if step.words[0] == "HKEYS":
            return sorted(reply)
        if step.words[0] == "HGETALL":
            return dict(sorted(zip(reply[::2], reply[1::2], strict=True)))
        return reply

    def listen(self, name: str, tell: Callable[[str], object]) -> None:
        """Pops from a list for somebody, now or when something is there."""
        value = self.memory.change("LPOP", name)
        if value is not None:
            tell(value)
        else:
            self.poppers.setdefault(name, deque()).append(tell)

    def unlisten(self, name: str, tell: Callable[[str], object]) -> None:
        waiting = self.poppers.get(name)
        if waiting is not None and tell in waiting:
            waiting.remove(tell)
            if not waiting:
                del self.poppers[name]

    def stop(self) -> None:
        self.is_stopped = True

    def go_on(self) -> None:
        self.is_stopped = False
        queue, self.queue = self.queue, []
        for arrival in queue:
            arrival()

    def die(self) -> None:
        self.is_up = False
        self.poppers.clear()
        self.memory.drop()
        queue, self.queue = self.queue, []
        for arrival in queue:
            arrival()


def hex_id(dice: Random) -> str:
    return f"{dice.getrandbits(160):040x}"


class Service:
    """The servers of some WANs, seen from outside: where clients find the primary."""

    def __init__(self, world: World, number: int, dice: Random) -> None:
        self.world = world
        self.number = number
        self.dice = dice
        self.primary = self._node(world.memories.take(), began=-float(OLD), ahead=dice.uniform(-3600, 3600))
        self.old: Node | None = None  #: the primary before, as long as it goes on answering
        self.kept: list[bytes] | None = None

    def _node(self, memory: Memory, *, began: float, ahead: float) -> Node:
        self.world.nodes += 1
        return Node(self.world, f"server {self.world.nodes}", memory, self.dice, began=began, ahead=ahead)

    def nodes(self) -> list[Node]:
        return [self.primary] + ([self.old] if self.old else [])

    def promote(self, lost: int, split: float, ahead: float) -> None:
        """Makes a replica the primary that has not heard of the last `lost` writes; the old one goes on for a while."""
        before = self.primary
        if self.old is not None or not before.is_up or before.is_stopped:
            return
        world = self.world
        length = max(0, len(before.memory.log) - lost)
        after = self._node(before.memory.copy(length), began=-float(OLD), ahead=before.ahead + ahead)
        after.second = before.replid
        self.primary = after
        world.tell(
            f"{after.name} is promoted without the last {lost} writes of {before.name}"
            + (f", which goes on for {split:.1f} s" if split else ", which is gone")
        )
        if split:
            self.old = before
            world.loop.at(world.loop.now + split, self.end_split)
        else:
            before.die()
        world.find_primary(self, split)

    def end_split(self) -> None:
        if self.old is not None:
            self.world.tell(f"{self.old.name} follows {self.primary.name} now")
            self.old.die()
            self.old = None

    def restart(self, lost: int | None, down: float) -> None:
        """Kills the primary; it starts again with what was on disk. None: with nothing."""
        before = self.primary
        if not before.is_up or before.is_stopped:
            return
        world = self.world
        length = 0 if lost is None else max(0, len(before.memory.log) - lost)
        memory = before.memory.copy(length)
        before.die()
        what = "nothing" if lost is None else f"all but the last {lost} writes"
        world.tell(f"{before.name} is killed, and starts again after {down:.1f} s with {what}")
        after = self._node(memory, began=world.loop.now + down, ahead=before.ahead)
        after.is_up = False
        self.primary = after

        def start() -> None:
            after.is_up = True

        world.loop.at(world.loop.now + down, start)
        world.find_primary(self, 0.0)

    def first_replica(self) -> None:
        """A replica comes to a primary that had none for long: another id, the same data."""
        self.primary.replid, self.primary.second = hex_id(self.dice), NO_ID
        self.world.tell(f"{self.primary.name} takes another replication id")

    def stop(self, seconds: float) -> None:
        node = self.primary
        if node.is_stopped or not node.is_up:
            return
        node.stop()
        self.world.tell(f"{node.name} is stopped for {seconds:.1f} s")
        self.world.loop.at(self.world.loop.now + seconds, node.go_on)

    def step_clock(self, seconds: float) -> None:
        self.primary.ahead += seconds
        self.world.judge.steps_back |= seconds < 0
        self.world.tell(f"the clock of {self.primary.name} is stepped by {seconds:.1f} s")

    def close(self) -> None:
        for node in self.nodes():
            node.memory.drop()
