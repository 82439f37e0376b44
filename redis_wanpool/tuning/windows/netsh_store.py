"""What netsh shows and sets, as a store; whether it worked is seen by reading back, not by what it says."""

import re
from collections.abc import Callable
from typing import TypeVar

from redis_wanpool.system.netsh import EXCLUDED, LEVELS, Excluded, autotuning, dynamic_ports, excluded_ports, run
from redis_wanpool.tuning import Item, NotElevated, TuningError, Unreadable, Value

_Told = TypeVar("_Told")
_ELEVATION = re.compile(r"elevat|élévation|administra|提升|管理员|관리자", re.IGNORECASE)
_RANGE = re.compile(r"\d{1,5}-\d{1,5}")
Runner = Callable[[list[str]], tuple[int, str]]  #: runs netsh with these words: its exit code, and what it printed


class Netsh:
    """A store of what netsh sets: ("dynamicport", "ipv4 tcp"), ("excludedportrange", "20000-21999"), ("global",
    "autotuninglevel")."""

    def __init__(self, runner: Runner = run) -> None:
        self._run = runner

    def dynamic(self, family: str) -> tuple[int, int]:
        """The ports that Windows gives to programs that choose none, first and last. Raises Unreadable."""
        return self._told(["int", family, "show", "dynamicport", "tcp"], dynamic_ports)

    def excluded(self) -> tuple[Excluded, ...]:
        """The ports that it keeps; they count for IPv6 as well. Raises Unreadable."""
        return self._told(EXCLUDED, excluded_ports)

    def autotuning(self) -> str:
        """The level that is in effect. Raises Unreadable."""
        return self._told(["int", "tcp", "show", "global"], autotuning)

    def _told(self, words: list[str], parse: Callable[[str], _Told | None]) -> _Told:
        code, text = self._run(words)
        found = parse(text) if code == 0 else None
        if found is None:
            raise Unreadable(f"netsh {' '.join(words)}: {_first_line(text) or 'says nothing'} (exit code {code})")
        return found

    def read(self, item: Item) -> Value | None:
        if item.where == "dynamicport":
            first, last = self.dynamic(item.name.split(" ")[0])
            return Value("range", f"{first}-{last}")
        if item.where == "global":
            return Value("level", self.autotuning())
        first, last = map(int, item.name.split("-"))
        return Value("range", item.name) if Excluded(first, last, True) in self.excluded() else None

    def write(self, item: Item, value: Value | None) -> None:
        words = self.command(item, value)
        code, text = self._run(words)
        if code != 0:
            said = f"netsh {' '.join(words)}: {_first_line(text) or 'says nothing'} (exit code {code})"
            if _ELEVATION.search(text):
                raise NotElevated(f"{said}. Run it as administrator, from an elevated prompt")
            busy = ". Ports that a program has in use cannot be excluded: end it, and try again"
            raise TuningError(said + busy * (item.where == "excludedportrange"))

    @staticmethod
    def command(item: Item, value: Value | None) -> list[str]:
        """The words for netsh."""
        if item.where == "global":
            if value is None or value.data not in LEVELS:
                raise TuningError(f"{item}: {value} is no autotuning level; nothing was written")
            return ["int", "tcp", "set", "global", f"autotuninglevel={value}"]
        text = str(item.name if item.where != "dynamicport" else value)
        if not _RANGE.fullmatch(text):
            raise TuningError(f"{item}: {text} is no range of ports; nothing was written")
        first, last = map(int, text.split("-"))
        count = last - first + 1
        if item.where == "dynamicport":
            return ["int", item.name.split(" ")[0], "set", "dynamicport", "tcp", f"start={first}", f"num={count}"]
        verb = "delete" if value is None else "add"
        ports = ["protocol=tcp", f"startport={first}", f"numberofports={count}", "store=persistent"]
        return ["int", "ipv4", verb, "excludedportrange", *ports]

    def beside(self, item: Item) -> dict[str, Value]:
        return {}


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
