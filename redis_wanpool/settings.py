"""Where settings come from: arguments, then the environment, then wanpool.toml, then the embedded default."""

import os
import re
import stat
import sys
import tomllib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from redis_wanpool.errors import InvalidValue
from redis_wanpool.model.checks import (
    checked_namespace,
    checked_network,
    checked_on_failover,
    checked_seconds,
    checked_ttl,
)
from redis_wanpool.model.durability import Durability, checked_fsync, checked_min_replicas
from redis_wanpool.model.wan import WanDefinition
from redis_wanpool.system.identity import this_network
from redis_wanpool.system.time_wait import default_rest
from redis_wanpool.transport.backend import checked_url
from redis_wanpool.transport.url import has_password

FILE = "wanpool.toml"
LEGACY_WAIT = 90.0
"""seconds: more than a WAN's grace as it is by default, and than a server or its Sentinels take to come back"""
_TOP = {"url", "namespace", "network", "rest", "lease_ttl", "min_replicas", "fsync", "on_failover", "wan"}
_TOP |= {"legacy_wait"}
_WAN = {"ports", "lease_ttl", "max_ttl", "cooldown", "quarantine", "weight", "name", "max_per_network"}
_WAN |= {"on_failover", "failover_margin"}


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a pool object; the `url` None means the embedded server."""

    url: str | None
    namespace: str
    network: str
    rest: float
    lease_ttl: float | None
    durability: Durability | None
    legacy_wait: float
    """seconds that the old interface waits for trouble to pass"""
    wans: tuple[WanDefinition, ...]

    def __repr__(self) -> str:
        return f"<settings of namespace {self.namespace!r}>"


def settings(
    *,
    url: str | None = None,
    namespace: str | None = None,
    network: str | None = None,
    rest: float | None = None,
    lease_ttl: float | None = None,
    min_replicas: int | None = None,
    fsync: bool | None = None,
    config: str | os.PathLike[str] | None = None,
) -> Settings:
    """Settles each setting from the first source that has it; raises InvalidValue, which names the source."""
    found = find(config)
    table = {} if found is None else _read(found, chosen=is_chosen(config))

    def first(name: str, check: Callable[[object], Any], given: object, variable: str | None = None) -> Any:
        in_environment = os.environ.get(variable) if variable else None
        for source, value in (("", given), (f"{variable}: ", in_environment or None), (f"{found}: ", table.get(name))):
            if value is not None:
                try:
                    return check(value)
                except InvalidValue as error:
                    raise InvalidValue(f"{source}{error}") from None
        return None

    lease_ttl = first("lease_ttl", checked_ttl, lease_ttl)
    on_failover = first("on_failover", checked_on_failover, None)
    rest = first("rest", partial(checked_seconds, "rest"), rest)
    legacy_wait = first("legacy_wait", _checked_legacy_wait, None, "WANPOOL_LEGACY_WAIT")
    return Settings(
        url=first("url", checked_url, url or None, "WANPOOL_URL"),
        namespace=first("namespace", checked_namespace, namespace, "WANPOOL_NAMESPACE") or "default",
        network=first("network", checked_network, network, "WANPOOL_NETWORK") or this_network(),
        rest=default_rest() if rest is None else rest,
        lease_ttl=lease_ttl,
        durability=Durability.of(
            first("min_replicas", checked_min_replicas, min_replicas), first("fsync", checked_fsync, fsync)
        ),
        legacy_wait=LEGACY_WAIT if legacy_wait is None else legacy_wait,
        wans=tuple(
            _wan(found, index, entry, {"lease_ttl": lease_ttl, "on_failover": on_failover})
            for index, entry in table.get("wan", {}).items()
        ),
    )


def _checked_legacy_wait(value: object) -> float:
    if isinstance(value, str):  # of the environment
        with suppress(ValueError):
            value = float(value)
    return checked_seconds("legacy_wait", value)


def user_folder() -> Path:
    """Where this user's settings live."""
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming") / "redis-wanpool"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "redis-wanpool"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "redis-wanpool"


def is_chosen(named: str | os.PathLike[str] | None = None) -> bool:
    """Whether somebody chose the configuration file, so that it was not just found lying there."""
    return bool(named or os.environ.get("WANPOOL_CONFIG"))


def find(named: str | os.PathLike[str] | None = None) -> Path | None:
    """The configuration file that applies, or None; raises InvalidValue if the file that was named does not exist."""
    if is_chosen(named):
        path = Path(named or os.environ["WANPOOL_CONFIG"])
        if not path.is_file():
            raise InvalidValue(f"{path}: no such file; correct --config or WANPOOL_CONFIG")
        return path
    places = [Path(FILE)]
    with suppress(RuntimeError):  # a user without a home folder
        places.append(user_folder() / FILE)
    return next(filter(_is_there, places), None)


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder that this user may not read, such as the home that sudo left in HOME
        return False


def _read(path: Path, *, chosen: bool) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            seen, data = os.fstat(file.fileno()), file.read()
        table = tomllib.loads(_decoded(data))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: not UTF-8, not TOML, a number without an end
        raise InvalidValue(f"{path}: {error}") from None
    if os.name == "posix" and not chosen:
        _refuse_strangers(path, {seen.st_uid, path.lstat().st_uid}, seen.st_mode, table.get("url"))
    _known(path, "", table, _TOP)
    if not isinstance(table.get("wan", {}), dict):
        raise InvalidValue(f"{path}: wan must be tables like [wan.0]")
    url = table.get("url")
    readable = os.name == "posix" and stat.S_IMODE(seen.st_mode) & 0o077
    if isinstance(url, str) and has_password(url) and readable:
        raise InvalidValue(f"{path} holds a password, and others may read it; run: chmod 600 {path}")
    return table


def _decoded(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data:
        raise ValueError("it is in UTF-16, as it seems; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")  # editors on Windows put a mark at the beginning
    except UnicodeDecodeError as error:
        try:
            data.decode("gbk")
        except UnicodeDecodeError:
            raise error from None
        raise ValueError("it is in GBK, as it seems; save it as UTF-8") from None


def _refuse_strangers(path: Path, owners: set[int], mode: int, url: object) -> None:
    """Refuses what somebody else may have put in the way: root believes root, and nobody sends others a password."""
    owners -= {0, os.geteuid()}
    is_root = os.geteuid() == 0
    if (owners and (is_root or (isinstance(url, str) and has_password(url)))) or (is_root and mode & 0o022):
        whose = f"belongs to another user (uid {min(owners)})" if owners else "may be written by others than root"
        raise InvalidValue(f"{path.absolute()} {whose}; if you trust it, name it: --config or WANPOOL_CONFIG")


def _wan(path: Path | None, index: str, entry: Any, usual: dict[str, Any]) -> WanDefinition:
    where = f"[wan.{index}]"
    if not re.fullmatch("0|[1-9][0-9]*", index) or not isinstance(entry, dict):  # 00 would be 0 again
        raise InvalidValue(f"{path}: {where}: WANs are tables like [wan.0]")
    _known(path, where + " ", entry, _WAN)
    if "ports" not in entry:
        raise InvalidValue(f'{path}: {where} has no ports; add ports = "20000-21999"')
    entry = {**{name: value for name, value in usual.items() if value is not None}, **entry}
    try:
        return WanDefinition.of(int(index), **entry)
    except InvalidValue as error:
        raise InvalidValue(f"{path}: {where} {error}") from None


def _known(path: Path | None, where: str, table: Mapping[str, Any], names: set[str]) -> None:
    for name in table:
        if name not in names:
            raise InvalidValue(f"{path}: {where}unknown setting {name!r}; known are {', '.join(sorted(names))}")
