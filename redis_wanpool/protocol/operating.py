"""An operator's work on a WAN: stopping and resuming grants, taking ports out of service, other ports."""

from __future__ import annotations

from collections.abc import Sequence

from redis_wanpool.definition import MOST_PORTS_A_CALL, port_numbers, ports_text
from redis_wanpool.keys import namespace_keys
from redis_wanpool.protocol.steps import Ask, Conversation
from redis_wanpool.protocol.wans import Wans


class Operating(Wans):
    """The part of the conversation that an operator holds."""

    def set_state(self, wan_idx: int, verb: str) -> Conversation[None]:
        """Drains or opens a WAN."""
        answer = yield self.call(verb, wan_idx)
        if answer.reply[0] not in ("DRAINED", "OPENED"):
            raise (yield from self.refused(wan_idx, answer.reply))

    def move(self, verb: str, wan_idx: int, ports: Sequence[int]) -> Conversation[dict[int, str]]:
        """Withholds ports, or restores them; tells of each where it was, "" if it does not belong to the WAN."""
        places: dict[int, str] = {}
        for i in range(0, len(ports), MOST_PORTS_A_CALL):
            page = ports[i : i + MOST_PORTS_A_CALL]
            answer = yield self.call(verb, wan_idx, *page)
            if answer.reply[0] not in ("WITHHELD", "RESTORED"):
                raise (yield from self.refused(wan_idx, answer.reply))
            places.update(zip(page, answer.reply[1:], strict=True))
        return places

    def resize(self, wan_idx: int, ports: str) -> Conversation[int]:
        """Gives a WAN other ports; tells how many are still to leave, when their lease and cool-down are over.

        Those stay claimed for this WAN until the same resize is asked for after they left.
        """
        ports = ports_text(ports)
        had = set(port_numbers((yield from self.snapshot(wan_idx)).config["ports"]))
        entry = (yield Ask(("HGET", namespace_keys(self.namespace)[0], str(wan_idx)))).reply
        had.update(port_numbers(str(entry).split(" ")[0]))
        wanted = port_numbers(ports)
        yield from self._claim(wan_idx, ports_text(",".join(map(str, had.union(wanted)))))
        leaving = 0
        for what, numbers in (("have", wanted), ("lose", sorted(had.difference(wanted)))):
            for i in range(0, len(numbers), MOST_PORTS_A_CALL):
                page = numbers[i : i + MOST_PORTS_A_CALL]
                answer = yield self.call("resize", wan_idx, ports, len(wanted), what, *page)
                if answer.reply[0] != "RESIZED":
                    raise (yield from self.refused(wan_idx, answer.reply))
                leaving = answer.reply[1]
        if not leaving:
            yield from self._claim(wan_idx, ports)
        return int(leaving)

    def _claim(self, wan_idx: int, ports: str) -> Conversation[None]:
        answer = yield self.call_namespace("claim", str(wan_idx), ports, "", "resized")
        if answer.reply[0] != "CLAIMED":
            raise self.claim_refused(wan_idx, ports, answer.reply[0], answer.reply[1:])
