"""A leased port in a socket, over loopback."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import signal
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from by_hand import run_script
from listening import listening, squatting
from waiting import wait_for

from redis_wanpool import ANY, AsyncWanPortPool, WanPortPool
from redis_wanpool.engine import handovers
from redis_wanpool.errors import InvalidValue, LeaseLost, PoolClosed, PoolExhausted, PortRejected
from redis_wanpool.model.address import Failure
from redis_wanpool.sockets import dial, kernel, leased, race
from redis_wanpool.sockets.dial import bind_failure, connect_failure

RANGE = "24100-24109"
PREFIX = "wanpool:{test:0}:"


def tell(visitor: socket.socket) -> None:
    """Answers with the address and port that it sees, waits for the end, and closes."""
    with visitor:
        visitor.sendall(b"%s %d\n" % (visitor.getpeername()[0].encode(), visitor.getpeername()[1]))
        while visitor.recv(100):
            pass


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    with listening(tell) as address:
        yield address


@pytest.fixture
def tls_echo(serving: ssl.SSLContext) -> Iterator[tuple[str, int]]:
    with listening(lambda visitor: tell(serving.wrap_socket(visitor, server_side=True))) as address:
        yield address


@pytest.fixture
def nobody() -> Iterator[tuple[str, int]]:
    """An address that refuses connections."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()


@pytest.fixture
def pool(server: Any) -> Iterator[WanPortPool]:
    with WanPortPool(server.url, namespace="test", rest=0.2) as pool:
        pool.define_wan(0, RANGE, cooldown=50, lease_ttl=30)
        yield pool


def seen_by(answer: bytes) -> tuple[str, int]:
    address, port = answer.decode().split()
    return address, int(port)


def ended(server: Any, port: int) -> str:
    """How the last lease of the port ended."""
    return str(server.admin.hget(PREFIX + "grants", port)).split(" ")[5]


def test_a_lease_connects_from_its_port(pool: WanPortPool, echo: tuple[str, int]) -> None:
    with pool.acquire(0, reuse_address=True) as lease, lease.connect(echo, timeout=5) as sock:
        assert seen_by(sock.recv(30)) == ("127.0.0.1", lease.port) == sock.getsockname()
        assert sock.family == socket.AF_INET and sock.lease is lease
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        sock.close()
        lease.check()


def test_a_socket_of_the_lease_is_bound_to_its_port(pool: WanPortPool) -> None:
    with pool.acquire(0, reuse_address=True) as lease, lease.socket() as sock:
        assert sock.getsockname() == ("0.0.0.0", lease.port)


def test_one_port_reaches_two_servers_at_a_time(pool: WanPortPool, echo: Any, tls_echo: Any) -> None:
    with (
        pool.acquire(0, reuse_address=True) as lease,
        lease.connect(echo, 5) as one,
        lease.connect(tls_echo, 5) as other,
    ):
        assert one.getsockname() == other.getsockname()


def test_closing_the_connection_of_the_pool_releases_its_lease(pool: WanPortPool, echo: tuple[str, int]) -> None:
    sock = pool.connect(0, echo, timeout=5)
    assert seen_by(sock.recv(30))[1] == sock.lease.port
    file = sock.makefile("rb")
    sock.close()
    assert pool.snapshot(0).leased == 1, "somebody still reads from it"
    file.close()
    wait_for(lambda: (pool.snapshot(0).leased, pool.snapshot(0).cooling) == (0, 1))
    sock.close()


@pytest.mark.parametrize(
    ("address", "timeout"),
    [(wrong, 5) for wrong in ("localhost:80", ("localhost",), ("::1", 80, 0, 0), (7, 80), ("localhost", 70_000))]
    + [(("localhost", 80), wrong) for wrong in (-1, "soon")],
)
def test_a_wrong_address_or_timeout_is_said_as_such(pool: WanPortPool, server: Any, address: Any, timeout: Any) -> None:
    said = "timeout" if timeout != 5 else "must be a host and a port"
    with pytest.raises(InvalidValue, match=said):
        pool.connect(0, address, timeout=timeout)
    with pool.acquire(0, reuse_address=True) as lease, pytest.raises(InvalidValue, match=said):
        lease.connect(address, timeout)

    async def story() -> None:
        async with (
            AsyncWanPortPool(server.url, namespace="test") as other,
            other.acquire(0, reuse_address=True) as lease,
        ):
            with pytest.raises(InvalidValue, match=said):
                await lease.connect(address, timeout)

    asyncio.run(story())


class TestSource:
    """The address from which it connects, where the host has several."""

    def test_is_what_the_far_end_sees(self, pool: WanPortPool, echo: tuple[str, int]) -> None:
        with pool.connect(0, echo, timeout=5, source_address="127.0.0.2") as sock:
            assert seen_by(sock.recv(30)) == ("127.0.0.2", sock.lease.port)
        with pool.acquire(0, reuse_address=True) as lease:
            with lease.connect(echo, 5, source_address="127.0.0.3") as sock:
                assert seen_by(sock.recv(30)) == ("127.0.0.3", lease.port)
            with lease.socket(source_address="127.0.0.4") as sock:
                assert sock.getsockname() == ("127.0.0.4", lease.port)

    def test_of_another_host_is_not_the_ports_fault(self, pool: WanPortPool, echo: tuple[str, int]) -> None:
        with pytest.raises(OSError, match=r"192\.0\.2\.1 is not one of this host's") as caught:
            pool.connect(0, echo, timeout=5, source_address="192.0.2.1")
        assert caught.value.errno == errno.EADDRNOTAVAIL
        assert pool.snapshot(0).free == 10

    @pytest.mark.parametrize("source", ["::1", "localhost", "127.0.0.1:80", "", 7, ("127.0.0.1", 0)])
    def test_must_be_an_ipv4_address(self, pool: WanPortPool, echo: tuple[str, int], source: Any) -> None:
        with pytest.raises(InvalidValue, match="source_address"):
            pool.connect(0, echo, source_address=source)
        with pool.acquire(0, reuse_address=True) as lease, pytest.raises(InvalidValue, match="source_address"):
            lease.socket(source_address=source)


class TestRefusal:
    """The system refuses a port: nobody gets it for a while, and another is taken."""

    def test_goes_into_quarantine_with_its_reason(self, pool: WanPortPool, echo: Any, server: Any) -> None:
        half = range(24100, 24105)
        with squatting(*half), ExitStack() as open_ones:
            good = [open_ones.enter_context(pool.connect(0, echo, timeout=5)).lease.port for _ in range(5)]
            assert sorted(good) == [24105, 24106, 24107, 24108, 24109], "each connect succeeds"
            with suppress(PortRejected, PoolExhausted):  # what was not tried yet
                pool.connect(0, echo, timeout=5).close()
        assert pool.snapshot(0).leased == 0
        for port in half:
            about = server.admin.hgetall(f"{PREFIX}quarantine:{port}")
            assert about["reason"] == "EADDRINUSE at bind" and about["network"] == pool.network
            assert about["host"] == pool._engine.protocol.holder.host and about["rejected_at"] < about["free_at"]
            assert 0 < server.admin.pttl(f"{PREFIX}quarantine:{port}") <= 65_000
            assert ended(server, port) == "rejected" and server.admin.zscore(PREFIX + "cooling", port)

    def test_of_half_a_range_stops_no_connect(self, pool: WanPortPool, echo: tuple[str, int]) -> None:
        pool.define_wan(1, "25200-25499", cooldown=50)
        with squatting(*range(25200, 25500, 2)), ExitStack() as open_ones:
            for _ in range(145):
                assert open_ones.enter_context(pool.connect(1, echo, timeout=5)).lease.port % 2
        assert pool.snapshot(1).leased == 0

    def test_of_every_port_is_said(self, pool: WanPortPool, echo: tuple[str, int]) -> None:
        with squatting(*range(24100, 24110)), pytest.raises(PortRejected, match="10 ports of WAN 0") as caught:
            pool.connect(0, echo, timeout=5, attempts=9)
        assert "24100-24109" in str(caught.value)
        assert sorted(caught.value.ports) == list(range(24100, 24110))
        assert isinstance(caught.value.__cause__, OSError) and caught.value.__cause__.errno == errno.EADDRINUSE
        assert (pool.snapshot(0).cooling, pool.snapshot(0).rested) == (5, 0), "one network takes no more than half"

    def test_of_several_wans_names_them(self, pool: WanPortPool, echo: tuple[str, int]) -> None:
        pool.define_wan(1, "25200", cooldown=50)
        pool.define_wan(2, "25201", cooldown=50)
        with (
            squatting(25200, 25201),
            pytest.raises(PortRejected, match=r"2 ports of WANs 1, 2 .*25200-25201") as caught,
        ):
            pool.connect((1, 2), echo, timeout=5)
        assert caught.value.wan_idx == (1, 2) and sorted(caught.value.ports) == [25200, 25201]

    def test_of_too_many_ports_of_several_wans_is_said(self, pool: WanPortPool) -> None:
        pool.define_wan(1, "25200-25203", cooldown=50)
        pool._run(pool._engine.protocol.release(pool.acquire_many(0, 6, reuse_address=True), "rejected", "no"))
        lease = pool.acquire((0, 1), reuse_address=True)
        assert lease.wan_idx == 1 and lease.release(used=False)
        pool._run(pool._engine.protocol.release(pool.acquire_many(1, 3, reuse_address=True), "rejected", "no"))
        with pytest.raises(PortRejected, match=r"WANs 0, 1 .* too many of its ports recently") as caught:
            pool.acquire((0, 1), reuse_address=True)
        assert caught.value.wan_idx == (0, 1) and 0 < caught.value.free_in <= 65
        pool.define_wan(2, "25210")
        with (
            pool.acquire(2, reuse_address=True),
            pytest.raises(PoolExhausted, match="none of WAN 0, 1 for this network") as exhausted,
        ):
            pool.acquire(ANY, reuse_address=True)
        assert exhausted.value.wan_idx == (0, 1, 2)

    def test_attempts_bound_it(self, pool: WanPortPool, echo: tuple[str, int]) -> None:
        with squatting(*range(24100, 24110)), pytest.raises(PortRejected) as caught:
            pool.connect(0, echo, timeout=5, attempts=2)
        assert len(caught.value.ports) == 5, "one, and then four"
        assert pool.snapshot(0).free == 5

    def test_an_old_connection_that_lingers_is_one(self, pool: WanPortPool, echo: tuple[str, int], server: Any) -> None:
        with pool.acquire(0, reuse_address=True) as lease, lease.connect(echo, 5), pytest.raises(OSError) as caught:
            lease.connect(echo, 5)
        assert caught.value.errno == errno.EADDRNOTAVAIL
        failure = connect_failure(caught.value)
        assert failure.port_at_fault and "EADDRNOTAVAIL at connect" in failure.why

    @pytest.mark.parametrize(
        ("number", "at", "at_fault", "used"),
        [
            (errno.EADDRINUSE, bind_failure, True, False),
            (errno.EACCES, bind_failure, False, False),  # a port below 1024
            (errno.EADDRNOTAVAIL, bind_failure, False, False),
            (errno.EADDRINUSE, connect_failure, True, False),
            (errno.EADDRNOTAVAIL, connect_failure, True, False),
            (errno.ECONNREFUSED, connect_failure, False, False),
            (errno.EPERM, connect_failure, False, False),  # a local firewall
            (errno.EHOSTUNREACH, connect_failure, False, True),
            (errno.ETIMEDOUT, connect_failure, False, True),
            (errno.ECONNRESET, connect_failure, False, True),
        ],
    )
    def test_is_only_what_is_the_ports_fault(self, number: int, at: Any, at_fault: bool, used: bool) -> None:
        failure = at(OSError(number, "no"))
        assert (failure.port_at_fault, failure.used, failure.error.errno) == (at_fault, used, number)

    def test_on_windows_is_an_excluded_range_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(dial, "_WINDOWS", True)
        assert bind_failure(OSError(errno.EACCES, "no")).port_at_fault

    def test_of_too_many_ports_stops_the_network_and_nobody_else(self, server: Any) -> None:
        with (
            WanPortPool(server.url, namespace="test", network="bad", rest=0) as bad,
            WanPortPool(server.url, namespace="test", network="good") as good,
        ):
            bad.define_wan(0, "20000-20999", cooldown=50, quarantine=65)
            own = bad.acquire(0, reuse_address=True)
            refused = bad.acquire_many(0, 501, reuse_address=True)
            for lease in refused[:500]:
                assert bad._run(bad._engine.protocol.release([lease], "rejected"))
            assert bad.snapshot(0).cooling == 500, "half"
            words = bad._run(bad._engine.protocol.release(refused[500:], "rejected"))
            assert list(words.values()) == ["unused"] and bad.snapshot(0).free == 1000 - 500 - 1
            with pytest.raises(PortRejected, match="too many of its ports recently") as caught:
                bad.acquire(0, reuse_address=True)
            assert caught.value.wan_idx == 0 and 0 < caught.value.free_in <= 65
            assert own.release()
            assert bad.acquire(0, reuse_address=True).port == own.port, "what was its own and good"
            assert good.acquire(0, reuse_address=True).release()
            with pytest.raises(PortRejected):
                bad.connect(0, ("127.0.0.1", 9))
            for port in server.admin.zrange(PREFIX + "rejected:bad", 0, -1):
                server.admin.zincrby(PREFIX + "rejected:bad", -65_001, port)
            assert bad.acquire(0, reuse_address=True).release(), "when its quarantine is over"

    def test_of_half_a_small_wan_stops_nobody_and_of_more_the_network_only(
        self, pool: WanPortPool, server: Any
    ) -> None:
        leases = pool.acquire_many(0, 8, reuse_address=True)
        words = pool._run(pool._engine.protocol.release(leases[:5], "rejected", "no"))
        assert list(words.values()) == ["rejected"] * 5
        pool.acquire(0, reuse_address=True).release(used=False)
        words = pool._run(pool._engine.protocol.release(leases[5:], "rejected", "no"))
        assert list(words.values()) == ["unused"] * 3 and pool.snapshot(0).free == 5
        with pytest.raises(PortRejected):
            pool.acquire(0, reuse_address=True)
        with WanPortPool(server.url, namespace="test", network="other") as other:
            assert len(other.acquire_many(0, 5, reuse_address=True)) == 5

    def test_of_many_networks_leaves_the_others_a_quarter(self, server: Any) -> None:
        with ExitStack() as pools:
            one, two, three = (
                pools.enter_context(WanPortPool(server.url, namespace="test", network=name)) for name in "abc"
            )
            one.define_wan(0, "20000-20399")
            for pool, most in ((one, 200), (two, 100), (three, 0)):
                words = pool._run(
                    pool._engine.protocol.release(
                        pool.acquire_many(0, 100 + most // 2, reuse_address=True), "rejected", "no"
                    )
                )
                assert [*words.values()].count("rejected") == most
            assert three.snapshot(0).free == 100
            three.acquire(0, reuse_address=True).release()

    def test_of_withheld_ports_does_not_count(self, pool: WanPortPool, server: Any) -> None:
        run_script(server.admin, "withhold", *range(24100, 24104))
        words = pool._run(pool._engine.protocol.release(pool.acquire_many(0, 6, reuse_address=True), "rejected", "no"))
        assert [*words.values()].count("rejected") == 3

    def test_of_a_batch_is_decided_port_by_port(self, pool: WanPortPool) -> None:
        words = pool._run(pool._engine.protocol.release(pool.acquire_many(0, 8, reuse_address=True), "rejected", "no"))
        assert list(words.values()) == ["rejected"] * 5 + ["unused"] * 3

    def test_of_the_only_port_is_a_quarantine(self, pool: WanPortPool) -> None:
        pool.define_wan(1, "24110")
        assert pool._run(pool._engine.protocol.release([pool.acquire(1, reuse_address=True)], "rejected"))
        assert pool.snapshot(1).cooling == 1

    def test_after_a_use_cools_as_a_use_does(self, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """A SYN that nobody answered went through the router; then the second address of the host was refused."""
        failure = Failure(OSError(errno.EADDRNOTAVAIL, "no"), port_at_fault=True, used=True, why="no")
        monkeypatch.setattr(race, "connect", lambda *_: failure)
        with WanPortPool(server.url, namespace="test", rest=0) as pool:
            pool.define_wan(0, RANGE, cooldown=125)
            with pytest.raises(PortRejected) as caught:
                pool.connect(0, ("127.0.0.1", 9), attempts=1)
            (port,) = caught.value.ports
            left = int(server.admin.zscore(PREFIX + "cooling", port)) - pool.snapshot(0).now_ms
            assert 120_000 < left <= 125_000 and not server.admin.keys(PREFIX + "resting:*")
            assert server.admin.zcard(PREFIX + "quarantined") == 1


class TestFailure:
    """A connection that fails, and not because of the port."""

    def test_a_refused_connection_leaves_the_port_free_for_all(self, pool: WanPortPool, nobody: Any) -> None:
        with pytest.raises(ConnectionRefusedError):
            pool.connect(0, nobody, timeout=5)
        assert pool.snapshot(0).free == 10

    def test_is_what_is_told_though_redis_answers_no_more(self, own_server: Any, nobody: Any, monkeypatch: Any) -> None:
        def connect(*_: Any) -> Any:
            own_server.process.send_signal(signal.SIGSTOP)
            return Failure(ConnectionRefusedError("as it was"))

        with WanPortPool(own_server.url, namespace="test", rest=0, connect_timeout=1.0) as pool:
            pool.define_wan(0, RANGE, cooldown=0)
            monkeypatch.setattr(race, "connect", connect)
            with pytest.raises(ConnectionRefusedError, match="as it was"):
                pool.connect(0, nobody, timeout=5)
            own_server.process.send_signal(signal.SIGCONT)
            wait_for(lambda: pool.snapshot(0).free == 10)

    def test_a_name_that_does_not_resolve_costs_no_port(self, pool: WanPortPool, server: Any) -> None:
        with pytest.raises(OSError):
            pool.connect(0, ("no-such-host.invalid", 80), timeout=5)
        assert pool.snapshot(0).free == 10 and pool.snapshot(0).config["granted"] == "0"

    @pytest.mark.parametrize(("one_by_one", "error"), [(False, TimeoutError), (True, ConnectionRefusedError)])
    def test_an_attempt_that_nobody_answered_cools_its_port_whatever_comes_after(
        self, pool: WanPortPool, nobody: Any, one_by_one: bool, error: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(race, "ONE_BY_ONE", one_by_one)  # as on Windows, where the next begins when one has ended
        with socket.socket() as full, socket.socket() as filler:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            filler.connect(full.getsockname())
            monkeypatch.setattr(dial, "resolve", lambda address: [full.getsockname(), nobody])
            with pytest.raises(error):
                pool.connect(0, ("both", 80), timeout=1)
        assert pool.snapshot(0).cooling == 1


ABORT = struct.pack("ii", 1, 0)


class TestHowItEnds:
    """Closing the connection tells Redis what the router, and this system, will remember of it."""

    def end(self, pool: WanPortPool, echo: Any, act: Callable[[Any], object]) -> int:
        sock = pool.connect(0, echo, timeout=5)
        sock.recv(30)
        act(sock)
        sock.close()
        return int(sock.lease.port)

    def test_closed_by_this_side(self, pool: WanPortPool, echo: Any, server: Any) -> None:
        assert ended(server, self.end(pool, echo, lambda sock: None)) == "released"

    def test_closed_by_both_and_read_to_the_end_needs_no_rest(self, pool: WanPortPool, echo: Any, server: Any) -> None:
        def drain(sock: socket.socket) -> None:
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(1) == b""

        port = self.end(pool, echo, drain)
        assert ended(server, port) == "drained"
        with pool.connect(0, echo, timeout=5) as sock:
            assert sock.lease.port == port, "at once"

    def test_aborted_needs_a_short_cool_down_only(self, pool: WanPortPool, echo: Any, server: Any) -> None:
        port = self.end(pool, echo, lambda sock: sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT))
        assert ended(server, port) == "reset"
        cools_ms = server.admin.zscore(PREFIX + "cooling", port) - pool.snapshot(0).now_ms
        assert 0 < cools_ms <= 15_000

    def test_without_timestamps_this_system_keeps_the_port_for_a_minute(self, pool: WanPortPool, server: Any) -> None:
        lease = pool.acquire(0, reuse_address=True)
        assert lease.release(closed="time_wait")
        now_ms = pool.snapshot(0).now_ms
        assert 60_000 < server.admin.zscore(f"{PREFIX}resting:{pool.network}", lease.port) - now_ms <= 65_000
        assert 60_000 < server.admin.zscore(PREFIX + "cooling", lease.port) - now_ms <= 65_000

    def test_is_told_by_what_the_kernel_says(self) -> None:
        class Said:
            def __init__(self, state: int, options: int = 1, aborts: bool = False) -> None:
                self.info, self.linger = bytes((state, 0, 0, 0, 0, options, 0, 0)), ABORT if aborts else bytes(8)

            def getsockopt(self, level: int, option: int, size: int) -> bytes:
                return self.linger if level == socket.SOL_SOCKET else self.info

        established, close_wait, last_ack, closed = 1, 8, 9, 7
        for said, said_end, expected in (
            (Said(established), False, "fin"),
            (Said(established, options=0), False, "time_wait"),
            (Said(established, aborts=True), False, "reset"),
            (Said(established, options=0, aborts=True), False, "reset"),
            (Said(close_wait, options=0), False, "clean"),
            (Said(close_wait, aborts=True), False, "reset"),
            (Said(last_ack, aborts=True), True, "clean"),
            (Said(closed), True, "drained"),
            (Said(closed, options=0), True, "time_wait"),
            (Said(closed, aborts=True), False, "fin"),
        ):
            assert leased.how_it_ends(said, said_end) == expected  # type: ignore[arg-type]


def no_lease(server: Any) -> bool:
    return bool(server.admin.zcard(PREFIX + "leased") == 0)


class TestTls:
    """ssl takes the file descriptor away from the socket that it wraps: the lease goes with it."""

    def test_the_port_comes_back_when_the_wrapping_socket_is_closed(
        self, pool: WanPortPool, tls_echo: Any, trusting: ssl.SSLContext, server: Any
    ) -> None:
        sock = pool.connect(0, tls_echo, timeout=5)
        with trusting.wrap_socket(sock, server_hostname="localhost") as tls:
            assert seen_by(tls.recv(30))[1] == sock.lease.port
            sock.close()
            file = tls.makefile("rb")
        pool._engine.ties._handovers._look()
        assert pool.snapshot(0).leased == 1, "somebody still reads from it"
        file.close()
        wait_for(lambda: no_lease(server))

    def test_its_end_is_told_by_what_the_kernel_said_when_it_went(
        self, pool: WanPortPool, echo: Any, server: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sock = pool.connect(0, echo, timeout=5)
        monkeypatch.setattr(leased, "_TIMESTAMPS", 0)  # as of a server that has none
        socket.close(sock.detach())
        wait_for(lambda: no_lease(server))
        assert ended(server, sock.lease.port) == "time_wait"

    def test_a_failed_handshake_gives_it_back(self, pool: WanPortPool, echo: Any, server: Any) -> None:
        with pytest.raises(OSError):
            ssl.create_default_context().wrap_socket(pool.connect(0, echo, timeout=5), server_hostname="localhost")
        wait_for(lambda: no_lease(server))

    def test_a_number_that_is_used_again_is_another_connection(self, pool: WanPortPool, echo: Any, server: Any) -> None:
        sock = pool.connect(0, echo, timeout=5)
        with socket.socket() as other:
            fd = sock.detach()
            os.dup2(other.fileno(), fd)  # in one step closed, and another socket
            with socket.socket(fileno=fd):
                wait_for(lambda: no_lease(server))


def test_a_duplicate_keeps_the_lease_until_both_are_closed(pool: WanPortPool, echo: Any, server: Any) -> None:
    sock = pool.connect(0, echo, timeout=5)
    with sock.dup() as copy:
        assert copy.lease is sock.lease
        sock.close()
        pool._engine.heartbeat.beat()
        assert copy.recv(30) and pool.snapshot(0).leased == 1
    assert no_lease(server)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_forgotten_file_gives_the_port_back_and_waits_for_nobody(pool: WanPortPool, echo: Any, server: Any) -> None:
    sock = pool.connect(0, echo, timeout=5)
    file: Any = sock.makefile("rb")
    sock.close()
    talked: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        talk, here = pool._engine.performer.talk, threading.get_ident()
        patch.setattr(
            pool._engine.performer, "talk", lambda step: (talked.append(threading.get_ident()), talk(step))[1]
        )
        del file
        gc.collect()
        wait_for(lambda: no_lease(server))
    assert talked and here not in talked


def test_where_nobody_can_tell_when_a_descriptor_is_closed_the_lease_stays(
    pool: WanPortPool, echo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, whose descriptors of sockets are none of the C library's."""

    def unknown(*_: Any) -> Any:
        raise OSError(errno.EBADF, "no")

    monkeypatch.setattr(handovers, "Handover", unknown)
    sock = pool.connect(0, echo, timeout=5)
    lease = sock.lease
    with socket.socket(fileno=sock.detach()):
        pool._engine.heartbeat.beat()
        lease.check()
    pool._engine.heartbeat.beat()
    lease.check()


def test_a_forked_child_closes_and_gives_away_what_it_inherited_without_a_word(
    pool: WanPortPool, echo: Any, server: Any
) -> None:
    with pool.connect(0, echo, timeout=5) as sock, pool.connect(0, echo, timeout=5) as other:
        with (
            pool._engine.ties._handovers.looking._starting
        ):  # as another thread of the parent may have at the moment of the fork
            child = os.fork()
            if child == 0:
                try:
                    sock.close()
                    os.close(other.detach())
                    os._exit(0)
                finally:
                    os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        pool._engine.heartbeat.beat()
        assert pool.snapshot(0).leased == 2
        assert sock.recv(30) and other.recv(30)


def test_many_refusals_end_with_what_was_refused_before(server: Any, echo: Any, monkeypatch: Any) -> None:
    """An attempt that finds its network stopped says which ports were refused until then."""
    with WanPortPool(server.url, namespace="test", rest=0) as pool:
        pool.define_wan(0, RANGE, cooldown=0)
        acquire = pool._engine.protocol.acquire

        def stopped(request: Any, *begun: Any) -> Any:
            if request.count > 1:
                raise PortRejected("so many of late", wan_idx=0, ports=(), free_in=12.5)
            return (yield from acquire(request, *begun))

        monkeypatch.setattr(pool._engine.protocol, "acquire", stopped)
        with squatting(*range(24100, 24110)), pytest.raises(PortRejected) as caught:
            pool.connect(0, echo, timeout=5)
        assert len(caught.value.ports) == 1 and caught.value.free_in == 12.5


class TestClosingThePool:
    """It gives everything back, and so ends what may not outlive its lease."""

    def test_ends_connections_that_end_with_their_lease(self, server: Any, echo: Any) -> None:
        with WanPortPool(server.url, namespace="test", rest=0) as pool:
            pool.define_wan(0, RANGE, cooldown=0)
            ending = pool.connect(0, echo, timeout=5, close_on_loss=True)
            staying = pool.connect(0, echo, timeout=5)
            ending.recv(30), staying.recv(30)
        with ending, staying:
            assert ending.recv(30) == b""
            staying.settimeout(0.05)
            with pytest.raises(TimeoutError):
                staying.recv(30)
        assert no_lease(server)

    def test_meets_a_connection_that_is_being_made(self, server: Any) -> None:
        with socket.socket() as full, ExitStack() as stack:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            stack.enter_context(socket.create_connection(full.getsockname()))
            pool = WanPortPool(server.url, namespace="test", rest=0)
            pool.define_wan(0, RANGE, cooldown=0)
            outcome: list[Any] = []

            def connect() -> None:
                try:
                    outcome.append(pool.connect(0, full.getsockname(), timeout=20))
                except PoolClosed as error:
                    outcome.append(error)

            connecting = threading.Thread(target=connect)
            connecting.start()
            wait_for(lambda: not no_lease(server))
            pool.close()
            stack.enter_context(full.accept()[0])  # there is room for it now
            connecting.join(20)
            assert isinstance(outcome[0], PoolClosed)
            wait_for(lambda: no_lease(server))

    def test_release_by_hand_ends_them_too(self, pool: WanPortPool, echo: Any) -> None:
        with pool.connect(0, echo, timeout=5, close_on_loss=True) as sock:
            sock.recv(30)
            assert sock.lease.release()
            assert sock.recv(30) == b""


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_forgotten_connection_gives_its_port_back(pool: WanPortPool, echo: Any, server: Any) -> None:
    pool.connect(0, echo, timeout=5)
    gc.collect()
    wait_for(lambda: no_lease(server))


class TestLoss:
    """A lost lease ends its connections, if that was asked for."""

    def lose(self, server: Any, lease: Any) -> None:
        run_script(server.admin, "revoke", lease.port, lease.lease_id)
        with suppress(LeaseLost):
            lease.renew()

    @pytest.mark.parametrize("of", ["lease", "pool", "socket", "tls"])
    def test_under_the_hands_of_who_reads(
        self, pool: WanPortPool, echo: Any, tls_echo: Any, trusting: Any, server: Any, of: str
    ) -> None:
        lease = pool.acquire(0, reuse_address=True) if of in ("lease", "socket") else None
        sock: Any
        if of == "lease":
            sock = lease.connect(echo, 5, close_on_loss=True)
        elif of == "socket":
            sock = lease.socket(close_on_loss=True)
            sock.connect(echo)
        else:
            sock = pool.connect(0, tls_echo if of == "tls" else echo, timeout=5, close_on_loss=True)
            lease = sock.lease
        if of == "tls":
            sock = trusting.wrap_socket(sock, server_hostname="localhost")
        with sock:
            sock.recv(30)
            sock.settimeout(20)
            threading.Thread(target=self.lose, args=(server, lease)).start()
            with suppress(ssl.SSLError):  # an end without a goodbye
                assert sock.recv(30) == b""
            assert lease.lost

    def test_ends_what_ssl_took_over_though_no_descriptor_is_left(
        self, pool: WanPortPool, tls_echo: Any, server: Any, trusting: ssl.SSLContext, monkeypatch: Any
    ) -> None:
        plain = pool.connect(0, tls_echo, timeout=5, close_on_loss=True)
        lease = plain.lease
        with trusting.wrap_socket(plain, server_hostname="localhost") as sock:
            sock.recv(30)

            def dup(fd: int) -> int:
                raise OSError(errno.EMFILE, "Too many open files")

            monkeypatch.setattr(handovers.os, "dup", dup)
            self.lose(server, lease)
            sock.settimeout(20)
            with suppress(ssl.SSLError):
                assert sock.recv(30) == b""

    def test_is_told_of_all_though_connections_come_meanwhile(self, pool: WanPortPool, server: Any) -> None:
        leases = [pool.acquire(0, reuse_address=True) for _ in range(3)]
        told: list[Any] = []
        pool._on_lost = told.append
        lost, stop = leases[0], threading.Event()

        def keep_adding() -> None:
            while not stop.is_set():
                kept = [Connection() for _ in range(50)]
                for connection in kept:
                    lost.close_when_lost(connection)

        class Connection:
            def shutdown(self, how: int) -> None:
                pass

        with ThreadPoolExecutor(2) as threads:
            adding = [threads.submit(keep_adding) for _ in range(2)]
            for lease in leases:
                lease.end("revoked")
            for _ in range(200):
                leased.shut_down_all(lost)
            pool._engine.loss_watch.watch()
            stop.set()
            for each in adding:
                each.result()
        wait_for(lambda: len(told) == 3)

    def test_leaves_them_alone_otherwise(self, pool: WanPortPool, echo: Any, server: Any) -> None:
        with pool.connect(0, echo, timeout=5) as sock:
            sock.recv(30)
            self.lose(server, sock.lease)
            assert sock.lease.wait_lost(5)
            pool._engine.loss_watch.watch()
            sock.settimeout(0.05)
            with pytest.raises(TimeoutError):
                sock.recv(30)

    def test_a_connection_of_a_lost_lease_ends_at_once(self, pool: WanPortPool, echo: Any, server: Any) -> None:
        lease = pool.acquire(0, reuse_address=True)
        with lease.connect(echo, 5) as sock:
            self.lose(server, lease)
            pool._engine.ties._tied(sock, lease, True, None)
            sock.recv(30)
            assert sock.recv(30) == b""


class TestAsync:
    """The same with streams."""

    @pytest.fixture
    def pool(self, pool: WanPortPool, server: Any) -> AsyncWanPortPool:
        return AsyncWanPortPool(server.url, namespace="test", rest=0.2)

    async def test_streams_of_a_lease(self, pool: AsyncWanPortPool, server: Any, echo: tuple[str, int]) -> None:
        async with pool.acquire(0, reuse_address=True) as lease:
            reader, writer = await lease.connect(echo, timeout=5, source_address="127.0.0.2")
            assert seen_by(await reader.readline()) == ("127.0.0.2", lease.port)
            writer.close()
            await writer.wait_closed()
            lease.check()

    async def test_closing_the_streams_of_the_pool_releases_the_lease(
        self, pool: AsyncWanPortPool, server: Any, echo: tuple[str, int]
    ) -> None:
        reader, writer = await pool.connect(0, echo, timeout=5)
        port = seen_by(await reader.readline())[1]
        assert port == writer.lease.port  # type: ignore[attr-defined]
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        await asyncio.to_thread(wait_for, lambda: no_lease(server))
        assert ended(server, port) in ("drained", "released")
        assert (await pool.snapshot(0)).cooling == 1

    async def test_tls(self, pool: AsyncWanPortPool, server: Any, tls_echo: Any, trusting: ssl.SSLContext) -> None:
        reader, writer = await pool.connect(0, tls_echo, timeout=5)
        await writer.start_tls(trusting, server_hostname="localhost")
        assert seen_by(await reader.readline())[1] == writer.lease.port  # type: ignore[attr-defined]
        assert (await pool.snapshot(0)).leased == 1
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        await asyncio.to_thread(wait_for, lambda: no_lease(server))

    async def test_refusals_are_judged_alike(self, pool: AsyncWanPortPool, server: Any, echo: Any, nobody: Any) -> None:
        with pytest.raises(ConnectionRefusedError):
            await pool.connect(0, nobody, timeout=5)
        with pytest.raises(OSError, match="not one of this host's"):
            await pool.connect(0, echo, timeout=5, source_address="192.0.2.1")
        with pytest.raises(OSError):
            await pool.connect(0, ("no-such-host.invalid", 80), timeout=5)
        assert (await pool.snapshot(0)).free == 10
        with squatting(*range(24100, 24110)), pytest.raises(PortRejected):
            await pool.connect(0, echo, timeout=5)
        assert (await pool.snapshot(0)).cooling == 5

    async def test_a_lost_lease_ends_its_streams_if_wanted(
        self, pool: AsyncWanPortPool, server: Any, echo: tuple[str, int]
    ) -> None:
        reader, writer = await pool.connect(0, echo, timeout=5, close_on_loss=True)
        await reader.readline()
        lease = writer.lease  # type: ignore[attr-defined]
        run_script(server.admin, "revoke", lease.port, lease.lease_id)
        with pytest.raises(LeaseLost):
            await lease.renew()
        assert await asyncio.wait_for(reader.read(), 20) == b""
        writer.close()

    async def test_cancelled_it_leaves_nothing_behind(self, pool: AsyncWanPortPool, server: Any) -> None:
        with socket.socket() as full, socket.socket() as filler:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            filler.connect(full.getsockname())
            connecting = asyncio.create_task(pool.connect(0, full.getsockname()))
            await asyncio.to_thread(wait_for, lambda: not no_lease(server))
            await asyncio.sleep(0)
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting
            await asyncio.to_thread(wait_for, lambda: no_lease(server))

    @pytest.mark.parametrize("of", ["lease", "pool"])
    async def test_cancelled_when_it_is_connected_it_closes_the_connection(
        self, pool: AsyncWanPortPool, server: Any, echo: tuple[str, int], of: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loop = asyncio.get_running_loop()
        real, lease = loop.sock_connect, await pool.acquire(0, reuse_address=True)

        async def connect(sock: socket.socket, target: Any) -> None:
            await real(sock, target)
            loop.call_soon(connecting.cancel)

        with monkeypatch.context() as patch:
            patch.setattr(loop, "sock_connect", connect)
            opening = lease.connect(echo, 5) if of == "lease" else pool.connect(0, echo, timeout=5)
            connecting = asyncio.ensure_future(opening)
            with pytest.raises(asyncio.CancelledError):
                await connecting
        await lease.release()
        gc.collect()  # which would warn of what nobody closed
        await asyncio.to_thread(wait_for, lambda: no_lease(server))


def test_what_the_kernel_keeps_of_a_port_is_told_apart_from_other_sockets() -> None:
    with socket.socket() as other, socket.socket() as plain, socket.create_server(("127.0.0.1", 0)) as listener:
        other.bind(("", 25498))
        plain.bind(("", 25499))
        assert kernel.left_over(25497) == set()
        assert kernel.left_over(25499) is None, "bound by a program"
        plain.connect(listener.getsockname())
        with listener.accept()[0]:
            assert kernel.left_over(25499) is None
            plain.close()
        wait_for(lambda: kernel.left_over(25499) == {6})  # TIME_WAIT
