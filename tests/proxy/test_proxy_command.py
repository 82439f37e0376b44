"""`wanpool proxy` and `wanpool run --proxy`, and who may use the proxy for what."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from command_line import WANPOOL, python, says, spawned, wanpool
from faces import Loop
from listening import squatting
from proxied import Raw, proxied
from waiting import wait_for
from web import Web

from redis_wanpool import AsyncWanPortPool, InvalidValue, UnsafeRedis, WanPortPool
from redis_wanpool.cli import proxy as command
from redis_wanpool.proxy import serve
from redis_wanpool.proxy.access import Access, read_passwords

GET = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=10).read().decode()); sys.exit(7)"


@pytest.fixture
def site(server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A server with two WANs, which commands find by their environment."""
    with WanPortPool(server.url, namespace="test") as pool:
        pool.define_wan(0, "25880-25899", cooldown=0)
        pool.define_wan(1, "25900-25919", cooldown=0, name="second")
    monkeypatch.setenv("WANPOOL_URL", server.url)
    monkeypatch.setenv("WANPOOL_NAMESPACE", "test")
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return server


@contextmanager
def running(*words: str) -> Iterator[tuple[Any, Any]]:
    """The command, and what it tells at its start."""
    process = python(*WANPOOL[1:], "proxy", "--json", *words)
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def test_it_says_where_it_listens_and_ends_on_a_signal(site: Any, web: Web) -> None:
    with running("--port", "0", "--drain", "5s") as (process, facts):
        assert facts["schema"] == 1 and facts["namespace"] == "test" and facts["bind"] == "127.0.0.1"
        assert [(wan["wan_idx"], wan["name"]) for wan in facts["wans"]] == [(0, ""), (1, "second")]
        proxy = f"http://second:x@127.0.0.1:{facts['port']}"
        assert requests.get(web.url, proxies={"http": proxy}, timeout=10).json()["port"] in range(25900, 25920)
        with closing(Raw(facts["wans"][0]["port"]).tunnel(("127.0.0.1", web.server_port))) as client:
            process.send_signal(signal.SIGTERM)
            client.sendall(b"GET /bye HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"25" in client.rest()
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (0, "", "")
    assert site.admin.zcard("wanpool:{test:0}:leased") == 0


@pytest.mark.slow
def test_a_second_signal_ends_it_at_once(site: Any, web: Web) -> None:
    def refused() -> bool:
        with closing(socket.socket()) as late:
            return late.connect_ex(("127.0.0.1", facts["port"])) != 0

    with (
        running("--port", "0", "--drain", "10m") as (process, facts),
        Raw(facts["wans"][0]["port"]).tunnel(("127.0.0.1", web.server_port)) as client,
    ):
        process.send_signal(signal.SIGTERM)
        wait_for(refused)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        assert client.rest() == b""
    wait_for(lambda: site.admin.zcard("wanpool:{test:0}:leased") == 0)


def test_it_checks_the_lines_if_it_is_told_to(site: Any, web: Web) -> None:
    with running("--port", "0", "--health-target", f"127.0.0.1:{web.server_port}") as (process, _):
        wait_for(lambda: all(site.admin.hmget("wanpool:{test}:health", "0", "1")))
        assert all(state.startswith("up ") for state in site.admin.hmget("wanpool:{test}:health", "0", "1"))
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert site.admin.hget("wanpool:{test}:health", "checker") is None, "another one may go on at once"
    assert "1.1.1.1:443" in says("proxy", "--health-target", "nowhere", code=2)


async def test_a_check_that_ends_says_why(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    async def fails(pool: AsyncWanPortPool, targets: list[str]) -> None:
        raise UnsafeRedis("it evicts keys")

    monkeypatch.setattr(command, "check", fails)
    async with command._checked_lines(AsyncWanPortPool("fake://unused"), ["192.0.2.1:443"]):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert "not checked any more: it evicts keys" in caplog.text


def test_wan_k_has_the_port_p_and_1_and_k(site: Any) -> None:
    async def ports() -> tuple[int, dict[int, int]]:
        async with AsyncWanPortPool() as pool, serve(pool, port=25_000) as proxy:
            return proxy.port, proxy.wan_ports

    assert asyncio.run(ports()) == (25_000, {0: 25_001, 1: 25_002})


def test_a_port_in_use_is_named(site: Any) -> None:
    with squatting(25_001):
        for port, whose in (("25001", ""), ("25000", " of WAN 0")):
            told = says("proxy", "--port", port, code=2)
            assert f"port 25001{whose} at 127.0.0.1: another program listens there" in told and "--port" in told


@pytest.mark.slow
def test_without_redis_it_does_not_start(own_server: Any) -> None:
    own_server.stop()
    done = spawned("proxy", "--port", "0", "--url", own_server.url)
    assert done.returncode == 3 and done.stderr.startswith("wanpool: ") and "Traceback" not in done.stderr


def test_redis_may_go_and_come_back(started: Any, web: Web, loop: Loop) -> None:
    durable = ("--appendonly", "yes")
    redis = started(*durable)
    with proxied(redis, "25880-25899", "25900-25919", loop, rules={"on_failover": "continue"}, wait=0) as proxy:
        proxies = {"http": proxy.url_of(0)}
        assert requests.get(web.url, proxies=proxies, timeout=20).status_code == 200
        wait_for(lambda: proxy.leased() == 0)
        redis.stop()
        answer = requests.get(web.url, proxies=proxies, timeout=20)
        assert answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0 and "Redis" in answer.text
        redis.start(*durable)
        wait_for(lambda: requests.get(web.url, proxies=proxies, timeout=20).status_code == 200)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--bind", "0.0.0.0"], "beyond loopback the proxy needs a password"),
        (["--bind", "0.0.0.0", "--allow", "192.0.2.0/24"], "beyond loopback the proxy needs a password"),
        (["--bind", "localhost"], "must be an IP address"),
        (["--allow", "nowhere"], "write a network like"),
        (["--allow-target", "10.0.0.1/8"], "write a network like"),
        (["--password-file", "absent"], "password file absent: No such file"),
        (["--port", "70000"], "port 70000"),
        (["--wait", "long"], "--wait 'long'"),
        (["--max-clients", "0"], "max_clients 0"),
    ],
)
def test_rules_that_cannot_be_are_refused(words: list[str], told: str, site: Any) -> None:
    assert told in says("proxy", *words, code=2)


def test_a_password_file_is_for_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("# of the spring\n secret \n\nother\n")
    file.chmod(0o640)
    with pytest.raises(InvalidValue, match="chmod 600"):
        read_passwords(str(file))
    file.chmod(0o600)
    assert read_passwords(str(file)) == ["secret", "other"]
    for text in (b"", b"# nothing\n", b"\xff\xfe"):
        file.write_bytes(text)
        with pytest.raises(InvalidValue):
            read_passwords(str(file))


def test_beyond_loopback_only_public_addresses_are_reached() -> None:
    rules = Access.of("0.0.0.0", ["192.168.1.0/24"], ["10.1.0.0/16"], ["secret"])
    assert rules.admits("192.168.1.7") and rules.admits("127.0.0.1") and not rules.admits("192.168.2.7")
    assert rules.knows("secret") and not rules.knows("") and not rules.knows("secre")
    for address in ("8.8.8.8", "10.1.2.3"):
        assert rules.may_reach(address, 80, [])
    for address in ("127.0.0.1", "10.2.0.1", "169.254.169.254", "0.0.0.0", "192.168.1.1", "224.0.0.1", "100.64.0.1"):
        assert not rules.may_reach(address, 80, [])
    assert Access.of("127.0.0.1").may_reach("10.2.0.1", 80, [])


def test_a_proxy_for_others_asks_for_the_password(site: Any, web: Web, loop: Loop) -> None:
    """It is a client of loopback, but the rules are those of 0.0.0.0; a name that leads to loopback is found out."""
    rules: dict[str, Any] = {"bind": "0.0.0.0", "allow": ["192.0.2.0/24"], "passwords": ["secret"]}
    with proxied(site, "25880-25899", "25900-25919", loop, **rules) as proxy:
        for wan in (None, 0):
            for password, status in (("wrong", 407), ("secret", 403)):
                where = (proxy.url() if wan is None else proxy.url_of(wan)).replace("//", f"//wan0:{password}@")
                for host in ("127.0.0.1", "localhost"):
                    url = f"http://{host}:{web.server_port}"
                    assert requests.get(url, proxies={"http": where}, timeout=10).status_code == status
        with proxy.connect(0) as client:
            client.sendall(b"\x05\x02\x00\x02\x01\x04wan0\x06secret\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50")
            assert client.rest().startswith(b"\x05\x02\x01\x00\x05\x02")
        with proxy.connect(0) as client:
            client.sendall(b"\x05\x01\x00")
            assert client.rest() == b"\x05\xff"
    rules["allow_target"] = ["127.0.0.0/8"]
    with proxied(site, "25880-25899", "25900-25919", loop, **rules) as proxy:
        where = f"http://second:secret@127.0.0.1:{proxy.proxy.port}"
        assert requests.get(web.url, proxies={"http": where}, timeout=10).json()["port"] in range(25900, 25920)


def test_a_program_may_run_the_proxy_in_its_own_loop(site: Any, web: Web) -> None:
    async def main() -> Any:
        async with AsyncWanPortPool() as pool, serve(pool, port=0, wan=[1]) as proxy:
            where = {"http": f"http://127.0.0.1:{proxy.port}"}
            return (await asyncio.to_thread(requests.get, web.url, proxies=where, timeout=10)).json()

    assert asyncio.run(main())["port"] in range(25900, 25920)


class TestRun:
    def test_a_command_leaves_by_the_wan(self, site: Any, web: Web) -> None:
        done = spawned("run", "--proxy", "--wan", "1", "--", sys.executable, "-c", GET, web.url)
        assert json.loads(done.stdout)["port"] in range(25900, 25920) and done.stderr == "", done
        assert done.returncode == 7, "the command's own"
        assert not list(site.admin.scan_iter("wanpool:*:lease:*"))

    @pytest.mark.slow
    def test_it_gets_the_proxy_in_every_spelling(self, site: Any) -> None:
        show = "import json, os, sys; print(json.dumps([dict(os.environ), sys.argv[1]]))"
        done = spawned("run", "--proxy", "--", sys.executable, "-c", show, "at {proxy}", NO_PROXY="*", no_proxy="x")
        environment, argument = json.loads(done.stdout)
        names = ["http_proxy", "https_proxy", "all_proxy"]
        (url,) = {environment[name] for name in [*names, *map(str.upper, names), "WANPOOL_PROXY"]}
        assert argument == f"at {url}" and not {"no_proxy", "NO_PROXY", "WANPOOL_PORT"} & set(environment)
        assert done.stderr.startswith("wanpool: no_proxy is not for the command")
        done = spawned("run", "--proxy", "--no-proxy", "intern", "--", sys.executable, "-c", show, "", NO_PROXY="*")
        environment, _ = json.loads(done.stdout)
        assert environment["no_proxy"] == environment["NO_PROXY"] == "intern" and done.stderr == ""

    def test_what_is_wrong_is_said_before_the_command_runs(self, site: Any) -> None:
        words = ("run", "--proxy", "--wan", "0", "--")
        assert wanpool(*words, "no-such-command").returncode == 127
        assert "WAN 7" in says("run", "--proxy", "--wan", "7", "--", "true", code=1)

    @pytest.mark.slow
    def test_the_proxy_ends_with_the_run(self, site: Any) -> None:
        show = "import os, sys; print(os.environ['http_proxy'], flush=True); sys.stdin.read()"
        process = python(*WANPOOL[1:], "run", "--proxy", "--wan", "0", "--", sys.executable, "-c", show)
        port = int(process.stdout.readline().rpartition(":")[2])
        Raw(port).close()
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=20)
        with closing(socket.socket()) as late:
            assert late.connect_ex(("127.0.0.1", port)) != 0

    @pytest.mark.parametrize("words", [["--count", "2"], ["--ttl", "5s"]])
    def test_what_is_for_one_port_does_not_apply(self, words: list[str], site: Any) -> None:
        assert "--proxy leases a port for each connection" in says("run", "--proxy", *words, "--", "true", code=2)
        assert "--no-proxy goes with --proxy" in says("run", "--no-proxy", "x", "--", "true", code=2)


def test_without_h11_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("redis_wanpool.proxy")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "h11", None)
    told = says("proxy", code=1)
    assert 'pip install "redis-wanpool[proxy]"' in told
