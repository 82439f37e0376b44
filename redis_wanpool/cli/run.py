"""`wanpool run`: holds leases while a command runs, or a proxy for it, and does not let it outlive them."""

import argparse
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis_wanpool import ANY, Lease, WanPortPool
from redis_wanpool.cli.verb import NO, Verbs, choose_wans, operator_of
from redis_wanpool.errors import InvalidValue, LeaseLost, WanpoolError
from redis_wanpool.model.checks import checked_text
from redis_wanpool.model.lease import LeaseState, margin
from redis_wanpool.system.family import Family, start
from redis_wanpool.terminal.format import counted, one_line, seconds_of
from redis_wanpool.terminal.language import said

NOT_FOUND, NOT_EXECUTABLE = 127, 126  #: exit codes of a shell for a command that it cannot run


def add_to(verbs: Verbs) -> None:
    parser = verbs.add(
        run,
        "--wan 0 -- curl --local-port {port} https://example.com/",
        "--wan 0 --count 8 --wait 30s -- ./crawl --ports {ports}",
        "--proxy --wan 0 -- pip download requests    # any program that heeds http_proxy",
    )
    parser.add_argument("--proxy", action="store_true", help="lease a port for each connection, by a proxy")
    parser.add_argument("--no-proxy", metavar="HOSTS", help="with --proxy: hosts that it is not for, like localhost")
    parser.add_argument("--wan", metavar="K", type=int, action="append", help="(default: any) repeat it for several")
    parser.add_argument("--count", metavar="N", type=int, default=1, help="how many ports, of one WAN (default: 1)")
    parser.add_argument("--wait", metavar="SPAN", default="0", help="how long to wait for them (default: not at all)")
    parser.add_argument("--ttl", metavar="SPAN", help="how long a lease lasts that nobody renews (default: the WAN's)")
    parser.add_argument("--label", metavar="L", default="", help="for people")
    parser.add_argument(
        "--sticky", metavar="KEY", help="the WAN of this key, such as an account's name, while it is up"
    )
    parser.add_argument("words", metavar="-- CMD", nargs=argparse.REMAINDER, help="the command and its arguments")


def run(options: argparse.Namespace) -> int:
    """Runs a command with leased ports, and answers with its exit code. It gets WANPOOL_PORT, and
    WANPOOL_PORTS (several, separated by commas); {port} and {ports} in its arguments are replaced.
    With --proxy it gets http_proxy, https_proxy and all_proxy instead; {proxy} is replaced by the URL.
    """
    words = options.words[1:] if options.words[:1] == ["--"] else options.words
    if not words:
        raise InvalidValue("no command: say it behind --, like: wanpool run --wan 0 -- curl --local-port {port} URL")
    if options.no_proxy is not None and not options.proxy:
        raise InvalidValue("--no-proxy goes with --proxy")
    if options.json:
        raise InvalidValue("--json: what run prints is the command's own")
    path = shutil.which(words[0])
    if path is None:
        known = Path(words[0]).exists()
        why = said("is not executable") if known else said("not found")
        print(f"wanpool: {one_line(words[0])}: {why}", file=sys.stderr)
        return NOT_EXECUTABLE if known else NOT_FOUND
    command = Command()
    if options.proxy:
        return _run_by_proxy(options, command, path, words)
    with operator_of(options) as operator, operator.pool(on_lost=command.end_soon) as pool, command.hearing():
        leases = _acquire(pool, options)
        ports = [str(lease.port) for lease in leases]
        names = {"{port}": ports[0], "{ports}": ",".join(ports)}
        environment = {"WANPOOL_PORT": names["{port}"], "WANPOOL_PORTS": names["{ports}"]}
        try:
            code = command.run(path, [_filled(word, names) for word in words], {**os.environ, **environment})
        except OSError as error:  # no program for this machine, no interpreter, too many arguments
            for lease in leases:
                lease.release(used=False)
            return _does_not_start(words, error)
        for lease in leases:
            try:
                lease.check()
            except LeaseLost as error:
                print(f"wanpool: {error}; " + said("the command was ended"), file=sys.stderr)
                return NO
    return code


def _does_not_start(words: list[str], error: OSError) -> int:
    why = said("does not start")
    print(f"wanpool: {one_line(words[0])}: {why}: {error.strerror}", file=sys.stderr)
    return NOT_EXECUTABLE


def _run_by_proxy(options: argparse.Namespace, command: "Command", path: str, words: list[str]) -> int:
    if options.count != 1 or options.ttl is not None:
        raise InvalidValue("--proxy leases a port for each connection: --count and --ttl do not apply")
    try:
        from redis_wanpool.proxy.aside import beside
    except ModuleNotFoundError as error:
        raise WanpoolError(str(error)) from None
    wait = seconds_of("--wait", options.wait)
    label = checked_text("--label", options.label)
    with operator_of(options) as operator:
        choose_wans(operator, options.wan)
    with command.hearing(), beside(options.url, options.namespace, options.wan or ANY, wait, label) as proxy:
        url = f"http://{proxy.bind}:{proxy.port}"
        environment = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
        if len(environment) < len(os.environ) and options.no_proxy is None:
            told = said("no_proxy is not for the command: what it names would leave by no WAN (--no-proxy HOSTS)")
            print(f"wanpool: {told}", file=sys.stderr)
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            environment[name] = environment[name.upper()] = url
        if options.no_proxy is not None:
            environment["no_proxy"] = environment["NO_PROXY"] = options.no_proxy
        environment["WANPOOL_PROXY"] = url
        try:
            return command.run(path, [_filled(word, {"{proxy}": url}) for word in words], environment)
        except OSError as error:
            return _does_not_start(words, error)


def _acquire(pool: WanPortPool, options: argparse.Namespace) -> list[Lease]:
    wait = seconds_of("--wait", options.wait)
    ttl = None if options.ttl is None else seconds_of("--ttl", options.ttl)
    if options.count == 1:
        how = {"label": options.label, "sticky": options.sticky}
        return [pool.acquire(options.wan or ANY, wait=wait, ttl=ttl, **how)]
    if options.wan is None or len(options.wan) != 1:
        raise InvalidValue(f"--count {options.count}: say one --wan, of which all of them are")
    return pool.acquire_many(options.wan[0], options.count, wait=wait, label=options.label, ttl=ttl)


class Command:
    """A command that gets the signals that come here, and ends when a lease is lost, with all that it started."""

    def __init__(self) -> None:
        self._family: Family | None = None
        self._early: list[int] | None = None  #: signals that came while it was being started; None before that
        self._lost: LeaseState | None = None

    def run(self, path: str, words: list[str], environment: dict[str, str]) -> int:
        """Runs it to its end; its exit code, or 128 and the number of the signal that ended it."""
        self._early = []
        self._family = family = start(path, words, environment)
        for number in self._early:
            self._pass_on(number, None)
        if self._lost is not None:
            self.end_soon(self._lost)
        code = family.wait()
        if family.left_behind:
            ended = said(
                "ended {count} that the command had left running", count=counted(family.left_behind, "process")
            )
            print(f"wanpool: {ended}", file=sys.stderr)
        return code if code >= 0 else 128 - code

    @contextmanager
    def hearing(self) -> Iterator[None]:
        """Passes signals on while it runs; before that they end this process as Ctrl-C does."""
        before = {number: signal.getsignal(number) for number in _PASSED_ON}
        for number, handler in before.items():
            if handler != signal.SIG_IGN:  # as nohup leaves it, and the command inherits it
                signal.signal(number, self._pass_on)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _pass_on(self, number: int, _: object) -> None:
        if self._family is None and self._early is None:
            raise KeyboardInterrupt
        if self._family is None:
            self._early = [*(self._early or ()), number]
        elif not _from_terminal(number):
            self._family.signal(number)

    def end_soon(self, lease: LeaseState) -> None:
        """Asks it to end, and ends it before the port may be in other hands."""
        self._lost = lease
        if self._family is not None:
            self._family.end(margin(lease.ttl) / 2)


def _from_terminal(number: int) -> bool:
    """Whether the signal comes from the keyboard, as far as one can tell: then the command has got it, too."""
    if os.name != "posix":
        return number != signal.SIGTERM
    return number in (signal.SIGINT, signal.SIGQUIT) and any(
        os.isatty(fd) and os.tcgetpgrp(fd) == os.getpgrp() for fd in (0, 1, 2)
    )


def _filled(word: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        word = word.replace(name, value)
    return word


_PASSED_ON = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGBREAK")
    if hasattr(signal, name)
]
