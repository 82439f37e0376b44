"""The disk that the embedded server writes its log to, and what it means when that is full."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from redis_wanpool.transport.embedded.place import state_folder


@dataclass(frozen=True, slots=True)
class Disk:
    """Where the embedded server writes its log."""

    folder: Path
    mount: Path
    free: int  #: KiB
    total: int  #: KiB


def disk() -> Disk:
    """The disk under the server's folder."""
    folder = state_folder()
    there = next(path for path in (folder, *folder.parents) if path.exists()).resolve()
    mount = next(path for path in (there, *there.parents) if path.is_mount())
    usage = shutil.disk_usage(there)
    return Disk(folder, mount, usage.free // 1024, usage.total // 1024)


def unwritable(words: object) -> str:
    """What it means that the server cannot write its log, and what to do."""
    where = disk()
    return (
        f"the embedded server cannot write its log in {where.folder}: {where.free} of {where.total} KiB are free on "
        f"{where.mount}. It grants and renews nothing; make room there, and it goes on ({words})"
    )
