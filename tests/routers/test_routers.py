"""The router's configuration: complete, harmless whatever the names are, and the same as long as the WANs are."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command_line import says

from redis_wanpool import WanPortPool
from redis_wanpool.cli.router import FORMATS
from redis_wanpool.errors import InvalidValue
from redis_wanpool.routers import Site, Uplink, largest_gap, linux, vendors

SITE = Site(
    "prod",
    ("br0",),
    (
        Uplink(0, "telecom", ((20000, 21999),), "eth1", "198.51.100.1"),
        Uplink(3, "", ((22000, 22999), (24000, 24000)), "ppp0", ""),
    ),
    (25000, 65535),
)
EVIL = "x\n$(reboot)'\"; `id` \u2028 \x1b[2J"


@pytest.fixture
def url(server: Any) -> Iterator[str]:
    with WanPortPool(server.url, namespace="prod") as pool:
        pool.define_wan(0, "20000-21999", name="telecom")
        pool.define_wan(3, "22000-22999,24000")
    yield server.url


def run(url: str, *words: str, code: int = 0) -> str:
    return says("router", "--url", url, "--namespace", "prod", *words, code=code)


LINES = ["--lan", "br0", "--uplink", "0=eth1,198.51.100.1", "--uplink", "3=ppp0"]


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_has_every_wan_and_says_whether_it_was_tried(url: str, name: str) -> None:
    lines = LINES if name != "opnsense" else [*LINES[:-1], "3=ppp0,WAN3_GW"]
    text = run(url, "--format", name, *lines)
    assert text == FORMATS[name](
        Site(
            "prod",
            ("br0",),
            (SITE.uplinks[0], Uplink(3, "", SITE.uplinks[1].ranges, "ppp0", lines[-1][7:])),
            (24001, 65535),
        )
    )
    assert re.search("^# (not )?verified: ", text, re.MULTILINE)
    assert ("not verified" in text) == (name not in ("iproute2", "nftables"))
    for port in ("20000", "21999", "22999", "24000", "eth1", "ppp0"):
        assert port in text
    assert json.loads(run(url, "--format", name, *lines, "--json"))["text"] == text


READS = dict(
    part.split("\n", 1) for part in Path(__file__).with_name("reads.txt").read_text(encoding="utf-8").split("== ")[1:]
)
"""how a part of each reads"""


def test_each_reads_well() -> None:
    head = "\n".join(linux.iproute2(SITE).splitlines()[1:10])
    assert head + "\n" == READS["iproute2"].replace("VERIFIED", linux.VERIFIED)
    assert "ip -4 rule add pref $new iif br0 ipproto tcp sport 24000 lookup 7003\n" in linux.iproute2(SITE)
    assert linux.nftables(SITE).partition("table ip wanpool {\n")[2] == READS["nftables"]
    assert vendors.mwan3(SITE).partition("config rule 'wanpool3'\n")[2] == READS["mwan3"]


def test_mwan3_has_a_rule_for_each_lan_and_one_for_all_with_the_router_itself() -> None:
    two = vendors.mwan3(replace(SITE, lan=("lan", "guest")))
    assert re.findall(r"config rule '(.*)'", two) == ["wanpool0", "wanpool0_1", "wanpool3", "wanpool3_1"]
    assert re.findall(r"src_iface '(.*)'", two) == ["lan", "guest"] * 2
    assert "src_iface" not in vendors.mwan3(replace(SITE, lan=("lan", "lo")))


@pytest.mark.parametrize("name", FORMATS)
def test_a_name_that_is_a_trap_stays_a_comment_of_one_line(name: str) -> None:
    gateway = "GW"
    evil, plain = (
        FORMATS[name](Site("prod", ("lan",), (Uplink(0, text, ((1, 2),), "eth1", gateway),), (5000, 9999)))
        for text in (EVIL, "plain")
    )
    assert evil.count("\n") == plain.count("\n") and "\x1b" not in evil
    strip = [line for line in evil.splitlines() if not line.startswith("#")]
    assert strip == [line for line in plain.splitlines() if not line.startswith("#")]
    if shutil.which("sh") and name in ("iproute2", "opnsense"):
        subprocess.run(["sh", "-n"], input=evil, text=True, check=True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--uplink", "0=eth1"], "WAN 3: say which line it is"),
        (["--uplink", "0=eth1", "--uplink", "3=ppp0", "--uplink", "9=eth9"], "has no WAN 9"),
        (["--uplink", "0=eth1", "--uplink", "0=eth2"], "once for each WAN"),
        (["--uplink", "eth1"], "once for each WAN"),
        (["--uplink", "0=eth1;reboot"], "letters, digits"),
        (["--uplink", "0=eth1,$(id)"], "letters, digits"),
        (["--uplink", "0=", "--uplink", "3=ppp0"], "letters, digits"),
        (["--lan", "-x", "--uplink", "0=eth1", "--uplink", "3=ppp0"], "letters, digits"),
        (["--uplink", "0=a-device-of-16-ch", "--uplink", "3=ppp0"], "at most 15"),
        (["--uplink", "0=eth1", "--uplink", "3=ppp0", "--others", "21999-30000"], "ports of a WAN"),
        (["--uplink", "0=eth1", "--uplink", "3=ppp0", "--others", "30000-30009,40000"], "one range"),
        (["--uplink", "0=eth1", "--uplink", "3=ppp0", "--diff", "no-such-file"], "no-such-file"),
    ],
)
def test_what_cannot_be_is_said(url: str, words: list[str], said: str) -> None:
    lan = [] if "--lan" in words else ["--lan", "br0"]
    words = [f"--lan={words[1]}", *words[2:]] if "--lan" in words else words
    told = run(url, "--format", "iproute2", *lan, *words, code=2)
    assert said in told and told.count("\n") == 1


def test_opnsense_wants_gateways(url: str) -> None:
    assert "3=ppp0,WAN3_GW" in run(url, "--format", "opnsense", *LINES, code=2)


def test_a_namespace_without_wans_is_said(server: Any) -> None:
    assert "has no WAN" in run(server.url, "--format", "nftables", *LINES, code=1)


def test_diff_tells_what_changes(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "old.nft"
    old.write_text(run(url, "--format", "nftables", *LINES))
    assert run(url, "--format", "nftables", *LINES, "--diff", str(old)) == ""
    lines = [*LINES[:-1], "3=ppp9"]
    diff = run(url, "--format", "nftables", *lines, "--diff", str(old), code=1)
    assert '-    oifname "ppp0" masquerade\n' in diff and '+    oifname "ppp9" masquerade\n' in diff
    monkeypatch.setattr("sys.stdin", io.StringIO(old.read_text()))
    told = json.loads(run(url, "--format", "nftables", *lines, "--diff", "-", "--json", code=1))
    assert told["diff"].splitlines()[2:] == diff.splitlines()[2:]


def test_the_ports_of_others_are_the_most_in_a_row() -> None:
    assert largest_gap([(20000, 21999)]) == (22000, 65535)
    assert largest_gap([(1024, 30000), (60000, 65535)]) == (30001, 59999)
    with pytest.raises(InvalidValue, match="--others"):
        largest_gap([(1024, 62000)])
