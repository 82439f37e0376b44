"""The same program under threads and under gevent, which may come at any time; its command line says when."""

from __future__ import annotations

import socket
import sys
import warnings
from typing import Any


def gevent_comes(**options: bool) -> None:
    from gevent import monkey

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # redis-py has imported ssl
        monkey.patch_all(**options)


def tell(how: str, make: Any) -> None:
    import threading

    from redis_wanpool import WanpoolError

    if how == "eventlet":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says that it is deprecated
            import eventlet

        eventlet.monkey_patch()
    if how == "half":
        gevent_comes(thread=False)
    if how == "late":
        gevent_comes()
    try:
        pool = make()
        if how == "used":
            pool.acquire(0, reuse_address=True).release()
        if how in ("between", "used"):
            gevent_comes()
        pool.acquire(0, reuse_address=True).release()
    except WanpoolError as error:
        print(f"refused: {error}")
        return
    server = socket.create_server(("127.0.0.1", 0))
    ports: list[int] = []

    def serve() -> None:
        for _ in range(12):
            visitor, (_, port) = server.accept()
            with visitor:
                ports.append(port)
                visitor.sendall(b"hello")
                visitor.recv(1)

    def visit() -> None:
        with pool.connect(0, server.getsockname(), wait=60, timeout=60) as sock, sock.makefile("rb") as file:
            assert file.read(5) == b"hello"
            heard.append(sock.lease.port)

    heard: list[int] = []
    threads = [threading.Thread(target=visit) for _ in range(12)] + [threading.Thread(target=serve)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ports) == sorted(heard)
    sock = pool.connect(0, _silent().getsockname(), wait=60, timeout=60)  # left open, to the collector
    print("connected", len(ports))
    del sock


def _silent() -> socket.socket:
    kept.append(socket.create_server(("127.0.0.1", 0)))
    return kept[-1]


kept: list[socket.socket] = []

if __name__ == "__main__":
    if sys.argv[1] == "early":
        gevent_comes()
    from redis_wanpool import WanPortPool

    tell(sys.argv[1], WanPortPool.get_instance)
