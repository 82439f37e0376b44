"""Runs the demo: workers lease ports and are killed, and the result is shown."""

import json
import os
import random
import secrets
import shlex
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from redis_wanpool import Operator
from redis_wanpool.demo.judge import Judge, Verdict, verdict, write_log
from redis_wanpool.model.views import WanSnapshot
from redis_wanpool.protocol.keys import WanKeys
from redis_wanpool.settings import settings
from redis_wanpool.terminal.screen import Screen, bar
from redis_wanpool.transport import cluster, embedded, sentinel
from redis_wanpool.transport.backend import Backend

WANS = {0: "20700-20763", 1: "22700-22763", 2: "24700-24763"}
TTL, COOLDOWN, QUARANTINE = 2.0, 1.0, 5.0
MACHINES, WORKERS = 3, 9
KILL_EVERY = 1.3
PATIENCE = TTL + 1.0  #: seconds after which a killed worker's port must be on its way back


@dataclass(slots=True)
class Death:
    """A killed worker, and the leases that it held."""

    pid: int
    at: float
    missing: dict[int, int]  #: port -> fence
    back: list[float] = field(default_factory=list)
    held: float = 0.0  #: seconds after which one of its ports was still seen leased


class Crew:
    """The workers, in as many networks as there would be machines."""

    def __init__(self, namespace: str, url: str, judge_port: int) -> None:
        self._command = [sys.executable, "-m", "redis_wanpool.demo.worker", str(judge_port), str(len(WANS))]
        self._env = {**os.environ, "WANPOOL_URL": url, "WANPOOL_NAMESPACE": namespace}
        self.troubles: Counter[str] = Counter()
        self.workers: list[subprocess.Popen[str]] = []
        self._hired = 0

    def hire(self) -> None:
        """Starts a worker."""
        env = {**self._env, "WANPOOL_NETWORK": f"machine-{self._hired % MACHINES}"}
        self._hired += 1
        worker = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        threading.Thread(target=self._listen, args=(worker,), daemon=True).start()
        self.workers.append(worker)

    def kill(self, pids: set[int]) -> int | None:
        """Kills one of these processes without warning, and replaces it."""
        victims = [worker for worker in self.workers if worker.pid in pids]
        if not victims:
            return None
        victim = random.choice(victims)
        victim.kill()
        victim.wait()
        self.workers.remove(victim)
        return victim.pid

    def dismiss(self) -> None:
        """Lets all workers finish."""
        for worker in self.workers:
            if worker.stdin is not None:
                worker.stdin.close()
        for worker in self.workers:
            try:
                worker.wait(10)
            except subprocess.TimeoutExpired:
                worker.kill()
                self.troubles["worker that did not end"] += 1
            if worker.returncode:
                self.troubles[f"worker that ended with {worker.returncode}"] += 1

    def _listen(self, worker: subprocess.Popen[str]) -> None:
        assert worker.stdout is not None
        with worker.stdout:
            for line in worker.stdout:
                self.troubles[json.loads(line)["event"]] += 1


def show(url: str | None, seconds: float, log: Path | None) -> int:
    """Runs the demo in a new namespace, judges it, and removes the namespace; returns the exit code."""
    ran_before = embedded.status().running if sys.platform != "win32" else True
    given = settings(url=url).url
    try:
        with Operator(url, namespace=f"demo-{secrets.token_hex(3)}") as operator:
            where = given or embedded.ensure()
            try:
                return Show(operator, where).run(seconds, log)
            finally:
                _remove(operator.namespace, Backend(where))
    finally:
        if given is None and not ran_before:
            embedded.stop()


class Show:
    """One run of the demo."""

    def __init__(self, operator: Operator, url: str) -> None:
        self.operator = operator
        self.url = url
        self.screen = Screen()
        self.deaths: list[Death] = []
        self.sample: dict[str, str] = {}
        self.sample_key = ""

    def run(self, seconds: float, log: Path | None) -> int:
        for wan_idx, ports in WANS.items():
            self.operator.define_wan(
                wan_idx,
                ports,
                lease_ttl=TTL,
                cooldown=COOLDOWN,
                quarantine=QUARANTINE,
                name=f"line {wan_idx}",
                fresh=True,
            )
        where = self.operator.url
        print(
            f"{WORKERS} workers, as if on {MACHINES} machines, share {len(WANS)} WANs of 64 ports each at {where}.\n"
            f"The WANs have lease_ttl={TTL:g} and cooldown={COOLDOWN:g} (in real life 60 and 125), to be quick.\n"
            f"To look for yourself while it runs:\n  {self._redis_cli()}\n",
            flush=True,
        )
        judge = Judge()
        crew = Crew(self.operator.namespace, self.url, judge.port)
        try:
            for _ in range(WORKERS):
                crew.hire()
            self._watch(judge, crew, seconds)
        finally:
            crew.dismiss()
            judge.close()
        returned = self._wait_for_returns()
        if log is not None:
            write_log(log, judge.visits)
        return self._summary(judge, crew, returned)

    def _redis_cli(self, key: str | None = None) -> str:
        where = f"-u {self.operator.url}"
        if self.url.startswith("unix:"):
            where = f"-s {shlex.quote(unquote(self.url.removeprefix('unix://')))}"
        elif self.url.startswith(sentinel.SCHEMES):
            where = "-h PRIMARY"
        elif self.url.startswith(cluster.SCHEMES):
            where = "-c -h ANY_NODE"
        words = f"hgetall '{key}'" if key else f"zrange 'wanpool:{{{self.operator.namespace}:0}}:leased' 0 -1"
        return f"redis-cli {where} {words}"

    def _watch(self, judge: Judge, crew: Crew, seconds: float) -> None:
        """Watches, and kills a worker now and then."""
        while not judge.visits:
            if any(worker.poll() is not None for worker in crew.workers):
                return
            time.sleep(0.01)
        begun = time.monotonic()
        next_kill, next_line = begun + KILL_EVERY, begun + 1.0
        last = (begun, 0)
        rate = 0.0
        while (now := time.monotonic()) < begun + seconds:
            if now >= next_kill and now < begun + seconds - 1:
                next_kill = now + KILL_EVERY
                self._kill(judge, crew)
            seen = self._look()
            plain = None
            if now >= next_line:
                rate = (len(judge.visits) - last[1]) / (now - last[0])
                last, next_line = (now, len(judge.visits)), now + 1.0
                plain = self._line(now - begun, judge, rate, seen)
            self.screen.show([self._line(now - begun, judge, rate, seen), *self._bars(seen)], plain)
            time.sleep(0.1)

    def _kill(self, judge: Judge, crew: Crew) -> None:
        pid = crew.kill(judge.pids())
        if pid is None:
            return
        at = time.monotonic()
        crew.hire()
        leases = (lease for wan_idx in WANS for lease in self.operator.leases(wan_idx))
        missing = {lease.port: lease.fence for lease in leases if lease.pid == pid}
        self.deaths.append(Death(pid, at, missing))

    def _look(self) -> list[WanSnapshot]:
        """The WANs now; notes which ports of the dead are back."""
        begun = time.monotonic()
        seen = [self.operator.snapshot(wan_idx, leases=True) for wan_idx in WANS]
        leased = {lease.port: lease.fence for wan in seen for lease in wan.leases}
        now = time.monotonic()
        for death in self.deaths:
            for port, fence in list(death.missing.items()):
                if leased.get(port) != fence:
                    del death.missing[port]
                    death.back.append(now - death.at)
                else:
                    death.held = max(death.held, begun - death.at)
        if not self.sample and leased:
            port = next(iter(leased))
            wan_idx = next(wan.wan_idx for wan in seen for lease in wan.leases if lease.port == port)
            self.sample_key = WanKeys.of(self.operator.namespace, wan_idx).lease(port)
            found: dict[str, str] = self.operator.ask("HGETALL", self.sample_key)
            self.sample = {name: value for name, value in found.items() if name != "lease_id"}
        return seen

    def _wait_for_returns(self) -> bool:
        """Whether every port of the killed workers came back in time."""
        self._look()
        while any(death.missing and time.monotonic() < death.at + PATIENCE + 2 for death in self.deaths):
            time.sleep(0.05)
            self._look()
        return all(not death.missing and death.held <= PATIENCE for death in self.deaths)

    def _line(self, elapsed: float, judge: Judge, rate: float, seen: list[WanSnapshot]) -> str:
        back = sum(len(death.back) for death in self.deaths)
        lost = back + sum(len(death.missing) for death in self.deaths)
        return (
            f"{elapsed:4.0f} s  {len(judge.visits):5d} connections, {rate:4.0f} a second; "
            f"leased {sum(wan.leased for wan in seen):3d}, cooling {sum(wan.cooling for wan in seen):3d}, "
            f"free {sum(wan.free for wan in seen):3d}; killed {len(self.deaths)}, ports back {back} of {lost}"
        )

    @staticmethod
    def _bars(seen: list[WanSnapshot]) -> list[str]:
        bars = [
            f"WAN {wan.wan_idx} {bar({'leased': wan.leased, 'cooling': wan.cooling, 'free': wan.free})} "
            f"leased {wan.leased:3d} cooling {wan.cooling:3d} free {wan.free:3d}"
            for wan in seen
        ]
        return [*bars, "      █ leased  ▒ cooling  · free"]

    def _summary(self, judge: Judge, crew: Crew, returned: bool) -> int:
        visits = judge.visits
        kept = sum(visit.port == visit.seen_port for visit in visits)
        back = [seconds for death in self.deaths for seconds in death.back]
        held = len(back) + sum(len(death.missing) for death in self.deaths)
        found = verdict(visits)
        print(f"\nconnections          {len(visits)}")
        print(f"port seen as leased  {100 * kept / max(1, len(visits)):.1f} %")
        print(f"double leases        {len(found.double)}")
        print(
            f"killed workers       {len(self.deaths)}, holding {held} ports; "
            + (f"back after {min(back):.1f} to {max(back):.1f} s (ttl {TTL:g} s)" if back else "none came back")
        )
        if found.shortest_change is not None:
            print(
                f"change of machine    {found.shortest_change:.2f} s after the last connection at the earliest "
                f"(cool-down {COOLDOWN:g} s)"
            )
        troubles = ", ".join(f"{name} {count}" for name, count in sorted(crew.troubles.items()))
        print(f"troubles             {troubles or 'none'}")
        if self.sample:
            print(f"one lease, seen by\n  {self._redis_cli(self.sample_key)}")
            for name, value in self.sample.items():
                print(f"    {name:<12} {value}")
        code = judged(found, len(visits))
        if not returned:
            print("FAILED: a killed worker's port did not come back in time")
        return code if returned else 1


def judged(found: Verdict, visits: int) -> int:
    """Prints the errors in the visits; returns the exit code."""
    for finding in [*found.double, *found.fence, *found.wrong_port]:
        print(f"FAILED: {finding}")
    if not visits:
        print("FAILED: nobody ever connected")
    if found.guilty or not visits:
        return 1
    print("Every port had one holder at a time.")
    return 0


def _remove(namespace: str, backend: Backend) -> None:
    """Removes the namespace of the demo, and nothing else."""
    client = backend.sync_client()
    for shard in backend.servers(client):
        for pattern in (f"wanpool:{{{namespace}}}:*", f"wanpool:{{{namespace}:*}}:*"):
            for key in shard.scan_iter(match=pattern, count=1000):
                shard.delete(key)
    backend.disconnect(client)
