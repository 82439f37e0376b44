"""Waiting until trouble has passed: an outage, a failover, a grace, a busy server."""

from collections.abc import Callable

from redis_wanpool.errors import WanpoolError
from redis_wanpool.protocol.session import logger
from redis_wanpool.protocol.steps import Conversation, Look, Sleep, T

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""seconds between two attempts: the first, and the most that it grows to"""


def patiently(
    name: str, limit: float | None, talk: Callable[[float | None], Conversation[T]], setting: str = ""
) -> Conversation[T]:
    """The result of a conversation, which is held again while its errors are such as pass.

    Args:
        name: what waits, for the log.
        limit: seconds until no more is tried; None: without limit.
        talk: begins the conversation; takes the seconds that are left.
        setting: where the limit comes from, if not from the caller.
    """
    if limit == 0.0:
        return (yield from talk(limit))
    began = (yield Look(())).sent
    left, pause, is_first = limit, FIRST_PAUSE, True
    while True:
        try:
            return (yield from talk(left))
        except WanpoolError as error:
            if not error.passing:
                raise
            if is_first:
                logger.warning("%s waits%s: %s", name, "" if limit is None else f", {limit:g} s at most", error)
            if limit is not None:
                waited = (yield Look(())).sent - began
                left = max(0.0, limit - waited)
                if left == 0.0:
                    told = f"{name} waited {waited:.1f} s{setting}, and this has not passed: {error}"
                    raise type(error)(told, **vars(error)) from error
        yield Sleep(pause if left is None else min(pause, left), "", ())
        if left is not None:
            left = max(0.0, began + (limit or 0.0) - (yield Look(())).sent)
        pause, is_first = min(2 * pause, LONGEST_PAUSE), False
