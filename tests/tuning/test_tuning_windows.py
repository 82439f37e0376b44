"""What is said of the settings of a Windows: by its version, by the values there, by what the pool needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tuned import WIN10, WIN81, FakeNetsh, MemoryRegistry, windows_machine

from redis_wanpool import InvalidValue
from redis_wanpool.tuning import Item, NotElevated, Setting, Status, Unreadable, Value, Wishes, engine, plan
from redis_wanpool.tuning.windows.settings import IGNORED, MAX_USER_PORT, POLICY, TIME_WAIT

POOL = range(20000, 20010)
WIN2000, XP, VISTA, WIN8 = (5, 0, 2195), (5, 1, 2600), (6, 0, 6000), (6, 2, 9200)
Look = Callable[..., dict[str, Setting]]


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """The settings of a made-up Windows, by name."""

    def settings(ports: Any = POOL, wishes: Wishes | None = None, **made: Any) -> dict[str, Setting]:
        return {one.name: one for one in windows_machine(tmp_path, **made).settings(ports, wishes)}

    return settings


def dword(number: int) -> Value:
    return Value("REG_DWORD", number)


@pytest.mark.parametrize(
    ("version", "default", "allowed", "dynamic"),
    [
        (WIN2000, "240", "30-300 s", "1025-5000"),
        (XP, "120", "30-300 s", "1025-5000"),
        (VISTA, "120", "30-300 s", "49152-65535"),
        (WIN8, "120", "30-300 s", "49152-65535"),
        (WIN81, "120", "2-300 s", "49152-65535"),
        (WIN10, "120", "2-300 s", "49152-65535"),
        ((11, 0), "120", "2-300 s", "49152-65535"),
    ],
)
def test_defaults_and_limits_are_those_of_the_version(
    look: Look, version: tuple[int, ...], default: str, allowed: str, dynamic: str
) -> None:
    seen = look(version=version)
    assert (seen["TcpTimedWaitDelay"].default, seen["TcpTimedWaitDelay"].allowed) == (default, allowed)
    assert seen["dynamicport ipv4 tcp"].default == dynamic


def test_two_seconds_are_refused_where_windows_would_not_take_them(look: Look) -> None:
    with pytest.raises(InvalidValue, match="TcpTimedWaitDelay"):
        look(version=WIN8, wishes=Wishes(time_wait=2))
    (change,) = look(version=WIN81, wishes=Wishes(time_wait=2))["TcpTimedWaitDelay"].changes
    assert change.after == dword(2) and change.needs_restart


@pytest.mark.parametrize(
    ("value", "status", "planned"),
    [
        *((None, Status.SUGGESTION, dword(30)), (dword(240), Status.SUGGESTION, dword(30))),
        *((dword(60), Status.SUGGESTION, dword(30)), (dword(30), Status.OK, None)),
        *((dword(10), Status.OK, None), (dword(1), Status.SUGGESTION, dword(30))),
        *((dword(0), Status.SUGGESTION, dword(30)), (Value("REG_SZ", "30"), Status.UNKNOWN, None)),
    ],
)
def test_a_time_wait_is_shortened_never_prolonged_and_no_type_is_guessed(
    look: Look, value: Value | None, status: str, planned: Value | None
) -> None:
    seen = look(values={} if value is None else {"TcpTimedWaitDelay": value})["TcpTimedWaitDelay"]
    assert (seen.status, [change.after for change in seen.changes]) == (status, [planned] if planned else [])
    assert seen.source == ("default" if value is None else "registry"), "absent is not the same as the default"


@pytest.mark.parametrize("value", [Value("REG_SZ", "30"), Value("REG_SZ", "60"), Value("type 5", b"\0\0\0\x3c")])
def test_a_value_of_another_type_is_told_and_not_written_over(look: Look, value: Value) -> None:
    """One that the registry store cannot write could not come back, either."""
    seen = look(values={"TcpFinWait2Delay": value}, wishes=Wishes(fin_wait_2=30))["TcpFinWait2Delay"]
    assert (seen.status, seen.changes) == (Status.UNKNOWN, ()) and f"a {value.kind}" in seen.why
    assert look(values={"TcpFinWait2Delay": value})["TcpFinWait2Delay"].status == Status.DEAD, "unless it is asked for"


@pytest.mark.parametrize("version", [XP, VISTA, WIN10])
def test_max_user_port_is_told_and_never_written(tmp_path: Path, look: Look, version: tuple[int, ...]) -> None:
    registry = MemoryRegistry({"MaxUserPort": dword(65534)})
    seen = look(version=version, registry=registry)
    assert (seen["MaxUserPort"].status, seen["MaxUserPort"].value) == (Status.LEGACY, "65534")
    system = windows_machine(tmp_path, version=version, registry=registry)
    engine.apply(system, plan(system.settings(POOL, Wishes(fin_wait_2=30))))
    assert system.read(MAX_USER_PORT) == dword(65534)


def test_dead_settings_are_told_where_somebody_wrote_them(look: Look) -> None:
    assert not set(IGNORED) & look().keys()
    seen = look(values={name: dword(1) for name in IGNORED})
    assert all(seen[name].status == Status.DEAD and not seen[name].changes for name in IGNORED)
    assert look()["TcpFinWait2Delay"].status == Status.DEAD


@pytest.mark.parametrize(
    ("dynamic", "ports", "status", "becomes"),
    [
        ((49152, 16384), POOL, Status.OK, None),
        ((10000, 5000), POOL, Status.OK, None),
        ((1025, 13977), POOL, Status.SUGGESTION, "49152-65535"),
        ((20000, 255), POOL, Status.SUGGESTION, "49152-65535"),
        ((49152, 16384), range(50000, 52000), Status.SUGGESTION, "33616-49999"),
        ((49152, 16384), range(10000, 65000), Status.SUGGESTION, "65000-65535"),
        ((49152, 16384), range(1025, 65400), Status.SUGGESTION, None),
        ((49152, 16384), (), Status.UNKNOWN, None),
        ((1025, 13977), (), Status.SUGGESTION, None),
    ],
)
def test_dynamic_ports_keep_off_the_pool(
    look: Look, dynamic: tuple[int, int], ports: Any, status: str, becomes: str | None
) -> None:
    netsh = FakeNetsh(dynamic={"ipv4": dynamic, "ipv6": (49152, 16384)})
    seen = look(ports, netsh=netsh)["dynamicport ipv4 tcp"]
    assert (seen.status, [str(change.after) for change in seen.changes]) == (status, [becomes] if becomes else [])


def test_dynamic_ports_are_not_moved_where_the_pool_may_be(look: Look) -> None:
    netsh = FakeNetsh(dynamic={"ipv4": (1025, 13977), "ipv6": (49152, 16384)})
    seen = look((), netsh=netsh)
    for family in ("ipv4", "ipv6"):
        assert "which ports the pool has is not known here" in seen[f"dynamicport {family} tcp"].why
    wished = look((), Wishes(dynamic=(50000, 60000)), netsh=netsh)["dynamicport ipv4 tcp"]
    assert [str(change.after) for change in wished.changes] == ["50000-60000"]


def test_ipv4_and_ipv6_have_dynamic_ports_of_their_own(look: Look) -> None:
    netsh = FakeNetsh(dynamic={"ipv4": (49152, 16384), "ipv6": (20000, 5000)})
    seen = look(netsh=netsh)
    assert seen["dynamicport ipv4 tcp"].status == Status.OK and seen["dynamicport ipv6 tcp"].status == Status.SUGGESTION


def test_dynamic_ports_that_are_asked_for_are_not_the_pools(look: Look) -> None:
    seen = look(wishes=Wishes(dynamic=(40000, 49999)))
    for family in ("ipv4", "ipv6"):
        assert [str(change.after) for change in seen[f"dynamicport {family} tcp"].changes] == ["40000-49999"]
    with pytest.raises(InvalidValue, match="the pool has ports there"):
        look(wishes=Wishes(dynamic=(19900, 20200)))


def test_a_start_that_netsh_may_not_take_back_is_told_before(look: Look) -> None:
    netsh = FakeNetsh(dynamic={"ipv4": (1024, 13977), "ipv6": (49152, 16384)})
    assert "undo may have to leave it" in look(netsh=netsh)["dynamicport ipv4 tcp"].why


def test_the_pool_is_excluded_but_for_what_is_or_cannot_be(look: Look) -> None:
    netsh = FakeNetsh(excluded=[(20000, 20003, "*"), (20006, 20100, "")])
    seen = look(netsh=netsh)
    assert [str(change.after) for change in seen["excludedportrange tcp"].changes] == ["20004-20005"]
    kept = seen["excludedportrange tcp, kept"]
    assert (kept.status, kept.value, kept.changes) == (Status.MANAGED, "20006-20009", ())


@pytest.mark.parametrize("level", ["disabled", "restricted", "highlyrestricted", "experimental"])
def test_autotuning_becomes_normal(look: Look, level: str) -> None:
    seen = look(netsh=FakeNetsh(level=level))["autotuninglevel"]
    assert seen.status == Status.SUGGESTION and [change.after for change in seen.changes] == [Value("level", "normal")]
    assert look(netsh=FakeNetsh())["autotuninglevel"].status == Status.OK


def test_a_policy_is_respected(look: Look) -> None:
    registry = MemoryRegistry()
    registry.values[POLICY.where.casefold(), POLICY.name.casefold()] = (POLICY.name, Value("REG_SZ", "Off"))
    seen = look(registry=registry, netsh=FakeNetsh(level="disabled"))["autotuninglevel"]
    assert (seen.status, seen.source, seen.changes) == (Status.MANAGED, "policy", ())


def test_a_policy_that_cannot_be_read_may_be_there(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: MemoryRegistry, item: Item) -> Value | None:
        if item == POLICY:
            raise Unreadable(f"{item}: Access is denied")
        return read(self, item)

    read = MemoryRegistry.read
    monkeypatch.setattr(MemoryRegistry, "read", refuse)
    seen = look(netsh=FakeNetsh(level="disabled"))["autotuninglevel"]
    assert (seen.status, seen.value, seen.changes) == (Status.UNKNOWN, None, ()) and "denied" in seen.why


@pytest.mark.parametrize(
    "answer",
    [
        *((0, ""), (0, "\n\n"), (1, "The following command was not found.\n")),
        *((-1, "no answer in 15 s"), (0, "one line of nonsense: 7\n")),
    ],
)
def test_a_netsh_that_is_not_understood_leads_to_no_change(look: Look, answer: tuple[int, str]) -> None:
    seen = look(netsh=lambda words: answer)
    netsh = [one for one in seen.values() if one.source == "netsh"]
    assert len(netsh) == 4 and all((one.status, one.value, one.changes) == (Status.UNKNOWN, None, ()) for one in netsh)


@pytest.mark.parametrize(
    "text",
    [
        "The requested operation requires elevation (Run as administrator).\n",
        "L'opération demandée nécessite une élévation (Exécuter en tant qu'administrateur).\n",
        "请求的操作需要提升(作为管理员运行)。\n",
    ],
)
def test_who_must_be_an_administrator_is_told_so_in_any_language(tmp_path: Path, text: str) -> None:
    class Refusing(FakeNetsh):
        def __call__(self, words: list[str]) -> tuple[int, str]:
            return super().__call__(words) if words[2] == "show" else (1, text)

    system = windows_machine(tmp_path, netsh=Refusing(level="disabled"), values={TIME_WAIT.name: dword(30)})
    with pytest.raises(NotElevated):
        engine.apply(system, plan(system.settings(POOL)))
