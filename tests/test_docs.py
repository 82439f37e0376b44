"""Every Python and console block of the README and docs, in both languages, runs as it is printed, from top to bottom.

A page becomes one program, in a new folder with a new home, after the README's steps; only addresses are replaced. A
Python block that begins with the name of a file, `# one.py`, becomes that file, which other blocks then run.
"""

from __future__ import annotations

import inspect
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from nodes import free_ports
from waiting import wait_for
from web import Web

from redis_wanpool import WanPortPool
from redis_wanpool.cli.main import command_line

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "README.zh.md", *sorted((ROOT / "docs").rglob("*.md"))]
FROM_THE_START = re.compile(r"README|tutorial|start")
"""pages for a newcomer who has done nothing yet, by their names: they run without the README's steps"""
MORE_VISITS = {"docs/tutorial.md": 39, "docs/zh/proxy.md": 3}
"""how many connections a page makes beyond those that it names: its programs go round in circles, or call each other"""
BLOCK = re.compile(r"^( *)```(python|console)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)

ELSEWHERE = {
    r"make (?P<target>\w+)": "it is this suite, or a show without an end",
    r"(py -m )?pip install (?P<package>.+)": "it needs a package index that has this package",
    r"(WANPOOL_\w+=\S+ )+docker compose up -d": "it needs Docker",
    r"(?P<served>wanpool (proxy|metrics|web).*)": "it runs until it is ended; tests/proxy and tests/watch do that",
    r"(# |\$ sudo )(?P<as_root>wanpool .+)": "it changes this machine, as root; labs/test_tune.py does that",
    r"(?P<far>wanpool (echo|doctor --echo) .+)": "it needs a machine beyond the router, as labs/test_probe.py has",
}
"""commands that do not run here, and why; `test_what_runs_elsewhere_is_possible` looks at them as far as can be"""
TOOLS = re.compile(r"redis-cli |curl -|from twisted|import scrapy|from celery")
"""what not every machine has: the blocks with these are run by tests/labs/test_tools.py, and test_redis_cli.py"""
BEFORE = {
    "$ wanpool init --fresh --wan 0=20000-21999   #": "mkdir -p core/wan_manager; cd core/wan_manager\n"
    "echo old > __init__.py; touch ports.json ports.lock; cd ../..",
    "$ wanpool init --fresh --wan 0=30000-30999": "wanpool remove 0 --force",
}
"""what comes before some blocks of docs/adopt.md: there is an old package; the second way is gone without the first"""
PRELUDE = """
import subprocess, sys
from pathlib import Path
def run(*words): subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
"""
SHELL = 'set -e; wanpool() { command wanpool "$@" || [ "$?$1" = 1doctor ]; }\n'  # it finds fault with this machine


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> list[tuple[str, str]]:
    return [(kind, dedent(text)) for _, kind, text in BLOCK.findall(page.read_text(encoding="utf-8"))]


def commands(text: str) -> Iterator[str]:
    """Each command of a console block with its prompt; several lines, if they are quoted."""
    return (match[0] for match in re.finditer(r"^[$#] (\"[^\"]*\"|'[^']*'|[^\"'\n])*", text, re.MULTILINE))


def elsewhere(command: str) -> re.Match[str] | None:
    matches = (re.fullmatch(rf"(\$ )?{pattern}( +#.*)?", command) for pattern in ELSEWHERE)
    return next(filter(None, matches), None)


def needs_tools(text: str) -> bool:
    return bool(TOOLS.search(text))


STEPS = [text for kind, text in blocks(README) if kind == "console" and "umask" in text]
"""of "Several machines": wanpool.toml, and the WANs"""


def program(page: Path, chosen: Callable[[str], bool]) -> str:
    """The blocks of a page that are chosen, as one program."""
    parts = [PRELUDE]
    for kind, text in [*(("console", text) for text in STEPS if not FROM_THE_START.search(page.stem)), *blocks(page)]:
        if not chosen(text) and text not in STEPS:
            continue
        if kind == "python" and (named := re.match(r"# (\w+\.py)\n", text)):
            parts.append(f"Path({named[1]!r}).write_text({text!r}, encoding='utf-8')")
            continue
        if kind == "python":
            parts.append(
                f"run(sys.executable, '-W', 'ignore', '-c', {text!r})" if re.search("twisted|scrapy", text) else text
            )
            continue
        lines = [BEFORE[start] for start in BEFORE if text.startswith(start)]
        lines += [command[2:] for command in commands(text) if not elsewhere(command)]
        parts.append(f"run('bash', '-c', {SHELL + chr(10).join(lines)!r})")
    return "\n".join(parts)


class Stage:
    """The README's Redis, and the servers that its programs visit."""

    def __init__(self, redis: Any, serving: Any, authority: Any, folder: Path) -> None:
        self.redis, self.web, self.tls = redis, Web(), Web(tls=serving)
        self.home, self.folder = folder / "newcomer", folder / "program"
        self.home.mkdir()
        self.folder.mkdir()
        authority.cert_pem.write_to_path(str(folder / "authority.pem"))
        self.environment = {**os.environ, "HOME": str(self.home), "SSL_CERT_FILE": str(folder / "authority.pem")}
        self.environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        del self.environment["XDG_CONFIG_HOME"]

    def run(self, text: str, more_visits: int = 0, **environment: str) -> None:
        """Runs a program to its end, which leaves no lease, and nothing on stderr but whose settings it used."""
        http = self.web.url.removeprefix("http://")
        addresses = [
            *((r"\b20000-21999", "24800-24999"), (r"\b22000-23999", "25000-25199")),  # ports that no other test uses
            (r"\bexplain 20017\b", "explain 24817"),
            (r"10\.0\.0\.2(:6379)?", f"127.0.0.1:{self.redis.port}"),
            (r'"example.com", 80\b', f'"127.0.0.1", {self.web.server_port}'),
            (r'"example.com", 443\b', f'"127.0.0.1", {self.tls.server_port}'),
            (r"https?://example.com", self.web.url),
            (r"--target one.one.one.one:443", f"--target 127.0.0.1:{self.redis.port}"),
            (r'(?<!server_hostname=)"example.com"', f'"{http}"'),
        ]
        if "reuse_address" not in inspect.signature(WanPortPool.acquire).parameters:
            text = text.replace(", reuse_address=True", "")
        visits = 0
        for pattern, address in addresses:
            text, count = re.subn(pattern, address, text)
            visits += count if "example" in pattern else 0
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", text],
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
            cwd=self.folder,
            env={**self.environment, **environment},
        )
        trouble = [line for line in done.stderr.splitlines() if not line.startswith("settings of ")]
        assert (done.returncode, trouble) == (0, []), (done.stderr, done.stdout)
        assert self.web.connections + self.tls.connections == visits + more_visits
        wait_for(lambda: not any(self.redis.admin.zcard(key) for key in self.redis.admin.scan_iter("wanpool:*:leased")))

    def close(self) -> None:
        self.web.close()
        self.tls.close()


@pytest.fixture
def stage(started: Any, authority: Any, embedded: Any, tmp_path: Path) -> Iterator[Stage]:
    import ssl

    (port,) = free_ports(1)
    redis = started("--port", str(port), "--appendonly", "yes")
    redis.admin.config_set("requirepass", "change-me")
    redis.port = port
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("example.com").configure_cert(serving)
    stage = Stage(redis, serving, authority, tmp_path)
    yield stage
    stage.close()


def when(page: Path) -> pytest.MarkDecorator:
    """When its blocks are run: those of the Chinese pages, which say the same again, in make long."""
    return pytest.mark.long if "zh" in page.parts or ".zh" in page.suffixes else pytest.mark.slow


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=when(page)) for page in PAGES if blocks(page)],
    ids=map(named, filter(blocks, PAGES)),
)
def test_a_page_runs_from_top_to_bottom(stage: Stage, page: Path) -> None:
    stage.run(program(page, lambda text: not needs_tools(text)), MORE_VISITS.get(named(page), 0))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_no_block_is_overlooked(page: Path) -> None:
    fences = re.findall(r"```(python|console|bash|sh|shell|pycon)\b", page.read_text(encoding="utf-8"))
    assert fences == [kind for kind, _ in blocks(page)]


FAR = [(page.name, command) for page in PAGES for _, text in blocks(page) for command in commands(text)]
FAR = [(name, command) for name, command in FAR if elsewhere(command)]


@pytest.mark.parametrize(("page", "command"), FAR)
def test_what_runs_elsewhere_is_possible(page: str, command: str) -> None:
    found = elsewhere(command)
    assert found is not None
    there = found.groupdict()
    if text := there.get("as_root") or there.get("far") or there.get("served"):
        assert command_line().parse_args(shlex.split(text, comments=True)[1:]).command
    elif target := there.get("target"):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    elif package := there.get("package"):
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        extras = re.fullmatch(r'"?(?:redis-wanpool|\.)(?:\[([\w,]+)\])?"?', package.split(" #")[0].strip())
        assert extras and set((extras[1] or "embedded").split(",")) <= project["optional-dependencies"].keys()
    else:
        compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
        assert all(f"${{{name}" in compose for name in re.findall(r"(WANPOOL_\w+)=", command))


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "```powershell" in page.read_text(encoding="utf-8")], ids=named
)
def test_what_runs_on_windows_is_possible(page: Path) -> None:
    found = re.findall(r"```powershell\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    asked = [line.partition("  #")[0] for text in found for line in text.splitlines() if line.startswith("wanpool ")]
    assert asked and all(command_line().parse_args(shlex.split(line)[1:]).command for line in asked)
