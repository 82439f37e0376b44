"""What netsh says is read by its shape: the same facts from any language, code page and release."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import types
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_wanpool.system import netsh
from redis_wanpool.system.netsh import Excluded, autotuning, decoded, dynamic_ports, excluded_ports

# As people published what their systems wrote, with its spelling; line ends and code pages as on a console.

DYNAMIC = {
    # Microsoft, "The default dynamic port range for TCP/IP has changed" (KB929851)
    "English": (
        "\nProtocol tcp Dynamic Port Range\n---------------------------------\n"
        "Start Port      : 49152\nNumber of Ports : 16384\n\n",
        "cp437",
        (49152, 65535),
    ),
    # a test of the Bun project that holds the output of a Chinese Windows; a Windows update had moved the range
    "Chinese": (
        "\n协议 tcp 动态端口范围\n---------------------------------\n"
        "启动端口        : 1024\n端口数          : 13977\n\n",
        "cp936",
        (1024, 15000),
    ),
    # the labels of a unit test of another project; not the record of a system
    "German": (
        "\nProtokoll tcp Dynamischer Portbereich\n---------------------------------\n"
        "Startport       : 49152\nAnzahl von Ports : 16384\n\n",
        "cp850",
        (49152, 65535),
    ),
    # a runner of GitHub Actions, in its community's discussions
    "wide": ("Start Port      : 1024\nNumber of Ports : 64511\n", "cp437", (1024, 65534)),
}
EXCLUDED = {
    # "What is Administered port exclusions in windows 10", Stack Overflow
    "English": (
        "\nProtocol tcp Port Exclusion Ranges\n\nStart Port    End Port      \n----------    --------      \n"
        "      5357        5357      \n     49671       49770      \n     50000       50059     *\n"
        "     61117       61216      \n\n* - Administered port exclusions.\n\n",
        "cp437",
        [(5357, 5357, ""), (49671, 49770, ""), (50000, 50059, "*"), (61117, 61216, "")],
    ),
    # the test of the Bun project
    "Chinese": (
        "\n协议 tcp 端口排除范围\n\n开始端口    结束端口\n----------    --------\n"
        "      1145        1244\n      3777        3876\n      5433        5532\n     28385       28385\n"
        "     50000       50059     *\n\n* - 管理的端口排除。\n\n",
        "cp936",
        [(1145, 1244, ""), (3777, 3876, ""), (5433, 5532, ""), (28385, 28385, ""), (50000, 50059, "*")],
    ),
    # a table on pastebin, there with the signs of a console that was read with another code page; rows are made up
    "French": (
        "\nProtocole tcp Plages d'exclusion de ports\n\nPort de début    Port de fin      \n"
        "----------    --------      \n      5357        5357      \n     50000       50059     *\n\n"
        "* - Exclusions de ports administrés.\n\n",
        "cp850",
        [(5357, 5357, ""), (50000, 50059, "*")],
    ),
    # head lines as Korean users quote them; rows are made up
    "Korean": (
        "\n프로토콜 tcp 포트 제외 범위\n\n시작 포트    끝 포트      \n----------    --------      \n"
        "      5357        5357      \n     50000       50059     *\n\n* - 관리되는 포트 제외입니다.\n\n",
        "cp949",
        [(5357, 5357, ""), (50000, 50059, "*")],
    ),
    "without rows": (
        "\nProtocol tcp Port Exclusion Ranges\n\nStart Port    End Port      \n----------    --------      \n\n"
        "* - Administered port exclusions.\n\n",
        "cp437",
        [],
    ),
}
# Microsoft, "Performance tuning network adapters" (Windows Server documentation)
GLOBAL = (
    "Querying active state...\n\nTCP Global Parameters\n-----\nReceive-Side Scaling State : enabled\n"
    "Chimney Offload State : disabled\nReceive Window Auto-Tuning Level : {}\n"
    "Add-On Congestion Control Provider : default\nECN Capability : disabled\nRFC 1323 Timestamps : disabled\n"
    "Initial RTO : 3000\nReceive Segment Coalescing State : enabled\nNon Sack Rtt Resiliency : disabled\n"
    "Max SYN Retransmissions : 2\nFast Open : enabled\nFast Open Fallback : enabled\nPacing Profile : off\n\n"
)
# a user's note of a Chinese Windows 11
GLOBAL_CHINESE = (
    "查询活动状态...\n\nTCP 全局参数\n----------------------------------------------\n接收方缩放状态 : enabled\n"
    "接收窗口自动调节级别 : {}\n加载项拥塞控制提供程序 : default\nECN 功能 : disabled\nRFC 1323 时间戳 : allowed\n"
    "初始 RTO : 1000\n"
    "接收段合并状态 : enabled\n非 Sack Rtt 复原 : disabled\n最大 SYN 重新传输次数 : 4\n快速打开 : enabled\n"
    "快速打开回退 : enabled\nHyStart : enabled\n比例费率降低 : enabled\n节奏配置文件 : off\n\n"
)
# as users of Windows 7 quote it: other lines before, and a note about heuristics that is no setting
GLOBAL_SEVEN = (
    "Querying active state...\n\nTCP Global Parameters\n----------------------------------------------\n"
    "Receive-Side Scaling State          : enabled\nChimney Offload State               : automatic\n"
    "NetDMA State                        : enabled\nDirect Cache Acess (DCA)            : disabled\n"
    "Receive Window Auto-Tuning Level    : {}\nAdd-On Congestion Control Provider  : none\n"
    "ECN Capability                      : disabled\nRFC 1323 Timestamps                 : disabled\n"
    "** The above autotuninglevel setting is the result of Windows Scaling heuristics\n"
    "overriding any local/policy configuration on at least one profile.\n\n"
)
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
    text, code_page, ports = DYNAMIC[name]
    assert [dynamic_ports(seen) for seen in on_a_console(text, code_page)] == [ports, ports]


@pytest.mark.parametrize("name", EXCLUDED)
def test_excluded_ports_in_any_language(name: str) -> None:
    text, code_page, rows = EXCLUDED[name]
    found = tuple(Excluded(first, last, star == "*") for first, last, star in rows)
    assert [excluded_ports(seen) for seen in on_a_console(text, code_page)] == [found, found]


@pytest.mark.parametrize("level", netsh.LEVELS)
@pytest.mark.parametrize("text", [GLOBAL, GLOBAL_CHINESE, GLOBAL_SEVEN])
def test_the_autotuning_level_is_read_wherever_it_stands(text: str, level: str) -> None:
    assert [autotuning(seen) for seen in on_a_console(text.format(level), "cp936")] == [level, level]


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
    assert excluded_ports(EXCLUDED["English"][0].replace("5357        5357", row)) is None


def test_utf_8_is_not_taken_for_the_code_page() -> None:
    """After `chcp 65001` a Chinese console writes UTF-8, which may well decode as GBK: it is tried first, strictly."""
    text = DYNAMIC["Chinese"][0]
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
