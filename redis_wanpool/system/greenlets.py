"""Whether the threads of this process are greenlets: gevent and eventlet put them in their place when told to."""

from __future__ import annotations

import socket
import threading

from redis_wanpool.errors import WanpoolError


def greenlets() -> bool:
    """Whether threads and sockets are gevent's now; locks and queues that were made before do not fit them then.

    Raises:
        WanpoolError: they are such that leases could not be kept.
    """
    threads, sockets = threading.get_ident.__module__, socket.socket.__module__
    if threads == "_thread" and sockets == "socket":
        return False
    found = threads.partition(".")[0], sockets.partition(".")[0]
    if "eventlet" in found:
        raise WanpoolError("eventlet has patched this process, and is not supported; use gevent, asyncio or threads")
    if (found[0] == "gevent") != (found[1] == "gevent"):
        raise WanpoolError(
            "gevent has patched only threads or only sockets of this process, and its greenlets would wait for each "
            "other; call gevent.monkey.patch_all() without options"
        )
    return found[0] == "gevent"
