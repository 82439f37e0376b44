"""`wanpool status`: its figures and its live view; every command against a Redis that is not well."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from by_hand import age_wan
from command_line import WANPOOL, python, says, tells, wanpool
from private_server import Server
from waiting import wait_for

from redis_wanpool import PoolExhausted, PortUnavailable, WanPortPool
from redis_wanpool.errors import InvalidValue
from redis_wanpool.model.views import WanStatus
from redis_wanpool.terminal.format import seconds_of, span, table, until, width

PREFIX = "wanpool:{default:0}:"


@pytest.fixture
def pool(server: Any) -> Iterator[WanPortPool]:
    with WanPortPool(server.url, network="net-a", rest=1) as pool:
        pool.define_wan(0, "20000-20099", cooldown=125, name="电信")
        yield pool


class TestFigures:
    """What it says is so."""

    def test_of_a_lively_wan(self, server: Any, pool: WanPortPool) -> None:
        pool.acquire_many(0, 30)
        for lease in pool.acquire_many(0, 20):
            lease.release()
        with WanPortPool(server.url, network="net-b") as other:
            other.acquire(0)
            told = tells("status", "--url", server.url)
            (wan,) = told["wans"]
            assert {name: wan[name] for name in ("total", "free", "leased", "cooling", "withheld", "quarantined")} == {
                **{"total": 100, "free": 49, "leased": 31, "cooling": 20, "withheld": 0, "quarantined": 0}
            }
            assert wan["free_in"] == {"60": 49, "1800": 69, "3600": 69}
            assert told["networks"] == [
                {"network": "net-a", "leased": 30, "wans": {"0": 30}},
                {"network": "net-b", "leased": 1, "wans": {"0": 1}},
            ]
            assert [row["leased"] for row in told["holders"]] == [30, 1]
            shown = says("status", "--url", server.url)
            assert re.search(r"\n  0  电信  open +100 +49 +31 +20 +0 +0 ", shown)
            assert "\n  30  net-a  WAN 0: 30\n" in shown and "\x1b" not in shown

    def test_of_what_cools_soon_over_and_what_expired_unseen(self, server: Any, pool: WanPortPool) -> None:
        for lease in pool.acquire_many(0, 5):
            lease.release()
        age_wan(server.admin, 70, namespace="default")
        for _ in range(3):
            pool.acquire(0, detached=True, ttl=10)
        age_wan(server.admin, 20, namespace="default")
        (wan,) = tells("status", "--url", server.url)["wans"]
        assert (wan["free"], wan["leased"], wan["cooling"]) == (95, 0, 5)
        assert wan["free_in"] == {"60": 97, "1800": 100, "3600": 100}

    def test_of_the_pace(self, server: Any, pool: WanPortPool) -> None:
        pool.acquire_many(0, 30)
        with pytest.raises(PoolExhausted):
            pool.acquire_many(0, 71)
        with pytest.raises(PortUnavailable):
            pool.acquire(0, port=pool.acquire(0).port)
        config = pool.snapshot(0).config
        assert config["granted"] == "31"
        before_ms, before, last_ms, last = map(int, config["pace"].split(" "))
        assert (before_ms, before, last) == (0, 0, 0) and last_ms
        look = f"{last_ms - 30_000} 1 {last_ms - 15_000} 11"
        server.admin.hset(PREFIX + "grants", "pace", look)
        server.admin.hincrby(PREFIX + "grants", "seen_ms", -1_001)  # it is noted once a second at most
        seen = pool.snapshot(0)
        assert seen.pace == 30 / ((seen.now_ms - last_ms + 30_000) / 1000)
        pool.acquire(0)
        assert pool.snapshot(0).config["pace"].split(" ")[:2] == [str(last_ms - 15_000), "11"]

    def test_a_wan_whose_data_is_lost_hides_no_other(self, server: Any, pool: WanPortPool) -> None:
        pool.define_wan(7, "29000-29009")
        server.admin.delete(*server.admin.scan_iter(f"wanpool:{{{pool.namespace}:7}}:*"))
        seen = wanpool("status", WANPOOL_URL=server.url, WANPOOL_NAMESPACE=pool.namespace)
        assert seen.returncode == 1 and "free" in seen.stdout
        assert re.fullmatch("wanpool: WAN 7 .*the data is gone.*\n", seen.stderr), seen
        told = tells("status", "--url", server.url, code=1)
        assert [one["wan_idx"] for one in told["troubles"]] == [7]
        assert {one["wan_idx"] for one in told["wans"]} == set(pool.wans()) - {7}
        server.admin.hdel(f"wanpool:{{{pool.namespace}}}:wans", "7")

    def test_what_rests_for_plain_sockets_only(
        self, server: Any, pool: WanPortPool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("WANPOOL_NETWORK", "net-a")
        leases = pool.acquire_many(0, 5)
        for lease in leases:
            lease.release(closed="fin" if lease is leases[0] else "reset")
        age_wan(server.admin, 2, namespace="default")
        (wan,) = tells("status", "--url", server.url)["wans"]
        assert (wan["rested"], wan["rested_for_plain_sockets"]) == (5, 4)
        told = says("status", "--url", server.url)
        assert "1 of the 5 ports that have rested for this network wait up to 65 s more for plain sockets" in told
        age_wan(server.admin, 65, namespace="default")
        assert "plain sockets" not in says("status", "--url", server.url)

    def test_the_law_of_capacity(self, pool: WanPortPool) -> None:
        seen = pool.snapshot(0)
        idle = WanStatus(seen, 0, (0, 0, 0), rest=1.0)
        assert (idle.pace, idle.hold, idle.for_one_network, idle.between_networks) == (0.0, 0.0, 100.0, 0.8)

    def test_headings_in_chinese_stay_in_line(self, server: Any, pool: WanPortPool, chinese: None) -> None:
        lines = says("status", "--url", server.url).splitlines()
        assert "无法使用 Redis" in says("status", "--url", "redis://127.0.0.1:1/0", code=3)
        assert "空闲" in lines[1] and width(lines[1]) == width(lines[2])


class Terminal:
    """A pseudo-terminal with a program on it."""

    def __init__(self, words: list[str], rows: int = 24, columns: int = 100) -> None:
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.master)
        self.process = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)
        self.shown = ""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def read_until(self, said: str, within: float = 20.0) -> str:
        """What is shown from now on, up to something."""
        since, deadline = len(self.shown), time.monotonic() + within
        while said not in self.shown[since:]:
            assert time.monotonic() < deadline, (said, self.shown[since:][-2000:])
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.shown += os.read(self.master, 65536).decode("utf-8", "replace")
                except OSError:  # its other end is closed
                    assert said in self.shown[since:], (said, self.shown[since:][-2000:])
        return self.shown[since:]

    def frame_fits(self, rows: int, columns: int) -> bool:
        """Whether the next picture that is painted fits."""
        frame = self.read_until("\x1b[J").split("\x1b[H")[-1]
        lines = [re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line) for line in frame.split("\r\n")]
        return len(lines) < rows and max(map(width, lines)) <= columns

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture
def own(own_server: Server) -> Iterator[tuple[Server, Terminal]]:
    with WanPortPool(own_server.url) as pool:
        pool.define_wan(0, "20000-20099", name="telecom")
        terminal = Terminal([*WANPOOL, "status", "--watch", "--every", "0.1", "--url", own_server.url])
        yield own_server, terminal
        terminal.close()
        own_server.process.send_signal(signal.SIGCONT)


class TestWatch:
    """The live view."""

    def test_on_a_terminal_survives_everything_and_leaves_it_sane(self, own: tuple[Server, Terminal]) -> None:
        server, terminal = own
        first = terminal.read_until("telecom")
        assert first.startswith("\x1b[?1049h\x1b[?25l")
        terminal.resize(10, 40)
        os.kill(terminal.process.pid, signal.SIGWINCH)
        wait_for(lambda: terminal.frame_fits(10, 40))
        for _ in range(3):
            assert terminal.frame_fits(10, 40)
        server.process.send_signal(signal.SIGSTOP)
        terminal.read_until("answer")
        server.process.send_signal(signal.SIGCONT)
        terminal.read_until("Ctrl-C ends")
        terminal.process.send_signal(signal.SIGINT)
        terminal.read_until("\x1b[?25h\x1b[?1049l")
        assert terminal.process.wait(20) == 0
        assert "Traceback" not in terminal.shown
        assert termios.tcgetattr(terminal.master) == terminal.before

    @pytest.mark.parametrize(("rows", "columns"), [(24, 80), (40, 120)])
    def test_is_a_screen_to_work_at(self, server: Any, pool: WanPortPool, rows: int, columns: int) -> None:
        pool.define_wan(1, "30000-39999", name="large")
        pool.acquire(1, label="one")
        pool.acquire(1).release()
        with WanPortPool(server.url, network="net-b") as other:
            other.acquire_many(0, 7)
            pool._run(pool._engine.protocol.move("withhold", 1, [30000]))
            words = [*WANPOOL, "status", "--watch", "--every", "0.2", "--url", server.url]
            with closing(Terminal(words, rows, columns)) as terminal:
                shown = terminal.read_until("net-a")
                large = re.findall(r"WAN 1    ([█▒x·]+)", shown)[-1]
                assert set(large) == set("█▒x·") and len(large) == columns - 9, "each state that occurs has a cell"
                assert re.search(r"7 +\S+:\d+ +\S+ +net-b +WAN 0: 7", shown)
                assert terminal.frame_fits(rows, columns)
                terminal.type("/net-b")
                terminal.read_until("/net-b_")
                terminal.type("\r")
                wait_for(
                    lambda: (
                        "net-b" in (frame := terminal.read_until("\x1b[J").split("\x1b[H")[-1]) and "net-a" not in frame
                    )
                )
                terminal.type("\x1b")
                terminal.read_until("net-a")
                other.acquire_many(0, 5)
                terminal.read_until("grants/s\x1b")
                terminal.type("q")
                terminal.read_until("\x1b[?25h\x1b[?1049l")
                assert terminal.process.wait(20) == 0 and termios.tcgetattr(terminal.master) == terminal.before

    def test_on_a_narrow_terminal_shows_fewer_columns(self, server: Any, pool: WanPortPool) -> None:
        words = [*WANPOOL, "status", "--url", server.url]
        for columns, shown, end in ((80, False, "shows more"), (160, True, "change networks")):
            terminal = Terminal(words, columns=columns)
            told = terminal.read_until(end)
            terminal.close()
            assert ("free in 1 min" in told) == shown and "grants/s" in told

    def test_on_a_narrow_terminal_stays_in_line(self, server: Any, pool: WanPortPool) -> None:
        words = [*WANPOOL, "status", "--url", server.url]
        terminal = Terminal(words, columns=60)
        told = re.sub(r"\x1b\[[0-9;]*m", "", terminal.read_until("shows more")).splitlines()
        terminal.close()
        heads, row = told[-3:-1]
        assert heads.endswith("cooling  quarantine") and width(row) == width(heads) <= 60

    def test_on_a_small_terminal_says_that_there_is_more(self, own: tuple[Server, Terminal]) -> None:
        server, terminal = own
        with WanPortPool(server.url) as pool:
            for wan_idx in range(1, 30):
                pool.define_wan(wan_idx, f"{30000 + wan_idx}")
        terminal.read_until("45 more lines")
        terminal.resize(80, 60)
        os.kill(terminal.process.pid, signal.SIGWINCH)
        bars = re.findall(r"WAN \d+ +(·+)", terminal.read_until("x withheld"))
        assert len(bars) >= 30 and max(map(len, bars)) == 51

    def test_goes_on_with_a_redis_that_was_restarted(self, own: tuple[Server, Terminal]) -> None:
        server, terminal = own
        terminal.read_until("telecom")
        server.stop()
        terminal.read_until("answer")
        server.start()
        terminal.read_until("no WAN is defined")
        terminal.process.terminate()
        terminal.read_until("\x1b[?25h\x1b[?1049l")
        assert terminal.process.wait(20) == 0

    def test_in_a_pipe_is_a_document_a_line(self, server: Any, pool: WanPortPool) -> None:
        words = [*WANPOOL, "status", "--watch", "--json", "--every", "0.1", "--url", server.url]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        try:
            documents = [json.loads(process.stdout.readline()) for _ in range(3)]
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        finally:
            process.kill()
            process.communicate()
        assert all(told["wans"][0]["free"] == 100 for told in documents)


VERBS: list[list[str]] = [
    ["status"],
    ["leases"],
    ["explain", "20000"],
    ["acquire", "--wan", "0", "--ttl", "9"],
    ["renew", "20000", "h:0:detached/aaaaaaaaaaaaaaaa", "--ttl", "9"],
    ["release", "20000", "h:0:detached/aaaaaaaaaaaaaaaa"],
    ["revoke", "20000"],
    ["run", "--wan", "0", "--", "true"],
    ["drain", "0"],
    ["open", "0"],
    ["withhold", "20000"],
    ["restore", "20000"],
    ["resize", "0", "20000-20010"],
    ["remove", "0"],
    ["reap"],
    ["init", "--show"],
    ["router", "--format", "nftables", "--lan", "br0", "--uplink", "0=eth1"],
]
SHOWS_NOTHING = (["status"], ["init", "--show"], ["reap"])
each_verb = pytest.mark.parametrize("words", VERBS, ids=" ".join)


class TestTrouble:
    """Every command against a Redis that is not well: one clear line, and the exit code."""

    def check(self, url: str, words: list[str], code: int, said: str) -> None:
        done = wanpool(words[0], "--url", url, *words[1:])
        assert done.returncode == code, done
        assert said in done.stderr and done.stderr.count("\n") == 1 and "Traceback" not in done.stdout + done.stderr

    @each_verb
    def test_none(self, words: list[str]) -> None:
        self.check("redis://127.0.0.1:1/0", words, 3, "check that it runs")

    @each_verb
    def test_another_password(self, own_server: Server, words: list[str]) -> None:
        own_server.admin.config_set("requirepass", "sesame")
        self.check(own_server.url, words, 3, "credentials")

    @each_verb
    def test_empty(self, server: Any, words: list[str]) -> None:
        if words in SHOWS_NOTHING:
            done = wanpool(words[0], "--url", server.url, *words[1:])
            assert (done.returncode, done.stderr) == (0, "")
        else:
            self.check(server.url, words, 1, "WAN")

    @each_verb
    def test_of_another_version(self, server: Any, words: list[str]) -> None:
        with WanPortPool(server.url) as pool:
            pool.define_wan(0, "20000-20009")
        server.admin.hset(PREFIX + "config", "protocol", "99")
        if words == ["reap"]:
            says("reap", "--url", server.url)
        else:
            self.check(server.url, words, 1, "another version of redis-wanpool (protocol 99)")
        server.admin.flushall()

    @each_verb
    @pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", ""], ids=["none", "another version"])
    def test_leaves_no_piece_of_a_document(self, server: Any, words: list[str], url: str) -> None:
        if not url:
            with WanPortPool(server.url) as pool:
                pool.define_wan(0, "20000-20009")
            server.admin.hset(PREFIX + "config", "protocol", "99")
        done = wanpool(words[0], "--json", "--url", url or server.url, *words[1:])
        assert (json.loads(done.stdout)["schema"] == 1) if done.returncode == 0 else not done.stdout
        server.admin.flushall()

    @each_verb
    @pytest.mark.parametrize(("wan_idx", "claim"), [("0", "p9:20000-20009 g ready"), ("zero", "20000-20009 g ready")])
    def test_of_claims_that_another_program_wrote(
        self, server: Any, words: list[str], wan_idx: str, claim: str
    ) -> None:
        server.admin.hset("wanpool:{default}:wans", wan_idx, claim)
        done = wanpool(words[0], "--url", server.url, *words[1:])
        assert done.returncode == (0 if words == ["reap"] else 1), done
        assert done.stderr.count("\n") == done.returncode and "Traceback" not in done.stdout + done.stderr
        server.admin.flushall()

    @each_verb
    def test_of_another_namespace(self, server: Any, words: list[str]) -> None:
        with WanPortPool(server.url) as pool:
            pool.define_wan(0, "20000-20009")
        words = [words[0], "--namespace", "elsewhere", *words[1:]]
        if [words[0], *words[3:]] in SHOWS_NOTHING and words[0] != "status":
            says(words[0], "--url", server.url, *words[1:])
        else:
            self.check(server.url, words, 1, "'elsewhere'")


def test_init_show_prints_what_defines_the_same(server: Any, tmp_path: Path) -> None:
    with WanPortPool(server.url, namespace="prod") as pool:
        pool.define_wan(0, "20000-20009", name='tele"com', cooldown=0.5, lease_ttl=30, max_ttl=60, weight=3)
        pool.define_wan(2, "21000-21009,22000", max_per_network=4)
    shown = says("init", "--show", "--url", server.url, "--namespace", "prod")
    server.admin.flushall()
    (tmp_path / "wanpool.toml").write_text(shown)
    says("init")
    assert says("init", "--show") == shown and "[wan.2]" in shown and "lease_ttl" not in shown.split("[wan.2]")[1]


class TestTexts:
    """How facts read."""

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [(0.04, "0.0 s"), (9.94, "9.9 s"), (43.4, "43 s"), (60, "1 min"), (303, "5 min 3 s"), (7800, "2 h 10 min")]
        + [(90000, "1 d 1 h"), (-5, "0.0 s")],
    )
    def test_spans(self, seconds: float, text: str) -> None:
        assert span(seconds) == text

    @pytest.mark.parametrize(
        ("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), (" 2 h ", 7200), ("1d", 86400)]
    )
    def test_spans_of_operators(self, text: str, seconds: float) -> None:
        assert seconds_of("--ttl", text) == seconds

    @pytest.mark.parametrize("text", ["", "s", "-1", "1 week", "1e3", "٣", "31d", "9" * 400])
    def test_what_is_none(self, text: str) -> None:
        with pytest.raises(InvalidValue, match="--ttl"):
            seconds_of("--ttl", text)

    def test_moments(self) -> None:
        assert until(60_000, 0) == "in 1 min" and until(0, 90_000) == "1 min 30 s ago"
        assert until(1_700_000_000_123, 0, absolute=True) == "2023-11-14T22:13:20.123Z"

    def test_tables_count_columns(self) -> None:
        assert table([["名称", "n"], ["a", "10"]], right=(1,)) == ["名称   n", "a     10"]


def test_a_view_that_nobody_reads_any_more_just_ends(server: Any, pool: WanPortPool) -> None:
    pool.acquire_many(0, 100)
    process = python("-m", "redis_wanpool.cli", "leases", "--url", server.url, stdin=None)
    process.stdout.close()
    assert process.wait(20) == 0 and process.stderr.read() == ""
    process.stderr.close()
