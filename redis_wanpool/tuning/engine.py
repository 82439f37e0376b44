"""Applies a plan, and takes it back: journal first, then write, then read back."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from redis_wanpool.tuning import WHO, Change, Item, NotElevated, System, TuningError, Unreadable, Value
from redis_wanpool.tuning.journal import begin, close, forget, read_all, take_back


@dataclass(frozen=True, slots=True)
class Applied:
    """What was done."""

    done: tuple[Change, ...]
    besides: tuple[str, ...]  #: what changed in the same places, though nobody asked for it


@dataclass(frozen=True, slots=True)
class Undone:
    """What was taken back."""

    done: tuple[Change, ...]  #: from the value before to the value now
    left: tuple[Change, ...]  #: what somebody else changed since: from the value now to the one before


def apply(system: System, changes: Sequence[Change]) -> Applied:
    """Does it all, in order; nothing when there is nothing to do.

    Raises:
        NotElevated: only an administrator may; nothing was done.
        TuningError: somebody else changed an item meanwhile, or could not be written; the message says what holds.
    """
    if not changes:
        return Applied((), ())
    _refuse_strangers(system, changes)
    _elevated(system)
    for change in changes:
        _still(system, change)
    stood = _beside(system, changes)
    system.remember(system)
    journal = begin(system.folder, system.machine, changes)
    done: list[Change] = []
    for change in changes:
        tried = False
        try:
            _still(system, change)
            tried = True
            _put(system, change.item, change.after)
        except TuningError as error:
            if not done and (not tried or _reads(system, change.item, change.before)):
                forget(journal)
                raise
            what = f"{len(done)} of {len(changes)} changes were made before, and stand"
            raise type(error)(f"{error}. {what}; take them back with: wanpool tune undo") from None
        done.append(change)
    names = {(change.item.store, change.item.where, change.item.name.casefold()) for change in changes}
    besides = [
        f"{where}\\{name}: {_text(before.get(name))} -> {_text(after.get(name))}"
        for (store, where), after in _beside(system, changes).items()
        for before in (stood[store, where],)
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name) and (store, where, name.casefold()) not in names
    ]
    return Applied(tuple(done), tuple(besides))


def undo(system: System, *, force: bool = False) -> Undone:
    """Takes back all that was applied, the last first; what somebody else changed since only by `force`.

    Raises:
        NotElevated: only an administrator may; nothing was done.
        TuningError: a journal is not of this machine, or items could not be restored, but all others were; ask again
            then.
    """
    journals = [journal for journal in reversed(read_all(system.folder)) if journal.undone_at is None]
    now: dict[Item, Value | None] = {}
    unread: dict[Item, Unreadable] = {}
    steps: dict[Path, list[Change]] = {}
    left: dict[Path, list[Change]] = {}
    for journal in journals:
        if journal.machine != system.machine:
            raise TuningError(f"{journal.path}: the journal of another machine; nothing was changed. Set it aside")
        _refuse_strangers(system, journal.changes)
        steps[journal.path], left[journal.path] = [], []
        for change in reversed(journal.changes):
            item = change.item
            if item not in now and item not in unread:
                try:
                    now[item] = system.read(item)
                except Unreadable as error:
                    unread[item] = error
            if item in unread or now[item] == change.before:
                continue
            step = Change(item, now[item], change.before, change.needs_restart)
            if now[item] != change.after and not force:
                left[journal.path].append(step)
                continue
            steps[journal.path].append(step)
            now[item] = change.before
    done = [step for found in steps.values() for step in found]
    if done:
        _elevated(system)
        system.remember(system)
        journals = [take_back(one, steps[one.path]) if steps[one.path] else one for one in journals]
    failures: list[TuningError] = list(unread.values())
    for step in done:
        try:
            _put(system, step.item, step.after)
        except TuningError as error:
            failures.append(error)
    if failures:
        wanted = len(done) + len(unread)
        what = f"{wanted - len(failures)} of {wanted} changes were taken back; ask for the rest again"
        raise type(failures[0])(f"{'; '.join(map(str, failures))}. {what}: wanpool tune undo")
    for journal in journals:
        if not left[journal.path]:
            close(journal)
    return Undone(tuple(done), tuple(step for found in left.values() for step in found))


def pending(system: System) -> list[Item]:
    """What was written since the machine started, and is in effect only after a restart."""
    found = dict.fromkeys(item for item, _ in _since_start(system))
    return [item for item in found if value_at_start(system, item) != system.told(item)[0]]


def value_at_start(system: System, item: Item) -> Value | None:
    """What stood there when the machine started, as far as the journals know. Raises Unreadable."""
    for changed, value in _since_start(system):
        if changed == item:
            return value
    return system.read(item)


def _since_start(system: System) -> list[tuple[Item, Value | None]]:
    """Items that need a restart and were written since the last one, in order of time; what stood there before."""
    journals = read_all(system.folder)
    events = [(journal.written_at, change) for journal in journals for change in journal.changes]
    events += [event for journal in reversed(journals) for event in journal.undone]
    return [
        (change.item, change.before)
        for at, change in sorted(events, key=lambda event: event[0])
        if change.needs_restart and at > system.booted_at
    ]


def _refuse_strangers(system: System, changes: Sequence[Change]) -> None:
    for change in changes:
        if change.item.store not in system.stores or not system.is_declared(change.item):
            raise TuningError(f"{change.item} is none of the settings that wanpool tune changes; nothing was changed")


def _elevated(system: System) -> None:
    if system.is_elevated() is False:
        raise NotElevated(f"only {WHO} may change these settings; nothing was changed. Run it as {WHO}")


def _still(system: System, change: Change) -> None:
    if (now := system.read(change.item)) != change.before:
        raise TuningError(f"{change.item} was {_text(change.before)} and is {_text(now)} now; make a new plan")


def _put(system: System, item: Item, value: Value | None) -> None:
    system.stores[item.store].write(item, value)
    if (now := system.read(item)) != value:
        raise TuningError(f"{item} is {_text(now)} after {_text(value)} was written: the system did not take it")


def _reads(system: System, item: Item, value: Value | None) -> bool:
    return system.told(item) == (value, "")


def _beside(system: System, changes: Sequence[Change]) -> dict[tuple[str, str], dict[str, Value]]:
    firsts = {(change.item.store, change.item.where): change.item for change in changes}
    return {place: dict(system.stores[place[0]].beside(item)) for place, item in firsts.items()}


def _text(value: Value | None) -> str:
    return "absent" if value is None else str(value)
