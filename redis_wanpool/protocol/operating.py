"""An operator's work on a WAN: draining, withholding ports, resizing, and ending leases."""

from collections.abc import Sequence

from redis_wanpool.errors import WanInUse
from redis_wanpool.model.checks import MOST_PORTS_A_CALL, checked_ttl, milliseconds
from redis_wanpool.model.holder import host_and_pid
from redis_wanpool.model.ports import port_list, port_numbers, ports_text
from redis_wanpool.protocol.bounded import pages
from redis_wanpool.protocol.keys import namespace_keys
from redis_wanpool.protocol.looking import Looking
from redis_wanpool.protocol.refusals import at
from redis_wanpool.protocol.steps import Ask, Conversation
from redis_wanpool.protocol.wans import Wans


class Operating(Looking, Wans):
    """The part of the conversation that operators lead."""

    def set_state(self, wan_idx: int, verb: str) -> Conversation[bool]:
        """Drains or opens a WAN; returns False if it was so already."""
        answer = yield from self.expect(self.call(verb, wan_idx, self.holder.words), "DRAINED", "OPENED")
        return bool(answer.reply[1])

    def move(self, verb: str, wan_idx: int, ports: Sequence[int]) -> Conversation[dict[int, str]]:
        """Withholds or restores ports; returns the state that each had, "" if it does not belong to the WAN."""
        states: dict[int, str] = {}
        for page in pages(ports, MOST_PORTS_A_CALL):
            answer = yield from self.expect(self.call(verb, wan_idx, self.holder.words, *page), "WITHHELD", "RESTORED")
            states.update(zip(page, answer.reply[1:], strict=True))
        return states

    def resize(self, wan_idx: int, ports: str) -> Conversation[int]:
        """Gives a WAN other ports; returns how many have still to leave, each when its lease and cool-down are over.

        They stay claimed for this WAN until the same resize is repeated after they have left.
        """
        ports = ports_text(ports)
        had = set(port_numbers((yield from self.snapshot(wan_idx)).config["ports"]))
        entry = (yield Ask(("HGET", namespace_keys(self.namespace)[0], str(wan_idx)))).reply
        had.update(port_numbers(str(entry).split(" ")[0]))
        wanted = port_numbers(ports)
        yield from self._claim(wan_idx, port_list(had.union(wanted)))
        leaving = 0
        for what, numbers in (("have", wanted), ("lose", sorted(had.difference(wanted)))):
            for page in pages(numbers, MOST_PORTS_A_CALL):
                call = self.call("resize", wan_idx, ports, len(wanted), self.holder.words, what, *page)
                answer = yield from self.expect(call, "RESIZED")
                leaving = answer.reply[1]
        if not leaving:
            yield from self._claim(wan_idx, ports)
        return int(leaving)

    def revoke(self, wan_idx: int, leases: Sequence[tuple[int, str]]) -> Conversation[dict[int, str]]:
        """Ends others' leases, given as port and lease_id; returns how the lease of each port ended, now or before."""
        words: dict[int, str] = {}
        for page in pages(leases):
            call = self.call("revoke", wan_idx, self.holder.words, *(item for pair in page for item in pair))
            answer = yield from self.expect(call, "REVOKED")
            words.update(zip((port for port, _ in page), answer.reply[2:], strict=True))
        return words

    def renew_by_id(self, wan_idx: int, port: int, lease_id: str, ttl: float) -> Conversation[int | str]:
        """Prolongs a lease by its lease_id, which proves holding; returns its new expires_at in ms, or how it ended."""
        seen = yield from self.explain(wan_idx, port)
        longest = (yield from self.snapshot(wan_idx)).config["max_ttl_ms"]
        ttl_ms = milliseconds(checked_ttl(ttl, int(longest) / 1000))
        holder = lease_id.rpartition("/")[0]
        host, pid = host_and_pid(holder)
        fields = (port, lease_id, seen.fence, ttl_ms, seen.lease.get("label", ""), "")
        call = self.call("renew", wan_idx, holder, seen.network, seen.rest_ms, host, pid, *fields)
        answer = yield from self.expect(call, "RENEWED")
        told: int | str = answer.reply[7]
        return told

    def release_by_id(self, wan_idx: int, port: int, lease_id: str, end_reason: str) -> Conversation[str]:
        """Gives back a lease by its lease_id, which proves holding; returns how it ended, or "gone"."""
        answer = yield from self.expect(self.call("release", wan_idx, end_reason, 0, port, lease_id), "RELEASED")
        return str(answer.reply[2])

    def remove(self, wan_idx: int, *, force: bool) -> Conversation[int]:
        """Removes a WAN; returns how many are left. Its claim goes last, so that an interrupted removal can go on.

        Raises:
            WanNotDefined: there is no such WAN, or its data is gone and `force` is not given.
            WanInUse: leases live, and `force` is not given.
        """
        claim = (yield Ask(("HGET", namespace_keys(self.namespace)[0], str(wan_idx)))).reply
        while True:
            call = self.call("remove", wan_idx, "force" if force else "", MOST_PORTS_A_CALL)
            also = ("NOT_DEFINED",) if claim and force else ()
            answer = yield from self.expect(call, "IN_USE", "REMOVING", "REMOVED", *also)
            word = answer.reply[0]
            if word == "IN_USE":
                raise WanInUse(
                    f"{at(self.namespace, [wan_idx])}: {answer.reply[1]} of its ports leased; drain it "
                    f"and wait, or end the leases with: wanpool remove {wan_idx} --force",
                    wan_idx=wan_idx,
                    leased=answer.reply[1],
                )
            if word != "REMOVING":
                break
        self.known.pop(wan_idx, None)
        generation = str(claim or "").split(" ")[1:2]
        answer = yield self.call_namespace("unclaim", str(wan_idx), *(generation or ("",)))
        return int(answer.reply[1]) if answer.reply[0] == "UNCLAIMED" else 0

    def migrate(self, wan_idx: int) -> Conversation[bool]:
        """Takes a WAN's data from the protocol before this one to this one; whether there was anything to do.

        Raises:
            WanMismatch: it is of an older protocol, or of a newer one.
        """
        while True:
            call = self.call("migrate", wan_idx, MOST_PORTS_A_CALL)
            answer = yield from self.expect(call, "MIGRATING", "MIGRATED", "CURRENT")
            if answer.reply[0] != "MIGRATING":
                return bool(answer.reply[0] == "MIGRATED")

    def _claim(self, wan_idx: int, ports: str) -> Conversation[None]:
        answer = yield self.call_namespace("claim", str(wan_idx), ports, "", "resized")
        if answer.reply[0] != "CLAIMED":
            raise self.claim_refused(wan_idx, ports, answer.reply[0], answer.reply[1:])
