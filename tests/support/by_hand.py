"""Redis spoken to by hand: scripts without a client, a WAN made older, the commands that were sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redis_wanpool.protocol.keys import WanKeys, namespace_keys
from redis_wanpool.protocol.scripts import script

NAMESPACE_SCRIPTS = ("claim", "unclaim", "register", "unregister", "neighbours", "judge", "retire", "verdicts")
"""scripts of a namespace; they do not want to know the caller's boot clock"""

WHO = "test@here"
BETWEEN: dict[str, tuple[int, str | int]] = {
    **dict.fromkeys(("drain", "open", "withhold", "restore", "revoke", "reap"), (0, WHO)),
    **{"resize": (2, WHO), "release": (1, 0)},
}
"""script -> an argument that is the same in all tests, and before which of the others it stands"""


def age_wan(admin: Any, seconds: float, wan_idx: int = 0, namespace: str = "test") -> None:
    """Makes everything in a WAN older, instead of sleeping."""
    prefix = f"wanpool:{{{namespace}:{wan_idx}}}:"
    ms = round(seconds * 1000)
    scored = [name for kind in ("resting", "rejected") for name in admin.scan_iter(f"{prefix}{kind}:*")]
    for name in [prefix + "leased", prefix + "cooling", prefix + "quarantined", *scored]:
        for port, _ in admin.zrange(name, 0, -1, withscores=True):
            admin.zincrby(name, -ms, port)
    for port, grant in admin.hgetall(prefix + "grants").items():
        if not port.isdecimal():
            continue
        words = grant.split(" ")
        words[4] = str(max(0, int(words[4]) - ms))
        admin.hset(prefix + "grants", port, " ".join(words))
    scores = [admin.zrange(prefix + name, 0, 0, withscores=True) for name in ("leased", "cooling")]
    admin.hset(prefix + "grants", "due_ms", round(min((found[0][1] for found in scores if found), default=1e16)))
    for name in admin.scan_iter(prefix + "lease:*"):
        left = admin.pttl(name) - ms
        admin.pexpire(name, left) if left > 0 else admin.delete(name)


def change_rules(admin: Any, wan_idx: int = 0, namespace: str = "test", **rules: Any) -> None:
    """Changes rules of a WAN, and has the scripts read them anew."""
    prefix = f"wanpool:{{{namespace}:{wan_idx}}}:"
    admin.hset(prefix + "config", mapping=rules)
    admin.hdel(prefix + "grants", "rules")


def age_lease(admin: Any, pool: Any, lease: Any, seconds: float, then: Callable[[], Any] = lambda: None) -> None:
    """Makes a lease, and all else in its WAN, older for its holder too, who notices as it would have by and by.

    What is left of a long one has the margin of a long one: a loaded machine is not late by as much.
    """
    age_wan(admin, seconds, lease.wan_idx, lease.namespace)
    then()  # before its heartbeat, which is due now, may renew it
    for name in ("expires_at", "deadline", "renew_at"):
        setattr(lease, name, getattr(lease, name) - seconds)
    pool._engine.loss_watch.due(lease.deadline)
    pool._engine.heartbeat.due(lease.renew_at)


def heard(admin: Any, action: Callable[[], Any], by: str = "scripts") -> list[list[str]]:
    """The commands that scripts called meanwhile, or that clients sent."""
    with admin.monitor() as monitor:
        action()
        admin.echo("over")
        commands = []
        while not (seen := monitor.next_command())["command"].endswith("over"):
            if (seen["client_type"] == "lua") == (by == "scripts"):
                commands.append(seen["command"].split(" "))
        return commands


def run_script(admin: Any, name: str, *args: Any, clock: tuple[str, int] = ("", 0)) -> list[Any]:
    """Runs a script by hand, on WAN 0 of namespace "test"."""
    keys = namespace_keys("test") if name in NAMESPACE_SCRIPTS else WanKeys.of("test", 0).declared
    first = () if name in (*NAMESPACE_SCRIPTS, "events") else clock
    if name in BETWEEN:
        at, word = BETWEEN[name]
        args = (*args[:at], word, *args[at:])
    return admin.eval(script(name).source, len(keys), *keys, *first, *args)
