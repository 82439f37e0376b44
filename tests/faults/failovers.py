"""The classical failure, replayed on purpose: grants are acknowledged that the next primary has never heard of.

A primary and its replica, many WANs, some who hold ports across everything, and some of other networks who try to get
any port all the time. Each round cuts the replica's link, has more ports granted, and fails over.
All clients reach the servers by one path, a symbolic link, as by an address that moves.
"""

from __future__ import annotations

import random
import shutil
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis
from history import Hold, violations
from holds import shifted
from private_server import SERVERS, Server
from waiting import wait_for

from redis_wanpool import WanpoolError, WanPortPool
from redis_wanpool.system.clock import boottime

WANS, PORTS, TTL, MARGIN = 12, 5, 1.5, 0.6
KINDS = ("command", "kill", "stop", "split", "twice", "back", "snapshot", "tail")
NOBODY = ("127.0.0.1", 1)
"""where no server is"""


@dataclass
class Tally:
    """What came of it."""

    rounds: Counter[str] = field(default_factory=Counter)
    lost_grants: int = 0
    """that were acknowledged, and that the new primary had never heard of"""
    back_after: list[float] = field(default_factory=list)
    """seconds from the failover to the first new grant"""
    told_lost: list[str] = field(default_factory=list)
    """leases whose holders lived, and that Redis called lost in their time"""
    holds: list[Hold] = field(default_factory=list)

    @property
    def wrongs(self) -> list[str]:
        """Two holders of a port at a time, and fences that do not grow; a cool-down may be forgotten."""
        return [line for line in violations(self.holds, 0, 0) if "two holders" in line or "fence" in line]

    def __str__(self) -> str:
        back = sorted(self.back_after)
        return (
            f"{self.rounds.total()} failovers of {WANS} WANs {dict(self.rounds)}, {self.lost_grants} acknowledged "
            f"grants lost by them; {len(self.holds)} holds, new grants after {back[len(back) // 2]:.2f} s (at most "
            f"{back[-1]:.2f}); {len(self.wrongs)} double holds, {len(self.told_lost)} leases of the living lost"
        )


class Pair:
    """A primary and a replica; the link leads to the primary of the moment."""

    def __init__(self, folder: Path) -> None:
        self.link = folder / "s"
        self.servers: list[Server] = []
        with ExitStack() as probes:
            sockets = [probes.enter_context(socket.socket()) for _ in range(2)]
            for probe in sockets:
                probe.bind(("127.0.0.1", 0))
            self.ports = [str(probe.getsockname()[1]) for probe in sockets]
        for number, port in enumerate(self.ports):
            where = folder / f"server{number}"
            where.mkdir()
            self.servers.append(Server(SERVERS[0], where, *self._options(port)))
        self.primary, self.replica = self.servers
        self.point()
        self.follow(self.replica, self.primary)

    def _options(self, port: str) -> tuple[str, ...]:
        return (
            *("--port", port, "--bind", "127.0.0.1", "--appendonly", "yes", "--appendfsync", "always"),
            *("--repl-diskless-sync-delay", "0", "--repl-timeout", "10"),
        )

    def start(self, server: Server, ahead: float = 0.0) -> None:
        """Starts it again, with a clock that is so many seconds ahead."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (shifted(FAKETIME=f"{ahead:+.0f}s") if ahead else {}).items():
                patch.setenv(name, value)
            server.start(*self._options(self.ports[self.servers.index(server)]))

    def point(self) -> None:
        """Has new connections go to the primary."""
        new = self.link.with_suffix(".new")
        new.unlink(missing_ok=True)
        new.symlink_to(self.primary.socket)
        new.replace(self.link)

    def follow(self, server: Server, other: Server) -> None:
        """Makes one the replica of another, and waits until it has all."""
        server.admin.replicaof("127.0.0.1", self.ports[self.servers.index(other)])

        def follows() -> bool:
            with suppress(redis.RedisError):
                seen = server.admin.info("replication")
                return bool(
                    seen["role"] == "slave"
                    and seen.get("master_link_status") == "up"
                    and seen["slave_repl_offset"] >= other.admin.info("replication")["master_repl_offset"] - 2000
                )
            return False

        wait_for(follows, within=60)
        self.settle(server)

    def settle(self, server: Server) -> None:
        """Waits until its log on disk is whole: after it got everything anew, it is being written for a while."""

        def settled() -> bool:
            seen = server.admin.info("persistence")
            return not (seen["aof_rewrite_in_progress"] or seen["aof_rewrite_scheduled"])

        wait_for(settled, within=60)

    def cut(self) -> None:
        """Cuts the replica off; it keeps what it has."""
        self.replica.admin.replicaof(*NOBODY)

    def promote(self, *, point: bool = True) -> None:
        """Makes the replica the primary, whatever the primary does."""
        self.replica.admin.replicaof("NO", "ONE")
        self.primary, self.replica = self.replica, self.primary
        if point:
            self.point()

    def close(self) -> None:
        for server in self.servers:
            if server.process.poll() is None:
                server.process.send_signal(signal.SIGCONT)
            server.close()


class Crowd:
    """Who uses the WANs meanwhile, and what each knew."""

    def __init__(self, url: str, tally: Tally, seed: int) -> None:
        self.tally = tally
        self.url = url
        self.random = random.Random(seed)
        self.held: dict[Any, Hold] = {}
        self.pools = {name: self._pool(name) for name in ("stay", "late", "rival-0", "rival-1")}
        self._stopped = threading.Event()
        self._executor = ThreadPoolExecutor(4)
        self._running = [
            self._executor.submit(self._use),
            self._executor.submit(self._stay),
            *(self._executor.submit(self._rival, self.pools[f"rival-{n}"], seed + n) for n in range(2)),
        ]

    def _pool(self, name: str) -> WanPortPool:
        def lost(lease: Any) -> None:
            if boottime() < lease.deadline:
                self.tally.told_lost.append(f"{name}: port {lease.port}, {lease.reason}")

        return WanPortPool(self.url, namespace="test", network=name, rest=0, connect_timeout=0.4, on_lost=lost)

    def take(self, name: str, wan: int) -> Any:
        """Takes a port of a WAN and goes on using it; None if there is none."""
        with suppress(WanpoolError):
            lease = self.pools[name].acquire(wan)
            self.held[lease] = self._hold(name, lease)
            return lease
        return None

    def _hold(self, name: str, lease: Any) -> Hold:
        now = boottime()
        hold = Hold(name, lease.port, lease.fence, name, begun=now, ended=now)
        self.tally.holds.append(hold)
        return hold

    def give_back(self, lease: Any) -> None:
        if self.held.pop(lease, None):
            with suppress(WanpoolError):
                lease.release()

    def _use(self) -> None:
        while not self._stopped.is_set():
            for lease, hold in list(self.held.items()):
                self._look(lease, hold)
            time.sleep(0.002)

    def _look(self, lease: Any, hold: Hold) -> None:
        with suppress(WanpoolError):
            lease.check()
            at = boottime()
            lease.check()
            hold.ended, hold.uses = at, hold.uses + 1

    def _stay(self) -> None:
        """Two ports of each WAN, for ever; another for one that is lost."""
        mine: dict[tuple[int, int], Any] = {(wan, n): None for wan in range(WANS) for n in range(2)}
        while not self._stopped.is_set():
            for (wan, n), lease in mine.items():
                if lease is None or lease.lost:
                    self.held.pop(lease, None)
                    mine[wan, n] = self.take("stay", wan)
            time.sleep(0.02)

    def _rival(self, pool: WanPortPool, seed: int) -> None:
        """One of another network that tries to get any port all the time, and gives it back soon."""
        chance = random.Random(seed)
        while not self._stopped.is_set():
            try:
                lease = pool.acquire(chance.randrange(WANS))
            except WanpoolError:
                time.sleep(0.005)
                continue
            hold = self._hold(pool.network, lease)
            for _ in range(chance.randrange(1, 12)):
                self._look(lease, hold)
                time.sleep(0.004)
            with suppress(WanpoolError):
                lease.release()

    def stop(self) -> None:
        self._stopped.set()
        self._executor.shutdown()
        for pool in self.pools.values():
            pool.close()
        for future in self._running:
            future.result()


class Failovers:
    """Rounds of failures of a pair of servers, with a crowd at work."""

    def __init__(self, folder: Path, on_failover: str, seed: int) -> None:
        self.tally = Tally()
        self.random = random.Random(seed)
        self.pair = Pair(folder)
        self.kinds: list[str] = []
        with WanPortPool(f"unix://{self.pair.link}", namespace="test", rest=0) as pool:
            for wan in range(WANS):
                first = 20000 + PORTS * wan
                grace = dict(on_failover=on_failover, failover_margin=MARGIN)
                pool.define_wan(wan, f"{first}-{first + PORTS - 1}", cooldown=0, lease_ttl=TTL, fresh=True, **grace)
        self.pair.primary.admin.bgrewriteaof()  # so that the tail of no log has the definitions
        self.pair.settle(self.pair.primary)
        self.crowd = Crowd(f"unix://{self.pair.link}", self.tally, seed)
        wait_for(lambda: len(self.crowd.held) >= 2 * WANS)

    def round(self) -> None:
        """One failover of a kind that was not there of late; one in which nothing was lost does not count."""
        pair, crowd = self.pair, self.crowd
        kind = self.kinds.pop() if self.kinds else self._next()
        pair.cut()
        wait_for(lambda: pair.replica.admin.info("replication")["master_link_status"] == "down")
        late = [lease for lease in (crowd.take("late", wan) for wan in range(WANS)) if lease]
        ids = [(lease.wan_idx, lease.lease_id) for lease in [*late, *crowd.held]]
        begun, before = boottime(), len(self.tally.holds)
        getattr(self, f"_{kind}")()
        lost = sum(
            not pair.primary.admin.hexists(f"wanpool:{{test:{wan}}}:held:{holder}", secret)
            for wan, lease_id in dict(ids).items()
            for holder, _, secret in [lease_id.rpartition("/")]
        )
        wait_for(self._serves, within=60)
        if lost:
            self.tally.rounds[kind] += 1
            self.tally.lost_grants += lost
            self.tally.back_after.append(boottime() - begun)
        wait_for(lambda: len(self.tally.holds) > before + 20, within=60)
        for lease in late:
            crowd.give_back(lease)
        pair.follow(pair.replica, pair.primary)

    def _next(self) -> str:
        self.kinds = self.random.sample(KINDS, len(KINDS))
        return self.kinds.pop()

    def _serves(self) -> bool:
        with suppress(WanpoolError):
            lease = self.crowd.pools["late"].acquire(self.random.randrange(WANS))
            return bool(lease.release())
        return False

    def _revive(self, server: Server) -> None:
        """A dead one comes back as the replica of the other."""
        self.pair.start(server)

    def _command(self) -> None:
        self.pair.promote()
        self.pair.replica.admin.replicaof(*NOBODY)

    def _kill(self) -> None:
        self.pair.primary.stop()
        self.pair.promote()
        self._revive(self.pair.replica)

    def _stop(self) -> None:
        """The old primary is stopped, and does what was asked of it when it goes on."""
        old = self.pair.primary
        old.process.send_signal(signal.SIGSTOP)
        self.pair.promote()
        with self._some_time():
            pass
        old.process.send_signal(signal.SIGCONT)
        old.admin.replicaof(*NOBODY)

    def _split(self) -> None:
        """Who is connected to the old primary stays there for a while, and both grant what they like."""
        old = self.pair.primary
        self.pair.promote()
        with self._some_time():
            pass
        old.admin.replicaof(*NOBODY)

    @contextmanager
    def _some_time(self) -> Iterator[None]:
        """Less than the margin, in which a stranger asks the new primary: so its grace begins as early as can be."""
        until = boottime() + MARGIN * 0.6
        with WanPortPool(f"unix://{self.pair.link}", namespace="test", network="stranger", rest=0) as stranger:
            while boottime() < until:
                for wan in range(WANS):
                    with suppress(WanpoolError):
                        lease = stranger.acquire(wan)
                        hold = self.crowd._hold("stranger", lease)
                        self.crowd._look(lease, hold)
                        lease.release()
        yield

    def _twice(self) -> None:
        self._command()
        self.pair.follow(self.pair.replica, self.pair.primary)
        self._serves()
        self.pair.cut()
        self._command()

    def _back(self) -> None:
        """To the other and back again, before anybody asks for anything."""
        pair = self.pair
        pair.replica.admin.replicaof("NO", "ONE")
        first = pair.primary
        pair.follow(first, pair.replica)
        first.admin.replicaof("NO", "ONE")
        pair.replica.admin.replicaof(*NOBODY)

    def _snapshot(self) -> None:
        """Both die, and the primary comes back with what the replica had; with another clock, too."""
        old, other = self.pair.primary, self.pair.replica
        old.stop()
        other.stop()
        for part in (*old.folder.glob("appendonly*"), *old.folder.glob("*.rdb")):
            shutil.rmtree(part) if part.is_dir() else part.unlink()
        for part in other.folder.glob("appendonly*"):
            (shutil.copytree if part.is_dir() else shutil.copy)(part, old.folder / part.name)
        self.pair.start(old, self.random.choice([0.0, 30.0, -30.0]))
        self._revive(other)

    def _tail(self) -> None:
        """The primary dies, and the end of its log was not on disk yet."""
        old = self.pair.primary
        seen = old.admin.info("persistence")
        tail = min(40_000, seen["aof_current_size"] - seen["aof_base_size"])
        old.stop()
        logs = [*old.folder.glob("appendonly.aof"), *old.folder.glob("appendonlydir/*.incr.aof")]
        log = max(logs, key=lambda path: path.stat().st_mtime)
        with log.open("r+b") as file:
            file.truncate(log.stat().st_size - tail)
        self.pair.start(old)

    def close(self) -> None:
        self.crowd.stop()
        self.pair.close()


def replay(folder: Path, on_failover: str, rounds: int, seed: int, said: Callable[[str], object] = print) -> Tally:
    """So many failovers that count."""
    folder.mkdir()
    failovers = Failovers(folder, on_failover, seed)
    try:
        while failovers.tally.rounds.total() < rounds:
            failovers.round()
    finally:
        failovers.close()
    said(f"on_failover = {on_failover!r}, seed {seed}: {failovers.tally}")
    return failovers.tally
