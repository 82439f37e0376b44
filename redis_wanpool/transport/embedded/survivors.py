"""Tells whether a process may live that holds leases of the embedded server, and begins graces where one may.

A server that dies alone may forget its last grants: a log that the disk was slow to take, a torn end. Their holders are
processes of this machine, so it can be seen whether they live: each keeps a lock, and the data has their pids.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import redis

from redis_wanpool.model.holder import Holder
from redis_wanpool.protocol.keys import WanKeys, namespace_keys
from redis_wanpool.protocol.scripts import script
from redis_wanpool.system.identity import this_holder
from redis_wanpool.system.liveness import DEAD, verdict
from redis_wanpool.transport.embedded.place import is_free

if os.name == "posix":
    import fcntl

_LOCK = "holders.lock"
_locks: dict[Path, int] = {}

logger = logging.getLogger("redis_wanpool")


def take_part(folder: Path) -> None:
    """Keeps a lock from now on, by which others see that this process lives; a forked child keeps it, too."""
    path = folder / _LOCK
    with suppress(KeyError, OSError):
        held, there = os.fstat(_locks[path]), path.stat()
        if (held.st_dev, held.st_ino) == (there.st_dev, there.st_ino):
            return
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    _locks[path] = descriptor


def may_live(folder: Path, client: Any) -> bool:
    """Whether a process may live that holds leases, with a client of the server that has just started."""
    here = this_holder()
    return not is_free(folder / _LOCK) or any(_may_live(holder, here) for holder in _holders(client))


def _may_live(holder: Holder | None, here: Holder) -> bool:
    if holder is None:
        return True  # a record that cannot be read proves nothing
    if holder.boot_id != here.boot_id:  # all are of this machine, so it was started since
        return False
    return verdict(holder, here).word != DEAD


def _holders(client: Any) -> Iterator[Holder | None]:
    for namespace in _namespaces(client):
        for id, record in client.hgetall(namespace_keys(namespace)[1]).items():
            yield Holder.parse(id, record)


def _namespaces(client: Any) -> Iterator[str]:
    for key in client.scan_iter(match="wanpool:{*}:wans", count=10_000, _type="hash"):
        yield key[len("wanpool:{") : -len("}:wans")]


def begin_graces(client: Any) -> None:
    """Lets no WAN grant anything until each lease that its data may lack was asserted again, or has run out."""
    suspect = script("suspect")
    for namespace in _namespaces(client):
        for wan_idx in filter(str.isdecimal, client.hkeys(namespace_keys(namespace)[0])):
            keys = WanKeys.of(namespace, int(wan_idx)).declared
            try:
                client.eval(suspect.source, len(keys), *keys, "", 0)
            except redis.ResponseError as error:
                if "MISCONF" in str(error):
                    raise
                logger.warning("WAN %s (namespace %r) cannot begin a grace: %s", wan_idx, namespace, error)
