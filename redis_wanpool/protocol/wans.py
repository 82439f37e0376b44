"""Prepares a Redis, and defines WANs."""

from collections.abc import Sequence
from typing import Any

from redis_wanpool.errors import InvalidValue, WanMismatch, WanpoolError
from redis_wanpool.model.checks import MOST_PORTS_A_CALL
from redis_wanpool.model.wan import WanDefinition
from redis_wanpool.protocol.refusals import at, data_is_gone
from redis_wanpool.protocol.requirements import check_server, no_server
from redis_wanpool.protocol.session import Session
from redis_wanpool.protocol.steps import Ask, Call, Conversation, Remembers, Sleep

LOOKS = (0.05, 0.1, None)
"""seconds after each look at a server that is a replica, until the next over a new connection"""


class Wans(Session):
    """The part of the conversation that defines WANs."""

    def prepare(
        self, wans: Sequence[WanDefinition], *, look: bool, allow_eviction: bool, is_named: bool
    ) -> Conversation[None]:
        """Refuses a Redis that cannot keep the promises, and defines the configured WANs."""
        if not look:
            no_server(self.durability)
        for pause in LOOKS if look else ():
            infos = (yield Ask(("INFO",), on_all_primaries=True)).reply
            try:
                for info in (info for _, info in infos if info is not None):
                    check_server(info, allow_eviction, self.durability, is_named=is_named)
                break
            except WanpoolError as error:
                if pause is None or not error.passing:
                    raise
            yield Sleep(pause, "", ())
        for wan in wans:
            yield from self.define_wan(wan)

    def define_wan(self, wanted: WanDefinition, *, recover: bool = False, fresh: bool = False) -> Conversation[bool]:
        """Claims the ports, then defines the WAN; True if this made it.

        Args:
            recover: whether to make a lost one again, in grace.
            fresh: whether nobody can hold the ports of a new one, so that it needs no grace.
        """
        if recover and fresh:
            raise InvalidValue("recover and fresh contradict each other: either a WAN was lost, or nobody can hold it")
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
        may_make = "fresh" if fresh else "new"
        if stage != "claimed" or wan_idx in self.known:
            may_make = "still fresh" if fresh else ""
        if may_make == "new" and (remembers := (yield Remembers()).reply) is not None:
            may_make = "fresh" if remembers else "recovered"
        if recover:
            may_make = "recovered"
        made = False
        flat = [item for pair in fields.items() for item in pair]
        while True:
            call = self._definition(wan_idx, generation, may_make, flat)
            answer = yield from self.expect(call, "FILLING", "DEFINED", "GONE", "DIFFERENT")
            word, *facts = answer.reply
            if word == "GONE":
                raise data_is_gone(self.namespace, wan_idx)
            if word == "DIFFERENT":
                raise self._different(wan_idx, fields, facts[0])
            made = made or bool(facts[0])
            if word == "DEFINED":
                break
        self.known[wan_idx] = str(facts[1])
        if stage == "claimed":
            yield self.call_namespace("claim", *claim, "ready")
        return made

    def _definition(self, wan_idx: int, generation: str, may_make: str, flat: list[str]) -> Call:
        arguments = generation, may_make, MOST_PORTS_A_CALL, self.on_failover
        return self.call("define", wan_idx, *arguments, *flat)

    def _was_resized_to(self, wanted: WanDefinition) -> Conversation[bool]:
        """Whether the WAN is as wanted, and its claim differs only by ports that are still to leave."""
        flat = [item for pair in wanted.fields().items() for item in pair]
        answer = yield self._definition(wanted.wan_idx, "", "", flat)
        if answer.reply[0] == "DEFINED":
            self.known[wanted.wan_idx] = str(answer.reply[2])
        return bool(answer.reply[0] == "DEFINED")

    def claim_refused(self, wan_idx: int, ports: str, word: str, facts: Sequence[Any]) -> WanMismatch:
        """The error for ports that cannot be claimed."""
        here = at(self.namespace, [wan_idx])
        if word == "OVERLAP":
            return WanMismatch(
                f"{here}: port {facts[1]} of {ports} belongs to WAN {facts[0]} ({facts[2]}); "
                "give each WAN its own ports",
                wan_idx=wan_idx,
                differences={"ports": (ports, facts[2])},
            )
        return WanMismatch(
            f"{here} has ports {facts[0]}, not {ports}; ask for the same, or use another WAN index",
            wan_idx=wan_idx,
            differences={"ports": (ports, facts[0])},
        )

    def _different(self, wan_idx: int, fields: dict[str, str], flat: list[str]) -> WanMismatch:
        defined = dict(zip(flat[::2], flat[1::2], strict=True))
        differences = {
            name: (value, defined.get(name, "")) for name, value in fields.items() if defined.get(name) != value
        }
        told = ", ".join(f"{name} is {theirs!r}, not {ours!r}" for name, (ours, theirs) in differences.items())
        return WanMismatch(
            f"{at(self.namespace, [wan_idx])} is defined already and differs: {told}; "
            "ask for the same, or use another WAN index",
            wan_idx=wan_idx,
            differences=differences,
        )
