"""The fixtures of all tests, and who gets which tests where there are several workers."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, closing
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from by_hand import age_wan
from chance import LONG, SEED
from command_line import Program
from faces import Loop, maker
from private_server import SERVERS, Fake, Server, start_server
from proxy import Proxy
from scheduling import connects, scope
from sentinels import Watch
from web import Web

import redis_wanpool
from redis_wanpool import AsyncWanPortPool
from redis_wanpool.model.wan import WanDefinition
from redis_wanpool.protocol.wans import Wans
from redis_wanpool.terminal import language
from redis_wanpool.transport import embedded as embedded_server

pytest.register_assert_rewrite("invariant")  # so that it shows what is not equal

from invariant import check_invariant  # noqa: E402

collect_ignore = [
    *([] if os.environ.get("WANPOOL_LABS") else ["labs"]),  # they need root: see the Makefile
    *([] if os.environ.get("WANPOOL_CLIENTS") else ["frameworks"]),  # they need packages, which `make clients` installs
]
if os.environ.get("WANPOOL_WHEEL"):
    assert Path(redis_wanpool.__file__).is_relative_to(sys.prefix), "what is tested is not what was installed"
os.environ["LC_ALL"] = "C.UTF-8"  # the tests read English, whatever their user speaks
SETTINGS = ("WANPOOL_URL", "WANPOOL_NAMESPACE", "WANPOOL_NETWORK", "WANPOOL_CONFIG", "WANPOOL_SERVER")
SETTINGS += ("WANPOOL_LEGACY_WAIT",)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.write_line(f"random choices: WANPOOL_SEED={SEED} WANPOOL_LONG={LONG:g}")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Marks what another version of the server may have another answer to: what has a server among its parameters."""
    values = item.callspec.params.values() if hasattr(item, "callspec") else ()
    if any(isinstance(value, str) and value in SERVERS for value in values):
        item.add_marker("per_server")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Who gets which tests, where there are several workers."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope(nodeid)

    return Scheduling(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: Any) -> bool | None:
    """Runs a test that is a coroutine on a loop of its own, where the pool objects that it got end with it."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    given = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}

    async def run() -> None:
        async with AsyncExitStack() as stack:
            for value in given.values():
                if isinstance(value, AsyncWanPortPool):
                    await stack.enter_async_context(value)
            await pyfuncitem.obj(**given)

    asyncio.run(run())
    return True


@pytest.fixture(autouse=True, scope="session")
def hears_interrupts() -> None:
    """Who runs the tests in the background has SIGINT ignored, and so would all programs that they start."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_look(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that share port numbers with those beside them do not look at the machine's ports."""
    if not connects(request.node.nodeid.partition("::")[0]):
        monkeypatch.setattr("redis_wanpool.engine.performer.look", lambda port, **_: None)


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the settings, or the embedded server, of whoever runs it."""
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANPOOL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


AS_ASKED = Wans.define_wan


@pytest.fixture(autouse=True)
def says_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' servers have just been started, or emptied, and nobody can hold their ports: definitions say so.

    That is so of all pool objects and commands of this process, but for a test that asks for `as_asked`.
    """

    def define_wan(self: Wans, wanted: WanDefinition, *, recover: bool = False, fresh: bool = False) -> Any:
        return AS_ASKED(self, wanted, recover=recover, fresh=fresh or not recover)

    monkeypatch.setattr(Wans, "define_wan", define_wan)


@pytest.fixture
def as_asked(says_fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """WANs are defined as their definers ask for it."""
    monkeypatch.setattr(Wans, "define_wan", AS_ASKED)


@pytest.fixture
def chinese(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    language.chinese.cache_clear()
    yield
    language.chinese.cache_clear()


@pytest.fixture(scope="session")
def authority() -> Any:
    import trustme

    return trustme.CA()


@pytest.fixture
def serving(authority: Any) -> ssl.SSLContext:
    """TLS of a server that is called localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def trusting(authority: Any) -> ssl.SSLContext:
    """TLS of a client that believes it."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def async_pool(server: Any) -> AsyncWanPortPool:
    """A pool object for a test that is a coroutine."""
    return AsyncWanPortPool(server.url, namespace="test", rest=0)


@pytest.fixture
def web() -> Iterator[Web]:
    web = Web()
    yield web
    web.close()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Makes servers with options, of a version that is fit."""
    with ExitStack() as stack:

        def start(*options: str) -> Server:
            folder = Path(mkdtemp(dir=tmp_path))
            return stack.enter_context(closing(Server("valkey-9.1", folder, *options)))

        yield start


@pytest.fixture(params=SERVERS[:1])
def watch(request: Any, tmp_path: Path) -> Iterator[Watch]:
    """A primary and its replicas, which Sentinels watch."""
    with closing(Watch(request.param, tmp_path)) as watch:
        yield watch


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


def _check_what_is_left(admin: Any) -> None:
    """A pool object that a slow machine's Redis held up may still give back what it had."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return check_invariant(admin)
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@pytest.fixture(params=SERVERS)
def server(request: Any, running: dict[str, Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server, empty."""
    found = _server(request.param, running, tmp_path_factory)
    yield found
    _check_what_is_left(found.admin)


@pytest.fixture(params=[*SERVERS, "fake"])
def backends(request: Any, running: dict[str, Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real server, or the in-process stand-in, empty."""
    fake = request.param == "fake"
    found: Any = Fake() if fake else _server(request.param, running, tmp_path_factory)
    yield found
    _check_what_is_left(found.admin)
    if fake:
        found.close()


@pytest.fixture(params=SERVERS[:1])
def own_server(request: Any, tmp_path: Path) -> Iterator[Server]:
    """A server that the test may stop and kill."""
    server = Server(request.param, tmp_path)
    yield server
    server.close()


@pytest.fixture
def proxy(own_server: Server, tmp_path: Path) -> Iterator[Proxy]:
    """A proxy between a client and that server, which may spoil what they say."""
    proxy = Proxy(tmp_path / "p", own_server.socket)
    yield proxy
    proxy.close()


@pytest.fixture
def embedded() -> Any:
    """The embedded server, in the test's own folder; ended if the test leaves it running."""
    yield embedded_server
    embedded_server.stop()


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Runs Python programs, which end with the test."""
    made: list[Program] = []

    def run(text: str, *args: str) -> Program:
        made.append(Program(tmp_path / f"program{len(made)}.py", text, *args))
        return made[-1]

    yield run
    for one in made:
        one.close()


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
    with maker(face, loop, backends.url) as new:
        yield new


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
