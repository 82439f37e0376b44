"""What a page is told, as JSON has it."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from redis_wanpool.model.health import Health
from redis_wanpool.model.history import Event
from redis_wanpool.model.holder import Holder, host_and_pid
from redis_wanpool.model.places import PortMap
from redis_wanpool.model.ports import port_ranges
from redis_wanpool.model.views import PortSeen, WanStatus
from redis_wanpool.watch.reading import Held, Reading

MOST_ROWS, MOST_EVENTS = 200, 200
SLOT_MS = 1_800_000  #: half an hour, a bar of the timeline


def of_reading(reading: Reading) -> dict[str, Any]:
    """The WANs."""
    return {
        "at_ms": reading.at_ms,
        "checker": reading.health.checker,
        "wans": [_wan(one, reading) for one in reading.wans.values()],
        "troubles": [{"wan_idx": wan_idx, "error": error} for wan_idx, error in reading.troubles.items()],
    }


def _wan(one: WanStatus, reading: Reading) -> dict[str, Any]:
    seen, counters = one.seen, one.counters
    names = ("wan_idx", "name", "state", "total", "free", "leased", "cooling", "withheld", "rested", "graces")
    return {
        **{name: getattr(seen, name) for name in names},
        "quarantined": one.quarantined,
        "waiting": one.waiting,
        "grace_left": seen.grace_ms / 1000,
        "pace": round(one.pace, 3),
        "for_one_network": _rounded(one.for_one_network),
        "between_networks": _rounded(one.between_networks),
        "exhausted_in": _rounded(reading.exhausted_in.get(seen.wan_idx)),
        "granted": counters.granted if counters else 0,
        "ended": counters.ended if counters else {},
        "refused": counters.refused if counters else {},
        "line": _line(reading.health, seen.wan_idx),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _line(health: Health, wan_idx: int) -> dict[str, Any]:
    verdict = health.verdicts.get(wan_idx)
    if verdict is None:
        return {"state": "unchecked"}
    names = ("state", "found", "since", "checker", "why", "round_trip_ms")
    return {**{name: getattr(verdict, name) for name in names}, "age": round(max(0.0, verdict.age), 1)}


def of_holders(held: Sequence[Held]) -> dict[str, Any]:
    """Those that hold most, and how many there are besides."""
    rows = []
    for one in held[:MOST_ROWS]:
        host, pid = host_and_pid(one.holder)
        who = {"holder": one.holder, "host": host, "pid": pid, "program": one.program, "network": one.network}
        rows.append({**who, "wans": one.wans})
    return {"rows": rows, "more": max(0, len(held) - MOST_ROWS)}


def of_events(events: Sequence[Event], at_ms: int) -> dict[str, Any]:
    """The last ones, newest first; and how many of which kind there were in each half hour of a day."""
    slots = Counter((event.at_ms // SLOT_MS, event.what) for event in events)
    names = ("wan_idx", "id", "at_ms", "what", "count", "ports", "who", "holder", "label", "host", "network", "why")
    return {
        "rows": [{name: getattr(event, name) for name in names} for event in events[: -MOST_EVENTS - 1 : -1]],
        "all": len(events),
        "slots": [[slot * SLOT_MS, what, count] for (slot, what), count in sorted(slots.items())],
        "slot_ms": SLOT_MS,
        "at_ms": at_ms,
    }


def of_map(places: PortMap) -> dict[str, Any]:
    """A cell for each port."""
    return {
        "wan_idx": places.wan_idx,
        "ranges": port_ranges(places.ports),
        "states": places.states,
        "networks": places.networks,
        "whose": list(places.runs()),
    }


def of_port(seen: PortSeen, who: Holder | None) -> dict[str, Any]:
    """All about one port that may be shown: not its lease_id, which proves holding."""
    host, pid = host_and_pid(seen.holder) if seen.holder else ("", 0)
    lives = seen.ended == "live" and seen.due_ms > seen.now_ms
    left = max(0, seen.due_ms - seen.now_ms) / 1000 if seen.due_ms >= 0 else None
    return {
        "wan_idx": seen.wan_idx,
        "port": seen.port,
        "lives": lives,
        "becomes": seen.becomes,
        "left": left,
        "holder": seen.holder,
        "host": host,
        "pid": pid,
        "program": who.program if who else "",
        "network": seen.network,
        "label": seen.lease.get("label", ""),
        "acquired_at": seen.lease.get("acquired_at", ""),
        "ended": "" if seen.ended == "live" else seen.ended,
        "quarantine": seen.quarantine.get("reason", ""),
    }
