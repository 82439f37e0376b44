"""A cluster of plain server binaries on loopback: three primaries, and a replica of each where wanted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis
from nodes import Node, Place, free_pairs
from redis.cluster import ClusterNode, RedisCluster
from redis.crc import key_slot
from waiting import wait_for

SHARDS, SLOTS = 3, 16384
NODE_TIMEOUT = 2.0
"""seconds after which a node takes another for dead"""


class Shards:
    """The nodes, and what an operator does with them."""

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        replicas: int = 0,
        node_timeout: float = NODE_TIMEOUT,
        options: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.nodes: list[Node] = []
        count = SHARDS * (1 + replicas)
        try:
            for port in free_pairs(count):
                where = folder / str(port)
                where.mkdir(parents=True)
                node = Node(
                    name,
                    where,
                    Place(),
                    port,
                    *("--port", str(port), "--bind", "127.0.0.1", "--dir", str(where), "--save", ""),
                    *("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"),
                    *("--cluster-node-timeout", str(round(1000 * node_timeout)), "--appendonly", "yes"),
                    *("--cluster-require-full-coverage", "no"),
                    *("--repl-diskless-sync-delay", "0", "--maxclients", "1000", *options),
                )
                self.nodes.append(node)
            self._join()
            self.admin = RedisCluster(
                startup_nodes=[ClusterNode("127.0.0.1", node.port) for node in self.nodes[:SHARDS]],
                decode_responses=True,
            )
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:SHARDS])

    def _join(self) -> None:
        share = -(-SLOTS // SHARDS)
        for number, node in enumerate(self.nodes):
            node.admin.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number < SHARDS:
                slots = range(number * share, min(SLOTS, (number + 1) * share))
                node.admin.execute_command("CLUSTER", "ADDSLOTS", *slots)
        for node in self.nodes[1:]:
            self.nodes[0].admin.execute_command("CLUSTER", "MEET", "127.0.0.1", node.port)
        wait_for(lambda: all(len(self._known(node)) == len(self.nodes) for node in self.nodes))
        for number, node in enumerate(self.nodes[SHARDS:]):
            node.admin.execute_command("CLUSTER", "REPLICATE", self.id_of(self.nodes[number]))
        self.is_whole()

    @staticmethod
    def _known(node: Node) -> list[str]:
        told: str = node.admin.execute_command("CLUSTER", "NODES")
        return [line for line in told.splitlines() if "handshake" not in line]

    @staticmethod
    def id_of(node: Node) -> str:
        return str(node.admin.execute_command("CLUSTER", "MYID"))

    def is_whole(self) -> None:
        """Waits until each node says that all is well, and each replica follows in step."""

        def is_well(node: Node) -> bool:
            with contextlib.suppress(redis.RedisError):
                if node.admin.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
                    return False
                info = node.admin.info("replication")
                return info["role"] == "master" or info["master_link_status"] == "up"
            return False

        wait_for(lambda: all(is_well(node) for node in self.nodes), within=60)
        wait_for(lambda: len({self._map(node) for node in self.nodes}) == 1, within=60)

    def _map(self, node: Node) -> tuple[Any, ...]:
        """Who has which slots, as that node says."""
        reply = node.admin.execute_command("CLUSTER", "SLOTS")
        return tuple(sorted((first, last, primary[1]) for first, last, primary, *_ in reply))

    def primary_of(self, key: str, says: Node | None = None) -> Node:
        """Who has the key, as some node says."""
        slot = key_slot(key.encode())
        said = self._map(says or next(node for node in self.nodes if node.process is not None))
        port = next(port for first, last, port in said if first <= slot <= last)
        return next(node for node in self.nodes if node.port == port)

    def primaries(self) -> list[Node]:
        return [node for node in self.nodes if node.process and node.admin.info("replication")["role"] == "master"]

    def wait_for_another(self, key: str, than: Node) -> None:
        """Waits until the cluster has another primary for a key."""

        def is_there() -> bool:
            with contextlib.suppress(redis.RedisError):
                new = self.primary_of(key, next(node for node in self.nodes if node.process and node is not than))
                return new is not than and new.admin.execute_command("CLUSTER INFO")["cluster_state"] == "ok"
            return False

        wait_for(is_there, within=60)

    def move(self, key: str, to: Node, meanwhile: Callable[[], object] = lambda: None) -> int:
        """Moves the slot of a key to another primary, as redis-cli does; tells how many keys moved."""
        slot, old = key_slot(key.encode()), self.primary_of(key)
        to.admin.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", self.id_of(old))
        old.admin.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", self.id_of(to))
        moved = 0
        while names := old.admin.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 3):
            old.admin.execute_command("MIGRATE", to.place.host, to.port, "", 0, 5000, "KEYS", *names)
            moved += len(names)
            meanwhile()
        for node in (to, old, *self.primaries()):
            node.admin.execute_command("CLUSTER", "SETSLOT", slot, "NODE", self.id_of(to))
        return moved

    def move_as_a_whole(self, key: str, to: Node) -> None:
        """The same where the servers can do it by themselves (Valkey 9), else as above."""
        slot, old = key_slot(key.encode()), self.primary_of(key)
        try:
            old.admin.execute_command("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", self.id_of(to))
        except redis.ResponseError:
            self.move(key, to)
        wait_for(lambda: all(self.primary_of(key, node) is to for node in self.primaries()))

    def cut(self) -> None:
        """Ends the connections of all clients."""
        for node in self.nodes:
            node.admin.execute_command("CLIENT", "KILL", "TYPE", "normal")

    def restart(self, *_: str) -> None:
        """Kills a primary, and starts it at once, before another takes its place."""
        node = self.primaries()[0]
        node.kill()
        node.start()

    def close(self) -> None:
        if hasattr(self, "admin"):
            self.admin.close()
        for node in self.nodes:
            node.close()
