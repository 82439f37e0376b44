"""An operator's work on a WAN: stopping and resuming grants, taking ports out of service, other ports."""

from __future__ import annotations

from collections.abc import Sequence

from redis_wanpool.errors import WanInUse
from redis_wanpool.model.checks import MOST_PORTS_A_CALL, checked_ttl, milliseconds
from redis_wanpool.model.holder import host_and_pid
from redis_wanpool.model.ports import port_list, port_numbers, ports_text
from redis_wanpool.protocol.keys import namespace_keys
from redis_wanpool.protocol.looking import Looking
from redis_wanpool.protocol.session import LEASES_A_CALL
from redis_wanpool.protocol.steps import Ask, Conversation


class Operating(Looking):
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
        yield from self._claim(wan_idx, port_list(had.union(wanted)))
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

    def revoke(self, wan_idx: int, leases: Sequence[tuple[int, str]]) -> Conversation[dict[int, str]]:
        """Ends others' leases, given as port and lease_id; tells of each port how its lease ended, now or before."""
        words: dict[int, str] = {}
        for i in range(0, len(leases), LEASES_A_CALL):
            page = leases[i : i + LEASES_A_CALL]
            answer = yield self.call("revoke", wan_idx, *(item for pair in page for item in pair))
            if answer.reply[0] != "REVOKED":
                raise (yield from self.refused(wan_idx, answer.reply))
            words.update(zip((port for port, _ in page), answer.reply[2:], strict=True))
        return words

    def renew_by_id(self, wan_idx: int, port: int, lease_id: str, ttl: float) -> Conversation[int | str]:
        """Prolongs a lease of whoever knows its lease_id: its new expires_at in ms, or how it has ended."""
        seen = yield from self.explain(wan_idx, port)
        longest = (yield from self.snapshot(wan_idx)).config["max_ttl_ms"]
        ttl_ms = milliseconds(checked_ttl(ttl, int(longest) / 1000))
        holder = lease_id.rpartition("/")[0]
        host, pid = host_and_pid(holder)
        fields = (port, lease_id, seen.fence, ttl_ms, seen.lease.get("label", ""))
        answer = yield self.call("renew", wan_idx, holder, seen.network, seen.rest_ms, host, pid, *fields)
        if answer.reply[0] != "RENEWED":
            raise (yield from self.refused(wan_idx, answer.reply))
        told: int | str = answer.reply[4]
        return told

    def release_by_id(self, wan_idx: int, port: int, lease_id: str, how: str) -> Conversation[str]:
        """Gives back a lease of whoever knows its lease_id; how it ended, now or before, or "gone"."""
        answer = yield self.call("release", wan_idx, how, port, lease_id)
        if answer.reply[0] != "RELEASED":
            raise (yield from self.refused(wan_idx, answer.reply))
        return str(answer.reply[2])

    def remove(self, wan_idx: int, *, force: bool) -> Conversation[int]:
        """Removes a WAN; tells how many are left. Its claim goes last, so that a removal that was cut short can go on.

        Raises:
            WanNotDefined: there is none, or its data is gone and `force` is not given.
            WanInUse: leases live, and `force` is not given.
        """
        claim = (yield Ask(("HGET", namespace_keys(self.namespace)[0], str(wan_idx)))).reply
        while True:
            answer = yield self.call("remove", wan_idx, "force" if force else "", MOST_PORTS_A_CALL)
            word = answer.reply[0]
            if word == "IN_USE":
                raise WanInUse(
                    f"WAN {wan_idx} (namespace {self.namespace!r}): {answer.reply[1]} of its ports leased; drain it "
                    f"and wait, or end the leases with: wanpool remove {wan_idx} --force",
                    wan_idx=wan_idx,
                    leased=answer.reply[1],
                )
            if word == "REMOVED" or (word == "NOT_DEFINED" and claim and force):
                break
            if word != "REMOVING":
                raise (yield from self.refused(wan_idx, answer.reply))
        self.known.pop(wan_idx, None)
        generation = str(claim or "").split(" ")[1:2]
        answer = yield self.call_namespace("unclaim", str(wan_idx), *(generation or ("",)))
        return int(answer.reply[1]) if answer.reply[0] == "UNCLAIMED" else 0

    def _claim(self, wan_idx: int, ports: str) -> Conversation[None]:
        answer = yield self.call_namespace("claim", str(wan_idx), ports, "", "resized")
        if answer.reply[0] != "CLAIMED":
            raise self.claim_refused(wan_idx, ports, answer.reply[0], answer.reply[1:])
