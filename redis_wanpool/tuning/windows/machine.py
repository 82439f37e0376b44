"""This Windows: its version, its stores, who asks."""

import sys
from collections.abc import Collection

import psutil

from redis_wanpool.system.identity import machine_id
from redis_wanpool.system.time_wait import note, noted, tuning_folder
from redis_wanpool.tuning import NotElevated, Setting, Store, System, Wishes
from redis_wanpool.tuning.windows.netsh_store import Netsh
from redis_wanpool.tuning.windows.registry import WinRegistry
from redis_wanpool.tuning.windows.settings import Look, generation, is_declared, time_wait


def this_machine() -> System:
    """The Windows that this program runs on."""
    version = _version()
    stores: dict[str, Store] = {"registry": WinRegistry(), "netsh": Netsh()}
    return system(version, stores)


def system(version: tuple[int, ...], stores: dict[str, Store]) -> System:
    """A Windows of this version, with these stores."""

    def look(ports: Collection[int], wishes: Wishes, seen: System) -> list[Setting]:
        return list(Look(seen, generation(version), ports, wishes).settings())

    return System(
        name="Windows " + ".".join(map(str, version)),
        machine=machine_id(),
        booted_at=psutil.boot_time(),
        folder=tuning_folder(),
        stores=stores,
        look=look,
        is_declared=is_declared,
        is_elevated=_is_elevated,
        remember=_remember,
    )


def _remember(system: System) -> None:
    """What is written is in effect after a restart only: until then the pools of this machine go by this."""
    try:
        if noted(system.folder) is None:
            note(system.folder, time_wait(system))
    except PermissionError as error:
        raise NotElevated(f"{error.filename}: {error.strerror}; nothing was changed. Run it as administrator") from None


def _version() -> tuple[int, ...]:
    """What the kernel says; what Python says depends on the manifest of its program."""
    if sys.platform != "win32":
        return (0, 0, 0)
    import ctypes

    class OsVersionInfo(ctypes.Structure):
        _fields_ = [
            ("size", ctypes.c_ulong),
            ("major", ctypes.c_ulong),
            ("minor", ctypes.c_ulong),
            ("build", ctypes.c_ulong),
            ("platform", ctypes.c_ulong),
            ("service_pack", ctypes.c_wchar * 128),
        ]

    info = OsVersionInfo(size=ctypes.sizeof(OsVersionInfo))
    ctypes.windll.ntdll.RtlGetVersion(ctypes.byref(info))
    return info.major, info.minor, info.build


def _is_elevated() -> bool | None:
    """Whether this process has an administrator's rights; None if Windows does not tell: then the attempt will."""
    if sys.platform != "win32":
        return None
    import ctypes

    token, elevated, size = ctypes.c_void_p(), ctypes.c_ulong(), ctypes.c_ulong()
    advapi, kernel = ctypes.windll.advapi32, ctypes.windll.kernel32
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    process, query = ctypes.c_void_p(kernel.GetCurrentProcess()), 0x8  # TOKEN_QUERY
    if not advapi.OpenProcessToken(process, query, ctypes.byref(token)):
        return None
    try:
        told = advapi.GetTokenInformation(token, 20, ctypes.byref(elevated), 4, ctypes.byref(size))  # TokenElevation
        return bool(elevated.value) if told else None
    finally:
        kernel.CloseHandle(token)
