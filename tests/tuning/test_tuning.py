"""A plan is applied and taken back, whatever stood there, whatever comes between; on machines that are made up."""

from __future__ import annotations

import itertools
import json
import os
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chance import LONG, SEED
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from tuned import BOOTED, FakeNetsh, MemoryRegistry, linux_machine, stands, windows_machine

from redis_wanpool import InvalidValue
from redis_wanpool.system.time_wait import noted
from redis_wanpool.tuning import (
    Change,
    Item,
    NotElevated,
    System,
    TuningError,
    Unreadable,
    Value,
    Wishes,
    engine,
    journal,
    plan,
)
from redis_wanpool.tuning.linux.settings import FILE, RESERVED, TIMESTAMPS
from redis_wanpool.tuning.windows.settings import FIN_WAIT_2, KEY, TIME_WAIT

POOL = range(20000, 22000)
ANY_TIME = settings(max_examples=max(10, round(60 * LONG)), deadline=None, suppress_health_check=list(HealthCheck))

DWORDS = st.integers(0, 2**32 - 1).map(lambda data: Value("REG_DWORD", data))
VALUES = st.one_of(
    DWORDS,
    st.text(max_size=5).map(lambda data: Value("REG_SZ", data)),
    st.binary(max_size=5).map(lambda data: Value("REG_BINARY", data)),
)
NAMES = ("TcpTimedWaitDelay", "TcpFinWait2Delay", "MaxUserPort", "DhcpNameServer", "TcpWindowSize")
REGISTRIES = st.dictionaries(st.sampled_from(NAMES), VALUES)
RANGES = st.tuples(st.integers(1025, 60000), st.integers(255, 5000))
NETSHES = st.builds(
    FakeNetsh,
    st.fixed_dictionaries({"ipv4": RANGES, "ipv6": RANGES}),
    st.sets(st.integers(12, 650), max_size=5).map(
        lambda blocks: [(block * 100, block * 100 + 49, "*" if block % 2 else "") for block in sorted(blocks)]
    ),
    st.sampled_from(("normal", "disabled", "restricted", "experimental")),
)
POOLS = st.lists(st.integers(10, 640), min_size=0, max_size=4, unique=True).map(
    lambda blocks: {port for block in blocks for port in range(block * 100, block * 100 + 70)}
)
WISHES = st.builds(Wishes, st.integers(2, 300), st.none(), st.one_of(st.none(), st.integers(30, 300)))
LISTS = st.sampled_from(("", "8080", "1,20500-20600,50000-50010", "20000-21999"))
FILES = st.sampled_from((None, "", "# mine\nnet.core.somaxconn = 4096\n", "net.ipv4.ip_local_reserved_ports = 9\n"))


def everything(system: System) -> dict[str, Any]:
    """All that can be seen of the machine but its journals."""
    registry = system.stores.get("registry")
    if isinstance(registry, MemoryRegistry):
        netsh: Any = system.stores["netsh"]
        run = netsh._run
        excluded = {f"excluded {row}": row for row in run.excluded}
        return {**registry.values, **run.dynamic, **excluded, "level": run.level}
    root = system.folder.parents[3]
    files = [path for part in ("proc", "etc") for path in (root / part).rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): path.read_text().split() for path in files}


@pytest.fixture(params=["windows", "linux"])
def make(request: Any, tmp_path: Path) -> Callable[..., System]:
    """A new machine at each call."""
    numbers = itertools.count()

    def made(
        registry: Any = None, netsh: Any = None, reserved: str = "8080", timestamps: str = "0", file: str | None = None
    ) -> System:
        root = tmp_path / f"{next(numbers)}"
        if request.param == "windows":
            return windows_machine(root, registry, netsh or FakeNetsh(level="disabled"))
        if file is not None:
            (root / FILE.lstrip("/")).parent.mkdir(parents=True)
            (root / FILE.lstrip("/")).write_text(file)
        return linux_machine(root, ip_local_reserved_ports=reserved, tcp_timestamps=timestamps)

    return made


@seed(SEED)
@pytest.mark.longer
@ANY_TIME
@given(REGISTRIES, NETSHES, LISTS, st.sampled_from("01"), FILES, POOLS, WISHES)
def test_whatever_stood_there(
    make: Any, registry: Any, netsh: Any, reserved: str, timestamps: str, file: Any, ports: set[int], wishes: Wishes
) -> None:
    system = make(registry, netsh, reserved, timestamps, file)
    before = everything(system)
    changes = plan(system.settings(ports, wishes))
    assert all(system.is_declared(change.item) for change in changes)
    assert everything(system) == before, "a plan changes nothing"
    applied = engine.apply(system, changes)
    assert applied == engine.Applied(tuple(changes), ()), "all of it, and nothing besides"
    assert plan(system.settings(ports, wishes)) == []
    assert stands(system, [change.item for change in changes]) == {change.item: change.after for change in changes}
    after = everything(system)
    assert sum(before.get(one) != after.get(one) for one in before | after) == len(changes), "and nothing else"
    undone = engine.undo(system)
    assert everything(system) == before
    assert len(undone.done) == len(changes) and not undone.left
    assert engine.undo(system) == engine.Undone((), ())


def test_nothing_to_do_writes_no_journal(make: Any) -> None:
    system = make()
    engine.apply(system, plan(system.settings(POOL)))
    engine.apply(system, plan(system.settings(POOL)))
    assert len(journal.read_all(system.folder)) == 1


class Killed(BaseException):
    """The process is gone, here."""


def test_a_kill_between_any_two_writes_loses_nothing(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each write of a store or a journal, applied or undone, is once the last: the kill comes before it, or after."""
    writes = 0
    last = -1

    def counted(write: Any, *args: Any) -> Any:
        nonlocal writes
        writes += 1
        if writes == last:
            raise Killed
        result = write(*args)
        if -writes == last:
            raise Killed
        return result

    for doing in ("apply", "undo"):
        for moment in itertools.count(1):
            for last_one in (moment, -moment):
                system = make()
                before = everything(system)
                changes = plan(system.settings(POOL))
                with monkeypatch.context() as patch:
                    for store in set(system.stores.values()):
                        patch.setattr(store, "write", lambda *args, write=store.write: counted(write, *args))
                    patch.setattr(journal, "_write", lambda *args, write=journal._write: counted(write, *args))
                    writes, last = 0, 0
                    if doing == "undo":
                        engine.apply(system, changes)
                    writes, last = 0, last_one
                    try:
                        engine.apply(system, changes) if doing == "apply" else engine.undo(system)
                    except Killed:
                        was_killed = True
                    else:
                        was_killed = False
                engine.undo(system)
                assert everything(system) == before, (doing, last_one)
                assert all(one.undone_at for one in journal.read_all(system.folder))
            if not was_killed:
                break
        assert moment > len(changes), "each write was the last one once"


def test_what_somebody_else_changed_since_is_left_alone(make: Any) -> None:
    system = make()
    before = everything(system)
    changes = plan(system.settings(POOL))
    engine.apply(system, changes)
    item = changes[-1].item if "sysctl" in system.stores else TIME_WAIT
    theirs = Value("file", "theirs") if "sysctl" in system.stores else Value("REG_DWORD", 77)
    system.stores[item.store].write(item, theirs)
    undone = engine.undo(system)
    assert system.read(item) == theirs
    assert [(one.item, one.before) for one in undone.left] == [(item, theirs)]
    assert len(undone.done) == len(changes) - 1
    assert engine.undo(system).left == undone.left, "it is not forgotten"
    assert engine.undo(system, force=True).done == undone.left
    assert everything(system) == before


def test_what_somebody_took_back_already_is_well(make: Any) -> None:
    system = make()
    changes = plan(system.settings(POOL))
    engine.apply(system, changes)
    system.stores[changes[0].item.store].write(changes[0].item, changes[0].before)
    undone = engine.undo(system)
    assert len(undone.done) == len(changes) - 1 and not undone.left


def test_several_applications_are_undone_to_the_start(make: Any) -> None:
    system = make()
    before = everything(system)
    for ports in (range(20000, 20100), range(20000, 20300), range(23000, 23010)):
        engine.apply(system, plan(system.settings(ports)))
    assert len(journal.read_all(system.folder)) == 3
    engine.undo(system)
    assert everything(system) == before


def test_a_plan_that_is_no_longer_true_is_refused(make: Any) -> None:
    system = make()
    changes = plan(system.settings(POOL))
    engine.apply(system, changes[:1])
    with pytest.raises(TuningError, match="make a new plan"):
        engine.apply(system, changes)
    assert len(journal.read_all(system.folder)) == 1


def test_who_comes_first_while_the_journal_is_written_is_left_alone(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    system = make()
    changes = plan(system.settings(POOL))
    begin = engine.begin

    def overtaken(*args: Any) -> Any:
        system.stores[changes[0].item.store].write(changes[0].item, changes[0].after)
        return begin(*args)

    monkeypatch.setattr(engine, "begin", overtaken)
    with pytest.raises(TuningError, match=r"make a new plan$"):
        engine.apply(system, changes)
    assert journal.read_all(system.folder) == [], "nothing was done, so undo has nothing to take back"


def refusing(patch: Any, system: System, verb: str, item: Item, error: type[Exception]) -> None:
    """Has the system refuse to read, or to write, one item."""
    store = system.stores[item.store]
    done = getattr(store, verb)

    def refuse(asked: Item, *value: Any) -> Any:
        if asked == item:
            raise error(f"{item}: no")
        return done(asked, *value)

    patch.setattr(store, verb, refuse)


def test_a_failure_half_way_says_what_stands(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    system = make()
    before = everything(system)
    changes = plan(system.settings(POOL))
    with monkeypatch.context() as patch:
        refusing(patch, system, "write", changes[1].item, TuningError)
        with pytest.raises(TuningError, match=rf"1 of {len(changes)} changes were made before, and stand.*undo"):
            engine.apply(system, changes)
    engine.undo(system)
    assert everything(system) == before


def test_what_cannot_be_taken_back_keeps_nothing_else_from_it(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    system = make()
    before = everything(system)
    changes = plan(system.settings(POOL))
    engine.apply(system, changes)
    item = changes[1].item
    told = rf"{re.escape(str(item))}: no. {len(changes) - 1} of {len(changes)} changes were taken back; ask .* again"
    with monkeypatch.context() as patch:
        refusing(patch, system, "write", item, TuningError)
        with pytest.raises(TuningError, match=told):
            engine.undo(system)
    assert engine.undo(system).done == (Change(item, changes[1].after, changes[1].before, changes[1].needs_restart),)
    assert everything(system) == before


def test_what_cannot_be_read_keeps_nothing_else_from_being_taken_back(make: Any, monkeypatch: Any) -> None:
    """IPv6 was switched off since, say, so that netsh tells nothing of its ports."""
    system = make()
    before = everything(system)
    changes = plan(system.settings(POOL))
    engine.apply(system, changes)
    told = rf"{re.escape(str(changes[0].item))}: no. {len(changes) - 1} of {len(changes)} changes were taken back"
    for force in (False, True):
        with monkeypatch.context() as patch:
            refusing(patch, system, "read", changes[0].item, Unreadable)
            with pytest.raises(TuningError, match=told if not force else "0 of 1 changes"):
                engine.undo(system, force=force)
    assert stands(system, [one.item for one in changes[1:]]) == {one.item: one.before for one in changes[1:]}
    assert [one.item for one in engine.undo(system).done] == [changes[0].item], "it is not forgotten"
    assert everything(system) == before


def test_a_write_that_does_nothing_is_noticed(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    system = make()
    changes = plan(system.settings(POOL))
    for store in set(system.stores.values()):
        monkeypatch.setattr(store, "write", lambda *_: None)
    with pytest.raises(TuningError, match="the system did not take it"):
        engine.apply(system, changes)
    assert journal.read_all(system.folder) == [], "nothing was done"


def test_who_is_no_administrator_leaves_nothing_behind(make: Any) -> None:
    system = make()
    with pytest.raises(NotElevated):
        engine.apply(replace(system, is_elevated=lambda: False), plan(system.settings(POOL)))
    assert not system.folder.exists()


def test_a_registry_that_refuses_is_told_as_such(tmp_path: Path) -> None:
    """The check for an administrator said nothing, or yes; the attempt is the truth."""
    system = windows_machine(tmp_path, registry=MemoryRegistry(read_only=True))
    changes = [change for change in plan(system.settings(POOL)) if change.item.store == "registry"]
    with pytest.raises(NotElevated, match="only an administrator"):
        engine.apply(system, changes)
    assert journal.read_all(tmp_path) == []


# -- journals


def test_the_journal_is_on_disk_before_the_first_write(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    system = make()
    changes = plan(system.settings(POOL))
    synced: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synced.append(descriptor), fsync(descriptor)))
    seen: list[Any] = []
    store = system.stores[changes[0].item.store]
    write = store.write
    monkeypatch.setattr(
        store, "write", lambda *args: (seen.append((len(synced), journal.read_all(system.folder))), write(*args))
    )
    engine.apply(system, changes)
    syncs, (first,) = seen[0]
    assert syncs == 2, "the file and its folder"
    assert list(first.changes) == changes and first.machine == system.machine


def test_applications_at_once_have_journals_of_their_own(make: Any) -> None:
    system = make()
    changes = plan(system.settings(POOL))
    with ThreadPoolExecutor(8) as threads:
        begun = list(threads.map(lambda _: journal.begin(system.folder, system.machine, changes), range(40)))
    assert len({one.path for one in begun}) == 40
    assert {one.path for one in journal.read_all(system.folder)} == {one.path for one in begun}
    assert len(list(system.folder.iterdir())) == 40, "and nothing else is left"


def test_a_journal_of_another_machine_is_refused(make: Any) -> None:
    system = make()
    engine.apply(system, plan(system.settings(POOL)))
    after = everything(system)
    with pytest.raises(TuningError, match="another machine"):
        engine.undo(replace(system, machine="elsewhere"))
    assert everything(system) == after


@pytest.mark.parametrize(
    "item",
    [
        Item("registry", r"HKLM\SYSTEM\CurrentControlSet\Control\Lsa", "Notification Packages"),
        Item("registry", KEY, "MaxUserPort"),
        Item("netsh", "excludedportrange", "1-2 store=active"),
        Item("file", "/etc/passwd", ""),
        Item("sysctl", "", "kernel.core_pattern"),
        Item("sysctl", "", "../../etc/passwd"),
    ],
)
def test_a_journal_with_other_items_is_refused(make: Any, item: Item) -> None:
    """Who can write a journal must not be able to have an administrator write anywhere."""
    system = make()
    journal.begin(system.folder, system.machine, [Change(item, None, None)])
    before = everything(system)
    with pytest.raises(TuningError, match="none of the settings"):
        engine.undo(system)
    assert everything(system) == before


@pytest.mark.parametrize("text", ["", "{}", '{"changes": [{"store": 1}]}', "\x00"])
def test_a_broken_journal_is_told(make: Any, text: str) -> None:
    system = make()
    engine.apply(system, plan(system.settings(POOL)))
    (path,) = system.folder.glob("*.json")
    path.write_text(text)
    with pytest.raises(TuningError, match="not a journal"):
        engine.undo(system)


def test_a_journal_that_others_could_have_written_is_refused(make: Any) -> None:
    system = make()
    engine.apply(system, plan(system.settings(POOL)))
    (path,) = system.folder.glob("*.json")
    path.chmod(0o666)
    with pytest.raises(TuningError, match="others could have written it"):
        engine.undo(system)


@given(VALUES)
def test_values_survive_a_journal(value: Value) -> None:
    from redis_wanpool.tuning.journal import decoded, encoded

    assert decoded(json.loads(json.dumps(encoded(value)))) == value


# -- what waits for a restart


def test_a_restart_is_remembered_until_it_happened(tmp_path: Path) -> None:
    system = windows_machine(tmp_path)
    changes = plan(system.settings(POOL))
    assert engine.pending(system) == []
    engine.apply(system, changes)
    assert engine.pending(system) == [TIME_WAIT]
    assert engine.value_at_start(system, TIME_WAIT) is None
    assert noted(tmp_path) == 120, "what the pools of this machine go by until then"
    later = replace(system, booted_at=time.time())
    assert engine.pending(later) == [] and engine.value_at_start(later, TIME_WAIT) == Value("REG_DWORD", 30)
    engine.undo(later)
    assert engine.pending(later) == [TIME_WAIT]
    assert engine.value_at_start(later, TIME_WAIT) == Value("REG_DWORD", 30)
    assert engine.pending(system) == [], "without a restart between, nothing has changed"
    assert journal.read_all(tmp_path)[0].written_at > BOOTED


def test_what_undo_did_not_write_waits_for_no_restart(tmp_path: Path) -> None:
    """Somebody had taken it back by hand, and started the machine anew."""
    system = windows_machine(tmp_path)
    engine.apply(system, plan(system.settings(POOL)))
    system.stores["registry"].write(TIME_WAIT, None)
    later = replace(system, booted_at=time.time())
    assert TIME_WAIT not in [change.item for change in engine.undo(later).done]
    assert engine.value_at_start(later, TIME_WAIT) is None and engine.pending(later) == []


def test_what_undo_was_forced_to_write_over_is_in_effect_until_the_restart(tmp_path: Path) -> None:
    system = windows_machine(tmp_path)
    engine.apply(system, plan(system.settings(POOL)))
    theirs = Value("REG_DWORD", 300)
    system.stores["registry"].write(TIME_WAIT, theirs)
    later = replace(system, booted_at=time.time())
    engine.undo(later, force=True)
    assert engine.value_at_start(later, TIME_WAIT) == theirs and engine.pending(later) == [TIME_WAIT]


def test_what_an_undo_that_failed_elsewhere_wrote_waits_for_the_restart(tmp_path: Path) -> None:
    """netsh was never documented to set a start below 1025, though systems have it."""
    system = windows_machine(tmp_path, netsh=FakeNetsh({"ipv4": (1024, 64511), "ipv6": (49152, 16384)}))
    engine.apply(system, plan(system.settings(POOL)))
    later = replace(system, booted_at=time.time())
    for _ in range(2):
        with pytest.raises(TuningError, match="start=1024"):
            engine.undo(later)
        assert system.read(TIME_WAIT) is None
        assert engine.value_at_start(later, TIME_WAIT) == Value("REG_DWORD", 30)
        assert engine.pending(later) == [TIME_WAIT]


@pytest.mark.parametrize("wishes", [Wishes(time_wait=1), Wishes(301), Wishes(True), Wishes(fin_wait_2=29)])
def test_wishes_out_of_range_are_refused_before_anything_is_written(tmp_path: Path, wishes: Wishes) -> None:
    system = windows_machine(tmp_path)
    with pytest.raises(InvalidValue):
        system.settings(POOL, wishes)


def test_an_undocumented_value_is_written_on_request_only(tmp_path: Path) -> None:
    system = windows_machine(tmp_path)
    assert FIN_WAIT_2 not in [change.item for change in plan(system.settings(POOL))]
    engine.apply(system, plan(system.settings(POOL, Wishes(fin_wait_2=30))))
    assert system.read(FIN_WAIT_2) == Value("REG_DWORD", 30)


def test_what_changes_besides_is_told(tmp_path: Path) -> None:
    """An update of Windows Vista's time let netsh write nonsense next to what it was to set."""
    registry = MemoryRegistry({"TcpTimedWaitDelay": Value("REG_DWORD", 60)})

    class Careless(FakeNetsh):
        def __call__(self, words: list[str]) -> tuple[int, str]:
            if words[2] == "set":
                registry.values[KEY.casefold(), "tcpnumconnections"] = ("TcpNumConnections", Value("REG_DWORD", 0))
            return super().__call__(words)

    system = windows_machine(tmp_path, netsh=Careless(level="disabled"), registry=registry)
    applied = engine.apply(system, plan(system.settings(POOL)))
    assert applied.besides == (rf"{KEY}\TcpNumConnections: absent -> 0",)


def test_the_sysctl_file_keeps_what_stands_in_it(tmp_path: Path) -> None:
    (tmp_path / "etc/sysctl.d").mkdir(parents=True)
    (tmp_path / FILE.lstrip("/")).write_text("net.core.somaxconn = 4096\nnet.ipv4.ip_local_reserved_ports = 7\n")
    system = linux_machine(tmp_path, ip_local_reserved_ports="8080", tcp_timestamps="0")
    engine.apply(system, plan(system.settings(POOL)))
    assert system.read(Item("sysctl", "", RESERVED)) == Value("sysctl", "8080,20000-21999")
    assert system.read(Item("sysctl", "", TIMESTAMPS)) == Value("sysctl", "1")
    assert str(system.read(Item("file", FILE, ""))).splitlines()[1:] == [
        "net.core.somaxconn = 4096",
        "net.ipv4.ip_local_reserved_ports = 7,8080,20000-21999",
        "net.ipv4.tcp_timestamps = 1",
    ]
