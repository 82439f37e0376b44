"""Reads WANs, ports and leases of all holders; changes nothing."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from redis_wanpool.errors import PortNotInRange
from redis_wanpool.model.checks import MOST_PORTS_A_CALL, milliseconds
from redis_wanpool.model.ports import port_numbers
from redis_wanpool.model.views import LeasePage, ListedLease, PortSeen, WanSnapshot
from redis_wanpool.protocol.keys import namespace_keys
from redis_wanpool.protocol.session import Session
from redis_wanpool.protocol.steps import Ask, Conversation


class Looking(Session):
    """The part of the conversation that reads what is in Redis."""

    def claims(self) -> Conversation[dict[int, str]]:
        """The ports of each WAN, also of one that is not ready yet or has lost its data."""
        flat = (yield Ask(("HGETALL", namespace_keys(self.namespace)[0]))).reply
        pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
        return dict(sorted((int(wan_idx), claim.split(" ")[0]) for wan_idx, claim in pairs))

    def ports_by_wan(self) -> Conversation[dict[int, list[int]]]:
        """The ports of each WAN as numbers."""
        return {wan_idx: port_numbers(ports) for wan_idx, ports in (yield from self.claims()).items()}

    def wan_of(self, port: int) -> Conversation[int]:
        """The WAN to which a port belongs; raises PortNotInRange if it belongs to none."""
        for wan_idx, ports in (yield from self.ports_by_wan()).items():
            if port in ports:
                return wan_idx
        raise PortNotInRange(
            f"port {port} belongs to no WAN of namespace {self.namespace!r}; see their ports with: wanpool init --show",
            port=port,
            wan_idx=None,
        )

    def outlook(self, wan_idx: int, looks_ahead: Sequence[float]) -> Conversation[list[int]]:
        """How many ports are in quarantine, how many wait for plain sockets only, and how many become free to all.

        Args:
            looks_ahead: seconds, to each of which there is a last number.
        """
        call = self.call("outlook", wan_idx, self.network, *map(milliseconds, looks_ahead))
        answer = yield from self.expect(call, "OUTLOOK")
        counts: list[int] = answer.reply[1:]
        return counts

    def census(self, wan_idx: int) -> Conversation[Counter[tuple[str, str]]]:
        """How many ports each (holder, network) holds."""
        counts: Counter[tuple[str, str]] = Counter()
        end = ("", "")
        while True:
            answer = yield from self.expect(self.call("census", wan_idx, *end, MOST_PORTS_A_CALL, ""), "CENSUS")
            _, expires_at, port, *flat = answer.reply
            for holder, network, count in zip(*[iter(flat)] * 3, strict=True):
                counts[holder, network] += count
            end = (expires_at, port)
            if not port:
                return counts

    def explain(self, wan_idx: int, port: int) -> Conversation[PortSeen]:
        """All that is known about a port."""
        answer = yield from self.expect(self.call("explain", wan_idx, port), "EXPLAINED")
        return PortSeen.parse(wan_idx, port, answer.reply)

    def snapshot(self, wan_idx: int, *, leases: bool = False) -> Conversation[WanSnapshot]:
        """The counts of a WAN at one moment; with `leases` also its leases, the first 1,000 as of that moment."""
        call = self.call("snapshot", wan_idx, self.network, MOST_PORTS_A_CALL if leases else 0)
        answer = yield from self.expect(call, "SNAPSHOT")
        taken = WanSnapshot.parse(wan_idx, answer.reply)
        self.known[wan_idx] = taken.generation
        page = LeasePage(taken.leases, len(taken.leases) < MOST_PORTS_A_CALL)
        while leases and not page.is_last:
            page = yield from self.lease_page(wan_idx, page)
            taken = taken.with_more(page.leases)
        return taken

    def lease_page(
        self, wan_idx: int, before: LeasePage | None, *, within_ms: int | None = None
    ) -> Conversation[LeasePage]:
        """Up to 1,000 live leases by expiry, after the page before; only those that end `within_ms`, unless renewed."""
        end = ("", "") if before is None else before.end
        within = "" if within_ms is None else within_ms
        answer = yield from self.expect(self.call("leases", wan_idx, *end, MOST_PORTS_A_CALL, within), "LEASES")
        _, now_ms, ahead_ms, *flat = answer.reply
        rows = tuple(ListedLease.parse(row, now_ms, ahead_ms) for row in zip(*[iter(flat)] * 6, strict=True))
        return LeasePage(rows, len(rows) < MOST_PORTS_A_CALL)

    def server_facts(self, *, look: bool) -> Conversation[dict[str, str]]:
        """The facts about Redis that an operator wants to know."""
        if not look:
            return {}
        infos = [info for _, info in (yield Ask(("INFO",), on_all_primaries=True)).reply if info is not None]

        def facts(of: Callable[[dict[str, Any]], str]) -> str:
            return ", ".join(dict.fromkeys(map(of, infos)))  # one value if all shards agree

        roles = {"master": "primary", "slave": "replica"}
        return {
            "version": facts(lambda info: str(info.get("valkey_version") or info.get("redis_version"))),
            "role": facts(lambda info: roles.get(info.get("role", ""), "unknown")),
            "persistence": facts(lambda info: "aof" if info.get("aof_enabled") else "none or rdb only"),
            "eviction": facts(lambda info: str(info.get("maxmemory_policy"))),
            **({"shards": str(len(infos))} if self.is_sharded else {}),
        }

    def usage(self) -> Conversation[dict[str, Any]]:
        """The old interface's view of all WANs: each WAN's numbers are of one moment."""
        wans: dict[int, Any] = {}
        processes: dict[str, Any] = {}
        indexes = yield from self.wan_indexes()
        looks = yield from self.all_of([(wan_idx, self.snapshot(wan_idx, leases=True)) for wan_idx in indexes])
        for wan_idx, seen in zip(indexes, looks, strict=True):
            wans[wan_idx] = {
                name: getattr(seen, name)
                for name in ("name", "state", "total", "free", "leased", "cooling", "withheld")
            }
            for lease in seen.leases:
                process = processes.setdefault(
                    f"{lease.host}:{lease.pid}", {"host": lease.host, "pid": lease.pid, "ports": {}}
                )
                process["ports"].setdefault(wan_idx, []).append(lease.port)
        for process in processes.values():
            for ports in process["ports"].values():
                ports.sort()
        return {
            "total_allocated_ports": sum(wan["leased"] for wan in wans.values()),
            "wans": wans,
            "processes": processes,
        }

    def holder_of(self, wan_idx: int, port: int) -> Conversation[str]:
        """The process that holds a port, for a message."""
        answer = yield Ask(("HMGET", self.wan_keys(wan_idx).lease(port), "host", "pid", "label"))
        host, pid, label = answer.reply
        return f"process {pid} on {host}" + (f" ({label})" if label else "") if host else "nobody"
