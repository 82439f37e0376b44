"""The life of processes: how they end, how they fork, and what becomes of their ports. Each is a real process."""

from __future__ import annotations

import signal
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
from command_line import Program
from waiting import wait_for

from redis_wanpool import WanPortPool

LEASED, COOLING = "wanpool:{test:0}:leased", "wanpool:{test:0}:cooling"
HEAD = """
import os, signal, sys, threading, time
from redis_wanpool import AsyncWanPortPool, LeaseLost, WanPortPool
URL = sys.argv[1]
"""
POOL = """
pool = WanPortPool(URL, namespace="test", rest=0)
pool.define_wan(0, "20000-20009", cooldown=100, lease_ttl=600, fresh=True)
"""


@pytest.fixture
def program(program: Callable[..., Program], own_server: Any) -> Callable[[str], Program]:
    """Runs a program with the server's URL."""
    return lambda text: program(HEAD + textwrap.dedent(text), own_server.url)


class TestExit:
    @pytest.mark.slow
    @pytest.mark.parametrize(("how", "code"), [("", 0), ("sys.exit(3)", 3), ("raise KeyError", 1)])
    def test_gives_everything_back(self, program: Any, own_server: Any, how: str, code: int) -> None:
        assert program(POOL + "pool.acquire_many(0, 3)\n" + how).end()[0] == code
        assert own_server.admin.zcard(LEASED) == 0 and own_server.admin.zcard(COOLING) == 3
        assert own_server.admin.hlen("wanpool:{test}:holders") == 0

    def test_gives_leases_of_the_asyncio_face_back_though_their_loop_is_closed(
        self, program: Any, own_server: Any
    ) -> None:
        text = """
        import asyncio
        async def story():
            pool = AsyncWanPortPool(URL, namespace="test")
            await pool.define_wan(0, "20000-20009", cooldown=100, fresh=True)
            await pool.acquire_many(0, 3)
            return pool
        kept = asyncio.run(story())
        """
        assert program(text).end()[0] == 0
        assert own_server.admin.zcard(COOLING) == 3

    @pytest.mark.slow
    def test_is_not_held_up_by_a_redis_that_does_not_answer(self, program: Any, own_server: Any) -> None:
        """The pools would wait for minutes, one after the other."""
        text = """
        pools = [WanPortPool(URL, namespace="test", connect_timeout=100) for _ in range(9)]
        pools[0].define_wan(0, "20000-20009", fresh=True)
        for pool in pools:
            pool.acquire(0)
        print("ready", flush=True)
        sys.stdin.read()
        """
        running = program(text)
        assert running.line() == "ready"
        own_server.process.send_signal(signal.SIGSTOP)
        assert running.end()[0] == 0
        own_server.process.send_signal(signal.SIGCONT)

    @pytest.mark.slow
    @pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
    def test_of_a_child_of_multiprocessing_gives_back_too(self, program: Any, own_server: Any, method: str) -> None:
        text = f"""
        import multiprocessing
        {POOL.replace(chr(10), chr(10) + " " * 8)}
        def work():
            pool = WanPortPool(URL, namespace="test", rest=0)
            pool.acquire_many(0, 2)
            get = WanPortPool(URL, namespace="test", rest=0)
            get.acquire(0)
        if __name__ == "__main__":
            mine = pool.acquire(0)
            child = multiprocessing.get_context("{method}").Process(target=work)
            child.start()
            child.join()
            mine.check()
            print(child.exitcode, pool.snapshot(0).leased, pool.snapshot(0).cooling)
        """
        code, out, err = program(text).end()
        assert (code, out.strip()) == (0, "0 1 3"), err

    def test_of_workers_of_a_process_pool_gives_back_too(self, program: Any, own_server: Any) -> None:
        text = (
            POOL
            + """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
mine = pool.acquire(0)
def work(_):
    return os.getpid(), pool.acquire(0).port, pool.allocate_port(wan_idx=0)
with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as workers:
    done = list(workers.map(work, range(4)))
assert mine.port not in [port for _, *ports in done for port in ports]
mine.check()
print(pool.snapshot(0).leased, pool.snapshot(0).cooling)
"""
        )
        code, out, err = program(text).end()
        assert (code, out.strip()) == (0, "1 8"), err

    @pytest.mark.slow
    def test_forgets_the_holder_though_it_never_got_a_port(self, program: Any, own_server: Any) -> None:
        text = """
pool.acquire_many(0, 10)
other = WanPortPool(URL, namespace="test", rest=0)
try:
    other.acquire(0)
except Exception as error:
    print(type(error).__name__)
"""
        assert program(POOL + text).end()[:2] == (0, "PoolExhausted\n")
        assert own_server.admin.hlen("wanpool:{test}:holders") == 0


class TestSigterm:
    TEXT = POOL.replace("rest=0", "rest=0, release_on_sigterm=True")
    WAIT = "\npool.acquire_many(0, 3)\nprint('ready', flush=True)\nsys.stdin.read()\nprint('went on')\n"

    def told(self, running: Program) -> tuple[int, str, str]:
        assert running.line() == "ready"
        running.process.send_signal(signal.SIGTERM)
        return running.end()

    def test_by_itself_leaves_the_ports_to_their_ttl(self, program: Any, own_server: Any) -> None:
        assert self.told(program(POOL + self.WAIT))[0] == -signal.SIGTERM
        assert own_server.admin.zcard(LEASED) == 3

    def test_gives_back_when_asked_to_and_ends_the_process_as_ever(self, program: Any, own_server: Any) -> None:
        assert self.told(program(self.TEXT + self.WAIT))[0] == -signal.SIGTERM
        assert own_server.admin.zcard(LEASED) == 0 and own_server.admin.zcard(COOLING) == 3

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("handler", "code", "said"),
        [
            ("lambda *_: os._exit(7)", 7, ""),
            ("lambda *_: sys.exit(8)", 8, ""),
            ("lambda *_: print('handled', flush=True)", 0, "handled\nwent on\n"),
        ],
    )
    def test_goes_on_to_the_handler_that_was_there(
        self, program: Any, own_server: Any, handler: str, code: int, said: str
    ) -> None:
        text = f"signal.signal(signal.SIGTERM, {handler})" + self.TEXT + self.TEXT + self.WAIT
        assert self.told(program(text))[:2] == (code, said)
        assert own_server.admin.zcard(LEASED) == 0 and own_server.admin.zcard(COOLING) == 3

    def test_reaches_a_handler_that_came_between_two_pools_once(self, program: Any, own_server: Any) -> None:
        text = """
def theirs(*args):
    print("theirs", flush=True)
    before(*args)
before = signal.signal(signal.SIGTERM, theirs)
"""
        assert self.told(program(self.TEXT + text + self.TEXT + self.WAIT))[:2] == (-signal.SIGTERM, "theirs\n")
        assert own_server.admin.zcard(LEASED) == 0

    def test_finds_locks_held_by_the_thread_that_it_interrupts(self, program: Any, own_server: Any) -> None:
        text = """
pool.acquire(0)
with pool._engine.wakeups._lock, pool._engine.heartbeat._starting:
    print("ready", flush=True)
    sys.stdin.read()
"""
        assert self.told(program(self.TEXT + text))[0] == -signal.SIGTERM

    def test_that_is_ignored_stays_ignored(self, program: Any, own_server: Any) -> None:
        text = (
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
            + self.TEXT
            + self.WAIT.replace("sys.", "pool.snapshot(0);sys.")
        )
        running = program(text)
        assert running.line() == "ready"
        running.process.send_signal(signal.SIGTERM)
        assert own_server.admin.zcard(LEASED) == 3
        assert running.end()[:2] == (0, "went on\n")

    def test_is_not_held_up_by_a_redis_that_does_not_answer(self, program: Any, own_server: Any) -> None:
        running = program(self.TEXT.replace("rest=0", "rest=0, connect_timeout=100") + self.WAIT)
        assert running.line() == "ready"
        own_server.process.send_signal(signal.SIGSTOP)
        running.process.send_signal(signal.SIGTERM)
        assert running.end()[0] == -signal.SIGTERM
        own_server.process.send_signal(signal.SIGCONT)

    def test_is_for_the_main_thread(self, program: Any) -> None:
        text = """
        def make():
            try:
                WanPortPool(URL, release_on_sigterm=True)
            except ValueError as error:
                print(error)
        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        """
        assert "make the pool there" in program(text).end()[1]


class TestFork:
    def test_leaves_the_connections_of_the_parents_loop_alone(self, program: Any) -> None:
        text = """
        import asyncio, gc
        async def story():
            async with AsyncWanPortPool(URL, namespace="test", rest=0) as pool:
                await pool.define_wan(0, "20000-20009", cooldown=0, fresh=True)
                lease = await pool.acquire(0)
                for _ in range(3):
                    child = os.fork()
                    if child == 0:
                        gc.collect()
                        os._exit(0)
                    os.waitpid(child, 0)
                    await lease.renew()
                print((await pool.snapshot(0)).leased)
        asyncio.run(story())
        """
        code, out, err = program(text).end()
        assert (code, out.strip()) == (0, "1"), err

    @pytest.mark.slow
    def test_a_child_owns_nothing_of_its_parents_and_can_use_the_pool_at_once(self, program: Any) -> None:
        text = (
            POOL.replace("lease_ttl=600", "lease_ttl=5")
            + """
lease = pool.acquire(0)
holder = pool.holder
child = os.fork()
if child == 0:
    try:
        lease.check()
    except LeaseLost as error:
        assert error.reason == "forked", error.reason
    assert lease.lost and lease.release() is False
    assert pool.holder != holder
    mine = pool.acquire(0)
    assert mine.port != lease.port
    before = mine.expires_at
    while mine.expires_at == before:
        time.sleep(0.01)
    pool.close()
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
lease.check()
lease.renew()
assert pool.snapshot(0).leased == 1
print("parent holds", lease.port)
"""
        )
        code, out, err = program(text).end()
        assert code == 0 and "parent holds" in out, err

    @pytest.mark.slow
    def test_under_threads_that_lease_leaves_parent_and_children_at_work(self, program: Any, own_server: Any) -> None:
        """Forks fall into every moment of a lease's life, with locks held by other threads."""
        text = (
            POOL.replace("cooldown=100", "cooldown=0")
            + """
stop = threading.Event()
def work():
    while not stop.is_set():
        pool.acquire(0, wait=5).release()
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
codes = []
for _ in range(20):
    child = os.fork()
    if child == 0:
        with pool.acquire(0, wait=5) as lease:
            lease.check()
        pool.close()
        os._exit(0)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
stop.set()
for thread in threads:
    thread.join()
print(codes == [0] * 20, pool.snapshot(0).leased)
"""
        )
        code, out, err = program(text).end()
        assert (code, out.strip()) == (0, "True 0"), err


def test_a_pool_object_cannot_be_sent_to_another_process(own_server: Any) -> None:
    import pickle

    with WanPortPool(own_server.url) as pool, pytest.raises(TypeError, match="make one in each process"):
        pickle.dumps(pool)


def test_nothing_but_the_ttl_ends_the_leases_of_a_process_that_is_shot(program: Any, own_server: Any) -> None:
    text = POOL.replace("lease_ttl=600", "lease_ttl=0.5") + "pool.acquire_many(0, 3)\nos.kill(os.getpid(), 9)"
    assert program(text).end()[0] == -signal.SIGKILL
    with WanPortPool(own_server.url, namespace="test", reap=False) as pool:
        wait_for(lambda: pool.snapshot(0).cooling == 3)
