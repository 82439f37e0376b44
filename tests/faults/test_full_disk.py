"""A disk that is full: Redis cannot write its log, refuses every change, and goes on when there is room."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faces import Loop, make
from invariant import check_invariant
from private_server import SERVERS, Server
from waiting import KEPT_TTL, wait_for

from redis_wanpool import BackendUnavailable, LeaseLost, PoolExhausted

DURABLE = ("--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0")


class Cramped(Server):
    """A server whose files may not become larger than they are, when told so."""

    outlives_limits = True

    def fill(self) -> None:
        largest = max(path.stat().st_size for path in self.folder.rglob("*.aof"))
        self._limit(largest)

    def make_room(self) -> None:
        self._limit(resource.RLIM_INFINITY)

    def _limit(self, size: int) -> None:
        hard = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (size, hard))


@pytest.fixture(params=SERVERS)
def cramped(request: Any, tmp_path: Path) -> Iterator[Cramped]:
    server = Cramped(request.param, tmp_path, *DURABLE)
    yield server
    check_invariant(server.admin)
    server.close()


@pytest.mark.slow
def test_nothing_is_granted_twice_and_service_comes_back(cramped: Cramped, face: str, loop: Loop) -> None:
    told: list[Any] = []
    holder: Any = make(face, loop, cramped.url, namespace="test", rest=0, network="here", on_lost=told.append)
    other: Any = make(face, loop, cramped.url, namespace="test", rest=0, network="there")
    holder.define_wan(0, "20000-20001", cooldown=0, lease_ttl=KEPT_TTL)
    lease = holder.acquire(0)
    cramped.fill()

    def refused() -> str:
        try:
            other.acquire(0).release()
        except BackendUnavailable as error:
            return str(error)
        return ""

    assert "MISCONF" in wait_for(refused) or "AOF" in refused()
    wait_for(lambda: lease.lost)  # by its own clock, before Redis would grant its port again
    with pytest.raises(LeaseLost):
        lease.check()
    wait_for(lambda: [one.port for one in told] == [lease.port])
    assert cramped.admin.hget("wanpool:{test:0}:grants", lease.port).split(" ")[0] == lease.lease_id
    with pytest.raises(BackendUnavailable):
        other.acquire(0)
    cramped.make_room()
    wait_for(lambda: not refused())
    taken = other.acquire_many(0, 2, wait=20)
    assert {one.port for one in taken} == {20000, 20001} and min(one.fence for one in taken) > lease.fence
    with pytest.raises(PoolExhausted):
        holder.acquire(0)
    for pool in (holder, other):
        pool.close()
