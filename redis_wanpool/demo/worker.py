"""One worker of the demo: leases ports, connects from them to the judge, holds them a little, gives them back."""

import errno
import json
import os
import random
import signal
import sys
import threading
import time

from redis_wanpool import PoolExhausted, PortRejected, WanPortPool

THREADS = 3


def main() -> None:
    """Works until its standard input is closed; the URL and the namespace are in the environment."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the demo, which then lets its workers finish
    judge_port, wans = int(sys.argv[1]), int(sys.argv[2])
    done = threading.Event()
    with WanPortPool() as pool:
        threads = [threading.Thread(target=_work, args=(pool, judge_port, wans, done)) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        sys.stdin.read()
        done.set()
        for thread in threads:
            thread.join()


def _work(pool: WanPortPool, judge_port: int, wans: int, done: threading.Event) -> None:
    while not done.is_set():
        try:
            _visit(pool, random.randrange(wans), judge_port)
        except PoolExhausted:
            _report("exhausted")
        except PortRejected:
            _report("rejected")
        except OSError as error:
            _report(errno.errorcode.get(error.errno or 0, type(error).__name__))


def _visit(pool: WanPortPool, wan_idx: int, judge_port: int) -> None:
    sock = pool.connect(wan_idx, ("127.0.0.1", judge_port), wait=0.5, timeout=5)
    lease = sock.lease
    with sock, sock.makefile("rb") as answers:
        claim = {name: getattr(lease, name) for name in ("wan_idx", "port", "lease_id", "fence")}
        claim |= {"network": pool.network, "pid": os.getpid()}
        sock.sendall(json.dumps(claim).encode() + b"\n")
        answers.readline()
        time.sleep(random.uniform(0.02, 0.2))  # what a user's request would take


def _report(what: str) -> None:
    print(json.dumps({"event": what}), flush=True)


if __name__ == "__main__":
    main()
