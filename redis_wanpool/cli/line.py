"""How a WAN's line is, as the health check found it, for people and for programs."""

from typing import Any

from redis_wanpool.model.health import Health
from redis_wanpool.terminal.format import one_line, span
from redis_wanpool.terminal.language import said


def line_facts(health: Health, wan_idx: int) -> dict[str, Any]:
    """For programs; `state` is unknown where there is no verdict, or one that is too old to count."""
    verdict = health.verdicts.get(wan_idx)
    if verdict is None:
        facts = {"since": None, "checked_ago": None, "round_trip_ms": None, "checker": None, "why": None}
        return {"state": "unknown", "found": None, **facts}
    return {
        "state": verdict.state,
        "found": verdict.found,
        "since": verdict.since,
        "checked_ago": round(max(0.0, verdict.age), 3),
        "round_trip_ms": verdict.round_trip_ms,
        "checker": verdict.checker,
        "why": verdict.why,
    }


def down_text(health: Health, wan_idx: int) -> str:
    """For people, of a line that is down; else ""."""
    verdict = health.verdicts.get(wan_idx)
    if verdict is None or verdict.state != "down":
        return ""
    return said(
        "WAN {wan_idx}: its line is down since {since} ({why}); choices among several WANs pass it by",
        wan_idx=wan_idx,
        since=one_line(verdict.since),
        why=one_line(verdict.why),
    )


def line_text(health: Health, wan_idx: int) -> str:
    """For people, of any line that was checked; else ""."""
    verdict = health.verdicts.get(wan_idx)
    if verdict is None:
        return ""
    found = {"up": said("up"), "down": said("down")}[verdict.found]
    if verdict.state == "unknown":
        ago = span(abs(verdict.age))
        return said("unknown: the last check was {ago} ago, and found it {found}", ago=ago, found=found)
    trip = "" if verdict.round_trip_ms is None else f", {verdict.round_trip_ms:.1f} ms"
    why = f", {one_line(verdict.why)}" if verdict.why else ""
    return said("{found} since {since}{trip}{why}", found=found, since=one_line(verdict.since), trip=trip, why=why)
