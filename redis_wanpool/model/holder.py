"""A holder: the pool object of one process that holds leases."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

_NO_PROCESS = "0"


def random_secret() -> str:
    """A word that nobody can guess."""
    return secrets.token_urlsafe(12)


@dataclass(frozen=True, slots=True)
class Holder:
    """A pool object of one process; its id begins every lease_id of its leases."""

    id: str
    host: str
    boot_id: str
    pid_namespace: str
    pid: int
    started: str
    program: str
    reaps: bool  #: whether it reaps dead processes of its machine

    @property
    def detached_id(self) -> str:
        """The holder id of this host's detached leases."""
        return f"{self.host}:{_NO_PROCESS}:detached"

    @property
    def words(self) -> str:
        """The holder as people know it: its program, and the host."""
        return f"{self.program}@{self.host}"

    def new_lease_id(self, detached: bool = False, new_secret: Callable[[], str] = random_secret) -> str:
        """A lease_id that nobody can guess, unless they can guess what `new_secret` makes."""
        return f"{self.detached_id if detached else self.id}/{new_secret()}"

    @classmethod
    def parse(cls, id: str, record: str | None) -> Self | None:
        """The holder of that id by its record in `holders` of Redis; None if the record is malformed."""
        words = (record or "").split(" ")
        if len(words) != 8 or not words[3].isdecimal():
            return None
        host, boot_id, pid_namespace, pid, started, _, program, reaps = words
        return cls(id, host, boot_id, pid_namespace, int(pid), started, program, reaps == "reaps")


def host_and_pid(holder: str) -> tuple[str, int]:
    """The host name and the pid in a holder's id (0 for a detached lease, or of another hand)."""
    host, pid, _ = (*holder.rsplit(":", 2), "", "")[:3]
    return host, int(pid) if pid.isdecimal() else 0
