"""What a checker of the lines says, and what all read."""

from collections.abc import Sequence

from redis_wanpool.model.checks import milliseconds
from redis_wanpool.model.health import Health, Judgement
from redis_wanpool.protocol.bounded import pages
from redis_wanpool.protocol.session import Session
from redis_wanpool.protocol.steps import Conversation

WANS_A_CALL = 200


class Checking(Session):
    """The part of the conversation that is about the health of lines."""

    def health(self) -> Conversation[tuple[Health, float]]:
        """The verdicts on all lines, and the local time before they were asked for."""
        answer = yield self.call_namespace("verdicts")
        return Health.parse(answer.reply), answer.sent

    def judge(self, interval: float, judgements: Sequence[Judgement] = ()) -> Conversation[tuple[str, float]]:
        """Takes or keeps the claim to check, and writes judgements down.

        Returns:
            "" and 0; or which other checker has the claim, and for how many seconds without another word of it: then
            nothing was written.
        """
        for page in pages(judgements, WANS_A_CALL) if judgements else ((),):
            words = [word for judgement in page for word in judgement.words()]
            answer = yield self.call_namespace("judge", self.holder.id, milliseconds(interval), *words)
            if answer.reply[0] == "STANDBY":
                return str(answer.reply[1]), answer.reply[2] / 1000
        return "", 0.0

    def retire(self) -> Conversation[None]:
        """Gives the claim up."""
        yield self.call_namespace("retire", self.holder.id)
