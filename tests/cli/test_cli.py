"""The command line: real processes, their output and exit codes."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command_line import python, says, spawned, tells, wanpool

import redis_wanpool
from redis_wanpool import WanPortPool
from redis_wanpool.cli.main import command_line
from redis_wanpool.demo.judge import Visit, verdict, write_log
from redis_wanpool.protocol.keys import PROTOCOL

VISIT = Visit(
    wan_idx=0, port=20000, seen_port=20000, lease_id="a", fence=1, network="n", pid=1, accepted=1.0, ended=2.0
)


@pytest.mark.slow
@pytest.mark.parametrize("module", ["redis_wanpool", "redis_wanpool.cli"])
def test_runs_as_a_module(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == f"wanpool {redis_wanpool.__version__}, protocol {PROTOCOL}"


def test_a_full_disk_behind_standard_output_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        running = python("-m", "redis_wanpool.cli", "acl", "holder", stdin=None, stdout=full)
        _, said = running.communicate(timeout=60)
    assert (running.returncode, said) == (1, "wanpool: No space left on device\n")


@pytest.mark.slow
def test_demo_does_the_main_job_and_leaves_nothing(embedded: Any, tmp_path: Path) -> None:
    done = spawned("demo", "--seconds", "4", "--log", str(tmp_path / "log"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"port seen as leased +100\.0 %", done.stdout)
    assert re.search(r"double leases +0\n", done.stdout)
    assert re.search(r"killed workers +[1-9]\d*, holding [1-9]\d* ports; back after", done.stdout)
    assert "lease_ttl=2 and cooldown=1" in done.stdout
    assert "redis-cli -s " in done.stdout
    assert "\x1b" not in done.stdout, "a pipe gets plain lines"
    assert not embedded.status().running, "the demo stops the server that it started"
    assert says("demo", "--judge", str(tmp_path / "log"))


@pytest.mark.slow
def test_demo_leaves_a_server_that_ran_before_and_its_data(embedded: Any) -> None:
    with WanPortPool() as pool:
        pool.define_wan(0, "30000-30009")
    assert spawned("demo", "--seconds", "1").returncode == 0
    assert embedded.status().running
    with WanPortPool() as pool:
        assert pool.snapshot(0).free == 10
        assert {key.split(":")[1] for key in pool._engine.performer.client().scan_iter()} == {"{default", "{default}"}


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (replace(VISIT, lease_id="b", fence=2, accepted=1.5, ended=3.0), "at the same time"),
        (replace(VISIT, lease_id="b", fence=1, accepted=3.0, ended=4.0), "fence 1 was followed by 1"),
        (replace(VISIT, lease_id="b", fence=2, accepted=3.0, seen_port=20001), "port 20000 was leased, and 20001 seen"),
    ],
)
def test_the_judge_finds_what_is_wrong_in_a_doctored_log(second: Visit, said: str, tmp_path: Path) -> None:
    write_log(tmp_path / "log", [VISIT, second])
    assert said in wanpool("demo", "--judge", str(tmp_path / "log")).stdout
    assert wanpool("demo", "--judge", str(tmp_path / "log")).returncode == 1


def test_the_judge_finds_an_overlap_behind_a_short_visit() -> None:
    long = replace(VISIT, ended=10.0)
    inside = replace(VISIT, lease_id="b", fence=2, accepted=2.0, ended=3.0)
    later = replace(VISIT, lease_id="c", fence=3, accepted=5.0, ended=6.0)
    assert len(verdict([later, long, inside]).double) == 2
    assert len(verdict([replace(long, ended=None), later]).double) == 1


def test_the_judge_acquits_an_honest_log_and_refuses_an_empty_or_broken_one(tmp_path: Path) -> None:
    log = tmp_path / "log"
    write_log(log, [VISIT, replace(VISIT, lease_id="b", fence=2, accepted=2.0, ended=3.0)])
    assert says("demo", "--judge", str(log))
    for text, code in (("", 1), ('["not a visit"]\n', 2)):
        log.write_text(text)
        assert says("demo", "--judge", str(log), code=code)


def test_init_defines_once_and_status_shows_it(server: Any) -> None:
    for made in (True, False):
        told = tells("init", "--url", server.url, "--wan", "0=20000-21999", "--wan", "1=22000-22009")
        assert [wan["made"] for wan in told["wans"]] == [made, made]
    told = tells("status", "--url", server.url)
    assert told["namespace"] == "default"
    expected = {"wan_idx": 1, "name": "", "state": "open", "total": 10, "free": 10, "leased": 0, "cooling": 0}
    assert told["wans"][1] == told["wans"][1] | expected | {"withheld": 0}
    assert told["redis"]["eviction"] == "noeviction" and told["redis"]["role"] == "primary"
    shown = says("status", "--url", server.url).splitlines()
    assert shown[2].split()[:8] == ["0", "-", "open", "2000", "2000", "0", "0", "0"]


def test_init_says_for_how_long_a_wan_grants_nothing_and_whose_word_ends_that(server: Any, as_asked: None) -> None:
    words = "init", "--url", server.url, "--wan", "0=20000-20009"
    told = says(*words)
    assert "in grace: nothing is granted for 70 s" in told and "the same again with --fresh" in told
    assert 60 < tells(*words)["wans"][0]["grace_left"] <= 70
    assert tells(*words, "--fresh")["wans"][0]["grace_left"] == 0
    assert "grace" not in says(*words)
    lost = says("init", "--url", server.url, "--recover", "--wan", "1=21000-21009")
    assert "in grace: nothing is granted for 70 s" in lost and "--fresh" not in lost
    assert "not allowed with" in says(*words, "--fresh", "--recover", code=2)


def test_init_takes_spans_as_all_verbs_do(server: Any) -> None:
    spans = ["--cooldown", "2m", "--lease-ttl", "0.5", "--max-ttl", "1h"]
    says("init", "--url", server.url, "--wan", "0=20000-20009", *spans)
    with WanPortPool(server.url) as pool:
        config = pool.snapshot(0).config
    assert [config[f"{name}_ms"] for name in ("cooldown", "lease_ttl", "max_ttl")] == ["120000", "500", "3600000"]


def test_init_takes_the_wans_of_the_configuration(server: Any, tmp_path: Path) -> None:
    (tmp_path / "wanpool.toml").write_text(f'url = "{server.url}"\n[wan.3]\nports = "20000-20004"\n')
    says("init")
    with WanPortPool(server.url) as pool:
        assert pool.wans() == (3,)


def test_a_command_that_changes_something_names_the_file_that_nobody_named(server: Any, tmp_path: Path) -> None:
    file = tmp_path / "wanpool.toml"
    file.write_text(f'url = "{server.url}"\n[wan.3]\nports = "20000-20004"\n')
    for words in (["init"], ["drain", "3"]):
        assert wanpool(*words).stderr == f"settings of {file}\n"
    assert wanpool("drain", "3", "--config", str(file)).stderr == wanpool("status").stderr == ""


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["init"], 2, "no WAN given"),
        (["init", "--wan", "x=1-2"], 2, "--wan 0=20000-21999"),
        (["init", "--wan", "0=2-1"], 2, "must go up"),
        (["init", "--wan", "0=1-2", "--cooldown", "-1"], 2, "cooldown"),
        (["status", "--namespace", "a b"], 2, "namespace 'a b'"),
        (["status", "--config", "missing.toml"], 2, "missing.toml"),
        (["status", "--url", "http://h/"], 2, "scheme"),
        (["status", "--url", "redis://127.0.0.1:1/0"], 3, "check that it runs"),
        (["status", "--url", "redis://user:sesame@127.0.0.1/0"], 2, "WANPOOL_URL"),
        (["status", "--url", "redis://127.0.0.1/0?password=sesame"], 2, "WANPOOL_URL"),
    ],
)
def test_a_fault_of_the_user_or_the_network_is_one_clear_line(words: list[str], code: int, said: str) -> None:
    done = wanpool(*words)
    assert done.returncode == code
    assert said in done.stderr and done.stderr.count("\n") == 1 and "sesame" not in done.stderr


def test_an_overlap_with_another_wan_is_refused(server: Any) -> None:
    says("init", "--url", server.url, "--wan", "0=20000-20009")
    assert "port 20009" in says("init", "--url", server.url, "--wan", "1=20009-20019", code=1)


def test_status_of_an_empty_redis_says_what_to_do(server: Any) -> None:
    told = says("status", "--url", server.url)
    assert "wanpool init --fresh --wan" in told and "say --recover" in told


def test_server_start_status_stop(embedded: Any) -> None:
    assert wanpool("server", "status").returncode == 1
    assert "running, version 9." in spawned("server", "start").stdout
    assert tells("server", "status")["running"] is True, "though who started it has ended"
    assert "stopped" in says("server", "stop")
    assert wanpool("server", "status").returncode == 1


def verbs() -> dict[str, Any]:
    (action,) = (one for one in command_line()._actions if isinstance(one, argparse._SubParsersAction))
    return dict(action.choices)


def test_help_shows_examples_for_every_verb() -> None:
    for verb, parser in verbs().items():
        assert f"wanpool {verb}" in parser.format_help().split("examples:")[1], verb
    assert "wanpool status" in wanpool("status", "--help").stdout


def test_the_json_of_every_verb_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8").partition("## JSON")[2]
    documented = {
        name for row in re.findall(r"^\| (`[^|]*) \|", page, re.MULTILINE) for name in re.findall("`(.*?)`", row)
    }
    assert documented == set(verbs()) - {"run"}, "run has none: what it prints is the command's own"
