"""The lines of the WANs, as the health check found them."""

from collections.abc import Iterator

from redis_wanpool.doctor.finding import OK, WARN, Finding, found
from redis_wanpool.model.health import Health
from redis_wanpool.terminal.format import span


def judge(health: Health) -> Iterator[Finding]:
    """Which lines are down, and whether somebody still checks them; nothing where nobody ever did."""
    verdicts = health.verdicts.values()
    for verdict in verdicts:
        if verdict.state == "down":
            idx = verdict.wan_idx
            why, since = verdict.why or "-", verdict.since
            yield found(WARN, "line-down", (idx,), wan_idx=idx, since=since, why=why, checker=verdict.checker)
    late = [verdict for verdict in verdicts if verdict.state == "unknown"]
    if late:
        latest = min(late, key=lambda verdict: abs(verdict.age))
        which = tuple(verdict.wan_idx for verdict in late)
        ago, wans = span(abs(latest.age)), ", ".join(map(str, which))
        yield found(WARN, "lines-unchecked", which, wans=wans, checker=latest.checker, ago=ago)
    if health.unreadable:
        yield found(WARN, "lines-unreadable", fields=", ".join(map(ascii, health.unreadable[:10])))
    up = [str(verdict.wan_idx) for verdict in verdicts if verdict.state == "up"]
    if up:
        yield found(OK, "lines", wans=", ".join(up))
