"""What netsh says is read by its shape: the same facts from any language, code page and release."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_wanpool.system import netsh
from redis_wanpool.system.netsh import Excluded, autotuning, decoded, dynamic_ports, excluded_ports

TEXTS: dict[tuple[str, str], tuple[str, str]] = {}
"""of what and of whom -> a text and its code page"""
for part in (Path(__file__).with_name("netsh.txt")).read_text(encoding="utf-8").split("== ")[1:]:
    head, _, text = part.partition("\n")
    what, whose, page = head.split(" | ")[:3]
    TEXTS[what, whose] = text, page
DYNAMIC = {"English": (49152, 65535), "Chinese": (1024, 15000), "German": (49152, 65535), "wide": (1024, 65534)}
EXCLUDED = {
    "English": [(5357, 5357, ""), (49671, 49770, ""), (50000, 50059, "*"), (61117, 61216, "")],
    "Chinese": [(1145, 1244, ""), (3777, 3876, ""), (5433, 5532, ""), (28385, 28385, ""), (50000, 50059, "*")],
    "French": [(5357, 5357, ""), (50000, 50059, "*")],
    "Korean": [(5357, 5357, ""), (50000, 50059, "*")],
    "without rows": [],
}
GLOBAL, GLOBAL_CHINESE = TEXTS["global", "English"][0], TEXTS["global", "Chinese"][0]
NOTHING = [
    "",
    "\n",
    "The requested operation requires elevation (Run as administrator).\n\n",
    "The following command was not found: int ipv4 show dynamicport tcp.\n",
    "请求的操作需要提升(作为管理员运行)。\n",
]


def on_a_console(text: str, code_page: str) -> list[str]:
    """What we get of it: from a console in its country's code page, and from one in UTF-8."""
    text = text.replace("\n", "\r\n")
    return [decoded(text.encode(code_page), code_page), decoded(text.encode())]


@pytest.mark.parametrize("name", DYNAMIC)
def test_dynamic_ports_in_any_language(name: str) -> None:
    assert [dynamic_ports(seen) for seen in on_a_console(*TEXTS["dynamic", name])] == [DYNAMIC[name]] * 2


@pytest.mark.parametrize("name", EXCLUDED)
def test_excluded_ports_in_any_language(name: str) -> None:
    found = tuple(Excluded(first, last, star == "*") for first, last, star in EXCLUDED[name])
    assert [excluded_ports(seen) for seen in on_a_console(*TEXTS["excluded", name])] == [found, found]


@pytest.mark.parametrize("level", netsh.LEVELS)
@pytest.mark.parametrize("whose", ["English", "Chinese", "seven"])
def test_the_autotuning_level_is_read_wherever_it_stands(whose: str, level: str) -> None:
    text, page = TEXTS["global", whose]
    assert [autotuning(seen) for seen in on_a_console(text.format(level), page)] == [level, level]


def test_a_level_that_stands_under_an_unknown_label_is_known_only_if_no_other_line_could_mean_it() -> None:
    other = GLOBAL.replace("Receive Window Auto-Tuning Level", "Nivel de ventana")
    assert autotuning(other.format("restricted")) == "restricted"
    assert autotuning(other.format("disabled")) is None, "other lines say that, too"
    assert autotuning(GLOBAL.format("normal") + "Pacing Level : normal\n") == "normal", "by its label"


@pytest.mark.parametrize("text", NOTHING)
def test_what_is_not_said_is_not_known(text: str) -> None:
    assert dynamic_ports(text) is None and excluded_ports(text) is None and autotuning(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "Start Port : 49152\n",
        "Start Port : 49152\nNumber of Ports : 0\n",
        "Start Port : 49152\nNumber of Ports : 254\n",
        "Error : 1023\nCode : 317\n",
        "Start Port : 49152\nNumber of Ports : 16385\n",
        "Start Port : 49152\nNumber of Ports : 16384\nMore : 1\n",
    ],
)
def test_numbers_that_are_no_range_are_not_known(text: str) -> None:
    assert dynamic_ports(text) is None


@pytest.mark.parametrize("row", ["20000   2000", "1   70000", "1   99999999999999"])
def test_a_table_of_other_numbers_is_not_known(row: str) -> None:
    """Start and number in place of start and end, say: the ports that Windows keeps would be leased."""
    assert excluded_ports(TEXTS["excluded", "English"][0].replace("5357        5357", row)) is None


def test_utf_8_is_not_taken_for_the_code_page() -> None:
    """After `chcp 65001` a Chinese console writes UTF-8, which may well decode as GBK: it is tried first, strictly."""
    text = TEXTS["dynamic", "Chinese"][0]
    assert decoded(text.encode(), "cp936") == text and decoded(text.encode("gbk"), "cp936") == text


def test_the_code_page_is_that_of_the_hidden_console_not_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal in UTF-8 on a Chinese Windows."""
    kernel32 = types.SimpleNamespace(GetConsoleOutputCP=lambda: 65001, GetOEMCP=lambda: 936)
    monkeypatch.setattr(ctypes, "windll", types.SimpleNamespace(kernel32=kernel32), raising=False)
    monkeypatch.setattr(sys, "platform", "win32")
    assert autotuning(decoded(GLOBAL_CHINESE.format("disabled").encode("gbk"))) == "disabled"


@given(st.binary(max_size=200), st.sampled_from(["cp936", "cp850", "cp949", "cp0", ""]))
def test_no_bytes_make_it_fail(text: bytes, code_page: str) -> None:
    seen = decoded(text, code_page)
    dynamic_ports(seen), excluded_ports(seen), autotuning(seen)


def test_netsh_is_called_by_its_place_and_never_asks_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without words it would be a shell that waits for ever; found by its name it could be another program."""
    calls: list[tuple[list[str], dict[str, Any]]] = []

    def run(command: list[str], **options: Any) -> Any:
        calls.append((command, options))
        raise subprocess.TimeoutExpired(command, 10)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setenv("SYSTEMROOT", r"D:\Win")
    assert netsh.run(["int", "tcp", "show", "global"]) == (netsh.NO_ANSWER, "no answer in 15 s")
    ((command, options),) = calls
    assert command == [r"D:\Win\System32\netsh.exe", "int", "tcp", "show", "global"] and "shell" not in options
    assert options["stdin"] == subprocess.DEVNULL and options["timeout"] == netsh.TIMEOUT


def test_no_netsh_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYSTEMROOT", "/nowhere")
    code, why = netsh.run(["int"])
    assert code == netsh.NO_ANSWER and "cannot be run" in why
