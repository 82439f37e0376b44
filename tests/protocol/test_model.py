"""Random operations of several holders against a model of a WAN; the state is aged, so no step waits for anything.

Ages are multiples of 20 minutes; all other times are such that no sum of them comes near such a multiple.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from by_hand import age_wan, run_script
from chance import LONG, SEED
from faces import Loop, make
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from invariant import check_invariant
from private_server import SERVERS, start_server

from redis_wanpool.errors import (
    LeaseLost,
    PoolExhausted,
    PortNotInRange,
    PortRejected,
    PortUnavailable,
    WanDraining,
    WanMismatch,
)

MINUTE = 60
AGE = 20 * MINUTE
LINGER = 65
TTL, COOLDOWN, QUARANTINE = 53 * MINUTE, 103 * MINUTE, 71 * MINUTE
RESTS = {"near": 9 * MINUTE, "far": 9 * MINUTE, "restless": 0}
RESET = 15
PHASES = (Phase.generate,)
"""no shrinking: which port is granted is Redis's choice, so a shorter example behaves otherwise"""
FIRST, COUNT = 20000, 8
PICK = st.integers(0, 99)
PORTS = st.integers(FIRST, FIRST + COUNT + 1)
NETWORK = st.sampled_from(sorted(RESTS))
UNSEEN = ("expired", "revoked", "reaped")
NOTED = {"lingers": "unused"}
"""how a lease ended -> the word that Redis keeps for it"""


@dataclass
class Port:
    """What should be true of one port."""

    place: str = "free"
    until: float = 0.0
    """when its lease, or its cool-down, is over"""
    network: str = ""
    rested_at: float | None = None
    earlier: float = 0.0
    """until when an earlier use of a leased port cools"""
    plain: bool = False
    """whether it was leased for a plain socket"""
    plain_at: float = 0.0
    """from when its network's plain sockets may have it"""
    lease: Any = None
    leaving: str = ""
    fence: int = 0


class Model:
    """The rules, written once more and independently: state by state, one port at a time."""

    def __init__(self, cap: int | None) -> None:
        self.now = 0.0
        self.cap = cap
        self.open = True
        self.ports = {FIRST + n: Port() for n in range(COUNT)}
        self.ended: list[tuple[Any, str]] = []
        """leases that ended, and how"""
        self.rejects: dict[str, dict[int, float]] = {network: {} for network in RESTS}
        """the ports that each network rejected, and when"""
        self.quarantine: dict[int, float] = {}
        """the ports that were put there, and until when"""
        self.stopped_until = 0.0

    def settled(self) -> Model:
        """What it would be if everything due were settled."""
        twin = copy.copy(self)
        twin.ports = {number: copy.copy(port) for number, port in self.ports.items()}
        twin.ended = []
        twin.settle()
        return twin

    def in_service(self) -> int:
        return sum(port.leaving != "removed" and port.place != "withheld" for port in self.ports.values())

    def share(self) -> int:
        """How many ports one network may have in quarantine."""
        return max(1, self.in_service() // 2)

    def rejected_by(self, network: str) -> int:
        """How many ports its systems refused of late."""
        return sum(at > self.now - QUARANTINE for at in self.rejects[network].values())

    def reject(self, network: str, number: int) -> str:
        """Notes a rejection; how the lease ends."""
        there = sum(until > self.now for until in self.quarantine.values())
        has_room = self.rejected_by(network) < self.share() and there < max(1, self.in_service() * 3 // 4)
        self.rejects[network][number] = self.now
        if has_room and self.ports[number].leaving != "withheld":  # else it is out of service, and in nobody's way
            self.quarantine[number] = max(self.now + QUARANTINE, self.ports[number].earlier)
        if self.too_many(network):
            self.stopped_until = self.now + QUARANTINE
        return "rejected" if has_room else "lingers"

    def too_many(self, network: str) -> bool:
        return self.rejected_by(network) > self.share()

    def settle(self) -> None:
        for number, port in list(self.ports.items()):
            if port.place == "leased" and port.until <= self.now:
                self.ended.append((port.lease, "expired"))
                self.end(number, "expired", port.until)
            if port.place == "cooling" and port.until <= self.now:
                port.place = "free"
                self.depart(number)

    def end(self, number: int, how: str, ended: float) -> None:
        port = self.ports[number]
        rest = RESTS[port.network]
        others, mine = ended + max(COOLDOWN, rest), ended + rest
        plain = ended + max(rest, LINGER)
        if how in ("unused", "lingers"):
            others, mine = 0.0, ended
            plain = ended if how == "unused" and port.plain else ended + LINGER
        elif how == "drained":
            others, mine = ended + COOLDOWN, ended
            plain = ended if port.plain else ended + LINGER
        elif how == "reset":
            others, plain = ended + max(min(COOLDOWN, RESET), rest), mine
        elif how in UNSEEN and port.plain:
            mine = plain
        elif how == "rejected":
            others = ended + QUARANTINE
        port.until = max(others, port.earlier)
        port.rested_at, port.plain_at = None if how == "rejected" else mine, plain
        port.place = "cooling" if port.until > self.now else "free"
        port.lease = None
        self.depart(number)

    def depart(self, number: int) -> None:
        port = self.ports[number]
        if port.leaving:
            port.rested_at = None
        if port.leaving == "withheld":
            port.place, port.leaving = "withheld", ""
        elif port.leaving == "removed" and port.place == "free":
            del self.ports[number]

    def held_by(self, network: str) -> int:
        return sum(port.place == "leased" and port.network == network for port in self.ports.values())

    def room(self, network: str) -> int:
        return COUNT + 2 if self.cap is None else self.cap - self.held_by(network)

    def rested(self, network: str, plain: bool) -> dict[int, float]:
        """The ports that only this network may have now, and since when."""
        return {
            number: port.rested_at
            for number, port in self.ports.items()
            if port.place == "cooling" and port.network == network and not port.leaving
            if port.rested_at is not None and port.rested_at <= self.now and not (plain and port.plain_at > self.now)
        }

    def counts(self) -> dict[str, int]:
        places = [port.place for port in self.ports.values()]
        return {place: places.count(place) for place in ("free", "leased", "cooling", "withheld")}


class Wan(RuleBasedStateMachine):
    """What holders, operators and time may do to a WAN, in any order."""

    face: str
    loop: Loop
    server: Any

    def __init__(self) -> None:
        super().__init__()
        self.pools: dict[str, Any] = {}

    @initialize(cap=st.sampled_from([None, 3]))
    def define(self, cap: int | None) -> None:
        self.server.admin.flushall()
        self.model = Model(cap)
        for network, rest in RESTS.items():
            self.pools[network] = make(
                self.face, self.loop, self.server.url, namespace="test", network=network, rest=rest
            )
        self.definition = dict(
            ports=f"{FIRST}-{FIRST + COUNT - 1}", lease_ttl=TTL, cooldown=COOLDOWN, quarantine=QUARANTINE
        )
        assert self.pools["near"].define_wan(0, max_per_network=cap, **self.definition)

    def teardown(self) -> None:
        for pool in self.pools.values():
            pool.close()

    def run(self, conversation: str, *args: Any) -> Any:
        pool = self.pools["near"]
        while hasattr(pool, "_thing"):
            pool = pool._thing
        return pool._engine.performer.run(getattr(pool._engine.protocol, conversation)(*args))

    # -- holders

    @rule(network=NETWORK, count=st.integers(1, 4), least=st.integers(1, 4), plain=st.booleans())
    def acquire(self, network: str, count: int, least: int, plain: bool) -> None:
        least, reuse = min(count, least), not plain
        self.model.settle()
        rested, free = self.model.rested(network, plain), self.model.counts()["free"]
        room = min(count, self.model.room(network))
        stopped = self.model.now < self.model.stopped_until and self.model.too_many(network)
        stopped = stopped and free > 0 and len(rested) < room
        expected = min(room, len(rested) + (0 if stopped else free))
        if not self.model.open:
            with pytest.raises(WanDraining):
                self.pools[network].acquire_many(0, count, at_least=least, reuse_address=reuse)
        elif expected < least:
            with pytest.raises(PortRejected if stopped and room >= least else PoolExhausted):
                self.pools[network].acquire_many(0, count, at_least=least, reuse_address=reuse)
        else:
            leases = self.pools[network].acquire_many(0, count, at_least=least, reuse_address=reuse)
            assert len(leases) == expected
            own = sorted((rested[lease.port] for lease in leases if lease.port in rested), reverse=True)
            assert own == sorted(rested.values(), reverse=True)[:expected], "the most recently rested first"
            self.granted(network, leases, rested, plain)

    @rule(network=NETWORK, number=PORTS, plain=st.booleans())
    def acquire_port(self, network: str, number: int, plain: bool) -> None:
        self.model.settle()
        rested = self.model.rested(network, plain)
        port = self.model.ports.get(number)
        if not self.model.open:
            kind: Any = WanDraining
        elif self.model.room(network) < 1:
            kind = PoolExhausted
        elif port is None:
            kind = PortNotInRange
        elif port.place == "free" or number in rested:
            lease = self.pools[network].acquire(0, port=number, reuse_address=not plain)
            self.granted(network, [lease], rested, plain)
            return
        else:
            kind = PortUnavailable
        with pytest.raises(kind) as caught:
            self.pools[network].acquire(0, port=number, reuse_address=not plain)
        if kind is PortUnavailable and port is not None:
            assert caught.value.state == port.place

    def granted(self, network: str, leases: list[Any], rested: dict[int, float], plain: bool) -> None:
        for lease in leases:
            port = self.model.ports[lease.port]
            assert port.place == "free" or lease.port in rested, (lease.port, port)
            assert lease.fence > port.fence
            self.model.ports[lease.port] = Port(
                "leased",
                self.model.now + TTL,
                network,
                earlier=port.until if port.place == "cooling" else 0.0,
                lease=lease,
                fence=lease.fence,
                plain=plain,
            )

    def live(self, pick: int) -> tuple[int, Port] | None:
        """One of the leases that nobody ended, by age: which port a lease has is Redis's choice."""
        leased = sorted((port.fence, number) for number, port in self.model.ports.items() if port.lease is not None)
        if not leased:
            return None
        _, number = leased[pick % len(leased)]
        return number, self.model.ports[number]

    @rule(pick=PICK)
    def renew(self, pick: int) -> None:
        if (found := self.live(pick)) is None:
            return
        _, port = found
        if port.until > self.model.now:
            port.lease.renew()
            port.until = max(port.until, self.model.now + TTL)
        else:
            with pytest.raises(LeaseLost) as caught:
                port.lease.renew()
            assert caught.value.reason == "expired"
            self.model.settle()

    @rule(pick=PICK, how=st.sampled_from(["released", "unused", "drained", "reset"]))
    def release(self, pick: int, how: str) -> None:
        if (found := self.live(pick)) is None:
            return
        number, port = found
        lease, live = port.lease, port.until > self.model.now
        closed = how if how in ("drained", "reset") else "fin"
        assert lease.release(used=how != "unused", closed=closed) is live
        if live:
            self.model.end(number, how, self.model.now)
            self.model.ended.append((lease, how))
        else:
            self.model.settle()

    @rule(pick=PICK, verb=st.sampled_from(["revoke", "reject"]), by=st.sampled_from(sorted(RESTS)))
    def end_otherwise(self, pick: int, verb: str, by: str) -> None:
        if (found := self.live(pick)) is None:
            return
        number, port = found
        lease, live = port.lease, port.until > self.model.now
        how = "expired"
        if live:
            how = "revoked" if verb == "revoke" else self.model.reject(by, number)
        why = (by, "h", "why", "") if verb == "reject" else ()
        assert run_script(self.server.admin, verb, *why, number, lease.lease_id)[2] == NOTED.get(how, how)
        if live:
            self.model.end(number, how, self.model.now)
            self.model.ended.append((lease, how))
        else:
            self.model.settle()

    @rule(pick=PICK)
    def release_again(self, pick: int) -> None:
        if self.model.ended:
            lease, how = self.model.ended[pick % len(self.model.ended)]
            assert lease.release() is (how in ("released", "unused", "lingers", "drained", "reset"))
            with pytest.raises(LeaseLost):
                lease.renew()

    # -- operators

    @rule(verb=st.sampled_from(["drain", "open", "open"]))
    def drain_or_open(self, verb: str) -> None:
        getattr(self.pools["near"], verb)(0)
        self.model.open = verb == "open"

    @rule(numbers=st.lists(PORTS, min_size=1, max_size=3, unique=True))
    def withhold(self, numbers: list[int]) -> None:
        self.settle()
        for number, place in self.run("move", "withhold", 0, numbers).items():
            port = self.model.ports.get(number)
            assert place == (port.place if port else "")
            if port and not port.leaving and place != "withheld":
                port.leaving = "withheld"
                if place != "leased":
                    self.model.depart(number)

    @rule(numbers=st.lists(PORTS, min_size=1, max_size=3, unique=True))
    def restore(self, numbers: list[int]) -> None:
        self.settle()
        for number, place in self.run("move", "restore", 0, numbers).items():
            port = self.model.ports.get(number)
            assert place == (port.place if port else "")
            if port and place == "withheld":
                port.place, port.until, port.rested_at = "cooling", self.model.now + COOLDOWN, None
            elif port and place == "leased" and port.leaving == "withheld":
                port.leaving = ""

    @rule(size=st.integers(COUNT - 3, COUNT + 2))
    def resize(self, size: int) -> None:
        self.settle()
        self.definition["ports"] = f"{FIRST}-{FIRST + size - 1}"
        self.run("resize", 0, self.definition["ports"])
        for number in range(FIRST, FIRST + size):
            port = self.model.ports.setdefault(number, Port())
            if port.leaving == "removed":
                port.leaving = ""
        for number in [number for number in self.model.ports if number >= FIRST + size]:
            port = self.model.ports[number]
            port.leaving = "removed"
            if port.place == "withheld":
                port.place = "free"
            if port.place != "leased":
                self.model.depart(number)

    @rule()
    def define_again(self) -> None:
        assert self.pools["far"].define_wan(0, max_per_network=self.model.cap, **self.definition) is False
        with pytest.raises(WanMismatch):
            self.pools["far"].define_wan(0, max_per_network=self.model.cap, **(self.definition | {"cooldown": 1}))

    # -- time

    @rule(steps=st.integers(1, 4))
    def wait(self, steps: int) -> None:
        age_wan(self.server.admin, steps * AGE)
        self.model.now += steps * AGE

    @rule()
    def settle(self) -> None:
        run_script(self.server.admin, "renew", "nobody:1:x", "near", 0, "nobody", 1)
        self.model.settle()

    # -- always

    @invariant()
    def is_as_it_should_be(self) -> None:
        if not self.pools:
            return
        check_invariant(self.server.admin)
        seen = self.pools["far"].snapshot(0)
        assert (seen.free, seen.leased, seen.cooling, seen.withheld) == tuple(self.model.settled().counts().values())


@pytest.fixture(params=SERVERS[:1])
def model_server(request: Any, tmp_path: Path) -> Iterator[Any]:
    server = start_server(request.param, tmp_path)
    yield server
    server.close()


@pytest.mark.longer
@pytest.mark.timeout(120 * max(1, LONG))
def test_whatever_happens_a_wan_does_what_its_model_does(face: str, loop: Loop, model_server: Any) -> None:
    machine = type("AnyWan", (Wan,), {"face": face, "loop": loop, "server": model_server})
    chosen = settings(
        max_examples=round(20 * LONG),
        stateful_step_count=50,
        deadline=None,
        database=None,
        phases=PHASES,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(SEED)(machine), settings=chosen)
