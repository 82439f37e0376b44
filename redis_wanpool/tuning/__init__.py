"""TCP settings of this machine: what they are, what would help leased ports, and how to change them so that it can be
undone."""

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from redis_wanpool.errors import WanpoolError
from redis_wanpool.terminal.language import said

WHO = "an administrator" if os.name == "nt" else "root"  #: may change settings


class Status(StrEnum):
    """What an operator should make of a setting."""

    OK = "ok"  #: as it should be
    SUGGESTION = "suggestion"  #: better otherwise
    LEGACY = "legacy"  #: of older systems
    DEAD = "dead"  #: without effect on leased ports
    MANAGED = "managed"  #: set by a policy
    UNKNOWN = "unknown"  #: not told


class TuningError(WanpoolError):
    """A setting could not be read, changed or restored; the message says what is in effect."""


class Unreadable(TuningError):
    """The system does not tell a setting: it is unknown, not its default."""


class NotElevated(TuningError):
    """The system lets only an administrator do that."""


@dataclass(frozen=True, slots=True)
class Item:
    """One value that can be written."""

    store: str  #: "registry", "netsh", "sysctl" or "file"
    where: str
    name: str

    def __str__(self) -> str:
        if self.store == "registry":
            return f"{self.where}\\{self.name}"
        return " ".join(filter(None, (self.store if self.store != "file" else "", self.where, self.name)))


@dataclass(frozen=True, slots=True)
class Value:
    """What stands there, with its type. No value at all is None, which is not the same as the default."""

    kind: str
    data: int | str | bytes | tuple[str, ...]

    def __str__(self) -> str:
        return self.data.hex(" ") if isinstance(self.data, bytes) else str(self.data)


@dataclass(frozen=True, slots=True)
class Change:
    """What is to become of an item."""

    item: Item
    before: Value | None
    after: Value | None
    needs_restart: bool = False


@dataclass(frozen=True, slots=True)
class Setting:
    """What an operator is told of a setting."""

    name: str
    status: Status
    value: str | None  #: what is in effect; None if the system does not tell
    source: str  #: where that comes from: "registry", "netsh", "policy", "kernel", "file", "default" or ""
    why: str
    default: str | None = None  #: the default of this version of the system
    allowed: str | None = None
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Wishes:
    """What an operator asks for beyond the suggestions."""

    time_wait: int = 30  #: seconds, for TcpTimedWaitDelay
    dynamic: tuple[int, int] | None = None  #: first and last port that Windows is to give to programs that choose none
    fin_wait_2: int | None = None  #: seconds, for TcpFinWait2Delay, which is not documented


class Store(Protocol):
    """Where values stand."""

    def read(self, item: Item) -> Value | None:
        """What stands there now. Raises Unreadable."""

    def write(self, item: Item, value: Value | None) -> None:
        """Puts a value there, or takes it away. Raises TuningError."""

    def beside(self, item: Item) -> Mapping[str, Value]:
        """All that stands in the same place, by name: a tool may change more than it was asked to."""


@dataclass(frozen=True, slots=True)
class System:
    """This machine, or one made up."""

    name: str
    machine: str  #: its id: a journal of another one is of no use here
    booted_at: float
    folder: Path  #: where the journals are
    stores: Mapping[str, Store]
    look: Callable[[Collection[int], Wishes, "System"], list[Setting]]
    """judges all settings with regard to the ports of the pool"""
    is_declared: Callable[[Item], bool]  #: whether an item is one of those that may be written at all
    is_elevated: Callable[[], bool | None] = field(default=lambda: None)  #: None: not to be known before the attempt
    remember: Callable[["System"], None] = field(default=lambda _: None)
    """notes what is in effect now, before it is written over"""

    def read(self, item: Item) -> Value | None:
        return self.stores[item.store].read(item)

    def told(self, item: Item) -> tuple[Value | None, str]:
        """What stands there, and why the system does not tell, if it does not."""
        try:
            return self.read(item), ""
        except Unreadable as error:
            return None, str(error)

    def settings(self, ports: Collection[int], wishes: Wishes | None = None) -> list[Setting]:
        return self.look(ports, wishes or Wishes(), self)


def ports_unknown() -> str:
    """Why a setting that should keep off the pool's ports is not judged."""
    return said("which ports the pool has is not known here: give them (--ports), to protect them")


def plan(settings: Collection[Setting]) -> list[Change]:
    """What would be done, in order."""
    return [change for setting in settings for change in setting.changes]


def left(settings: Collection[Setting]) -> list[Setting]:
    """What would be better otherwise, and is not for this tool to change, or not possible here."""
    return [setting for setting in settings if setting.status == Status.SUGGESTION and not setting.changes]
