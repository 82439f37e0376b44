"""What an operator sees and does on the command line, at night and in scripts."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from by_hand import age_wan
from command_line import says, spawned, tells, wanpool
from waiting import KEPT_TTL, wait_for

from redis_wanpool import WanPortPool
from redis_wanpool.cli import run
from redis_wanpool.system import family, signals

PREFIX = "wanpool:{default:0}:"


@pytest.fixture
def pool(server: Any) -> Iterator[WanPortPool]:
    with WanPortPool(server.url, network="net-a", rest=1) as pool:
        pool.define_wan(0, "20000-20009", cooldown=125, lease_ttl=60, name="telecom")
        pool.define_wan(1, "21000-21004")
        yield pool


class Operator:
    """Somebody at a terminal."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __call__(self, *words: str, code: int = 0) -> str:
        return says(words[0], "--url", self._url, *words[1:], code=code)

    def json(self, *words: str, code: int = 0) -> Any:
        told = tells(words[0], "--url", self._url, *words[1:], code=code)
        assert told["namespace"] == "default"
        return told


@pytest.fixture
def operator(server: Any, pool: WanPortPool) -> Operator:
    return Operator(server.url)


def plain(text: str, pool: WanPortPool) -> str:
    """A text without what differs from run to run."""
    host = pool.holder.rsplit(":", 2)[0]
    text = text.replace(f"{host}:{os.getpid()}", "HOST:PID").replace(
        f"process {os.getpid()} on {host}", "process PID on HOST"
    )
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", text)
    return re.sub(
        r"\d+(\.\d)? (s|min)( \d+ s)?(?= ago| 前|,)", "N s", re.sub(r"in \d+(\.\d)? (s|min)( \d+ s)?", "in N s", text)
    )


class TestLeases:
    """Who holds what."""

    def test_read_well(self, operator: Operator, pool: WanPortPool) -> None:
        pool.acquire(0, port=20003, label="daily_basic")
        pool.acquire(1, port=21000, detached=True, ttl=30)
        told = [re.sub(" {2,}", "  ", line) for line in plain(operator("leases"), pool).splitlines()]
        host = pool.holder.rsplit(":", 2)[0]
        assert told == [
            "port  WAN  ends  since  process  label  network",
            "20003  0  in N s  N s ago  HOST:PID  daily_basic  net-a",
            f"21000  1  in N s  N s ago  {host} (detached)  -  net-a",
            "2 leases (namespace 'default')",
        ]

    def test_as_json_have_all_but_the_lease_id(self, operator: Operator, pool: WanPortPool, server: Any) -> None:
        lease = pool.acquire(0)
        server.admin.hset(f"{PREFIX}lease:{lease.port}", "label", "a\x1b[2Jb")  # by whoever may write
        (row,) = operator.json("leases")["leases"]
        assert row == {
            **{"wan_idx": 0, "port": lease.port, "holder": pool.holder, "host": pool.holder.rsplit(":", 2)[0]},
            **{"pid": os.getpid(), "network": "net-a", "label": "a\x1b[2Jb"},
            **{"acquired_at": row["acquired_at"], "expires_at_ms": round(lease.expires_at * 1000)},
            **{"idle": False},
        }
        shown = operator("leases", "--absolute")
        assert "\x1b" not in shown and "a?[2Jb" in shown and lease.lease_id not in shown
        assert row["acquired_at"] in shown

    @pytest.mark.parametrize(
        ("words", "found"),
        [
            (["--wan", "1"], {21000}),
            (["--label", "nightly*"], {20001}),
            (["--network", "net-b"], {20002}),
            (["--holder", f"*:{os.getpid()}"], {20000, 20001, 20002, 21000}),
            (["--holder", "nobody"], set()),
            (["--expiring", "20s"], {21000}),
            (["--expiring", "0.5h"], {20000, 20001, 20002, 21000}),
        ],
    )
    def test_are_chosen_by_what_they_say(
        self, operator: Operator, pool: WanPortPool, server: Any, words: list[str], found: set[int]
    ) -> None:
        pool.acquire(0, port=20000)
        pool.acquire(0, port=20001, label="nightly_x")
        pool.acquire(1, port=21000, ttl=10)
        with WanPortPool(server.url, network="net-b") as other:
            other.acquire(0, port=20002)
            assert {row["port"] for row in operator.json("leases", *words)["leases"]} == found

    def test_are_all_listed_though_they_are_renewed_meanwhile(
        self, operator: Operator, pool: WanPortPool, server: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from redis_wanpool.protocol import looking

        held = {lease.port for lease in pool.acquire_many(0, 10)}
        monkeypatch.setattr(looking, "MOST_PORTS_A_CALL", 3)
        page = looking.Looking.lease_page

        def renewing(self: Any, wan_idx: int, before: Any, **kwargs: Any) -> Any:
            found = yield from page(self, wan_idx, before, **kwargs)
            if before is None:
                for lease in found.leases:  # moves behind the others
                    server.admin.zincrby(PREFIX + "leased", 1000, lease.port)
            return found

        monkeypatch.setattr(looking.Looking, "lease_page", renewing)
        ports = [row["port"] for row in operator.json("leases", "--wan", "0")["leases"]]
        assert set(ports) == held
        assert {lease.port for lease in pool.snapshot(0, leases=True).leases} == held

    def test_of_none_are_none(self, operator: Operator) -> None:
        assert operator("leases") == "0 leases (namespace 'default')\n"
        assert operator.json("leases")["leases"] == []


class TestExplain:
    """One port: its state, why, and what to do."""

    def test_leased(self, operator: Operator, pool: WanPortPool) -> None:
        pool.acquire(0, port=20003, label="daily_basic")
        told = plain(operator("explain", "20003"), pool)
        program = json.loads(operator("explain", "20003", "--json"))["holder"]["program"]
        assert told.splitlines() == [
            "port 20003 of WAN 0 'telecom' (namespace 'default'): leased",
            f"  holder   process PID on HOST, {program}",
            "  label    daily_basic",
            "  network  net-a",
            "  since    N s ago",
            "  ends     in N s, unless it is renewed",
            "  to do    nothing; to end it: wanpool revoke 20003 (its holder learns it at its next heartbeat)",
        ]

    def test_cooling(self, operator: Operator, pool: WanPortPool) -> None:
        pool.acquire(0, port=20003).release()
        told = operator("explain", "20003")
        assert "cooling" in told and "given back after its connection was closed" in told
        assert re.search(r"free +in (2 min [0-5]|1 min 5\d) s|free +in 2 min", told)
        facts = operator.json("explain", "20003")
        assert facts["state"] == "cooling" and 120 < facts["free_in"] <= 125
        assert facts["free_for_last_network_in"] <= 1 and facts["last_holder"]["ended"] == "released"
        assert facts["holder"] is None

    def test_expired_is_cooling_though_nobody_settled_it(
        self, operator: Operator, pool: WanPortPool, server: Any
    ) -> None:
        pool.acquire(0, port=20003, detached=True)
        age_wan(server.admin, 61, namespace="default")
        facts = operator.json("explain", "20003")
        assert facts["state"] == "cooling" and facts["last_holder"]["ended"] == "expired"
        age_wan(server.admin, 130, namespace="default")
        assert operator.json("explain", "20003")["state"] == "free"

    def test_quarantined(self, operator: Operator, pool: WanPortPool) -> None:
        lease = pool.acquire(0, port=20003)
        pool._run(pool._engine.protocol.release([lease], "rejected", "EADDRINUSE at bind"))
        told = operator("explain", "20003")
        assert "in quarantine" in told and "EADDRINUSE at bind" in told and "ss -tanp 'sport = :20003'" in told
        assert operator.json("explain", "20003")["quarantine"]["reason"] == "EADDRINUSE at bind"

    def test_withheld_and_leaving(self, operator: Operator, pool: WanPortPool) -> None:
        pool.acquire(0, port=20004)
        operator("withhold", "20003-20004")
        assert "wanpool restore 20003" in operator("explain", "20003")
        assert "out of service, when its lease is over" in operator("explain", "20004")
        assert operator.json("explain", "20004")["becomes"] == "withheld"

    def test_withheld_since_its_lease_expired(self, operator: Operator, pool: WanPortPool, server: Any) -> None:
        pool.acquire(0, port=20004, detached=True)
        operator("withhold", "20004")
        age_wan(server.admin, 61, namespace="default")
        facts = operator.json("explain", "20004")
        assert (facts["state"], facts["becomes"]) == ("withheld", None)

    def test_free(self, operator: Operator, pool: WanPortPool) -> None:
        assert "the next acquire may take it" in operator("explain", "20003")
        pool.drain(0)
        assert "wanpool open 0" in operator("explain", "20003")

    def test_that_left_its_wan(self, operator: Operator, pool: WanPortPool) -> None:
        pool.acquire(0, port=20009)
        operator("resize", "0", "20000-20004")
        assert "taken from the WAN, when it has cooled" in operator("explain", "20009")
        told = operator("explain", "20005")
        assert "not of this WAN any more" in told and "wanpool resize 0 once more" in told
        assert operator.json("explain", "20005")["state"] == ""

    def test_that_has_cooled_to_leave_its_wan(self, operator: Operator, pool: WanPortPool, server: Any) -> None:
        pool.acquire(0, port=20008, detached=True)
        pool.acquire(0, port=20009, detached=True).release()
        operator("resize", "0", "20000-20004")
        age_wan(server.admin, 200, namespace="default")
        for port in ("20008", "20009"):
            told = operator("explain", port)
            assert "not of this WAN any more" in told and "\n  then" not in told
            assert operator.json("explain", port)["becomes"] is None
        assert operator.json("resize", "0", "20000-20004")["leaving"] == 0, "though nobody settled the WAN"
        assert "belongs to no WAN" in operator("explain", "20009", code=1)

    def test_of_no_wan(self, operator: Operator) -> None:
        assert "port 30000 belongs to no WAN" in operator("explain", "30000", code=1)
        assert "port 70000" in operator("explain", "70000", code=2)

    def test_in_chinese(self, operator: Operator, pool: WanPortPool, chinese: None) -> None:
        pool.acquire(0, port=20003)
        told = operator("explain", "20003")
        assert "已租出" in told and "wanpool revoke 20003" in told and "持有者" in told
        assert "端口" in operator("leases")


class TestShell:
    """Leases for scripts."""

    def test_take_renew_and_give_back(self, operator: Operator, pool: WanPortPool) -> None:
        port, lease_id = operator("acquire", "--wan", "0", "--ttl", "30s", "--label", "x").split()
        assert 20000 <= int(port) <= 20009
        first = operator.json("leases")["leases"][0]
        assert first["label"] == "x" and first["pid"] == 0
        assert "expires at" in operator("renew", port, lease_id, "--ttl", "60")
        assert operator.json("leases")["leases"][0]["expires_at_ms"] - first["expires_at_ms"] > 20_000
        assert "the lease was released" in operator("release", port, lease_id)
        assert operator.json("release", port, lease_id)["released"] is True, "asking again tells the same"
        assert operator.json("renew", port, lease_id, "--ttl", "60", code=1)["ended"] == "time_wait"

    @pytest.mark.parametrize(
        "words",
        [["explain", "9"], ["withhold", "9"], ["acquire", "--wan", "0", "--ttl", "9", "--port", "9"]],
        ids=" ".join,
    )
    def test_of_a_strange_port_say_where_the_ports_stand(self, operator: Operator, words: list[str]) -> None:
        hint = operator(*words, code=1).rstrip().partition("with: wanpool ")[2]
        assert "20000-20009" in operator(*hint.split(" "))

    def test_tell_a_stranger_nothing(self, operator: Operator, pool: WanPortPool) -> None:
        lease = pool.acquire(0)
        other = lease.lease_id[:-1] + ("a" if lease.lease_id[-1] != "a" else "b")
        assert "no such lease lives" in operator("release", str(lease.port), other, code=1)
        lease.check()
        assert pool.snapshot(0).leased == 1

    def test_unused_is_free_at_once(self, operator: Operator, pool: WanPortPool) -> None:
        port, lease_id = operator("acquire", "--wan", "0", "--ttl", "30s").split()
        operator("release", port, lease_id, "--unused")
        assert pool.snapshot(0).free == 10

    def test_json(self, operator: Operator) -> None:
        told = operator.json("acquire", "--wan", "1", "--port", "21002", "--ttl", "1m")
        assert (told["wan_idx"], told["port"]) == (1, 21002) and told["lease_id"] and told["expires_at_ms"]

    @pytest.mark.parametrize(
        ("words", "code", "said"),
        [
            (["acquire", "--wan", "0", "--ttl", "2h"], 2, "max_ttl"),
            (["acquire", "--wan", "0", "--ttl", "soon"], 2, "--ttl 'soon'"),
            (["acquire", "--wan", "7", "--ttl", "9"], 1, "WAN 7"),
            (["acquire", "--port", "20000", "--ttl", "9"], 2, "needs one WAN"),
            (["release", "20000", "x"], 2, "lease_id 'x'"),
            (["release", "1", "h:0:detached/aaaaaaaaaaaaaaaa"], 1, "belongs to no WAN"),
            (["renew", "20000", "h:0:detached/aaaaaaaaaaaaaaaa", "--ttl", "2h"], 2, "0.5 to 60"),
            (["revoke"], 2, "whose leases"),
            (["remove"], 2, "which WANs"),
            (["withhold", "20000,9"], 1, "nothing was done"),
            (["withhold", "nine"], 2, "neither a port"),
            (["run", "--wan", "0"], 2, "no command"),
            (["run", "--count", "2", "--", "true"], 2, "say one --wan"),
        ],
    )
    def test_faults_are_one_clear_line(self, operator: Operator, words: list[str], code: int, said: str) -> None:
        told = operator(*words, code=code)
        assert said in told and told.count("\n") == 1


class TestRevoke:
    """Ends others' leases."""

    def test_one_port(self, operator: Operator, pool: WanPortPool) -> None:
        lease, other = pool.acquire(0), pool.acquire(0)
        assert "1 lease (" in operator("revoke", str(lease.port))
        pool._engine.heartbeat.due(0)
        lease.renew_at = 0.0
        pool._engine.heartbeat.beat()
        assert lease.wait_lost(10) and lease.reason == "revoked"
        other.check()
        assert operator.json("explain", str(lease.port))["last_holder"]["ended"] == "revoked"

    def test_looks_through_the_wans_of_the_ports_only(
        self, operator: Operator, pool: WanPortPool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Or on a large site the one port takes as long as listing 60,000 leases."""
        from redis_wanpool.protocol import looking

        pool.acquire(0), pool.acquire(1, port=21000)
        asked: list[int] = []
        page = looking.Looking.lease_page
        monkeypatch.setattr(
            looking.Looking,
            "lease_page",
            lambda self, wan_idx, *more, **names: asked.append(wan_idx) or page(self, wan_idx, *more, **names),
        )
        assert "1 lease (" in operator("revoke", "21000")
        assert asked == [1]
        assert "WAN 9" in operator("revoke", "21000", "--wan", "9", code=1)

    def test_by_whose_they_are(self, operator: Operator, pool: WanPortPool, server: Any) -> None:
        with WanPortPool(server.url, network="net-b") as other:
            pool.acquire(0), other.acquire(0), other.acquire(1)
            assert len(operator.json("revoke", "--network", "net-b", "--dry-run")["leases"]) == 2
            assert pool.snapshot(0).leased == 2
            assert len(operator.json("revoke", "--network", "net-b", "--wan", "0")["leases"]) == 1
            assert operator.json("revoke", "--holder", other.holder)["leases"][0]["ended"] == "revoked"
            assert pool.snapshot(0).leased == 1 and pool.snapshot(1).leased == 0
            named = ":".join(pool.holder.split(":")[:2])
            pool.acquire(0), other.acquire(0)
            done = wanpool("revoke", "--holder", named, "--url", server.url)
            assert done.returncode == 2 and done.stderr.count("\n") == 1 and not done.stdout
            assert pool.holder in done.stderr and other.holder in done.stderr and f"'{named}:*'" in done.stderr
            assert pool.snapshot(0).leased == 3
            assert len(operator.json("revoke", "--holder", f"{named}:*")["leases"]) == 3
        assert operator("revoke", "--holder", "nobody", code=1) == "0 leases (namespace 'default') ended; " + (
            "their ports cool, and their holders learn it soon\n"
        )

    def test_by_lease_id(self, operator: Operator, pool: WanPortPool) -> None:
        lease = pool.acquire(0)
        pool.acquire(0)
        assert operator.json("revoke", "--lease", lease.lease_id)["leases"][0]["port"] == lease.port
        assert pool.snapshot(0).leased == 1


class TestService:
    """Ports out of service, WANs that go."""

    def test_withhold_and_restore(self, operator: Operator, pool: WanPortPool) -> None:
        pool.acquire(0, port=20001)
        told = operator("withhold", "20000-20001,21000")
        assert "withhold 20000, was free" in told and "withhold 20001, was leased (when its lease ends)" in told
        assert "WAN 1" in told
        assert pool.snapshot(0).withheld == 1 and pool.snapshot(1).withheld == 1
        assert operator.json("restore", "20000")["ports"] == [{"wan_idx": 0, "port": 20000, "was": "withheld"}]
        assert pool.snapshot(0).withheld == 0

    def test_remove_needs_an_empty_wan_or_force(self, operator: Operator, pool: WanPortPool, server: Any) -> None:
        lease = pool.acquire(0)
        assert "1 of its ports leased; drain it and wait" in operator("remove", "0", code=1)
        assert pool.snapshot(0).leased == 1
        assert operator.json("remove", "1")["removed"] == [1]
        lease.release()
        assert "is removed; it had 20000-20009" in operator("remove", "0")
        left = [key for key in server.admin.scan_iter() if server.admin.ttl(key) == -1]
        assert not left, left
        assert "WAN 0" in operator("remove", "0", code=1)

    def test_remove_by_force_takes_the_leases_along(self, operator: Operator, pool: WanPortPool, server: Any) -> None:
        pool.acquire_many(0, 5)
        assert operator.json("remove", "--all", "--force")["removed"] == [0, 1]
        assert not [key for key in server.admin.scan_iter("wanpool:{default:*") if server.admin.ttl(key) == -1]
        assert "has no WAN" in operator("remove", "--all", code=1)


def test_reap_reads_well_whatever_a_program_calls_itself(
    server: Any, operator: Operator, pool: WanPortPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["worker\x1b[2J"])
    with WanPortPool(server.url) as other:
        other.acquire(0)
        told = operator("reap", "--dry-run")
    assert "worker?[2J: " in told and "\x1b" not in told
    assert told.endswith("1 holder (namespace 'default'), 0 ports would be taken back\n")


PROGRAM = """
import os, signal, sys
awaited = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
print("port", os.environ["WANPOOL_PORT"], os.environ["WANPOOL_PORTS"], *sys.argv[1:], flush=True)
print("ready", flush=True)
print("heard", int(signal.sigwait(awaited)), flush=True)
sys.exit(7)
"""


@pytest.fixture
def started(server: Any, pool: WanPortPool, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `wanpool run` with a program that waits for signals."""
    (tmp_path / "program.py").write_text(PROGRAM)
    processes: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "redis_wanpool.cli", "run", "--url", server.url, "--wan", "0", *words, "--"]
        command += [sys.executable, str(tmp_path / "program.py"), "{port}", "x{ports}"]
        pipes: Any = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process = subprocess.Popen(command, **pipes, text=True, start_new_session=True)
        processes.append(process)
        return process

    yield start
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with the program that it runs
        process.communicate()


RUN = [sys.executable, "-m", "redis_wanpool.cli", "run"]
TREE = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
reading, writing = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(writing, str(os.getpid()).encode() + b" ")
        time.sleep(600)
    os.write(writing, str(os.getpid()).encode() + b" ")
    time.sleep(600)
told = b""
while told.count(b" ") < 2:
    told += os.read(reading, 100)
print(os.getpid(), told.decode(), flush=True)
time.sleep(0 if sys.argv[1] == "over" else 600)
"""


class TestRun:
    """Holds leases while a command runs."""

    def test_gives_ports_and_answers_with_the_exit_code(self, server: Any, pool: WanPortPool) -> None:
        script = "import os, sys; print(os.environ['WANPOOL_PORT'], *sys.argv[1:]); sys.exit(5)"
        command = [sys.executable, "-c", script, "{port}"]
        done = spawned("run", "--url", server.url, "--wan", "0", "--label", "cli", "--", *command)
        assert done.returncode == 5, done
        one, other = done.stdout.split()
        assert one == other and 20000 <= int(one) <= 20009
        assert (pool.snapshot(0).leased, pool.snapshot(0).cooling) == (0, 1), "given back at the end"

    def test_passes_on_a_signal_that_comes_while_it_starts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Or the command would live on, without its leases."""
        start = subprocess.Popen

        def interrupted(*words: Any, **how: Any) -> Any:
            process = start(*words, **how)
            os.kill(os.getpid(), signal.SIGUSR1)
            return process

        monkeypatch.setattr(family.subprocess, "Popen", interrupted)
        command = run.Command()
        with command.hearing():
            code = command.run(
                sys.executable, [sys.executable, "-c", "import signal; signal.pause()"], dict(os.environ)
            )
        assert code == 128 + signal.SIGUSR1

    def test_misses_no_signal_that_comes_just_before_it_waits(self) -> None:
        with signals.wakened() as wakened:
            wakened.setblocking(False)
            with pytest.raises(BlockingIOError):
                wakened.recv(64)
            signal.raise_signal(signal.SIGCHLD)
            assert wakened.recv(64) == bytes([signal.SIGCHLD]), "there before anybody waits"

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
    def test_passes_signals_on(self, started: Any, pool: WanPortPool, number: signal.Signals) -> None:
        process = started("--count", "3")
        first = process.stdout.readline().split()
        assert (
            first[2].split(",")[0] == first[1] == first[3] and first[4] == f"x{first[2]}" and first[2].count(",") == 2
        )
        assert process.stdout.readline() == "ready\n" and pool.snapshot(0).leased == 3
        process.send_signal(number)
        assert process.communicate(timeout=20) == (f"heard {number.value}\n", "")
        assert process.returncode == 7 and pool.snapshot(0).leased == 0

    def test_ends_the_command_when_the_lease_is_lost(self, started: Any, pool: WanPortPool, operator: Operator) -> None:
        process = started("--ttl", str(KEPT_TTL))
        port = process.stdout.readline().split()[1]
        assert process.stdout.readline() == "ready\n"
        operator("revoke", port)
        out, err = process.communicate(timeout=20)
        assert out == f"heard {signal.SIGTERM.value}\n" and process.returncode == 1
        assert f"port {port} of WAN 0" in err and "revoked" in err and err.count("\n") == 1

    @pytest.mark.slow
    @pytest.mark.parametrize("how", ["revoked", "killed", "over"])
    def test_all_that_the_command_started_ends_with_its_lease(
        self, server: Any, pool: WanPortPool, operator: Operator, tmp_path: Path, how: str
    ) -> None:
        """Also what left its session, its parent and its signals behind."""
        (tmp_path / "program.py").write_text(TREE)
        command = [*RUN, "--url", server.url, "--wan", "0", "--ttl", str(KEPT_TTL), "--", sys.executable]
        process = subprocess.Popen(
            [*command, str(tmp_path / "program.py"), how],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes = [psutil.Process(int(word)) for word in process.stdout.readline().split()]  # type: ignore[union-attr]
        assert len(processes) == 3
        if how == "revoked":
            operator("revoke", str(operator.json("leases")["leases"][0]["port"]))
        elif how == "killed":
            process.kill()
        assert not psutil.wait_procs(processes, timeout=20)[1], "before the port can be in other hands"
        _, err = process.communicate(timeout=20)
        if how == "over":
            assert (process.returncode, err) == (0, "wanpool: ended 2 processes that the command had left running\n")
            assert pool.snapshot(0).leased == 0
        elif how == "revoked":
            assert process.returncode == 1 and "revoked" in err

    def test_of_a_command_that_dies_tells_by_which_signal(self, server: Any, pool: WanPortPool) -> None:
        words = ["run", "--url", server.url, "--", sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
        assert wanpool(*words).returncode == 128 + 9

    def test_of_no_command_leases_nothing(self, server: Any, pool: WanPortPool, tmp_path: Path) -> None:
        done = wanpool("run", "--url", server.url, "--", "no-such-command")
        assert (done.returncode, done.stderr) == (127, "wanpool: no-such-command: not found\n")
        (tmp_path / "plain").write_text("")
        done = wanpool("run", "--url", server.url, "--", str(tmp_path / "plain"))
        assert done.returncode == 126 and "is not executable" in done.stderr
        assert not int(server.admin.hget(PREFIX + "grants", "granted") or 0)

    @pytest.mark.parametrize("content", [b"\x7fELF, and no more", b"#!/no/such/interpreter\n"])
    def test_of_a_command_that_does_not_start_costs_no_port(
        self, server: Any, pool: WanPortPool, tmp_path: Path, content: bytes
    ) -> None:
        (tmp_path / "broken").write_bytes(content)
        (tmp_path / "broken").chmod(0o755)
        done = wanpool("run", "--url", server.url, "--wan", "0", "--", str(tmp_path / "broken"))
        assert done.returncode == 126 and f"{tmp_path / 'broken'}: does not start: " in done.stderr
        assert done.stderr.startswith("wanpool: ") and done.stderr.count("\n") == 1
        assert pool.snapshot(0).free == 10

    def test_waits_for_nobody_when_interrupted_before(self, started: Any, pool: WanPortPool, server: Any) -> None:
        pool.acquire_many(0, 10)
        process = started("--wait", "60s")
        wait_for(lambda: server.admin.zcard(PREFIX + "waiting"))
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        wait_for(lambda: not server.admin.zcard(PREFIX + "waiting"))


@pytest.mark.parametrize("words", [["drain", "0", "9"], ["remove", "0", "9"]])
def test_of_several_wans_one_that_is_not_there_stops_all(server: Any, words: list[str]) -> None:
    with WanPortPool(server.url, namespace="test") as pool:
        pool.define_wan(0, "20000-20009")
        done = wanpool(*words, WANPOOL_URL=server.url, WANPOOL_NAMESPACE="test")
        assert done.returncode == 1 and "WAN 9" in done.stderr and "nothing was done" in done.stderr and not done.stdout
        assert pool.snapshot(0).state == "open"
