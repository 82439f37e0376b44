"""`wanpool metrics`: the state of a namespace for Prometheus."""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence

from redis_wanpool import settings as config
from redis_wanpool.cli.verb import DONE, Verbs, answer, operator_of
from redis_wanpool.doctor.examine import examine_machine, examine_redis
from redis_wanpool.doctor.finding import Finding
from redis_wanpool.errors import WanpoolError
from redis_wanpool.terminal.format import seconds_of
from redis_wanpool.terminal.language import said

PORT = 9471
SHORTEST = 10.0  #: seconds between two looks of the doctor


def add_to(verbs: Verbs) -> None:
    parser = verbs.add(metrics, "", "--bind 10.0.0.5 --port 9471", "--doctor 0    # without what the doctor finds")
    parser.add_argument("--bind", metavar="ADDRESS", default="127.0.0.1", help="where to listen (default: 127.0.0.1)")
    parser.add_argument("--port", metavar="N", type=int, default=PORT, help=f"(default: {PORT}; 0: any)")
    parser.add_argument(
        "--doctor", metavar="SPAN", default="5m", help="how often the doctor looks; 0: never (default: 5m)"
    )


def metrics(options: argparse.Namespace) -> int:
    """Answers Prometheus at /metrics, until it is ended. Many scrapes cost Redis one reading a second. The rights of a
    viewer will do (wanpool acl viewer), but for some of what the doctor looks at.
    """
    try:
        from redis_wanpool.watch.metrics import PoolCollector, serve
        from redis_wanpool.watch.paced import Background
        from redis_wanpool.watch.reading import Watch
    except ModuleNotFoundError as error:
        if error.name != "prometheus_client":
            raise
        raise WanpoolError('metrics need prometheus_client: pip install "redis-wanpool[metrics]"') from None
    every = seconds_of("--doctor", options.doctor)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with operator_of(options) as operator:
        doctor = Background(lambda: _examined(options), max(SHORTEST, every))
        server, port = serve(PoolCollector(Watch(operator), lambda: doctor.value), options.bind, options.port)
        try:
            host = f"[{options.bind}]" if ":" in options.bind else options.bind
            url = f"http://{host}:{port}/metrics"
            facts = {"namespace": operator.namespace, "bind": options.bind, "port": port, "pid": os.getpid()}
            answer(options, [said("metrics at {url}", url=url)], **facts, url=url)
            sys.stdout.flush()
            if every:
                doctor.start()
            threading.Event().wait()
        except KeyboardInterrupt:
            return DONE
        finally:
            doctor.stop()
            server.shutdown()
            server.server_close()
    return DONE


def _examined(options: argparse.Namespace) -> Sequence[Finding]:
    """What the doctor finds of Redis and of this machine."""
    settings = config.settings(url=options.url, namespace=options.namespace)
    with operator_of(options, allow_unsafe=True) as operator:
        redis = examine_redis(operator, settings)
        return [*redis.findings, *examine_machine(operator, settings, redis)]
