"""The command line's manners: help, typos, options on either side of the verb, completion, and Ctrl-C."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import says, tells, wanpool
from completing import TYPED, completed

import redis_wanpool
from redis_wanpool.cli.completion import SCRIPTS, words_of
from redis_wanpool.cli.main import GROUPS, command_line
from redis_wanpool.protocol.keys import PROTOCOL


def test_help_has_every_command_in_one_group() -> None:
    line = command_line()
    assert list(line.groups) == list(GROUPS)
    for words in (["help"], ["--help"], ["-h"]):
        listed = re.findall(r"^  ([a-z]\w+) ", says(*words), re.MULTILINE)
        assert listed == list(line.verbs), "each once, and none of the options"
    assert tells("help")["groups"]["see"]["explain"] == "says all about one port"


def test_the_docs_name_every_command_in_its_group() -> None:
    page = (Path(__file__).parents[2] / "docs/cli.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([a-z ]*) \| `(\w+)` \|", page.partition("## All commands")[2], re.MULTILINE)
    named: dict[str, list[str]] = {}
    for group, verb in rows:
        named.setdefault(group.strip() or list(named)[-1], []).append(verb)
    assert named == {group: list(verbs) for group, verbs in command_line().groups.items()}


def test_help_says_all_about_one_command() -> None:
    assert says("help", "status") == says("status", "--help") == says("--help", "status")
    assert "--watch" in says("help", "status")
    assert tells("help", "status")["verb"] == "status"


def test_no_command_is_usage_and_shows_what_there_is() -> None:
    assert "set up:" in says(code=2)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("statsu", "there is no command 'statsu'. Did you mean status? (wanpool help)"),
        ("help statsu", "there is no command 'statsu'. Did you mean status? (wanpool help)"),
        ("quux", "there is no command 'quux' (wanpool help)"),
        ("status --wacth", "status: there is no option --wacth. Did you mean --watch? (wanpool help status)"),
        ("acquire --tll 60s", "acquire: there is no option --tll. Did you mean --ttl? (wanpool help acquire)"),
        ("--jsno status", "there is no option --jsno. Did you mean --json? (wanpool help)"),
        ("status -json", "status: there is no option -json. Did you mean --json? (wanpool help status)"),
        ("status more", "status: too much: more (wanpool help status)"),
        ("explain", "explain: the following arguments are required: PORT (wanpool help explain)"),
        ("status --url 10.0.0.2:6379", "did you mean --url redis://10.0.0.2:6379/0?"),
        ("status --url 10.0.0.2", "did you mean --url redis://10.0.0.2:6379/0?"),
        ("status --url /run/redis.sock", "did you mean --url unix:///run/redis.sock?"),
    ],
)
def test_a_typo_is_one_line_with_what_was_meant(words: str, told: str) -> None:
    error = says(*words.split(), code=2)
    assert error.startswith("wanpool: ") and error.endswith(f"{told}\n") and len(error.splitlines()) == 1


def test_a_wrong_choice_is_told_with_the_likeliest() -> None:
    assert "Did you mean show? (wanpool help tune)" in says("tune", "shwo", code=2)


def test_a_password_in_what_is_no_url_is_not_repeated() -> None:
    assert "secret" not in says("status", "--url", "me:secret@10.0.0.2:6379", code=2)


def test_what_a_command_runs_may_have_any_options() -> None:
    words = command_line().parse_args(["run", "--wan", "0", "program", "--wacth", "--no"]).words
    assert words == ["program", "--wacth", "--no"]


def test_common_options_stand_before_or_behind_the_command(server: Any) -> None:
    says("init", "--url", server.url, "--namespace", "a", "--wan", "0=20000-20009")
    for words in (
        ["--json", "--url", server.url, "--namespace=a", "status"],
        ["--url", server.url, "status", "--namespace", "a", "--json"],
        ["--name", "a", "status", "--js", "--url", server.url],
    ):
        assert json.loads(says(*words))["wans"][0]["total"] == 10


def test_the_version_is_told_with_the_protocol_and_the_server(server: Any) -> None:
    told = tells("version", "--url", server.url)
    assert (told["version"], told["protocol"]) == (redis_wanpool.__version__, PROTOCOL)
    assert told["server"]["version"] in says("--version", "--url", server.url)


def test_the_version_is_told_though_no_server_answers_and_starts_none(embedded: Any) -> None:
    assert "the embedded server does not run" in says("--version")
    assert tells("version", "--url", "redis://127.0.0.1:1/0")["server"] is None
    assert not embedded.status().running
    assert wanpool("--version", WANPOOL_URL="nonsense").returncode == 0


INTERRUPTING = """
import signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Finder())
from _wanpool import main
sys.argv = ["wanpool", "acl"]
{before}
sys.exit(main())
"""


def interrupted(name: str = "", before: str = "") -> tuple[int, str]:
    text = INTERRUPTING.format(name=name, before=before)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "name",
    ["redis_wanpool", "redis", "redis_wanpool.cli.tune"],
)
@pytest.mark.slow
def test_an_interrupt_while_modules_are_imported_leaves_no_traceback(name: str) -> None:
    assert interrupted(name) == (130, "")


@pytest.mark.slow
def test_an_interrupt_at_the_end_leaves_no_traceback() -> None:
    at_the_end = "import atexit; atexit.register(signal.raise_signal, signal.SIGINT)"
    assert interrupted(before=at_the_end) == (-2, "")


def test_completion_knows_every_command_and_option() -> None:
    line = command_line()
    for shell in SCRIPTS:
        script = says("completion", shell)
        for verb, parser in line.verbs.items():
            assert re.search(rf"\b{verb}\b", script), (shell, verb)
            for option in parser._option_string_actions:
                assert not option.startswith("--") or re.search(rf"(-l |--){option[2:]}\b", script), (shell, option)
    assert words_of(line)["router"].values["--format"][0] in says("completion", "powershell")


def test_bash_completes() -> None:
    assert completed("bash", "--norc", "--noprofile", "-i") == TYPED
