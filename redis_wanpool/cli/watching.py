"""`wanpool status --watch`: a screen to work at, or in a pipe the same again and again."""

import sys
from collections import deque
from dataclasses import dataclass, field

from redis_wanpool import Operator
from redis_wanpool.cli.status import document, look_at_all, overview, tell_troubles
from redis_wanpool.cli.verb import DONE, print_json
from redis_wanpool.errors import BackendUnavailable, WanpoolError
from redis_wanpool.model.holder import host_and_pid
from redis_wanpool.model.views import WanStatus
from redis_wanpool.system.clock import boottime
from redis_wanpool.terminal.format import one_line, span, table, wrapped
from redis_wanpool.terminal.language import said
from redis_wanpool.terminal.screen import FullScreen, bar, size, sparks
from redis_wanpool.watch.paced import Paced

Lines = list[tuple[str, str]]
HOLDERS_EVERY = 2.0  #: seconds between two looks at least, for it takes a call for each thousand leases
LOOKS = 60  #: that the rates go back
SIGNS = ("leased", "cooling", "withheld", "free")
END, ENTER, ESCAPE, ERASE = ("q", "Q"), ("\r", "\n"), "\x1b", ("\x7f", "\b")
UP, DOWN = ("k", "\x1b[A", "\x1bOA"), ("j", "\x1b[B", "\x1bOB")


@dataclass(slots=True)
class View:
    """What its user has chosen to see."""

    filter: str = ""
    is_typing: bool = False
    by_name: bool = False
    first: int = 0
    ended: bool = False
    rates: dict[int, deque[float]] = field(default_factory=dict)
    last: dict[int, tuple[float, int]] = field(default_factory=dict)

    def press(self, key: str) -> None:
        """What a key does."""
        if self.is_typing:
            self._type(key)
        elif key in END:
            self.ended = True
        elif key == "/":
            self.is_typing, self.filter, self.first = True, "", 0
        elif key == ESCAPE:
            self.filter = ""
        elif key == "s":
            self.by_name = not self.by_name
        elif key in UP or key in DOWN:
            self.first = max(0, self.first + (1 if key in DOWN else -1))

    def _type(self, key: str) -> None:
        if key in ENTER or key == ESCAPE:
            self.is_typing = False
            self.filter = "" if key == ESCAPE else self.filter
        elif key in ERASE:
            self.filter = self.filter[:-1]
        elif key.isprintable():
            self.filter += key

    def count(self, wans: list[WanStatus]) -> None:
        """Notes how many leases each WAN granted since the last look."""
        now = boottime()
        for wan in wans:
            if wan.counters is None:
                continue
            before, granted = self.last.get(wan.seen.wan_idx, (now, wan.counters.granted))
            if now > before:
                rate = max(0, wan.counters.granted - granted) / (now - before)
                self.rates.setdefault(wan.seen.wan_idx, deque(maxlen=LOOKS)).append(rate)
            self.last[wan.seen.wan_idx] = now, wan.counters.granted


def watch(operator: Operator, every: float, *, as_json: bool) -> int:
    """Looks again and again, until it is interrupted; also while Redis does not answer."""
    if as_json or not sys.stdout.isatty():
        return _follow(operator, every, as_json=as_json)
    screen, view = FullScreen(), View()
    lines: Lines = []
    since: float | None = None
    wans: list[WanStatus] = []
    holders = Paced(lambda: holders_of(operator, wans), HOLDERS_EVERY)
    rows: list[list[str]] = []
    due, trouble = 0.0, ""
    with screen.entered():
        try:
            while not view.ended:
                if boottime() >= due:
                    try:
                        seen = look_at_all(operator)
                        wans[:] = seen.wans
                        view.count(wans)
                        lost = [(line, "red") for one in seen.troubles.values() for line in wrapped(one, size()[0])]
                        lines = [*overview(operator, seen), *lost, *_bars(wans, view)]
                        rows, since, trouble = holders.get(), None, ""
                    except WanpoolError as error:
                        since = boottime() if since is None else since
                        trouble = said("for {since}: {error}", since=span(boottime() - since), error=error)
                        rows = []
                    due = boottime() + every
                screen.show(_under(trouble, [*lines, *_held(rows, view)], view))
                for key in screen.keys(max(0.0, due - boottime())):
                    view.press(key)
        except KeyboardInterrupt:
            pass
    return DONE


def holders_of(operator: Operator, wans: list[WanStatus]) -> list[list[str]]:
    """Who holds how many ports: process, program, network, how many, and in which WANs; those with most first."""
    programs = {holder.id: holder.program for holder in operator.holders()}
    counts: dict[tuple[str, str], dict[int, int]] = {}
    for wan_idx, of_wan in operator.census([wan.seen.wan_idx for wan in wans]).items():
        for who, count in of_wan.items():
            counts.setdefault(who, {})[wan_idx] = count
    rows = []
    for (holder, network), of_wans in sorted(counts.items(), key=lambda pair: -sum(pair[1].values())):
        host, pid = host_and_pid(holder)
        process = f"{host}:{pid}" if pid else f"{host} " + said("(detached)")
        where = ", ".join(f"WAN {wan_idx}: {count}" for wan_idx, count in of_wans.items())
        words = process, programs.get(holder, ""), network
        rows.append([str(sum(of_wans.values())), *map(one_line, words), where])
    return rows


def _held(rows: list[list[str]], view: View) -> Lines:
    chosen = [row for row in rows if view.filter.lower() in " ".join(row).lower()]
    if view.by_name:
        chosen.sort(key=lambda row: row[1:])
    view.first = min(view.first, max(0, len(chosen) - 1))
    if not chosen:
        return []
    heads = [said("leased"), said("process"), said("program"), said("network"), ""]
    first, *others = table([heads, *chosen[view.first :]], right=(0,))
    return [("", ""), (first, "bold"), *((line, "") for line in others)]


def _under(trouble: str, lines: Lines, view: View) -> Lines:
    """The lines below what is the matter, then as what was seen last; or below what the keys do."""
    if trouble:
        said_lines = wrapped(one_line(trouble), size()[0])
        return [*((text, "red") for text in said_lines), *((text, "dim") for text, _ in lines)]
    if view.is_typing or view.filter:
        return [("/" + view.filter + ("_" if view.is_typing else ""), "bold"), *lines]
    return [(said("Ctrl-C ends; / filters, s sorts, j and k move the holders, q ends"), "dim"), *lines]


def _bars(wans: list[WanStatus], view: View) -> Lines:
    columns = max(10, size()[0] - 9)
    rows: Lines = []
    for wan in wans:
        parts = {name: getattr(wan.seen, name) for name in SIGNS}
        rows.append((f"WAN {wan.seen.wan_idx:<4} " + bar(parts, columns), ""))
    rates = [(wan.seen.wan_idx, view.rates[wan.seen.wan_idx]) for wan in wans if wan.seen.wan_idx in view.rates]
    busy = [
        (f"WAN {wan_idx:<4} {sparks(list(some))} {some[-1]:.1f} " + said("grants/s"), "")
        for wan_idx, some in rates
        if any(some)
    ]
    legend = said("█ leased  ▒ cooling  x withheld  · free")
    return [("", ""), *rows, ("", ""), (legend, "dim"), *busy]


def _follow(operator: Operator, every: float, *, as_json: bool) -> int:
    """The same in a pipe: a document a line, or the overview again."""
    screen = FullScreen()
    try:
        while True:
            try:
                seen = look_at_all(operator)
                if as_json:
                    print_json(**document(operator, seen))
                else:
                    print("\n".join(text for text, _ in overview(operator, seen)), flush=True)
                    tell_troubles(seen.troubles)
            except BackendUnavailable as error:
                print(f"wanpool: {error}", file=sys.stderr, flush=True)
            screen.sleep(every)
    except KeyboardInterrupt:
        return DONE
