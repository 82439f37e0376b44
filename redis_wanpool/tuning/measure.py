"""How long this machine really keeps a port whose connection it closed first."""

import socket
import time
from collections.abc import Collection
from dataclasses import dataclass

import psutil

from redis_wanpool.system.clock import boottime
from redis_wanpool.tuning import TuningError

LONGEST = 330.0  #: seconds; no system is known to keep one longer than 300
STEP = 0.2


@dataclass(frozen=True, slots=True)
class Lingering:
    """Connections in TIME_WAIT now."""

    all: int
    of_the_pool: int


def lingering(ports: Collection[int]) -> Lingering:
    """How many there are, and how many of them on ports of the pool."""
    found = _in_time_wait()
    return Lingering(len(found), sum(port in ports for port in found))


def _in_time_wait() -> list[int]:
    """The local ports of these connections."""
    found = psutil.net_connections("tcp4")
    return [one.laddr.port for one in found if one.laddr and one.status == psutil.CONN_TIME_WAIT]


def time_wait() -> float:
    """Seconds for which a connection on loopback stays in TIME_WAIT; takes as long as that.

    Raises:
        TuningError: it is not seen, or does not end within 330 s.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        with socket.create_connection(listener.getsockname(), timeout=10) as here:
            there, _ = listener.accept()
            port = here.getsockname()[1]
        closed = boottime()
        there.close()
    seen = False
    while (now := boottime()) < closed + LONGEST:
        lingers = port in _in_time_wait()
        if seen and not lingers:
            return now - closed
        if not seen and now > closed + 10:
            raise TuningError(
                "a connection that was closed here is not seen in TIME_WAIT: this system does not show it"
            )
        seen = seen or lingers
        time.sleep(STEP)
    raise TuningError(f"a connection stayed in TIME_WAIT for more than {LONGEST:g} s")
