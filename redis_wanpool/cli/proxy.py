"""`wanpool proxy`: programs in any language, out by a WAN."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from redis_wanpool import AsyncWanPortPool
from redis_wanpool.cli.beside import add_options, beside
from redis_wanpool.cli.verb import DONE, Verbs, answer
from redis_wanpool.errors import WanpoolError
from redis_wanpool.health.checker import check
from redis_wanpool.health.probe import checked_target
from redis_wanpool.terminal.format import one_line, seconds_of
from redis_wanpool.terminal.language import said

if TYPE_CHECKING:
    from redis_wanpool.proxy import Proxy

logger = logging.getLogger("redis_wanpool")


def add_to(verbs: Verbs) -> None:
    parser = verbs.add(
        proxy,
        "",
        "--port 8080 --wait 30s",
        "wanpool proxy --bind 192.168.1.10 --allow 192.168.1.0/24 --password-file /etc/wanpool/password",
        "curl --proxy http://wan1:x@127.0.0.1:7080 https://example.com/    # while wanpool proxy runs",
        "curl --proxy socks5h://127.0.0.1:7082 https://example.com/       # 7082 is for WAN 1 of wanpool proxy",
    )
    parser.add_argument("--bind", metavar="ADDRESS", default="127.0.0.1", help="where to listen (default: 127.0.0.1)")
    parser.add_argument(
        "--port", metavar="P", type=int, default=7080, help="WAN K has port P + 1 + K; 0: any free ones (default: 7080)"
    )
    parser.add_argument("--wait", metavar="SPAN", default="5s", help="how long a client waits for a port (default: 5s)")
    parser.add_argument(
        "--connect-timeout", metavar="SPAN", default="10s", help="how long a server may take to answer (default: 10s)"
    )
    parser.add_argument(
        "--idle-timeout", metavar="SPAN", default="10m", help="how long a connection may be silent (default: 10m)"
    )
    parser.add_argument(
        "--drain", metavar="SPAN", default="10s", help="how long clients may finish at the end (default: 10s)"
    )
    parser.add_argument(
        "--max-clients", metavar="N", type=int, default=4000, help="the most clients at a time (default: 4000)"
    )
    parser.add_argument(
        "--health-target",
        metavar="HOST:PORT",
        action="append",
        default=[],
        help="check the lines, too, as wanpool health --target does; repeat it",
    )
    parser.add_argument("--verbose", action="store_true", help="say on the standard error output what each client does")
    add_options(parser)
    beyond = parser.add_argument_group("beyond loopback")
    beyond.add_argument(
        "--allow", metavar="NETWORK", action="append", default=[], help="clients of this network may connect; repeat it"
    )
    beyond.add_argument(
        "--password-file", metavar="FILE", help="a password on each line; clients must give one of them"
    )
    beyond.add_argument(
        "--allow-target",
        metavar="NETWORK",
        action="append",
        default=[],
        help="clients may reach this network, though it is not public; repeat it",
    )


def proxy(options: argparse.Namespace) -> int:
    """Runs a proxy by which any program leaves by the WAN that it names; it speaks HTTP, CONNECT and SOCKS 5.

    The user name says which WAN (wan1, its name, any); or the port does, as WAN K has port P + 1 + K.
    """
    try:
        from redis_wanpool.proxy.access import read_passwords
    except ModuleNotFoundError as error:
        raise WanpoolError(str(error)) from None
    passwords = [] if options.password_file is None else read_passwords(options.password_file)
    spans = ("wait", "connect_timeout", "idle_timeout", "drain")
    rules: dict[str, Any] = {
        name: seconds_of("--" + name.replace("_", "-"), getattr(options, name)) for name in spans
    } | {name: getattr(options, name) for name in ("bind", "port", "max_clients", "allow", "allow_target")}
    if options.verbose:
        logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
        logging.getLogger("redis_wanpool.proxy").setLevel(logging.DEBUG)
    for target in options.health_target:
        checked_target(target)
    _raise_limit()
    asyncio.run(_serve(options, rules | {"passwords": passwords}))
    return DONE


async def _serve(options: argparse.Namespace, rules: dict[str, Any]) -> None:
    from redis_wanpool.proxy import serve

    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def stop() -> None:
        if end.is_set() and task is not None:
            task.cancel()  # the second time: at once
        end.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # Windows: KeyboardInterrupt does it
            loop.add_signal_handler(number, stop)
    async with (
        AsyncWanPortPool(options.url, namespace=options.namespace) as pool,
        serve(pool, **rules) as proxy,
        _checked_lines(pool, options.health_target),
        beside(options) as urls,
    ):
        _tell(options, pool, proxy, urls)
        await end.wait()


@asynccontextmanager
async def _checked_lines(pool: AsyncWanPortPool, targets: Sequence[str]) -> AsyncIterator[None]:
    """Checks the lines while the block lasts, if there is anything to connect to."""
    if not targets:
        yield
        return
    task = asyncio.create_task(check(pool, targets))
    task.add_done_callback(_say_why_it_ended)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, WanpoolError):  # which was said when it happened
            await task


def _say_why_it_ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("the lines are not checked any more: %s", error)


def _tell(options: argparse.Namespace, pool: AsyncWanPortPool, proxy: "Proxy", urls: dict[str, str]) -> None:
    wans = [
        {"wan_idx": wan_idx, "name": name, "port": proxy.wan_ports.get(wan_idx)}
        for wan_idx, name in sorted(proxy.lines.names.items())
    ]
    lines = [
        said("{bind}:{port}: the user name chooses the WAN (wan1, its name, or any)", bind=proxy.bind, port=proxy.port)
    ]
    for wan in wans:
        name = f" {wan['name']}" if wan["name"] else ""
        where = (
            said("no port of its own: its number is too large")
            if wan["port"] is None
            else f"{proxy.bind}:{wan['port']}"
        )
        lines.append(one_line(f"{where}: WAN {wan['wan_idx']}{name}"))
    if not wans:
        lines.append(said("no WAN is defined yet (wanpool init)"))
    if "metrics" in urls:
        lines.append(said("metrics at {url}", url=urls["metrics"]))
    if "web" in urls:
        lines.append(said("open {url} in a browser", url=urls["web"]))
    facts = {"namespace": pool.namespace, "bind": proxy.bind, "port": proxy.port, "pid": os.getpid()}
    answer(options, lines, **facts, wans=wans, metrics=urls.get("metrics"), web=urls.get("web"))
    sys.stdout.flush()


def _raise_limit() -> None:
    """Each client takes two file descriptors, and many systems allow 1,024 unless one asks for more."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
