"""Programs that know nothing of leases, behind a router with three WANs: each leaves by the WAN that it names."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from command_line import WANPOOL
from namespaces import MEMORY, SERVER, WANS, Site, first_port, public_address, site
from private_server import Server
from waiting import wait_for

from redis_wanpool import WanPortPool

P, AT_ONCE, ROUNDS = 7080, 24, 4
PYTHON = shlex.quote(sys.executable)
NODE = """
const [, proxy, url] = process.argv;
require("http").get({host: "127.0.0.1", port: proxy, path: url, headers: {Host: new URL(url).host}},
  answer => { answer.pipe(process.stdout); process.exitCode = answer.statusCode === 200 ? 0 : 1; });
"""
PROGRAMS = {
    "curl": "curl -sSf -x http://wan{wan}:x@127.0.0.1:7080 {url}",
    "curl by CONNECT": "curl -sSf -p -x http://wan{wan}:x@127.0.0.1:7080 {url}",
    "curl by SOCKS": "curl -sSf -x socks5h://127.0.0.1:{port} {url}",
    "wget": "wget -qO- -t 1 -e use_proxy=yes -e http_proxy=127.0.0.1:{port} {url}",
    "git": "git -c http.proxy=http://wan{wan}:x@127.0.0.1:7080 clone -q {url}.git there && echo '{{}}'",
    "requests": PYTHON + " -c 'import requests; print(requests.get(\"{url}\", timeout=30).text)'",
    "httpx": PYTHON + " -c 'import httpx; print(httpx.get(\"{url}\", timeout=30).text)'",
    "urllib": PYTHON + " -c 'import urllib.request as u; print(u.urlopen(\"{url}\", timeout=30).read().decode())'",
    "aiohttp": PYTHON
    + " -c 'import aiohttp, asyncio\nasync def main():\n  async with aiohttp.ClientSession(trust_env=True)"
    ' as s, s.get("{url}") as a: print(await a.text())\nasyncio.run(main())\'',
    "java": "java -Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort={port} -Dhttp.nonProxyHosts= -XX:TieredStopAtLevel=1 "
    + shlex.quote(f"{Path(__file__).with_name('Visit.java')}")
    + " {url}",
    "node": "node -e " + shlex.quote(NODE).replace("{", "{{").replace("}", "}}") + " {port} {url}",
}
"""what a shell runs, with http_proxy set; {port} is the WAN's own"""


@pytest.fixture
def served(server: Server, tmp_path: Path) -> Iterator[tuple[Site, Path]]:
    """A site whose hosts run a proxy each, and the file of what the server has seen."""
    seen, pages = tmp_path / "seen", tmp_path / "pages"
    pages.mkdir()
    with WanPortPool(server.url, namespace="test") as pool:
        for wan in range(WANS):
            pool.define_wan(wan, f"{first_port(wan)}-{first_port(wan) + 399}", cooldown=MEMORY + 2)
    with site(0) as made, ExitStack() as stack:

        def start(namespace: str, file: Path, *command: str) -> None:
            out = stack.enter_context(file.open("wb"))
            there = ["ip", "netns", "exec", namespace, *command]
            process = stack.enter_context(subprocess.Popen(there, stdout=out, stderr=out))
            stack.callback(process.wait, 20)
            stack.callback(process.terminate)

        start(made.server, seen, sys.executable, str(Path(__file__).with_name("seen.py")), str(pages))
        for number, host in enumerate(made.users):
            words = ("proxy", "--verbose", "--wait", "30s", "--url", server.url, "--namespace", "test")
            start(host, tmp_path / f"proxy{number}", *WANPOOL, *words)
        wait_for(seen.read_bytes)
        wait_for(lambda: all((tmp_path / f"proxy{number}").read_bytes() for number in range(len(made.users))))
        yield made, seen


def test_unchanged_programs_leave_by_the_wan_that_they_name(served: tuple[Site, Path], tmp_path: Path) -> None:
    made, seen = served
    for name in ("curl", "wget", "git", "node", "javac"):
        assert shutil.which(name), (
            f"this lab runs {name}; install it with: apt-get install curl wget git nodejs default-jdk-headless"
        )
    visits = [(name, wan, number) for number in range(ROUNDS) for name in PROGRAMS for wan in range(WANS)]
    for name, wan, number in visits:
        if name == "git":
            repository(tmp_path / f"pages/{wan}-{number}-git.git")

    def visit(visit: tuple[str, int, int]) -> str:
        name, wan, number = visit
        folder = tmp_path / f"{wan}-{number}-{name}"
        folder.mkdir()
        url, port = f"http://{SERVER}/{wan}-{number}-{name.replace(' ', '-')}", P + 1 + wan
        command = PROGRAMS[name].format(wan=wan, port=port, url=url)
        host = made.users[(wan + number) % len(made.users)]
        environment = [f"{word}=http://127.0.0.1:{port}" for word in ("http_proxy", "https_proxy")]
        words = ["ip", "netns", "exec", host, "env", "no_proxy=", *environment, "sh", "-c", command]
        done = subprocess.run(words, capture_output=True, text=True, timeout=110, check=False, cwd=folder)
        return "" if done.returncode == 0 and done.stdout.strip().startswith("{") else f"{visit}: {done}"

    with ThreadPoolExecutor(AT_ONCE) as executor:
        failed = list(filter(None, executor.map(visit, visits)))
    requests = [json.loads(line) for line in seen.read_text().splitlines()[1:]]
    by_wan = [(int(path[1 : path.index("-")]), address, port) for address, port, path in requests]
    astray = [one for one in by_wan if one[1] != public_address(one[0])]
    logs = "".join((tmp_path / f"proxy{number}").read_text() for number in range(len(made.users)))
    leased = {(int(wan), int(port)) for wan, port in re.findall(r"by WAN (\d+) from port (\d+)", logs)}
    moved = [one for one in by_wan if (one[0], one[2]) not in leased]
    counts = (len(visits), len(requests), len(failed), len(astray), len(moved))
    print("{} programs, {} requests: {} failed, {} astray, {} moved".format(*counts))
    assert (failed, astray, moved) == ([], [], [])
    assert {path.split("?")[0].split(".git")[0] for _, _, path in requests} == {
        f"/{wan}-{number}-{name.replace(' ', '-')}" for name, wan, number in visits
    }
    assert "Traceback" not in logs


def repository(path: Path) -> None:
    """A repository that a plain web server can serve."""
    tree = f"$(git -C {path} hash-object -w -t tree /dev/null)"
    commit = f"$(git -C {path} -c user.name=x -c user.email=x@example.com commit-tree -m x {tree})"
    for command in (
        f"git init -q --bare {path}",
        f"git -C {path} update-ref HEAD {commit}",
        f"git -C {path} update-server-info",
    ):
        subprocess.run(["sh", "-c", command], check=True)
