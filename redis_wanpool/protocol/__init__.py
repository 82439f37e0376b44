"""The conversation with Redis, without I/O: generators that yield what to do and are sent what came of it.

The faces (`pool`, `aio`) perform the steps. A `Call` is answered with the reply and the local time before it was sent,
so that a lease's local deadline counts from before the request. All scripts are idempotent on `lease_id`; a call whose
answer is not known leaves its ids in `doubts`, and upkeep gives back whatever came of them.
"""

from redis_wanpool.model.address import Dial
from redis_wanpool.model.request import ANY, Request
from redis_wanpool.model.views import LeasePage
from redis_wanpool.protocol.connecting import Connecting
from redis_wanpool.protocol.handing import Handing
from redis_wanpool.protocol.operating import Operating
from redis_wanpool.protocol.reaping import HeldLease, Reaping
from redis_wanpool.protocol.steps import (
    Answer,
    Ask,
    Call,
    Connect,
    Conversation,
    Look,
    Parallel,
    Resolve,
    Sleep,
    Step,
    Try,
)
from redis_wanpool.protocol.upkeep import Upkeep

__all__ = [
    "ANY",
    "Answer",
    "Ask",
    "Call",
    "Connect",
    "Conversation",
    "Dial",
    "HeldLease",
    "LeasePage",
    "Look",
    "Parallel",
    "Protocol",
    "Request",
    "Resolve",
    "Sleep",
    "Step",
    "Try",
]


class Protocol(Handing, Connecting, Operating, Reaping, Upkeep):
    """All of the conversation of one holder."""
