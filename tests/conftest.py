from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import fakeredis
import pytest
import redis
import servers
from faces import Loop, make

from redis_wanpool.model.ports import port_numbers
from redis_wanpool.protocol.keys import WanKeys, namespace_keys
from redis_wanpool.protocol.scripts import script
from redis_wanpool.transport import backend
from redis_wanpool.transport import embedded as embedded_server

SERVERS = os.environ.get("WANPOOL_TEST_SERVERS", "valkey-9.1").split(",")
collect_ignore = [] if os.environ.get("WANPOOL_LABS") else ["labs"]  # they need root: see the Makefile
SEED = int(os.environ.get("WANPOOL_SEED", "0")) or random.randrange(1, 2**31)
os.environ["WANPOOL_SEED"] = str(SEED)  # workers beside each other make the same choices
LONG = float(os.environ.get("WANPOOL_LONG", "1"))
"""how many times as long the randomised tests last"""
os.environ["LC_ALL"] = "C.UTF-8"  # the tests read English, whatever their user speaks
CONNECT = {"test_cli", "test_docs", "test_doctor", "test_doctor_machine", "test_doctor_redis", "test_embedded"}
CONNECT |= {"test_http", "test_http_edges", "test_interrupts", "test_legacy", "test_operator", "test_sockets"}
"""tests that connect from their leases' ports, or look at this machine's: they run in one worker, whatever others do"""
SETTINGS = ("WANPOOL_URL", "WANPOOL_NAMESPACE", "WANPOOL_NETWORK", "WANPOOL_CONFIG", "WANPOOL_SERVER")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.write_line(f"random choices: WANPOOL_SEED={SEED} WANPOOL_LONG={LONG:g}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Who gets which tests, where there are several workers."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "ports" if Path(nodeid.partition("::")[0]).stem in CONNECT else nodeid

    return Scheduling(config, log)


def wait_for(condition: Callable[[], Any], within: float = 20.0) -> Any:
    """Waits for a condition; its deadline is there to fail, not to measure."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {within} s"
        time.sleep(0.005)
    return value


class Server:
    """A private server on a unix socket."""

    outlives_limits = False
    """whether it gets an error, and not a signal, for a file that is too large (as Python itself does)"""

    def __init__(self, name: str, folder: Path, *options: str) -> None:
        self.name = name
        self.folder = folder
        self.socket = folder / "s"
        self.url = f"unix://{self.socket}"
        self.admin = redis.Redis(unix_socket_path=str(self.socket), decode_responses=True)
        self.start(*options)

    def start(self, *options: str) -> None:
        self.socket.unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(servers.binary(self.name)), "--port", "0", "--unixsocket", str(self.socket), "--save", ""]
                + ["--dir", str(self.folder), "--maxclients", "1000", *options],
                stdout=log,
                stderr=log,
                restore_signals=not self.outlives_limits,
            )

        def answers() -> bool:
            with suppress(redis.ConnectionError):
                return bool(self.admin.ping())
            assert self.process.poll() is None, (self.folder / "log").read_text()
            return False

        wait_for(answers)

    def cut(self) -> None:
        """Ends the connections of all clients."""
        self.admin.execute_command("CLIENT", "KILL", "TYPE", "normal")

    def restart(self, *options: str) -> None:
        self.stop()
        self.start(*options)

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        self.process.send_signal(how)
        self.process.wait()

    def close(self) -> None:
        self.admin.close()
        if self.process.poll() is None:
            self.stop()


class Fake:
    """The in-process stand-in, with the same handles as a server."""

    name = "fake"

    def __init__(self) -> None:
        self.url = f"fake://{uuid.uuid4().hex}"
        self.admin = fakeredis.FakeRedis(server=backend._fake_server(self.url), decode_responses=True)

    def close(self) -> None:
        self.admin.close()
        backend._fakes.pop(self.url, None)


def start_server(name: str, folder: Path, *options: str) -> Any:
    """A server, or a cluster if its name begins so."""
    if not name.startswith("cluster-"):
        return Server(name, folder, *options)
    from clusters import Shards

    return Shards(name.removeprefix("cluster-"), folder, replicas=1, options=options)


@pytest.fixture(autouse=True, scope="session")
def hears_interrupts() -> None:
    """Who runs the tests in the background has SIGINT ignored, and so would all programs that they start."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the settings, or the embedded server, of whoever runs it."""
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANPOOL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def running() -> Iterator[dict[str, Any]]:
    found: dict[str, Any] = {}
    yield found
    for server in found.values():
        server.close()


def _server(name: str, running: dict[str, Any], factory: pytest.TempPathFactory) -> Any:
    if name not in running:
        running[name] = start_server(name, factory.mktemp(name))
    running[name].admin.flushall()
    return running[name]


@pytest.fixture(params=SERVERS)
def server(request: Any, running: dict[str, Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server, empty."""
    found = _server(request.param, running, tmp_path_factory)
    yield found
    check_invariant(found.admin)


@pytest.fixture(params=[*SERVERS, "fake"])
def backends(request: Any, running: dict[str, Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real server, or the in-process stand-in, empty."""
    fake = request.param == "fake"
    found: Any = Fake() if fake else _server(request.param, running, tmp_path_factory)
    yield found
    check_invariant(found.admin)
    if fake:
        found.close()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server that the test may stop and kill."""
    server = Server(SERVERS[0], tmp_path)
    yield server
    server.close()


@pytest.fixture
def embedded() -> Any:
    """The embedded server, in the test's own folder; ended if the test leaves it running."""
    yield embedded_server
    embedded_server.stop()


def wanpool(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "redis_wanpool.cli", *words],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **env},
        check=False,
    )


@pytest.fixture(scope="session")
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture(params=["sync", "aio"])
def face(request: Any) -> str:
    return str(request.param)


@pytest.fixture
def pools(face: str, backends: Any, loop: Loop) -> Iterator[Callable[..., Any]]:
    """Makes pool objects of one face on one server; a test is written once and runs for each."""
    made: list[Any] = []

    def new(**kwargs: Any) -> Any:
        kwargs.setdefault("namespace", "test")
        kwargs.setdefault("rest", 0.0)
        pool = make(face, loop, backends.url, **kwargs)
        made.append(pool)
        return pool

    yield new
    for pool in made:
        pool.close()


@pytest.fixture
def pool(pools: Callable[..., Any]) -> Any:
    """A pool object with WAN 0 of ten ports, without rest and cool-down."""
    pool = pools()
    pool.define_wan(0, "20000-20009", cooldown=0)
    return pool


@pytest.fixture
def age(backends: Any) -> Callable[..., None]:
    def later(seconds: float, wan_idx: int = 0, namespace: str = "test") -> None:
        age_wan(backends.admin, seconds, wan_idx, namespace)

    return later


def age_wan(admin: Any, seconds: float, wan_idx: int = 0, namespace: str = "test") -> None:
    """Makes everything in a WAN older, instead of sleeping."""
    prefix = f"wanpool:{{{namespace}:{wan_idx}}}:"
    ms = round(seconds * 1000)
    scored = [name for kind in ("resting", "rejected") for name in admin.scan_iter(f"{prefix}{kind}:*")]
    for name in [prefix + "leased", prefix + "cooling", prefix + "quarantined", *scored]:
        for port, _ in admin.zrange(name, 0, -1, withscores=True):
            admin.zincrby(name, -ms, port)
    for port, grant in admin.hgetall(prefix + "grants").items():
        words = grant.split(" ")
        words[4] = str(max(0, int(words[4]) - ms))
        admin.hset(prefix + "grants", port, " ".join(words))
    for name in admin.scan_iter(prefix + "lease:*"):
        left = admin.pttl(name) - ms
        admin.pexpire(name, left) if left > 0 else admin.delete(name)


def heard(admin: Any, action: Callable[[], Any], by: str = "scripts") -> list[list[str]]:
    """The commands that scripts called meanwhile, or that clients sent."""
    with admin.monitor() as monitor:
        action()
        admin.echo("over")
        commands = []
        while not (seen := monitor.next_command())["command"].endswith("over"):
            if (seen["client_type"] == "lua") == (by == "scripts"):
                commands.append(seen["command"].split(" "))
        return commands


NAMESPACE_SCRIPTS = ("claim", "unclaim", "register", "unregister", "neighbours")
UNTIMED = (*NAMESPACE_SCRIPTS, "define")
"""scripts that do not want to know the caller's boot clock"""


def run_script(admin: Any, name: str, *args: Any, clock: tuple[str, int] = ("", 0)) -> list[Any]:
    """Runs a script by hand, on WAN 0 of namespace "test"."""
    keys = namespace_keys("test") if name in NAMESPACE_SCRIPTS else WanKeys.of("test", 0).declared
    first = () if name in UNTIMED else clock
    reply: list[Any] = admin.eval(script(name).source, len(keys), *keys, *first, *args)
    return reply


def check_invariant(admin: Any) -> None:
    """Each configured port is in exactly one place, and what else is written fits that."""
    for config in list(admin.scan_iter("wanpool:{*}:config")):
        prefix = config[: -len("config")]
        if admin.hget(config, "state") == "filling":
            continue
        free, withheld = admin.smembers(prefix + "free"), admin.smembers(prefix + "withheld")
        leased = set(admin.zrange(prefix + "leased", 0, -1))
        cooling = set(admin.zrange(prefix + "cooling", 0, -1))
        everywhere = [*free, *withheld, *leased, *cooling]
        leaving = admin.hgetall(prefix + "leaving")
        removed = {port for port, why in leaving.items() if why == "removed"}
        configured = {str(port) for port in port_numbers(admin.hget(config, "ports"))}
        assert not configured & removed and set(leaving) <= leased | (cooling & removed), prefix
        assert int(admin.hget(config, "leaving")) == len(leaving), prefix
        assert sorted(everywhere) == sorted(configured | removed), prefix
        ids = admin.hgetall(prefix + "ids")
        assert set(ids.values()) == leased and len(ids) == len(leased), prefix
        held = [port for name in admin.scan_iter(prefix + "held:*") for port in admin.smembers(name)]
        assert sorted(held) == sorted(leased), prefix
        for name in admin.scan_iter(prefix + "resting:*"):
            assert set(admin.zrange(name, 0, -1)) <= cooling - removed, name
        grants = admin.hgetall(prefix + "grants")
        for port in leased:
            assert grants[port].endswith(" live") and ids[grants[port].split(" ")[0]] == port
        for port in set(grants) - leased:
            assert not grants[port].endswith(" live"), (prefix, port)
        queued, capped = admin.zrange(prefix + "waiting", 0, -1), admin.zrange(prefix + "capped", 0, -1)
        assert sorted(queued + capped) == sorted(admin.hkeys(prefix + "waiters")), prefix
        assert int(admin.hget(config, "waiting")) == len(queued + capped), prefix
        by_network = [one for name in admin.scan_iter(prefix + "capped:*") for one in admin.zrange(name, 0, -1)]
        assert sorted(by_network) == sorted(capped), prefix
        if int(admin.hget(config, "max_per_network")):
            counts: dict[str, int] = {}
            for port in leased:
                network = grants[port].split(" ")[2]
                counts[network] = counts.get(network, 0) + 1
            stored = {name: int(count) for name, count in admin.hgetall(prefix + "networks").items() if int(count)}
            assert stored == counts, prefix
