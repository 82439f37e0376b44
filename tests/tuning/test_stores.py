"""What a store of registry values promises: the one in memory here, and on Windows the real one as well.

It needs nothing that is not on Windows, for Python there runs this file alone, without conftest.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tuned import FakeNetsh, MemoryRegistry, windows_machine

from redis_wanpool.tuning import Item, TuningError, Value, Wishes, engine, plan
from redis_wanpool.tuning.windows.registry import WinRegistry
from redis_wanpool.tuning.windows.settings import FIN_WAIT_2, IGNORED, KEY, MAX_USER_PORT, TIME_WAIT

STORES = [MemoryRegistry, WinRegistry] if sys.platform == "win32" else [MemoryRegistry]
OURS = (TIME_WAIT, FIN_WAIT_2, MAX_USER_PORT, *(Item("registry", KEY, name) for name in IGNORED))
ITEM = TIME_WAIT
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
VALUES = st.one_of(
    st.integers(0, 2**32 - 1).map(lambda data: Value("REG_DWORD", data)),
    st.integers(0, 2**64 - 1).map(lambda data: Value("REG_QWORD", data)),
    st.binary(max_size=5).map(lambda data: Value("REG_BINARY", data)),
    st.binary(max_size=5).map(lambda data: Value("REG_NONE", data)),
    TEXT.map(lambda data: Value("REG_SZ", data)),
    TEXT.map(lambda data: Value("REG_EXPAND_SZ", data)),
    st.lists(TEXT.filter(bool), max_size=3).map(lambda data: Value("REG_MULTI_SZ", tuple(data))),
)


@pytest.fixture(params=STORES)
def registry(request: Any) -> Iterator[Any]:
    """A registry in which none of our values stands; what stood there comes back."""
    store = request.param()
    before = {item: store.read(item) for item in OURS}
    for item in OURS:
        put(store, item, None)
    yield store
    for item, value in before.items():
        put(store, item, value)


def put(store: Any, item: Item, value: Value | None) -> None:
    if store.read(item) != value:
        store.write(item, value)


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(VALUES)
def test_a_value_is_read_as_it_was_written(registry: Any, value: Value) -> None:
    registry.write(ITEM, value)
    assert registry.read(ITEM) == value
    assert registry.beside(ITEM)[ITEM.name] == value
    registry.write(ITEM, None)
    assert registry.read(ITEM) is None and ITEM.name not in registry.beside(ITEM)


def test_absent_is_not_zero_nor_empty(registry: Any) -> None:
    assert registry.read(ITEM) is None
    for value in (Value("REG_DWORD", 0), Value("REG_SZ", "")):
        registry.write(ITEM, value)
        assert registry.read(ITEM) == value


def test_names_are_the_same_in_any_case(registry: Any) -> None:
    registry.write(ITEM, Value("REG_DWORD", 30))
    assert registry.read(Item("registry", KEY.upper(), ITEM.name.lower())) == Value("REG_DWORD", 30)


@pytest.mark.parametrize(
    "value",
    [
        *(Value("REG_DWORD", data) for data in (None, -1, 2**32, "30", b"30", True, 1.5)),  # type: ignore[arg-type]
        *(Value("REG_QWORD", data) for data in (-1, 2**64)),
        *(Value("REG_SZ", 30), Value("REG_MULTI_SZ", "30"), Value("REG_BINARY", "30"), Value("type 99", b"")),
    ],
)
def test_what_is_no_value_of_its_kind_is_never_written(registry: Any, value: Value) -> None:
    """winreg writes 0 where it is given None for a number."""
    registry.write(ITEM, Value("REG_DWORD", 77))
    with pytest.raises(TuningError, match="nothing was written"):
        registry.write(ITEM, value)
    assert registry.read(ITEM) == Value("REG_DWORD", 77)


def test_taking_away_what_is_not_there_is_told(registry: Any) -> None:
    with pytest.raises(TuningError, match="could not be written"):
        registry.write(ITEM, None)


FOLDERS = itertools.count()


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.dictionaries(st.sampled_from(OURS), VALUES, max_size=3),
    st.sampled_from(("normal", "disabled")),
    st.builds(Wishes, st.integers(2, 300), st.none(), st.one_of(st.none(), st.integers(30, 300))),
)
def test_what_is_applied_is_undone_to_the_byte(
    registry: Any, tmp_path: Path, values: dict[Item, Value], level: str, wishes: Wishes
) -> None:
    for item in OURS:
        put(registry, item, values.get(item))
    before = registry.beside(ITEM)
    netsh = FakeNetsh(level=level)
    system = windows_machine(tmp_path / str(next(FOLDERS)), netsh=netsh, registry=registry)
    changes = plan(system.settings(range(20000, 20010), wishes))
    assert registry.beside(ITEM) == before, "a plan changes nothing"
    assert MAX_USER_PORT not in [change.item for change in changes]
    engine.apply(system, changes)
    after = registry.beside(ITEM)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert changed == {change.item.name for change in changes if change.item.store == "registry"}
    assert plan(system.settings(range(20000, 20010), wishes)) == []
    engine.undo(system)
    assert registry.beside(ITEM) == before and vars(netsh) == vars(FakeNetsh(level=level))
