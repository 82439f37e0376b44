"""From the rounds of a check to whether a line is up or down."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from redis_wanpool.health.probe import Probe
from redis_wanpool.model.health import Health, Judgement


@dataclass(frozen=True, slots=True)
class LineSeen:
    """A WAN's line after a round."""

    wan_idx: int
    was: str  #: "up", "down" or "unknown" before it
    state: str  #: "up" or "down"; "unknown" where there was nothing to learn yet
    probe: Probe

    def judgement(self) -> Judgement | None:
        """What to write down; None if the round says nothing of the line."""
        if self.state == "unknown" or self.probe.answered is None:
            return None
        return Judgement(self.wan_idx, self.state, self.probe.round_trip, self.probe.why)


class Lines:
    """Counts the rounds in a row in which a line answered, or did not.

    What was found before stands in Redis, so that a checker goes on where another one ended.
    """

    def __init__(self, fall: int, rise: int) -> None:
        self._fall = fall
        self._rise = rise
        self._rows: dict[int, tuple[bool, int]] = {}

    def begin_again(self) -> None:
        """Forgets the rows: another one checks meanwhile."""
        self._rows.clear()

    def weigh(self, probes: Mapping[int, Probe], health: Health) -> list[LineSeen]:
        """What each line is after a round, given the verdicts before it."""
        self._rows = {wan_idx: row for wan_idx, row in self._rows.items() if wan_idx in probes}
        return [self._weigh(wan_idx, health.state(wan_idx), probe) for wan_idx, probe in probes.items()]

    def _weigh(self, wan_idx: int, was: str, probe: Probe) -> LineSeen:
        if probe.answered is None:
            return LineSeen(wan_idx, was, was, probe)
        answered, count = self._rows.get(wan_idx, (probe.answered, 0))
        count = count + 1 if answered == probe.answered else 1
        self._rows[wan_idx] = probe.answered, count
        if probe.answered:
            state = "down" if was == "down" and count < self._rise else "up"
            more = f"answers again, {count} of {self._rise}" if state == "down" else ""
        else:
            state = "down" if count >= self._fall else was
            more = f"{count} of {self._fall}" if state != "down" else ""
        why = " ".join(filter(None, (probe.why, f"({more})" if more else "")))
        return LineSeen(wan_idx, was, state, replace(probe, why=why))
