"""The steps of a conversation with Redis: generators yield them and are sent the answers."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from redis_wanpool.errors import WanpoolError
from redis_wanpool.model.address import Address
from redis_wanpool.model.checks import milliseconds
from redis_wanpool.model.durability import Durability
from redis_wanpool.model.lease import LeaseState
from redis_wanpool.protocol.scripts import Script

T = TypeVar("T")
KEYED = (
    "BLPOP",
    "HGET",
    "HGETALL",
    "HKEYS",
    "HMGET",
    "SSCAN",
    "ZRANGE",
)  #: the commands of an Ask whose second word is a key


@dataclass(slots=True)  # not frozen: it would take four times as long to make
class Call:
    """Run a script."""

    script: Script
    keys: tuple[str, ...]
    args: tuple[str | int, ...]
    timed: bool = True  #: whether the script takes the caller's boot clock and its time (see lua/lib/wan.lua)
    durability: Durability | None = None
    """what must confirm its grant, asked on the same connection: WAIT counts only the writes of that"""
    wan_idx: int | None = None  #: the WAN whose script it is; None: a script of the namespace
    alike: int = 0  #: how many of its first arguments many calls share: these are packed once

    @property
    def subject(self) -> str:
        """The key whose contents it returns, or the beginning of its keys' names."""
        what = {"held": "held:{}", "snapshot": "config", "explain": "grants", "leases": "grants", "census": "grants"}
        what |= {"verdicts": "health", "events": "events", "counters": "counters"}
        last = what.get(self.script.name, "*").format(*self.args[:1])
        return self.keys[0].rpartition(":")[0] + ":" + last

    def timed_args(self, clock: str, boottime: float) -> tuple[str | int, ...]:
        """The arguments as the script gets them; `clock` names the boot clock, or is "" for none."""
        return (clock, milliseconds(boottime), *self.args) if self.timed else self.args


@dataclass(frozen=True, slots=True)
class Ask:
    """Run a Redis command that changes nothing."""

    words: tuple[str, ...]
    on_all_primaries: bool = False
    """whether each primary is asked: the reply is then a list of pairs, a server's name and its reply (None: silent)"""

    at: str = ""  #: the name of the one server to ask; "": the one that has the keys

    @property
    def subject(self) -> str:
        """What it asks about, for a message."""
        return " ".join(self.words[1:2] or self.words)

    @property
    def keys(self) -> tuple[str, ...]:
        if self.words[0] == "EVAL":
            return self.words[3 : 3 + int(self.words[2])]
        return self.words[1:2] if self.words[0] in KEYED else ()


@dataclass(frozen=True, slots=True)
class Sleep:
    """Sleep for these seconds, or until `ticket` is called in one of these WANs."""

    seconds: float
    ticket: str
    wans: tuple[int, ...]


@dataclass(slots=True)  # not frozen: it would take four times as long to make
class Answer:
    """The result of a step, and its time.

    Of a Call or Ask: Redis's reply, and the local time before it was sent. Of a Sleep: the seconds until a port is
    there, if a call cut it short, or None, and the local time at its end. Of a Resolve: the addresses. Of a Try: a
    Failure or None. Of a Look: the same for each port. Of a Connect: a socket or a Failure. Of a Parallel: the
    results of the conversations, or errors.
    """

    reply: Any
    sent: float
    repeated: bool = False  #: whether it was sent twice, so that both may have been executed
    confirmed: int | None = None  #: how many of the servers that must confirm the grant of a Call did


@dataclass(frozen=True, slots=True)
class Resolve:
    """Find the IPv4 addresses of a (host, port)."""

    address: Address


@dataclass(frozen=True, slots=True)
class Try:
    """See whether the system would refuse a port."""

    lease: LeaseState
    source_address: str


@dataclass(frozen=True, slots=True)
class Look:
    """See whether plain sockets, without SO_REUSEADDR, can have ports on this system."""

    ports: tuple[int, ...]
    closed: bool = False  #: whether their connections were just closed


@dataclass(frozen=True, slots=True)
class Remembers:
    """See whether a WAN that the data lacks surely never was: True, False, or None where only a grace can help.

    The embedded server can tell: all that may hold its leases are processes of this machine.
    """


@dataclass(frozen=True, slots=True)
class Connect:
    """Connect from this source port, to the first target that answers; the end of the socket ends the lease."""

    lease: LeaseState
    targets: tuple[Address, ...]
    timeout: float | None
    source_address: str
    close_on_loss: bool


@dataclass(frozen=True, slots=True)
class Parallel:
    """Run several conversations, each about one WAN, side by side where their keys are on different servers."""

    branches: tuple[tuple[str, "Conversation[Any]"], ...]  #: a key of the WAN, and the conversation


UNREADABLE = (ValueError, TypeError, LookupError, AttributeError)  #: what goes wrong when foreign contents are read

Step = Call | Ask | Sleep | Resolve | Try | Look | Remembers | Connect | Parallel
Conversation = Generator[Step, Answer, T]


def answered(conversation: Conversation[T], step: Step, answer: Answer) -> Step:
    """Tells a conversation the answer to its step; returns the next one.

    Raises:
        WanpoolError: it cannot read what Redis said. All replies pass here, so that no reader has to check them.
    """
    try:
        return conversation.send(answer)
    except WanpoolError:
        raise
    except UNREADABLE as error:
        if not isinstance(step, (Call, Ask)):
            raise
        raise WanpoolError(
            f"{step.subject} was not written by this version of redis-wanpool ({error}); use the same version on all "
            "machines, and see: wanpool doctor"
        ) from error
