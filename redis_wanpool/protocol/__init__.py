"""The conversation with Redis, without I/O: generators that yield steps and are sent the answers.

The faces perform the steps. The answer to a `Call` has the reply and the local time before it was sent, so that a
lease's local deadline counts from before the request. All scripts are idempotent on `lease_id`; an unanswered call
leaves its ids in `doubts`, and upkeep gives back what they were granted.
"""

from redis_wanpool.model.address import Dial
from redis_wanpool.model.request import ANY, Request
from redis_wanpool.model.views import LeasePage
from redis_wanpool.protocol.connecting import Connecting
from redis_wanpool.protocol.history import History
from redis_wanpool.protocol.namespaces import Listing
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
    Remembers,
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
    "Remembers",
    "Request",
    "Resolve",
    "Sleep",
    "Step",
    "Try",
]


class Protocol(Connecting, Operating, History, Listing, Reaping, Upkeep):
    """The whole conversation of one holder."""
