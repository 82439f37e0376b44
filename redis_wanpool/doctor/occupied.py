"""Who has sockets on the pool's ports right now, on this machine, without a lease."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import psutil

from redis_wanpool.doctor.finding import OK, WARN, Finding, found
from redis_wanpool.terminal.language import said

_ALIVE = {psutil.CONN_LISTEN, psutil.CONN_ESTABLISHED, psutil.CONN_SYN_SENT, psutil.CONN_CLOSE_WAIT}
"""the others are of connections that end"""
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Taken:
    """A socket on a port of the pool."""

    port: int
    listens: bool
    peer: str
    program: str  #: "" if this user may not know
    pid: int | None


def look(ports: Collection[int]) -> frozenset[Taken] | None:
    """The sockets on these ports that this user can see; None if the system does not tell."""
    wanted = frozenset(ports)
    try:
        found = psutil.net_connections(kind="tcp")
    except (psutil.Error, OSError, RuntimeError):
        return None
    return frozenset(
        Taken(
            one.laddr.port,
            one.status == psutil.CONN_LISTEN,
            f"{one.raddr.ip}:{one.raddr.port}" if one.raddr else "",
            _program(one.pid),
            one.pid,
        )
        for one in found
        if one.status in _ALIVE and one.laddr and one.laddr.port in wanted
    )


def _program(pid: int | None) -> str:
    try:
        return "" if pid is None else psutil.Process(pid).name()
    except psutil.Error:
        return ""


def judge(
    before: frozenset[Taken] | None, leased: Collection[int], after: frozenset[Taken] | None
) -> Iterator[Finding]:
    """What it means that the sockets `before` are there `after` still, while only these ports were leased here.

    A connection is made after its port was leased, and ended before it is given back: what was there throughout, and
    had no lease in between, has none.
    """
    if before is None or after is None:
        yield found(WARN, "unseen/sockets")
        return
    strangers = sorted(before & after, key=lambda one: (one.port, one.peer))
    listened_on = {one.port for one in strangers if one.listens}
    strangers = [one for one in strangers if one.port not in leased and (one.listens or one.port not in listened_on)]
    if not strangers:
        yield found(OK, "occupied/nobody")
        return
    told = ", ".join(_told(one) for one in strangers[:SHOWN])
    if len(strangers) > SHOWN:
        told += said(" and {more} more", more=len(strangers) - SHOWN)
    yield found(WARN, "occupied/strangers", told=told)


def _told(one: Taken) -> str:
    who = f"{one.program} (pid {one.pid})"
    if one.pid is None:
        who = said("a program that this user cannot see")
    return f"{one.port} " + (said("listening") if one.listens else f"-> {one.peer}") + f", {who}"
