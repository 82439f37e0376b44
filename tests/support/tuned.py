"""Machines to tune that are made up: a registry in memory, a netsh that keeps state, a Linux in a folder."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from made_netsh import FakeNetsh

from redis_wanpool.tuning import Item, NotElevated, System, TuningError, Value
from redis_wanpool.tuning.linux import settings as linux
from redis_wanpool.tuning.windows import machine as windows
from redis_wanpool.tuning.windows.netsh_store import Netsh
from redis_wanpool.tuning.windows.settings import KEY

BOOTED = 1_000.0
WIN81, WIN10 = (6, 3, 9600), (10, 0, 19045)


class MemoryRegistry:
    """Behaves as winreg does: names without regard to case, types kept."""

    def __init__(self, values: dict[str, Value] | None = None, *, read_only: bool = False) -> None:
        self.values: dict[tuple[str, str], tuple[str, Value]] = {}
        self.read_only = read_only
        for name, value in (values or {}).items():
            self.values[KEY.casefold(), name.casefold()] = (name, value)

    def read(self, item: Item) -> Value | None:
        found = self.values.get((item.where.casefold(), item.name.casefold()))
        return found[1] if found else None

    def write(self, item: Item, value: Value | None) -> None:
        from redis_wanpool.tuning.windows.registry import _checked

        if self.read_only:
            raise NotElevated(f"{item}: Windows lets only an administrator write there")
        place = item.where.casefold(), item.name.casefold()
        if value is None:
            if self.values.pop(place, None) is None:
                raise TuningError(f"{item} could not be written: it is not there")
        else:
            _checked(item, value)
            self.values[place] = (item.name, value)

    def beside(self, item: Item) -> dict[str, Value]:
        return {name: value for (where, _), (name, value) in self.values.items() if where == item.where.casefold()}


def windows_machine(
    folder: Path,
    values: dict[str, Value] | None = None,
    netsh: Callable[[list[str]], tuple[int, str]] | None = None,
    *,
    version: tuple[int, ...] = WIN10,
    registry: Any = None,
) -> System:
    """A Windows made up; its stores are in `.stores`."""
    made = windows.system(
        version, {"registry": registry or MemoryRegistry(values), "netsh": Netsh(netsh or FakeNetsh())}
    )
    return replace(made, machine="guid", booted_at=BOOTED, folder=folder, is_elevated=lambda: None)


KERNEL = {
    "ip_local_port_range": "32768\t60999",
    "ip_local_reserved_ports": "",
    "tcp_timestamps": "1",
    "tcp_tw_reuse": "2",
    "tcp_fin_timeout": "60",
    "ip_unprivileged_port_start": "1024",
}


def linux_machine(root: Path, **settings: str) -> System:
    """A Linux in a folder."""
    folder = root / "proc/sys/net/ipv4"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {**KERNEL, **settings}.items():
        (folder / name).write_text(text + "\n")
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc/machine-id").write_text("4711\n")
    return replace(linux.system(root), booted_at=BOOTED)


def stands(system: System, items: Collection[Item]) -> dict[Item, Value | None]:
    """What stands in these places now."""
    return {item: system.read(item) for item in items}
