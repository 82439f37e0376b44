"""Defining WANs, and looking at them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from redis_wanpool.errors import InvalidValue, WanMismatch, WanpoolError
from redis_wanpool.model.checks import MOST_PORTS_A_CALL
from redis_wanpool.model.views import LeasePage, ListedLease, WanSnapshot
from redis_wanpool.model.wan import WanDefinition
from redis_wanpool.protocol.keys import namespace_keys
from redis_wanpool.protocol.requirements import check_server, no_server
from redis_wanpool.protocol.session import Session
from redis_wanpool.protocol.steps import Ask, Call, Conversation


class Wans(Session):
    """The part of the conversation that is about WANs."""

    def prepare(self, wans: Sequence[WanDefinition], *, look: bool, allow_eviction: bool) -> Conversation[None]:
        """Before the first use: refuses a Redis that cannot keep the promises, and defines the configured WANs."""
        if look:
            for _, info in (yield Ask(("INFO",), everywhere=True)).reply:
                if info is not None:
                    check_server(info, allow_eviction, self.durability)
        else:
            no_server(self.durability)
        for wan in wans:
            yield from self.define_wan(wan)

    def define_wan(self, wanted: WanDefinition, *, recover: bool = False) -> Conversation[bool]:
        """Claims the ports, then defines the WAN; True if this made it.

        Args:
            recover: also when its data is lost; it begins with a grace then.
        """
        wan_idx, fields = wanted.wan_idx, wanted.fields()
        if wanted.on_failover == "grace" and self.is_fake:
            raise InvalidValue('on_failover "grace" needs a Redis: the in-process stand-in (fake://) has no failover')
        proposal = self.new_secret()
        claim = [str(wan_idx), wanted.ports, proposal]
        answer = yield self.call_namespace("claim", *claim, "claimed")
        word, *facts = answer.reply
        if word != "CLAIMED":
            if word == "DIFFERENT" and (yield from self._was_resized_to(wanted)):
                return False
            raise self.claim_refused(wan_idx, wanted.ports, word, facts)
        generation, stage = str(facts[0]), str(facts[1])
        may_make = "new" if stage == "claimed" and wan_idx not in self.known else ""
        if recover:
            may_make = "recovered"
        made = False
        flat = [item for pair in fields.items() for item in pair]
        while True:
            answer = yield self._definition(wan_idx, generation, may_make, flat)
            word, *facts = answer.reply
            if word == "GONE":
                raise self.gone(wan_idx)
            if word == "DIFFERENT":
                raise self._different(wan_idx, fields, facts[0])
            if word not in ("FILLING", "DEFINED"):
                raise (yield from self.refused(wan_idx, answer.reply))
            made = made or bool(facts[0])
            if word == "DEFINED":
                break
        self.known[wan_idx] = str(facts[1])
        if stage == "claimed":
            yield self.call_namespace("claim", *claim, "ready")
        return made

    def _definition(self, wan_idx: int, generation: str, may_make: str, flat: list[str]) -> Call:
        usual = self.on_failover
        return self.call("define", wan_idx, generation, may_make, MOST_PORTS_A_CALL, usual, *flat, timed=False)

    def _was_resized_to(self, wanted: WanDefinition) -> Conversation[bool]:
        """Whether the WAN is what is wanted, and its claim holds ports besides that are still to leave."""
        flat = [item for pair in wanted.fields().items() for item in pair]
        answer = yield self._definition(wanted.wan_idx, "", "", flat)
        if answer.reply[0] == "DEFINED":
            self.known[wanted.wan_idx] = str(answer.reply[2])
        return bool(answer.reply[0] == "DEFINED")

    def claim_refused(self, wan_idx: int, ports: str, word: str, facts: Sequence[Any]) -> WanMismatch:
        """The error for ports that cannot be claimed."""
        at = f"WAN {wan_idx} (namespace {self.namespace!r})"
        if word == "OVERLAP":
            return WanMismatch(
                f"{at}: port {facts[1]} of {ports} belongs to WAN {facts[0]} ({facts[2]}); "
                "give each WAN ports of its own",
                wan_idx=wan_idx,
                differences={"ports": (ports, facts[2])},
            )
        return WanMismatch(
            f"{at} has ports {facts[0]}, not {ports}; ask for what stands, or use another WAN index",
            wan_idx=wan_idx,
            differences={"ports": (ports, facts[0])},
        )

    def _different(self, wan_idx: int, fields: dict[str, str], flat: list[str]) -> WanMismatch:
        stands = dict(zip(flat[::2], flat[1::2], strict=True))
        differences = {
            name: (value, stands.get(name, "")) for name, value in fields.items() if stands.get(name) != value
        }
        told = ", ".join(f"{name} is {theirs!r}, not {ours!r}" for name, (ours, theirs) in differences.items())
        return WanMismatch(
            f"WAN {wan_idx} (namespace {self.namespace!r}) is defined already and differs: {told}; "
            "ask for what stands, or use another WAN index",
            wan_idx=wan_idx,
            differences=differences,
        )

    def wan_indexes(self) -> Conversation[tuple[int, ...]]:
        """All WANs of the namespace, ascending."""
        answer = yield Ask(("HKEYS", namespace_keys(self.namespace)[0]))
        try:
            return tuple(sorted(int(wan_idx) for wan_idx in answer.reply))
        except ValueError:
            raise self.unreadable() from None

    def unreadable(self) -> WanpoolError:
        """The error for claims that this version did not write."""
        return WanpoolError(
            f"what stands in {namespace_keys(self.namespace)[0]} is not of this version of redis-wanpool; use the same "
            "version on all machines, and see: wanpool doctor"
        )

    def snapshot(self, wan_idx: int, *, leases: bool = False) -> Conversation[WanSnapshot]:
        """The counts of a WAN at one moment; with `leases`, who holds what: at that moment for the first thousand."""
        answer = yield self.call("snapshot", wan_idx, self.network, MOST_PORTS_A_CALL if leases else 0)
        if answer.reply[0] != "SNAPSHOT":
            raise (yield from self.refused(wan_idx, answer.reply))
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
        """Up to 1,000 live leases by expiry, from where the page before ended.

        Args:
            within_ms: only those that end within so many milliseconds, unless they are renewed.
        """
        end = ("", "") if before is None else before.end
        within = "" if within_ms is None else within_ms
        answer = yield self.call("leases", wan_idx, *end, MOST_PORTS_A_CALL, within)
        if answer.reply[0] != "LEASES":
            raise (yield from self.refused(wan_idx, answer.reply))
        _, now_ms, ahead_ms, *flat = answer.reply
        rows = tuple(ListedLease.parse(row, now_ms, ahead_ms) for row in zip(*[iter(flat)] * 5, strict=True))
        return LeasePage(rows, len(rows) < MOST_PORTS_A_CALL)

    def server_facts(self, *, look: bool) -> Conversation[dict[str, str]]:
        """What Redis says of itself that an operator wants to know."""
        if not look:
            return {}
        infos = [info for _, info in (yield Ask(("INFO",), everywhere=True)).reply if info is not None]

        def facts(of: Callable[[dict[str, Any]], str]) -> str:
            return ", ".join(dict.fromkeys(map(of, infos)))  # the same of all shards, if all is well

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
        """Who holds a port, for a message."""
        answer = yield Ask(("HMGET", self.wan_keys(wan_idx).lease(port), "host", "pid", "label"))
        host, pid, label = answer.reply
        return f"process {pid} on {host}" + (f" ({label})" if label else "") if host else "nobody"
