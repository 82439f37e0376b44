"""Whether the router does its part: the judgement on made-up facts, the endpoint, and both verbs over loopback."""

from __future__ import annotations

import json
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import psutil
import pytest
from command_line import WANPOOL, says, tells, wanpool
from listening import squatting
from waiting import wait_for

from redis_wanpool import WanPortPool
from redis_wanpool.doctor import probe
from redis_wanpool.doctor.echo import MOST
from redis_wanpool.doctor.finding import FAIL, OK, WARN, Finding
from redis_wanpool.doctor.probe import Line, Seen
from redis_wanpool.doctor.router import judge

HERE = "192.168.0.5"
A, B = "198.51.100.1", "198.51.100.2"
RANGES = {0: range(24200, 24205), 1: range(24210, 24215)}


# -- judging


def line(wan_idx: int | None, *seen: tuple[int, str, int], failures: tuple[str, ...] = ()) -> Line:
    """A line of which each connection is (own port, seen address, seen port)."""
    answers = [Seen((HERE, own), (address, port)) for own, address, port in seen]
    return Line(wan_idx, len(answers) + len(failures), answers, [(kind, "so it was") for kind in failures])


def kept(wan_idx: int, *addresses: str) -> Line:
    first = 20000 + 1000 * wan_idx
    return line(wan_idx, *((first + i, address, first + i) for i, address in enumerate(addresses)))


DEFAULT = line(None, (40000, A, 40000))
KINDS = ("refused", "timeout", "unreachable", "strange")
DEAD = {kind: line(1, failures=(kind, kind)) for kind in KINDS}
SILENT = {kind: line(None, failures=(kind,)) for kind in KINDS}
REWRITTEN, COLLIDING = line(1, (21000, B, 5000), (21001, B, 5001)), line(1, (21000, B, 21000), (21001, B, 7))
UNSTEADY, SHORT = line(1, (21000, B, 21000), failures=("timeout", "timeout")), Line(2, 0, [], [("exhausted", "x")])
DRAINING, SCARCE = Line(1, 0, [], [("draining", "WAN 1: draining")]), Line(0, 1, kept(0, A).answers, SHORT.failures)


@pytest.mark.parametrize(
    ("default", "lines", "found", "said"),
    [
        (DEFAULT, [kept(0, A, A), kept(1, B, B)], "ok kept 0 1", "WAN 0 as 198.51.100.1, WAN 1 as 198.51.1"),
        (DEFAULT, [kept(0, B)], "ok kept 0", "every port was kept"),
        (DEFAULT, [kept(0, A)], "ok kept 0", "one WAN alone cannot tell"),
        (DEFAULT, [kept(0, A), REWRITTEN], "fail rewritten 1, ok kept 0", "the rule works, the address"),
        (DEFAULT, [kept(0, A), REWRITTEN], "fail rewritten 1, ok kept 0", "but the NAT chooses new ports"),
        (DEFAULT, [line(0, (20000, A, 5000))], "fail rewritten 0", "20000 as 5000"),
        (DEFAULT, [kept(0, A), COLLIDING], "fail collisions 1, ok kept 0", "1 of 2 ports were rewritten: 21001 as 7"),
        (DEFAULT, [kept(0, A), kept(1, A), kept(2, B)], "fail same-address 0 1, ok kept 2", "so was the default line"),
        (DEFAULT, [kept(0, B), kept(1, B)], "fail same-address 0 1", "the default line as 198.51.100.1"),
        (DEFAULT, [kept(0, A), kept(1, A, B)], "fail several-addresses 1, ok kept 0", f"{A} (the default line's), {B}"),
        (DEFAULT, [kept(0, A), DEAD["timeout"]], "fail timeout 1, ok kept 0", "leads nowhere"),
        (DEFAULT, [kept(0, A), DEAD["unreachable"]], "fail unreachable 1, ok kept 0", "fails closed"),
        (DEFAULT, [kept(0, A), DEAD["refused"]], "fail refused 1, ok kept 0", "refuses in its place"),
        (DEFAULT, [kept(0, A), DEAD["strange"]], "fail strange 1, ok kept 0", "a login page"),
        (SILENT["refused"], [DEAD["refused"]], "fail refused 1", "start it there: wanpool echo"),
        (SILENT["timeout"], [DEAD["timeout"]], "fail timeout 1", "nothing has that address"),
        (SILENT["unreachable"], [DEAD["unreachable"]], "fail unreachable 1", "has no way there"),
        (SILENT["strange"], [DEAD["strange"]], "fail strange 1", "is no echo endpoint"),
        (SILENT["refused"], [DEAD["timeout"]], "fail refused, fail timeout 1", "nothing listens there"),
        (SILENT["unreachable"], [kept(0, A), kept(1, B)], "warn unreachable, ok kept 0 1", "default line: so it was"),
        (DEFAULT, [kept(0, A), UNSTEADY], "fail unsteady 1, ok kept 0", "WAN 1: 1 of 3 connections were answered"),
        (DEFAULT, [DRAINING, SHORT], "warn port-draining 1, fail port-exhausted 2", "WAN 1: no port; WAN 1: draining"),
        (DEFAULT, [SCARCE], "warn port-exhausted 0, ok kept 0", "asked less than wanted"),
        (line(None, (40000, HERE, 40000)), [kept(0, HERE), kept(1, HERE)], "warn untranslated 0 1", "translated"),
        (line(None, (20999, A, 20999)), [kept(0, A)], "warn kernel-port, ok kept 0", "port 20999"),
    ],
)
def test_what_was_seen_is_judged(default: Line, lines: list[Line], found: str, said: str) -> None:
    findings = judge(default, lines, leasable=range(20000, 23000))
    assert [" ".join([one.severity, one.code, *map(str, one.wans)]) for one in findings] == found.split(", ")
    assert said in "\n".join(f"{one.seen}\n{one.means}\n{one.cure}" for one in findings)


@pytest.mark.parametrize("finding", [one for dead in DEAD.values() for one in judge(DEFAULT, [dead])], ids=str)
def test_a_failure_comes_with_its_meaning_and_its_cure(finding: Finding) -> None:
    assert finding.severity == FAIL and finding.means and finding.cure


# -- the endpoint


class Endpoint:
    """`wanpool echo`, a process of its own."""

    def __init__(self, *words: str) -> None:
        command = [*WANPOOL, "echo", "--port", "0", "--json", *words]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.told = json.loads(self.process.stdout.readline())
        self.address = str(self.told["address"]), int(self.told["port"])

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.address[1]}"

    def visit(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.address[1]), timeout=20)

    def answers(self) -> bool:
        with self.visit() as sock, sock.makefile("rb") as said:
            return said.read() == "{}:{}\n".format(*sock.getsockname()).encode()

    def end(self, how: signal.Signals = signal.SIGTERM) -> str:
        self.process.send_signal(how)
        said = self.process.communicate(timeout=20)[0]
        assert self.process.returncode == 0
        return said


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as endpoint:
        yield endpoint
        assert endpoint.end() == "", "nobody asked for a log"


def goes_away(sock: socket.socket) -> bool:
    try:
        sock.send(bytes(65_536))
    except OSError as error:
        return not isinstance(error, TimeoutError)
    return False


def test_the_endpoint_tells_the_peer_and_ends_its_half(endpoint: Endpoint) -> None:
    assert endpoint.told["address"] == "127.0.0.1" and endpoint.told["beyond_loopback"] is False
    assert endpoint.answers() and endpoint.answers()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_the_endpoint_logs_when_asked_and_ends_cleanly(how: signal.Signals) -> None:
    with Endpoint("--verbose") as endpoint, endpoint.visit() as sock, sock.makefile("rb") as said:
        peer = said.read().decode().strip()
        assert endpoint.end(how) == json.dumps({"peer": peer}) + "\n"


def test_who_stays_or_floods_is_dismissed_and_nothing_of_it_is_kept(endpoint: Endpoint) -> None:
    memory = psutil.Process(endpoint.process.pid).memory_info().rss
    with endpoint.visit() as silent, endpoint.visit() as flood:
        wait_for(lambda: goes_away(flood))
        assert endpoint.answers()
        assert psutil.Process(endpoint.process.pid).memory_info().rss < memory + 20_000_000
        wait_for(lambda: goes_away(silent))


def test_a_crowd_is_answered_and_only_so_many_may_stay(endpoint: Endpoint) -> None:
    process = psutil.Process(endpoint.process.pid)
    files = process.num_fds()
    with ExitStack() as stack:
        for _ in range(2 * MOST):
            sock = stack.enter_context(endpoint.visit())
            assert sock.recv(64) == "{}:{}\n".format(*sock.getsockname()).encode()
        assert process.num_fds() <= files + MOST
        assert endpoint.answers()
    wait_for(lambda: process.num_fds() == files)


def test_who_resets_does_no_harm(endpoint: Endpoint) -> None:
    for _ in range(50):
        with endpoint.visit() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert endpoint.answers()


def test_the_endpoint_says_when_it_listens_beyond_loopback() -> None:
    with Endpoint("--bind", "0.0.0.0") as endpoint:
        assert endpoint.told["beyond_loopback"] is True and endpoint.answers()


def test_the_endpoint_says_where_it_listens_and_how_to_ask_it() -> None:
    command = [*WANPOOL, "echo", "--bind", "0.0.0.0", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        first, second = process.stdout.readline(), process.stdout.readline()
        process.terminate()
    assert first.startswith("listens on 0.0.0.0:") and "beyond loopback" in first
    assert "wanpool doctor --echo HOST:" in second


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--bind", "192.0.2.1"], 1, "--bind takes an address of this machine"),
        (["--bind", "no-such-host.invalid"], 2, "give an IPv4 address"),
        (["--bind", "::1"], 2, "give an IPv4 address"),
        (["--port", "65536"], 2, "port"),
    ],
)
def test_where_one_cannot_listen_is_one_clear_line(words: list[str], code: int, said: str) -> None:
    told = says("echo", *words, code=code)
    assert said in told and told.count("\n") == 1


def test_a_port_in_use_is_one_clear_line(endpoint: Endpoint) -> None:
    told = says("echo", "--port", str(endpoint.address[1]), code=1)
    assert "give another --port" in told and told.count("\n") == 1


# -- the verbs, end to end


@pytest.fixture
def wans(server: Any) -> Iterator[WanPortPool]:
    with WanPortPool(server.url, rest=0) as pool:
        for wan_idx, ports in RANGES.items():
            pool.define_wan(wan_idx, f"{ports[0]}-{ports[-1]}", cooldown=0)
        yield pool
        assert [pool.snapshot(wan_idx).leased for wan_idx in RANGES] == [0, 0], "all is given back"


class Imitation:
    """An endpoint that sees what one beyond a NAT would see, or answers whatever it wants."""

    def __init__(self) -> None:
        self.answer: Callable[[int], bytes] = lambda port: b""
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.name = f"127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                visitor, (_, port) = self._listening.accept()
            except OSError:
                return
            with visitor, suppress(OSError):
                visitor.sendall(self.answer(port))
                visitor.shutdown(socket.SHUT_WR)
                visitor.recv(64)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@pytest.fixture
def imitation() -> Iterator[Imitation]:
    imitation = Imitation()
    yield imitation
    imitation.close()


ROUTER = {"kept", "rewritten", "collisions", "same-address", "several-addresses", "unsteady", "untranslated"}
ROUTER |= {"refused", "timeout", "unreachable", "strange", "kernel-port"}


@pytest.fixture
def doctor(server: Any) -> Callable[..., tuple[int, Any]]:
    """Asks; of the findings, those about the router."""

    def ask(name: str, *words: str) -> tuple[int, Any]:
        done = wanpool("doctor", "--url", server.url, "--echo", name, "--json", *words)
        told = json.loads(done.stdout)
        found = [one for one in told["findings"] if one["code"] in ROUTER or one["code"].startswith("port-")]
        return done.returncode, {**told, "findings": found}

    return ask


def codes(told: Any) -> list[tuple[str, str, list[int]]]:
    return [(one["severity"], one["code"], one["wans"]) for one in told["findings"]]


def wan_of(port: int) -> int | None:
    return next((wan_idx for wan_idx, ports in RANGES.items() if port in ports), None)


def good(port: int) -> bytes:
    return f"{B if wan_of(port) == 1 else A}:{port}\n".encode()


def test_an_endpoint_on_this_machine_proves_nothing(wans: WanPortPool, endpoint: Endpoint, doctor: Any) -> None:
    code, told = doctor(endpoint.name)
    assert (code, codes(told)) == (0, [(WARN, "untranslated", [0, 1])])
    assert [(wan["answered"], wan["kept"]) for wan in told["wans"]] == [(5, 5), (5, 5)]


def test_a_router_that_does_its_part_is_told_so(wans: WanPortPool, imitation: Imitation, doctor: Any) -> None:
    imitation.answer = good
    code, told = doctor(imitation.name, "--count", "2")
    assert (code, codes(told)) == (0, [(OK, "kept", [0, 1])])
    assert set(told) == {"schema", "namespace", "echo", "default_line", "wans", "findings"}
    assert (told["schema"], told["namespace"], told["echo"]) == (1, "default", imitation.name)
    assert set(told["findings"][0]) == {"severity", "code", "wans", "seen", "means", "cure"}
    seen = told["wans"][1].pop("connections")
    assert [(one["own"][0], one["seen"]) for one in seen] == [("127.0.0.1", [B, one["own"][1]]) for one in seen]
    counts = {"wan_idx": 1, "tried": 2, "answered": 2, "kept": 2}
    assert told["wans"][1] == {**counts, "addresses": [B], "failures": []}
    assert told["default_line"]["wan_idx"] is None and told["default_line"]["addresses"] == [A]
    assert set(told["default_line"]) == {*told["wans"][1], "connections"}
    code, told = doctor(imitation.name, "--wan", "1")
    assert code == 0 and [wan["wan_idx"] for wan in told["wans"]] == [1]


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (
            lambda port: (f"{B}:{port + 7000}\n" if wan_of(port) == 1 else f"{A}:{port + 7000}\n").encode(),
            [(FAIL, "rewritten", [0]), (FAIL, "rewritten", [1])],
        ),
        (lambda port: f"{A}:{port}\n".encode(), [(FAIL, "same-address", [0, 1])]),
        (lambda port: b"" if wan_of(port) == 1 else good(port), [(FAIL, "strange", [1]), (OK, "kept", [0])]),
        (lambda port: b"HTTP/1.1 400 Bad Request\r\n\r\n", [(FAIL, "strange", [0, 1])]),
        (lambda port: bytes(100_000), [(FAIL, "strange", [0, 1])]),
    ],
    ids=["rewritten", "missing rule", "one line", "http", "endless"],
)
def test_a_router_that_does_not_is_found_out(
    answer: Callable[[int], bytes],
    found: list[Any],
    wans: WanPortPool,
    imitation: Imitation,
    doctor: Callable[..., tuple[int, Any]],
) -> None:
    imitation.answer = answer
    code, told = doctor(imitation.name)
    assert (code, codes(told)) == (1, found)


def test_nobody_who_listens_is_told_so_and_costs_no_port(wans: WanPortPool, doctor: Any) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        code, told = doctor(f"127.0.0.1:{sock.getsockname()[1]}")
    assert (code, codes(told)) == (1, [(FAIL, "refused", [0, 1])])
    assert "wanpool echo" in told["findings"][0]["cure"]
    assert wans.snapshot(0).free == len(RANGES[0])


def test_a_dead_line_is_given_up_after_two_timeouts(wans: WanPortPool, doctor: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(probe, "TIMEOUT", 0.2)
    with ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        with suppress(TimeoutError):
            while True:
                stack.enter_context(socket.create_connection(full.getsockname(), timeout=0.2))
        code, told = doctor(f"127.0.0.1:{full.getsockname()[1]}")
    assert (code, codes(told)) == (1, [(FAIL, "timeout", [0, 1])])
    assert [wan["tried"] for wan in told["wans"]] == [2, 2]


def test_an_endpoint_that_says_nothing_is_not_waited_for_twice(
    wans: WanPortPool, doctor: Callable[..., tuple[int, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        code, told = doctor(f"127.0.0.1:{mute.getsockname()[1]}")
    assert (code, codes(told)) == (1, [(FAIL, "strange", [0, 1])])
    assert [wan["tried"] for wan in told["wans"]] == [1, 1] and "it said nothing" in told["findings"][0]["seen"]


def test_a_wan_that_drains_is_told_and_the_others_go_on(wans: WanPortPool, imitation: Imitation, doctor: Any) -> None:
    imitation.answer = good
    wans.drain(0)
    code, told = doctor(imitation.name)
    assert (code, codes(told)) == (0, [(WARN, "port-draining", [0]), (OK, "kept", [1])])


def test_a_wan_without_free_ports_is_told_and_the_others_go_on(
    wans: WanPortPool, imitation: Imitation, doctor: Callable[..., tuple[int, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "WAIT", 0.0)
    imitation.answer = good
    leases = wans.acquire_many(0, len(RANGES[0]), reuse_address=True)
    code, told = doctor(imitation.name)
    assert (code, codes(told)) == (1, [(FAIL, "port-exhausted", [0]), (OK, "kept", [1])])
    for lease in leases:
        lease.release()


def test_a_wan_whose_ports_are_refused_or_unknown_is_told_and_the_others_go_on(
    wans: WanPortPool, imitation: Imitation, doctor: Callable[..., tuple[int, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "WAIT", 0.0)
    imitation.answer = good
    with squatting(*RANGES[0]):
        code, told = doctor(imitation.name, "--wan", "0", "--wan", "7", "--wan", "1")
    assert code == 1
    assert codes(told) == [(FAIL, "port-rejected", [0]), (FAIL, "port-undefined", [7]), (OK, "kept", [1])]


def test_more_connections_than_ports_wait_for_the_rest(wans: WanPortPool, imitation: Imitation, doctor: Any) -> None:
    imitation.answer = good
    code, told = doctor(imitation.name, "--wan", "0", "--count", str(len(RANGES[0]) + 1))
    assert (code, told["wans"][0]["kept"]) == (0, len(RANGES[0]) + 1)


def test_the_doctor_in_words(wans: WanPortPool, imitation: Imitation, server: Any) -> None:
    imitation.answer = lambda port: f"{B}:{port + 7000}\n".encode() if wan_of(port) == 1 else good(port)
    said = says("doctor", "--url", server.url, "--echo", imitation.name, code=1)
    assert said.splitlines()[2].split() == ["0", "5", "of", "5", "5", "of", "5", A]
    assert said.splitlines()[3].split() == ["1", "5", "of", "5", "0", "of", "5", B]
    assert "fail  WAN 1: every port was rewritten" in said and "\n      cure: " in said


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--count", "3"], 2, "wanpool echo --bind ADDRESS"),
        (["--wan", "0"], 2, "wanpool echo --bind ADDRESS"),
        (["--echo", "203.0.113.9"], 2, "write it like --echo 203.0.113.9:7801"),
        (["--echo", "203.0.113.9:0"], 2, "port"),
        (["--echo", "h:1", "--count", "0"], 1, "h:1"),
        (["--echo", "127.0.0.1:9", "--count", "0"], 2, "count"),
        (["--echo", "no-such-host.invalid:9"], 1, "IPv4"),
    ],
)
def test_a_wrong_call_is_one_clear_line(words: list[str], code: int, said: str) -> None:
    told = says("doctor", *words, code=code)
    assert said in told and told.count("\n") == 1


def test_a_namespace_without_wans_is_told_so(server: Any) -> None:
    told = tells("doctor", "--url", server.url, "--echo", "127.0.0.1:9", code=1)
    assert [one["code"] for one in told["findings"] if one["severity"] == FAIL] == ["no-wans"]
    assert "wanpool init" in next(one["cure"] for one in told["findings"] if one["code"] == "no-wans")
    assert (told["default_line"], told["wans"]) == (None, [])


def test_help_shows_examples() -> None:
    for verb in ("doctor", "echo"):
        assert f"wanpool {verb}" in wanpool(verb, "--help").stdout.split("examples:")[1]
