"""Who has sockets on the pool's ports right now, on this machine, without a lease."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import psutil

from redis_wanpool.doctor import OK, WARN, Finding
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
        means = said("so whether others use the pool's ports is not judged", "因此未判断是否有其他程序占用端口池的端口")
        yield Finding(WARN, "unseen", (), said("the system does not list sockets", "系统不提供套接字列表"), means)
        return
    strangers = sorted(before & after, key=lambda one: (one.port, one.peer))
    listened_on = {one.port for one in strangers if one.listens}
    strangers = [one for one in strangers if one.port not in leased and (one.listens or one.port not in listened_on)]
    if not strangers:
        seen = said("nobody here uses the pool's ports without a lease", "本机没有程序不经租用而使用端口池的端口")
        yield Finding(OK, "occupied", (), seen)
        return
    told = ", ".join(_told(one) for one in strangers[:SHOWN])
    if len(strangers) > SHOWN:
        told += said(f" and {len(strangers) - SHOWN} more", f" 以及另外 {len(strangers) - SHOWN} 个")
    seen = said(f"sockets on the pool's ports without a lease: {told}", f"未经租用而占用端口池端口的套接字：{told}")
    means = said(
        "who leases such a port is refused it and takes another; its connections and a holder's collide in the NAT",
        "租到该端口的程序会被系统拒绝并换用其他端口；其连接会与持有者的连接在 NAT 中冲突",
    )
    cure = said(
        "move that program, or take its ports out of the WAN: wanpool resize",
        "请更换该程序的端口，或将这些端口移出 WAN：wanpool resize",
    )
    yield Finding(WARN, "occupied", (), seen, means, cure)


def _told(one: Taken) -> str:
    who = f"{one.program} (pid {one.pid})"
    if one.pid is None:
        who = said("a program that this user cannot see", "此用户看不到的程序")
    return f"{one.port} " + (said("listening", "监听") if one.listens else f"-> {one.peer}") + f", {who}"
