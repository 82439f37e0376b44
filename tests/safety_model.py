"""A model of the lease protocol with failovers, small enough to look at everything that can happen.

One port, two holders, two servers, time in ticks. After each request the replica is brought up to date, or its link is
cut until the next failover: so a failover finds any earlier state. It makes the replica the primary, with a new
replication id; the old primary goes on for up to `SPLIT` ticks, and who likes still talks to it. Then it follows the
new one. The primary may also restart, with all its data, with what the replica has, or with none, and all its data may
be deleted. Where there is none, anybody may define the WAN again at any time. A holder has one request on its way at a
time. Request and reply may each be late by any number of ticks, a reply may be lost, and a request may arrive once
more at any time.

The search tries every order of these steps, breadth first, within the bounds below. What it leaves out: more ports
(they do not touch each other), more holders, the rates of clocks (the margins in docs/safety.md), and steps of a
clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

TTL, SPLIT = 2, 1
TWICE = "both hold the port"
LOST = "a living holder is told that its lease is lost"
REVIVED = "a lease that ended is alive again"
FENCE = "a fence does not grow"
WRONGS = (TWICE, LOST, REVIVED, FENCE)


class Bounds(NamedTuple):
    """How long a run is, and how many requests, failovers, requests that arrive once more, and losses there are."""

    ticks: int
    sends: int
    failovers: int
    late: int
    losses: int = 0


QUICK = (Bounds(3, 3, 1, 0), Bounds(2, 3, 2, 0), Bounds(2, 2, 1, 1), Bounds(3, 2, 0, 0, 1), Bounds(4, 3, 0, 0, 1))
DEEP = (Bounds(4, 3, 2, 0), Bounds(4, 4, 1, 0), Bounds(4, 3, 1, 1), Bounds(4, 3, 0, 0, 2), Bounds(3, 3, 1, 0, 1))
"""what is searched with all rules"""

RULES = {
    "a failover begins a grace": ("there is none", TWICE, Bounds(1, 2, 1, 0)),
    "nothing is granted in a grace": ("an acquire takes what looks free", TWICE, Bounds(1, 2, 1, 0)),
    "a grace is as long as a lease": ("it is as long as the split brain", TWICE, Bounds(3, 4, 1, 0)),
    "a grace outlasts the split brain": ("it is as long as a lease", TWICE, Bounds(3, 4, 1, 0)),
    "nothing expires in a grace": ("a lease whose renewal was lost has expired", LOST, Bounds(3, 3, 1, 0)),
    "a lost grant is put back": ("a renewal of what the data does not know is refused", LOST, Bounds(1, 2, 1, 0)),
    "what ended stays ended": ("a late renewal brings it back", REVIVED, Bounds(3, 3, 0, 1)),
    "the deadline counts from the request": ("it counts from the reply", TWICE, Bounds(3, 2, 0, 0)),
    "what was called lost is never renewed": ("its holder goes on asking", TWICE, Bounds(3, 3, 1, 0)),
    "a split brain ends before a lease does": ("the old primary lives to see it expire", TWICE, Bounds(3, 3, 1, 0)),
    "every promotion has its own id": ("a server is known by its name, like run_id", TWICE, Bounds(3, 3, 2, 0)),
    "stale data cannot know": ("data that never granted anything begins no grace", TWICE, Bounds(1, 2, 1, 0)),
    "fences go on beyond the forgotten": ("they go on from what the data knows", FENCE, Bounds(4, 3, 1, 0)),
    "a WAN that is defined again begins a grace": ("it grants at once", TWICE, Bounds(1, 2, 0, 0, 1)),
    "a grace counts from a start only if nothing came after it": (
        "also after a promotion, or when all data was deleted",
        TWICE,
        Bounds(3, 3, 0, 0, 1),
    ),
}
"""rule -> what replaces it, the result, and the bounds within which that is found"""

NONE, LIVE, ENDED = 0, 1, 2
T = TypeVar("T")


class Data(NamedTuple):
    """What a server knows of the port."""

    fence: int = 0
    owner: int = -1
    status: int = NONE
    expires: int = 0
    counter: int = 0
    source: int = 0
    grace_until: int = 0
    is_defined: bool = True


class Life(NamedTuple):
    """What a server tells of itself."""

    started: int = 0
    is_as_started: bool = True
    """whether it was not promoted since, and none of its data was deleted as a whole"""


class Message(NamedTuple):
    """A request, or its reply once `answer` is there."""

    kind: str
    holder: int
    fence: int
    sent: int
    server: int
    answer: int | None = None
    """the fence that is granted or renewed; 0: refused, or lost"""


class Holder(NamedTuple):
    fence: int = 0
    deadline: int = 0
    message: Message | None = None


class State(NamedTuple):
    now: int = 0
    primary: int = 0
    ids: tuple[int, int] = (0, 0)
    last_id: int = 0
    split_until: int = -1
    """the last tick at which the old primary takes requests"""
    is_cut: bool = False
    servers: tuple[Data, Data] = (Data(), Data())
    lives: tuple[Life, Life] = (Life(), Life())
    holders: tuple[Holder, Holder] = (Holder(), Holder())
    late: Message | None = None
    sends: int = 0
    failovers: int = 0
    lates: int = 0
    losses: int = 0
    newest: int = 0
    """the highest fence that any server granted"""


class Wrong(Exception):
    """Something that must never be."""


@dataclass
class Search:
    """A search without one of the rules, or with all."""

    bounds: Bounds
    without: str = ""
    wrongs: tuple[str, ...] = WRONGS
    states: int = 0

    def has(self, rule: str) -> bool:
        return rule != self.without

    def run(self) -> list[str] | None:
        """The shortest way to something wrong, or None if there is none."""
        start = State()
        came: dict[State, tuple[State | None, str]] = {start: (None, "")}
        queue = deque([start])
        while queue:
            state = queue.popleft()
            try:
                for said, after in self.steps(state):
                    if after not in came:
                        came[after] = state, said
                        queue.append(after)
                        if all(holder.fence and holder.deadline > after.now for holder in after.holders):
                            raise Wrong(TWICE, said)
            except Wrong as wrong:
                if wrong.args[0] not in self.wrongs:
                    continue
                self.states = len(came)
                what, last = wrong.args
                return [*self._path(came, state), f"at {state.now}: {last}", f"wrong: {what}"]
        self.states = len(came)
        return None

    def _path(self, came: dict[State, tuple[State | None, str]], state: State | None) -> list[str]:
        path: list[str] = []
        while state is not None:
            before, said = came[state]
            if said:
                path.append(f"at {before.now if before else 0}: {said}")
            state = before
        return path[::-1]

    # -- what can happen

    def steps(self, state: State) -> Iterator[tuple[str, State]]:
        is_over = (
            state.sends == self.bounds.sends and not state.late and not any(holder.message for holder in state.holders)
        )
        if state.sends and not is_over:  # nothing can come of time alone
            yield from self._time(state)
            yield from self._loss(state)
        for number, holder in enumerate(state.holders):
            if holder.message is None:
                yield from self._send(state, number, holder)
            elif holder.message.answer is None:
                yield from self._arrive(state, number, holder.message)
            else:
                yield self._hear(state, number, holder.message)
            if holder.message is not None and holder.message.answer is not None:
                yield f"holder {number} hears nothing", self._with(state, number, holder._replace(message=None))
        is_late = state.late is not None and self._takes(state, state.late.server)
        if state.late is not None and is_late and state.servers[state.late.server].is_defined:
            data, _ = self._served(state, state.late)
            said = f"a late {state.late.kind} of holder {state.late.holder} arrives at {state.late.server}"
            yield from self._stored(state._replace(late=None), state.late.server, data, said)

    def _loss(self, state: State) -> Iterator[tuple[str, State]]:
        """The primary restarts, or its data is deleted; or somebody defines the WAN where it is not."""
        primary, now = state.primary, state.now
        data, new = state.servers[primary], state.last_id + 1
        if not data.is_defined:
            life = state.lives[primary]
            until = self._since(life, now) + self._grace()
            if not self.has("a WAN that is defined again begins a grace"):
                until = 0
            # a fence is a time, and so goes on; ten are as many as an old primary grants until then
            made = Data(counter=state.newest + 10, source=state.ids[primary], grace_until=until)
            yield from self._stored(state, primary, made, "the WAN is defined again")
        if state.losses == self.bounds.losses:
            return
        after = state._replace(losses=state.losses + 1)
        lives = _with(state.lives, primary, state.lives[primary]._replace(is_as_started=False))
        yield from self._stored(after._replace(lives=lives), primary, Data(is_defined=False), "all data is deleted")
        ids, lives = _with(state.ids, primary, new), _with(state.lives, primary, Life(now))
        after = after._replace(ids=ids, last_id=new, lives=lives)
        for kept, which in ((data, "all"), (state.servers[1 - primary], "older"), (Data(is_defined=False), "no")):
            yield from self._stored(after, primary, kept, f"server {primary} restarts with {which} data")

    def _since(self, life: Life, now: int) -> int:
        """The moment from which a grace counts."""
        is_sure = life.is_as_started or not self.has("a grace counts from a start only if nothing came after it")
        return life.started if is_sure else now

    def _time(self, state: State) -> Iterator[tuple[str, State]]:
        replica = 1 - state.primary
        is_split = state.split_until >= state.now
        if state.now < self.bounds.ticks:
            holders = state.holders
            if self.has("what was called lost is never renewed"):
                holders = (self._aged(holders[0], state.now + 1), self._aged(holders[1], state.now + 1))
            yield "a tick", state._replace(now=state.now + 1, holders=holders)
        if state.failovers < self.bounds.failovers and not is_split:
            names = self.has("every promotion has its own id")
            new = state.last_id + 1 if names else replica
            ids = (new, state.ids[1]) if replica == 0 else (state.ids[0], new)
            lives = _with(state.lives, replica, state.lives[replica]._replace(is_as_started=False))
            after = state._replace(primary=replica, ids=ids, last_id=state.last_id + 1, lives=lives, is_cut=False)
            after = after._replace(failovers=state.failovers + 1)
            yield f"server {replica} is promoted", after._replace(split_until=-1)
            yield f"server {replica} is promoted, the old one goes on", after._replace(split_until=state.now + SPLIT)

    def _aged(self, holder: Holder, now: int) -> Holder:
        return holder._replace(fence=0, deadline=0) if holder.fence and holder.deadline <= now else holder

    def _send(self, state: State, number: int, holder: Holder) -> Iterator[tuple[str, State]]:
        if state.sends == self.bounds.sends:
            return
        servers = [state.primary] + [1 - state.primary] * (state.split_until >= state.now)
        kinds = ("renew", "release") if holder.fence else ("acquire",)
        if number == 1 and state.sends == 0:
            return  # the two are alike
        for server in servers:
            for kind in kinds:
                message = Message(kind, number, holder.fence, state.now, server)
                after = holder._replace(message=message)
                if kind == "release":
                    after = Holder(message=message)
                yield (
                    f"holder {number} sends {kind} to {server}",
                    self._with(state._replace(sends=state.sends + 1), number, after),
                )

    def _takes(self, state: State, server: int) -> bool:
        return server == state.primary or state.split_until >= state.now

    def _arrive(self, state: State, number: int, message: Message) -> Iterator[tuple[str, State]]:
        if not self._takes(state, message.server):
            return
        holder = state.holders[number]
        if not state.servers[message.server].is_defined:
            yield (
                f"{message.kind} of holder {number} finds no WAN at {message.server}",
                self._with(state, number, holder._replace(message=None)),
            )
            return
        data, answer = self._served(state, message)
        said = f"{message.kind} of holder {number} arrives at {message.server}"
        if message.kind == "acquire" and answer and answer <= state.newest and state.split_until < state.now:
            raise Wrong(FENCE, said)
        if message.kind == "renew" and not answer and holder.fence == message.fence and holder.deadline > state.now:
            raise Wrong(LOST, said)
        after = self._with(state, number, holder._replace(message=message._replace(answer=answer)))
        after = after._replace(newest=max(after.newest, answer if message.kind == "acquire" else 0))
        yield from self._stored(after, message.server, data, said)
        if state.late is None and state.lates < self.bounds.late:
            after = after._replace(late=message, lates=state.lates + 1)
            yield from self._stored(after, message.server, data, f"{said}, and may once more")

    def _hear(self, state: State, number: int, message: Message) -> tuple[str, State]:
        holder = state.holders[number]._replace(message=None)
        said = f"holder {number} hears the answer to {message.kind}"
        from_when = message.sent if self.has("the deadline counts from the request") else state.now
        if message.kind in ("acquire", "renew"):
            if message.answer and from_when + TTL > state.now and (message.kind == "acquire" or holder.fence):
                holder = holder._replace(fence=message.answer, deadline=max(holder.deadline, from_when + TTL))
            elif message.kind == "renew" and not message.answer:
                holder = Holder()
        return said, self._with(state, number, holder)

    def _with(self, state: State, number: int, holder: Holder) -> State:
        first, second = state.holders
        return state._replace(holders=(holder, second) if number == 0 else (first, holder))

    def _stored(self, state: State, server: int, data: Data, said: str) -> Iterator[tuple[str, State]]:
        """The states after a write: the replica hears of it, or nothing more for now."""
        first, second = state.servers
        alone = (data, second) if server == 0 else (first, data)
        is_split = state.split_until >= state.now
        if server == state.primary and not state.is_cut and not is_split:
            yield said, state._replace(servers=(data, data))
        cut = state.is_cut or (server == state.primary and not is_split)
        yield said + (", and the replica does not hear of it" if cut else ""), state._replace(servers=alone, is_cut=cut)

    # -- what a server does

    def _served(self, state: State, message: Message) -> tuple[Data, int]:
        """The data after a request, and the answer."""
        now = state.now
        life = state.lives[message.server]
        data = self._noticed(state.servers[message.server], state.ids[message.server], self._since(life, now))
        in_grace = data.grace_until > now
        is_due = data.status == LIVE and data.expires <= now
        if message.server != state.primary and self.has("a split brain ends before a lease does"):
            is_due = False
        expires_in_grace = not self.has("nothing expires in a grace")
        if is_due and (not in_grace or expires_in_grace):
            data = data._replace(status=ENDED)
        mine = data.fence == message.fence and data.owner == message.holder
        if message.kind == "acquire":
            if data.status == LIVE or (in_grace and self.has("nothing is granted in a grace")):
                return data, 0
            fence = data.counter + 1
            return data._replace(
                fence=fence, owner=message.holder, status=LIVE, expires=now + TTL, counter=fence
            ), fence
        if message.kind == "release":
            return (data._replace(status=ENDED), 0) if mine and data.status == LIVE else (data, 0)
        revived = mine and data.status == ENDED and not self.has("what ended stays ended")
        if revived:
            raise Wrong(REVIVED, f"a renewal of holder {message.holder} arrives")
        if mine and data.status == LIVE:
            return data._replace(expires=max(data.expires, now + TTL)), message.fence
        if (
            message.fence > data.fence
            and self.has("a lost grant is put back")
            and self.has("a failover begins a grace")
        ):
            counter = max(data.counter, message.fence)
            if not in_grace:
                data = data._replace(grace_until=now + self._grace())
            return data._replace(
                fence=message.fence, owner=message.holder, status=LIVE, expires=now + TTL, counter=counter
            ), message.fence
        return data, 0

    def _grace(self) -> int:
        lease = TTL if self.has("a grace is as long as a lease") else 0
        return lease + (SPLIT if self.has("a grace outlasts the split brain") else 0)

    def _noticed(self, data: Data, source: int, since: int) -> Data:
        if data.source == source or not self.has("a failover begins a grace"):
            return data._replace(source=source)
        if data.counter == 0 and not self.has("stale data cannot know"):
            return data._replace(source=source)
        ahead = 10 if self.has("fences go on beyond the forgotten") else 0
        until = max(data.grace_until, since + self._grace())
        return data._replace(source=source, grace_until=until, counter=data.counter + ahead)


def _with(pair: tuple[T, T], number: int, value: T) -> tuple[T, T]:
    return (value, pair[1]) if number == 0 else (pair[0], value)


def main() -> None:
    """Searches within wider bounds than the tests, and prints what each rule is for."""
    for bounds in DEEP:
        search = Search(bounds)
        assert search.run() is None
        print(f"all rules, {bounds}: nothing wrong in {search.states} states", flush=True)
    for rule, (instead, wrong, bounds) in RULES.items():
        search = Search(bounds, rule, (wrong,))
        path = search.run()
        assert path is not None, rule
        print(f"\nnot so: {rule}; instead: {instead} ({search.states} states)")
        print("\n".join(f"  {step}" for step in path), flush=True)


if __name__ == "__main__":
    main()
