"""The words for how a lease ends: what holders ask for, what Redis notes, and what people read."""

from redis_wanpool.errors import InvalidValue
from redis_wanpool.model.checks import checked_flag

CLOSED = ("fin", "drained", "reset", "time_wait")  #: how a connection ends, as `Lease.release` takes it

CLEAN = "clean"
"""how it ends besides, as our sockets and a look at the port tell: nothing lingers on this system"""

OURS = frozenset({"released", "drained", "reset", "time_wait", "unused"})
"""How a lease ends when its own holder gave it back."""

KEPT_AFTER = frozenset({"released", "drained", "reset", CLEAN, "unused"})
"""How a use may end after which its port may be kept for the next one."""

REJECTS = {"rejected": "", "rejected after use": "used"}
"""end reasons of a port that the operating system refused -> what lua/reject.lua is told about its use"""

SAID = {
    "expired": "the lease expired",
    "unreachable": "Redis could not be reached in time to renew the lease",
    "data_lost": "Redis lost the data of the WAN, and the lease with it",
    "revoked": "an operator revoked the lease",
    "reaped": "the lease was taken back because its process seemed dead",
    "rejected": "the port was given back as refused by the operating system",
    "forked": "the lease belongs to the parent process",
    **dict.fromkeys(OURS, "the lease was released"),
}
"""how a lease ended -> the same in a sentence"""


def checked_closed(closed: str | None) -> None:
    """Raises InvalidValue for what is no end of a connection; None: nobody says."""
    if closed is not None and closed not in (*CLOSED, CLEAN):
        raise InvalidValue(f"closed {closed!r}: must be one of {', '.join(CLOSED)}, or None")


def end_reason(used: bool, closed: str) -> str:
    """The end reason of a lease that its holder gives back.

    Args:
        used: whether packets may have left from the port.
        closed: how its connection ended, one of `CLOSED`.
    """
    checked_closed(closed)
    if not checked_flag("used", used):
        return "unused"
    return "released" if closed == "fin" else closed


def final_word(end_reason: str) -> str:
    """The word that Redis notes for this end reason."""
    return (
        "rejected"
        if end_reason in REJECTS
        else {CLEAN: "released", "unseen": "released", "lingers": "unused"}.get(end_reason, end_reason)
    )
