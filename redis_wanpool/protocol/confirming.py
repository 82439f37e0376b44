"""Grants that count only when replicas, or disks, have confirmed them."""

from collections.abc import Sequence
from dataclasses import replace

from redis_wanpool.errors import BackendUnavailable
from redis_wanpool.protocol.bounded import pages
from redis_wanpool.protocol.refusals import at
from redis_wanpool.protocol.session import Session
from redis_wanpool.protocol.steps import Answer, Call, Conversation

FIRST_PORT = 7  #: where the ports and fences begin in the reply GRANTED


class Confirming(Session):
    """The part of the conversation that has grants confirmed.

    Only grants wait. Renewals and releases need not: a failover that forgets some is followed by a grace, in which no
    lease ends and each holder re-asserts its own. But nobody re-asserts a detached lease, or the grant of a dead
    holder, whose port would not cool.
    """

    def to_be_confirmed(self, call: Call) -> Call:
        """Adds what must confirm the grant of an acquire."""
        return call if self.durability is None else replace(call, durability=self.durability)

    def is_short(self, answer: Answer) -> bool:
        """Whether too few confirmed the grant."""
        return self.durability is not None and (answer.confirmed or 0) < self.durability.wanted

    def take_back(self, wan_idx: int, ids: Sequence[str], answer: Answer) -> Conversation[bool]:
        """Gives back a grant that too few confirmed; False if that is left to upkeep."""
        granted = [pair for pair in zip(answer.reply[FIRST_PORT::2], ids, strict=True) if pair[0]]
        try:
            for page in pages(granted):
                pairs = [item for pair in page for item in pair]
                yield self.call("release", wan_idx, "unused", 0, *pairs)
        except BackendUnavailable:
            return False
        return not answer.repeated

    def short(self, wan_idx: int, answer: Answer) -> BackendUnavailable:
        """The error for a grant that too few confirmed."""
        wish = self.durability
        assert wish is not None
        confirmed = answer.confirmed or 0
        if wish.fsync:
            told = f"{confirmed} of {wish.wanted} servers (primary and {wish.replicas} replicas) have the grant on disk"
            cure = (
                "See that the replicas run and keep up (INFO replication), and that all have appendonly yes with "
                "appendfsync always, or everysec and a connect_timeout of 3 s; or ask for less: min_replicas, fsync"
            )
        else:
            told = f"{confirmed} of {wish.wanted} replicas confirmed the grant"
            cure = "See that they run and keep up (INFO replication), or ask for fewer: min_replicas"
        return BackendUnavailable(
            f"{at(self.namespace, [wan_idx])}: {told} in time, so it was taken back. {cure}",
            confirmed=confirmed,
            wanted=wish.wanted,
            passing=True,
        )
