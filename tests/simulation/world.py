"""A world: hosts, processes, services and a network, which live through the faults of a plan, and come to rest."""

from __future__ import annotations

import gc
from functools import partial
from random import Random
from typing import Any

from judge import Judge, Wrong
from loop import Errand, Loop, pause
from network import Network, Weather
from plan import Fault, Plan
from primaries import Service
from process import Host, Process, inside
from store import Memories
from users import taking, user

from redis_wanpool.errors import PortNotInRange, WanpoolError
from redis_wanpool.model.address import Failure
from redis_wanpool.model.holder import Holder
from redis_wanpool.model.request import Request
from redis_wanpool.protocol import Ask, Call

WEATHER = ("lost", "deaf", "cut", "twice", "late")


class World:
    """One run of a plan."""

    def __init__(self, plan: Plan, memories: Memories, story: list[str] | None = None) -> None:
        self.plan = plan
        self.memories = memories
        self.story = story
        self.loop = Loop()
        self.judge = Judge(self)
        self.nodes = 0
        self.services: list[Service] = []
        self.network = Network(self, self.dice("network"))
        self.hosts = [Host(self, number, self.dice(f"host {number}")) for number in range(plan.hosts + 1)]
        self.processes: list[Process] = []
        self.begun = 0  #: how many processes there have been
        self.busy = 0  #: how many users are at work

    def dice(self, name: str) -> Random:
        """Choices that no other part of the world moves."""
        return Random(f"{self.plan.seed} {name}")

    def tell(self, what: str) -> None:
        if self.story is not None:
            self.story.append(f"{self.loop.now:9.3f} {what}")

    # -- what parts of the world ask

    def service_of(self, step: Call | Ask) -> Service:
        if isinstance(step, Call):
            return self.services[(step.wan_idx or 0) % len(self.services)]
        return self.services[self.service_of_key(step.keys[0]) if step.keys else 0]

    def service_of_key(self, key: str) -> int:
        """The service that has a key; those of the namespace are with the first."""
        wan_idx = key.partition("{")[2].partition("}")[0].partition(":")[2]
        return int(wan_idx or 0) % len(self.services)

    def look(self, process: Process, port: int, *, is_bound: bool = False) -> Failure | None:
        """What a system says of a port."""
        return None

    def lives(self, who: Holder) -> bool:
        return any(process.holder.id == who.id and not process.is_dead for process in self.processes)

    def find_primary(self, service: Service, split: float) -> None:
        """Processes hear of a new primary sooner or later; while the old one answers, some stay with it."""
        for process in self.processes:
            if process.targets.get(service.number) is None:
                continue
            at = self.loop.now + (split * service.dice.random() * 1.5 if split else 0.0)
            self.loop.at(at, partial(process.targets.pop, service.number, None))

    # -- life

    def run(self) -> None:
        """From the beginning until everything is back; raises Wrong."""
        gc.disable()
        with inside(self):
            try:
                self.services = [
                    Service(self, number, self.dice(f"service {number}")) for number in range(self.plan.services)
                ]
                self._live()
            finally:
                for service in self.services:
                    service.close()
        gc.enable()

    def _live(self) -> None:
        plan, loop = self.plan, self.loop
        self.operator = Process(self, self.hosts[-1], 999, "net999", self.dice("operator"))
        self.processes.append(self.operator)
        self._do(self.operator, self._defined())
        loop.run(2.0)
        for number in range(plan.processes):
            if number not in plan.absent:
                self.begin(number)
        for fault in plan.faults:
            loop.at(2.0 + fault.at, partial(self.happen, fault))
        loop.run(2.0 + plan.quiet)
        self.tell("quiet")
        self.network.weather.clear()
        for process in self.processes:
            if process.is_stopped and not process.is_dead:
                process.go_on()
        self._come_to_rest()

    def begin(self, number: int) -> None:
        """A process begins, with its users."""
        dice = self.dice(f"process {self.begun}")
        self.begun += 1
        host = self.hosts[number % self.plan.hosts]
        network = f"net{dice.choice((host.number, number))}"
        process = Process(self, host, number, network, dice)
        self.processes.append(process)
        self.tell(f"{process.name} begins on {host.name} ({process.holder.id}, {network})")
        for _ in range(self.plan.users):
            self.busy += 1
            process.users += 1
            errand = user(self, process, Random(dice.getrandbits(64)))
            self.loop.at(self.loop.now + dice.random(), partial(process.spawn, errand, process.left), process)

    def _do(self, process: Process, errand: Errand) -> None:
        """Spawns an errand of a process now."""
        self.loop.at(self.loop.now, partial(process.spawn, errand), process)

    def _defined(self) -> Errand:
        for wan in self.plan.wans:
            yield from self._patiently(self.operator, lambda wan=wan: self.operator.protocol.define_wan(wan))

    def _patiently(self, process: Process, talk: Any) -> Errand:
        """An operator repeats what fails."""
        for _ in range(1000):
            try:
                return (yield from process.led(talk()))
            except PortNotInRange:
                return None
            except WanpoolError as error:
                last = error
                yield pause(1.0)
        self.judge.wrong(f"an operator never succeeds: {last!r}")

    # -- faults

    def happen(self, fault: Fault) -> None:
        """A fault comes true, if it can."""
        kind, service = fault.kind, self.services[fault.who % len(self.services)]
        process = self._victim(fault.who)
        if kind in WEATHER:
            amount = fault.amount * 30 if kind == "late" else fault.amount
            weather = Weather(kind, amount, process.number if process and fault.who % 2 else None)
            self.network.weather.append(weather)
            self.tell(f"messages of {process.name if weather.process else 'all'} are {kind} ({amount:.2f})")
            self.loop.at(self.loop.now + fault.seconds, partial(self._clear, weather))
        elif kind == "promote":
            longest = min(10 - 1.2 - 0.002 * 2 * self.plan.ttl, self.plan.ttl / 3)
            split = longest * fault.amount if fault.who % 3 else 0.0
            ahead = fault.amount * 0.4 if fault.who % 5 else fault.seconds * 60
            service.promote(int(fault.seconds), split, ahead)
        elif kind in ("restart", "yesterday"):
            lost = int(fault.amount * 20) if kind == "restart" else int(fault.amount * len(service.primary.memory.log))
            service.restart(lost, fault.seconds)
        elif kind == "replica":
            service.first_replica()
        elif kind == "freeze":
            service.stop(fault.seconds)
        elif kind == "step":
            seconds = (2 + fault.amount * 3600) * (1 if fault.who % 2 else -1)
            service.step_clock(seconds)
        elif process is not None:
            getattr(self, f"_{kind}")(process, fault)

    def _clear(self, weather: Weather) -> None:
        if weather in self.network.weather:
            self.network.weather.remove(weather)

    def _victim(self, who: int) -> Process | None:
        alive = [
            one for one in self.processes if not one.is_dead and one is not self.operator and not one.engine.closed
        ]
        return alive[who % len(alive)] if alive else None

    def _kill(self, process: Process, fault: Fault) -> None:
        self.tell(f"{process.name} is killed")
        process.kill()
        self.busy -= process.users
        self.judge.died(process)
        self.loop.at(self.loop.now + fault.seconds, partial(self.begin, process.number))

    def _close(self, process: Process, fault: Fault) -> None:
        self.tell(f"{process.name} closes its pool")
        self.judge.died(process)
        self.close(process)
        self.loop.at(self.loop.now + fault.seconds, partial(self.begin, process.number))

    def close(self, process: Process) -> None:
        self.loop.current = process
        process.engine.begin_to_close()
        process.engine.wakeups.close()
        self.loop.current = None

    def _stop(self, process: Process, fault: Fault) -> None:
        seconds = fault.seconds * 3
        if not process.is_stopped:
            self.tell(f"{process.name} is stopped for {seconds:.1f} s")
            process.stop()
            self.loop.at(self.loop.now + seconds, partial(self._continue, process))

    def _continue(self, process: Process) -> None:
        if not process.is_dead and process.is_stopped:
            self.tell(f"{process.name} goes on")
            process.go_on()

    def _suspend(self, process: Process, fault: Fault) -> None:
        for other in self.processes:
            if other.host is process.host and not other.is_dead:
                self._stop(other, fault)

    def _block(self, process: Process, fault: Fault) -> None:
        self.tell(f"on_lost of {process.name} takes {fault.seconds:.1f} s")
        process.blocks = fault.seconds

    def _drain(self, process: Process, fault: Fault) -> None:
        self._do(self.operator, self._for_a_while(fault, "drain", "open"))

    def _for_a_while(self, fault: Fault, verb: str, back: str) -> Errand:
        wan_idx = fault.who % len(self.plan.wans)
        self.tell(f"an operator: {verb} WAN {wan_idx}")
        operator = self.operator
        yield from self._patiently(operator, lambda: operator.protocol.set_state(wan_idx, verb))
        yield pause(fault.seconds)
        yield from self._patiently(operator, lambda: operator.protocol.set_state(wan_idx, back))

    def _withhold(self, process: Process, fault: Fault) -> None:
        self._do(self.operator, self._withholding(fault))

    def _withholding(self, fault: Fault) -> Errand:
        wan_idx = fault.who % len(self.plan.wans)
        ports = [20000 + 100 * wan_idx + fault.who % 3]
        self.tell(f"an operator withholds {ports} of WAN {wan_idx} for {fault.seconds:.1f} s")
        operator = self.operator
        yield from self._patiently(operator, lambda: operator.protocol.move("withhold", wan_idx, ports))
        yield pause(fault.seconds)
        yield from self._patiently(operator, lambda: operator.protocol.move("restore", wan_idx, ports))

    def _revoke(self, process: Process, fault: Fault) -> None:
        leases = sorted(process.protocol.leases.items())
        if leases:
            _, lease = leases[fault.who % len(leases)]
            pairs = [(lease.port, lease.lease_id)]
            wan_idx = lease.wan_idx
            self.tell(f"an operator revokes {lease.lease_id} (port {lease.port})")
            lease = leases = None
            self._do(
                self.operator,
                self._patiently(self.operator, lambda: self.operator.protocol.revoke(wan_idx, pairs)),
            )

    # -- the end

    def _come_to_rest(self) -> None:
        """After the last fault all that was begun ends, all ports are there again, and nothing else."""
        plan, loop = self.plan, self.loop
        for wan in plan.wans:  # which notices a step back of the clock when it is used, and goes on from where it was
            self._do(self.operator, self._put_right(wan.wan_idx))
        longest = max(plan.ttl * 2, self.judge.max_ttl) + 10
        users = sum(process.users for process in self.processes)
        until = loop.now + 3 * longest + (users + 4) * (max(plan.cooldown, 65.0, plan.rest) + plan.hold + 2)
        while self.busy and loop.now < until:
            gc.collect()  # errors may keep a forgotten lease in a circle; at the same times in each run of a seed
            loop.run(loop.now + 20.0)
        if self.busy:
            self.judge.wrong(f"{self.busy} users still wait for what they asked for")
        for process in self.processes:
            if not process.is_dead and not process.engine.closed:
                self.close(process)
        loop.run(loop.now + longest + max(plan.cooldown, 65.0, plan.rest) + 5)
        last = Process(self, self.hosts[-1], 998, "net998", self.dice("last"))
        self.processes.append(last)
        left: list[int] = [wan.wan_idx for wan in plan.wans]
        self._do(last, self._all_is_back(last, left))
        until = loop.now + 2 * longest + 60
        while left and loop.now < until:
            loop.run(loop.now + 1.0)
        if left:
            self.judge.wrong(f"WANs {left} do not have all of their ports again")
        self.close(last)
        loop.run(loop.now + 20 + 65)
        for service in self.services:
            self._check_keys(service)

    def _all_is_back(self, last: Process, left: list[int]) -> Errand:
        for wan in self.plan.wans:
            most = self.plan.most(wan.wan_idx)
            for _ in range(8):  # each settles some of what is due
                yield from self._patiently(
                    last, lambda wan=wan: last.protocol.acquire(Request(wans=(wan.wan_idx,), port=1))
                )
            request = Request(wans=(wan.wan_idx,), count=most, least=most, wait=30.0, reuse_address=True)
            try:
                leases = yield from taking(last, request)
            except WanpoolError as error:
                self.judge.wrong(f"WAN {wan.wan_idx} does not grant {most} ports after all: {error}")
                return
            left.remove(wan.wan_idx)
            for lease in leases:
                self.judge.stops_using(lease, "unused")
                yield from last.led(last.engine.releasing(lease, False, None))

    def _put_right(self, wan_idx: int) -> Errand:
        """A failover may have forgotten an operator's last word."""
        operator, ports = self.operator, [20000 + 100 * wan_idx + number for number in range(3)]
        yield from self._touched(operator, wan_idx)
        yield from self._patiently(operator, lambda: operator.protocol.set_state(wan_idx, "open"))
        yield from self._patiently(operator, lambda: operator.protocol.move("restore", wan_idx, ports))

    def _touched(self, process: Process, wan_idx: int) -> Errand:
        request = Request(wans=(wan_idx,), port=1)
        yield from self._patiently(process, lambda: process.protocol.acquire(request))

    def _check_keys(self, service: Service) -> None:
        good = (
            "config",
            "free",
            "grants",
            "networks",
            "events",
            "counters",
            "wans",
            "holders",
        )  # networks with 0 each
        memory = service.primary.memory
        for name in sorted(set(memory.ask("KEYS", "*")).difference(memory.ask("ZRANGE", "ttls", "0", "-1"))):
            last = name.rpartition("}:")[2]
            if last not in (*good, "ttls") and not last.startswith("holders:"):
                self.judge.wrong(f"{name} is left: {memory.ask('TYPE', name)}")


__all__ = ["World", "Wrong"]
