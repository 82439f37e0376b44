"""The registry of Windows, with the least rights for each call; values keep their type, and no type is guessed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis_wanpool.tuning import Item, NotElevated, TuningError, Unreadable, Value

KINDS = ("REG_NONE", "REG_SZ", "REG_EXPAND_SZ", "REG_BINARY", "REG_DWORD")
MORE_KINDS = {7: "REG_MULTI_SZ", 11: "REG_QWORD"}
"""https://learn.microsoft.com/windows/win32/sysinfo/registry-value-types"""
_NUMBERS = {name: number for number, name in [*enumerate(KINDS), *MORE_KINDS.items()]}


class WinRegistry:
    """A store of registry values: where is a key like HKLM\\SYSTEM\\..., name the value's."""

    def read(self, item: Item) -> Value | None:
        winreg = _winreg()
        try:
            with _opened(item.where, winreg.KEY_QUERY_VALUE) as key:
                data, kind = winreg.QueryValueEx(key, item.name)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unreadable(f"{item} cannot be read: {error.strerror or error}") from None
        return _value(data, kind)

    def write(self, item: Item, value: Value | None) -> None:
        winreg = _winreg()
        if value is not None:
            _checked(item, value)
        try:
            with _opened(item.where, winreg.KEY_SET_VALUE) as key:
                if value is not None:
                    data = list(value.data) if isinstance(value.data, tuple) else value.data
                    winreg.SetValueEx(key, item.name, 0, _NUMBERS[value.kind], data)
                else:
                    winreg.DeleteValue(key, item.name)
        except PermissionError:
            raise NotElevated(
                f"{item}: Windows lets only an administrator write there; run it as one, from an elevated prompt"
            ) from None
        except OSError as error:
            raise TuningError(f"{item} could not be written: {error.strerror or error}") from None

    def beside(self, item: Item) -> dict[str, Value]:
        winreg = _winreg()
        found: dict[str, Value] = {}
        try:
            with _opened(item.where, winreg.KEY_QUERY_VALUE) as key:
                for number in range(winreg.QueryInfoKey(key)[1]):
                    name, data, kind = winreg.EnumValue(key, number)
                    found[name] = _value(data, kind)
        except OSError as error:
            raise Unreadable(f"{item.where} cannot be listed: {error.strerror or error}") from None
        return found


def _winreg() -> Any:
    if sys.platform != "win32":
        raise Unreadable(f"this system ({sys.platform}) has no registry")
    import winreg

    return winreg


@contextmanager
def _opened(where: str, rights: int) -> Iterator[Any]:
    winreg = _winreg()
    root, _, path = where.partition("\\")
    roots = {"HKLM": winreg.HKEY_LOCAL_MACHINE, "HKCU": winreg.HKEY_CURRENT_USER}
    with winreg.OpenKey(roots[root], path, 0, rights | winreg.KEY_WOW64_64KEY) as key:
        yield key


def _value(data: Any, kind: int) -> Value:
    name = KINDS[kind] if kind < len(KINDS) else MORE_KINDS.get(kind, f"type {kind}")
    if data is None:
        data = b""
    return Value(name, tuple(data) if isinstance(data, list) else data)


def _checked(item: Item, value: Value) -> None:
    """winreg writes 0 where it is given None, so what is no number never comes that far."""
    data, most = value.data, {"REG_DWORD": 2**32 - 1, "REG_QWORD": 2**64 - 1}.get(value.kind)
    if most is not None:
        is_right = isinstance(data, int) and not isinstance(data, bool) and 0 <= data <= most
    else:
        wanted = {"REG_SZ": str, "REG_EXPAND_SZ": str, "REG_MULTI_SZ": tuple, "REG_BINARY": bytes, "REG_NONE": bytes}
        is_right = value.kind in wanted and isinstance(data, wanted[value.kind])
    if not is_right:
        raise TuningError(f"{item}: {data!r} is no {value.kind}; nothing was written")
