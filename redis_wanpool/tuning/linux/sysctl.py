"""The settings of a Linux kernel, as a store; and the files that set them at each start, sysctl.d(5)."""

import errno
import os
import re
import stat
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from redis_wanpool.terminal.language import said
from redis_wanpool.tuning import Item, NotElevated, TuningError, Unreadable, Value

HEAD = "# Written by `wanpool tune apply`; `wanpool tune undo` takes it back."
FOLDERS = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d")
"""of files of the same name that of the first folder counts; of those that name the same setting the last by name"""
_LONGEST = 1 << 20  #: bytes; the longest list of reserved ports that a kernel can have takes 200 kB
_PORTS = re.compile(r"\s*(\d{1,5})(?:-(\d{1,5}))?\s*", re.ASCII)


class Kernel:
    """A store of the kernel's settings, ("", "net.ipv4.tcp_timestamps"), and of files, ("/etc/sysctl.d/…", "")."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def read(self, item: Item) -> Value | None:
        try:
            text = at_once(self._path(item))
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise Unreadable(f"{item} cannot be read: {getattr(error, 'strerror', None) or error}") from None
        return Value("file", text) if item.store == "file" else Value("sysctl", " ".join(text.split()))

    def write(self, item: Item, value: Value | None) -> None:
        path = self._path(item)
        try:
            if item.store == "sysctl":
                path.write_text(f"{value or ''}\n", encoding="ascii")
            elif value is None:
                path.unlink()
            else:
                _replace(path, str(value))
        except PermissionError:
            raise NotElevated(f"{item}: only root may write there; run it as root") from None
        except OSError as error:
            outside = f"; {container_hint(item.name)}" if error.errno == errno.EROFS and item.store == "sysctl" else ""
            raise TuningError(f"{item} could not be written: {error.strerror}{outside}") from None

    def beside(self, item: Item) -> dict[str, Value]:
        return {}

    def is_sealed(self, name: str) -> bool:
        """Whether nobody can write a setting here: a container has /proc/sys read-only, unless it is privileged."""
        try:
            return bool(os.statvfs(self._path(Item("sysctl", "", name))).f_flag & os.ST_RDONLY)
        except OSError:
            return False

    def _path(self, item: Item) -> Path:
        return self._root / (
            item.where.lstrip("/") if item.store == "file" else f"proc/sys/{item.name.replace('.', '/')}"
        )


def container_hint(name: str, value: str = "…") -> str:
    """How a setting is made where it cannot be written from inside."""
    return said("a container gets it from outside, like: docker run --sysctl {name}={value}", name=name, value=value)


def at_once(path: Path) -> str:
    """What stands in a file, to the byte, by one read.

    A second read of a list in /proc/sys has nothing, however much of it is left
    (https://github.com/torvalds/linux/blob/v6.12/kernel/sysctl.c, proc_do_large_bitmap).
    """
    with path.open("rb", buffering=0) as file:
        return (file.read(_LONGEST) or b"").decode("utf-8")


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = 0o644
    with suppress(FileNotFoundError):
        mode = stat.S_IMODE(path.stat().st_mode)
    new = path.with_suffix(".new")
    with new.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.chmod(mode)
    new.replace(path)


def listed_ports(text: str) -> set[int]:
    """The ports of a list as the kernel writes it; it may have port 0 as well."""
    found: set[int] = set()
    for part in text.split(","):
        if match := _PORTS.fullmatch(part):
            first = int(match[1])
            found.update(range(first, min(65_535, int(match[2] or first)) + 1))
    return found


def parsed(text: str) -> dict[str, str]:
    """The settings of a file of sysctl.d(5)."""
    lines = (line.partition("=") for line in text.splitlines() if line.strip()[:1] not in ("", "#", ";"))
    return {_name(key): value.strip() for key, _, value in lines}


def merged(text: str, wanted: Mapping[str, str]) -> str:
    """A file with these settings and all that it had besides, comments too."""
    lines = text.splitlines()
    missing = dict(wanted)
    for i, line in enumerate(lines):
        key, sign, _ = line.partition("=")
        name = _name(key) if sign and line.strip()[:1] not in ("#", ";") else ""
        if name in wanted:
            lines[i] = f"{name} = {wanted[name]}"
            missing.pop(name, None)
    head = [] if HEAD in lines else [HEAD]
    return "\n".join([*head, *lines, *(f"{name} = {value}" for name, value in missing.items())]) + "\n"


def _name(key: str) -> str:
    return key.strip().lstrip("-").replace("/", ".")


def at_start(root: Path, names: Collection[str]) -> dict[str, tuple[str, Path]]:
    """What the files set at each start, and which of them says it."""
    by_name = {
        path.name: path for folder in reversed(FOLDERS) for path in sorted((root / folder.lstrip("/")).glob("*.conf"))
    }
    found: dict[str, tuple[str, Path]] = {}
    for _, path in sorted(by_name.items()):
        with suppress(OSError, UnicodeDecodeError):
            settings = parsed(path.read_text(encoding="utf-8"))
            found |= {name: (settings[name], path) for name in names if name in settings}
    return found
