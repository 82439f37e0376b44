"""A primary, two replicas and three Sentinels, of plain server binaries: on loopback, or each pair in its own place."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis
from conftest import SERVERS, wait_for
from nodes import Node, Place, free_ports

SERVICE = "wanpool"
DETECTION = 2.0
"""seconds after which a Sentinel takes a server for dead"""
LAG = 2
"""seconds after which a primary that no replica follows refuses writes: min-replicas-max-lag"""


class Watch:
    """The whole of it; after a failover it is whole again when `revive` was called."""

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        places: Sequence[Place] = (Place(),) * 3,
        password: str = "",
        sentinel_password: str = "",
    ) -> None:
        ports = free_ports(6)
        first = f"{places[0].host} {ports[0]}"
        secret = ("--requirepass", password, "--masterauth", password) if password else ()
        self.nodes: dict[tuple[str, int], Node] = {}
        self.sentinels: list[Node] = []
        try:
            for place, port in zip(places, ports[:3], strict=True):
                where = folder / str(port)
                self.nodes[place.host, port] = Node(
                    name,
                    where,
                    place,
                    port,
                    *("--port", str(port), "--bind", place.host, "--dir", str(where), "--save", ""),
                    *("--appendonly", "yes", "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"),
                    *("--min-replicas-to-write", "1", "--min-replicas-max-lag", str(LAG), "--protected-mode", "no"),
                    *(("--replicaof", *first.split(" ")) if port != ports[0] else ()),
                    *secret,
                    password=password,
                )
            self._in_sync(self.nodes[places[0].host, ports[0]], 2)
            for place, port in zip(places, ports[3:], strict=True):
                where = folder / str(port)
                where.mkdir()
                lines = [
                    *(f"port {port}", f"bind {place.host}", f"dir {where}", "protected-mode no"),
                    *([f"requirepass {sentinel_password}"] if sentinel_password else []),
                    f"sentinel monitor {SERVICE} {first} 2",
                    *([f"sentinel auth-pass {SERVICE} {password}"] if password else []),
                    f"sentinel down-after-milliseconds {SERVICE} {round(1000 * DETECTION)}",
                    f"sentinel failover-timeout {SERVICE} 3000",
                ]
                conf = where / "s.conf"
                conf.write_text("\n".join(lines) + "\n")
                conf.chmod(0o600)
                self.sentinels.append(
                    Node(name, where, place, port, str(conf), "--sentinel", password=sentinel_password)
                )
            self.is_whole()
        except BaseException:
            self.close()
            raise

    @property
    def hosts(self) -> str:
        return ",".join(f"{sentinel.place.host}:{sentinel.port}" for sentinel in self.sentinels)

    @property
    def url(self) -> str:
        return f"redis+sentinel://{self.hosts}/{SERVICE}"

    def primary(self, number: int = 0) -> Node:
        """Who is it, as that Sentinel says."""
        host, port = self.sentinels[number].admin.sentinel_get_master_addr_by_name(SERVICE)
        return self.nodes[host, int(port)]

    def is_whole(self) -> None:
        """Waits until all Sentinels know each other, and two replicas follow in step."""

        def knows_all(sentinel: Node) -> bool:
            seen = sentinel.admin.sentinel_master(SERVICE)
            return seen["num-other-sentinels"] == 2 and seen["num-slaves"] >= 2 and "down" not in seen["flags"]

        wait_for(lambda: all(knows_all(sentinel) for sentinel in self.sentinels), within=60)
        wait_for(lambda: len({self.primary(number).port for number in range(3)}) == 1, within=60)
        self._in_sync(self.primary(), 2)

    def _in_sync(self, node: Node, replicas: int) -> None:
        def is_so() -> bool:
            with contextlib.suppress(redis.RedisError):
                return node.admin.info("replication").get("min_slaves_good_slaves") == replicas
            return False

        wait_for(is_so, within=90)

    def kill_primary(self) -> Node:
        """Kills it, and waits until another one took its place."""
        dead = self.primary()
        dead.kill()
        self.wait_for_another(dead)
        return dead

    def wait_for_another(self, than: Node, number: int = 0) -> None:
        def is_there() -> bool:
            primary = self.primary(number)
            return primary is not than and primary.admin.role()[0] == "master"

        wait_for(is_there, within=60)

    def revive(self, dead: Node) -> None:
        """Starts it again, as a replica of the new primary."""
        primary = self.primary()
        dead.start("--replicaof", primary.place.host, str(primary.port))
        self.is_whole()

    def close(self) -> None:
        for node in [*self.sentinels, *self.nodes.values()]:
            node.close()


@pytest.fixture(params=SERVERS[:1])
def watch(request: Any, tmp_path: Path) -> Iterator[Watch]:
    watch = Watch(request.param, tmp_path)
    yield watch
    watch.close()
