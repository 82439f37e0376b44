"""Clients that know only of a proxy leave by the WAN that they name."""

from __future__ import annotations

import asyncio
import http.client
import json
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
import httpx
import pycurl
import pytest
import requests
from command_line import wanpool
from faces import Loop
from proxied import Running, proxied
from waiting import wait_for
from web import Web

from redis_wanpool import WanPortPool
from redis_wanpool.model.rendezvous import choose

FIRST, SECOND = range(25620, 25640), range(25640, 25660)
Get = Callable[[str, str], Any]
"""of a URL and of the proxy's; the JSON that the server sends"""


@pytest.fixture
def proxying(server: Any, loop: Loop) -> Iterator[Running]:
    with proxied(server, "25620-25639", "25640-25659", loop) as proxying:
        yield proxying


def by_requests(url: str, proxy: str) -> Any:
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(url, proxies={"http": proxy, "https": proxy}, timeout=10)
        answer.raise_for_status()
        return answer.json()


def by_httpx(url: str, proxy: str) -> Any:
    with httpx.Client(proxy=proxy, timeout=10, verify=False) as client:
        return client.get(url).raise_for_status().json()


def by_aiohttp(url: str, proxy: str) -> Any:
    async def get() -> Any:
        async with aiohttp.ClientSession() as session, session.get(url, proxy=proxy) as response:
            return await response.json(content_type=None)

    return asyncio.run(get())


def by_urllib(url: str, proxy: str) -> Any:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": proxy}))
    with opener.open(url, timeout=10) as answer:
        return json.load(answer)


def by_curl(url: str, proxy: str, *, tunnel: bool = False) -> Any:
    said: list[bytes] = []
    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, url)
    curl.setopt(pycurl.PROXY, proxy)
    curl.setopt(pycurl.TIMEOUT, 10)
    curl.setopt(pycurl.HTTPPROXYTUNNEL, tunnel)
    curl.setopt(pycurl.WRITEFUNCTION, said.append)
    try:
        curl.perform()
    finally:
        curl.close()
    return json.loads(b"".join(said))


def by_curl_connect(url: str, proxy: str) -> Any:
    return by_curl(url, proxy, tunnel=True)


def by_curl_socks(url: str, proxy: str) -> Any:
    return by_curl(url, proxy.replace("http:", "socks5h:"))


CLIENTS: list[Get] = [by_requests, by_httpx, by_aiohttp, by_urllib, by_curl, by_curl_connect, by_curl_socks]


@pytest.mark.parametrize("get", CLIENTS)
def test_a_client_leaves_by_the_wan_that_it_names(get: Get, proxying: Running, web: Web) -> None:
    assert get(web.url, proxying.url("wan0"))["port"] in FIRST
    assert get(web.url, proxying.url("wan1"))["port"] in SECOND
    assert get(web.url, proxying.url("second"))["port"] in SECOND
    assert get(web.url, proxying.url("any"))["port"] in [*FIRST, *SECOND]
    for key in ("account-1", "account-2", "account-7"):
        its = SECOND if choose(key, {0: 1, 1: 1}) else FIRST
        assert get(web.url, proxying.url(f"any-{key}"))["port"] in its
    assert get(web.url, proxying.url_of(1))["port"] in SECOND


@pytest.mark.parametrize("get", CLIENTS)
def test_nobody_leaves_by_chance(get: Get, proxying: Running, web: Web) -> None:
    for user in ("", "wan", "wan01", "anyone", "third", "WAN0"):
        try:
            get(web.url, proxying.url(user))
        except json.JSONDecodeError as error:  # pycurl gives the body of a 407, too
            assert "wanpool: the user name chooses the WAN" in error.doc
        except (OSError, httpx.HTTPError, aiohttp.ClientError, pycurl.error):
            pass
        else:
            pytest.fail(f"{user!r} got through")
    assert web.connections == 0


def test_some_clients_want_a_password_in_the_url(proxying: Running, web: Web) -> None:
    """Without one requests and urllib send no user name, and urllib wants more than an empty one."""
    bare, empty = proxying.url("wan1").replace(":x@", "@"), proxying.url("wan1").replace(":x@", ":@")
    for get in (by_requests, by_urllib):
        with pytest.raises(OSError, match="407"):
            get(web.url, bare)
    with pytest.raises(OSError, match="407"):
        by_urllib(web.url, empty)
    assert by_requests(web.url, empty)["port"] in SECOND
    for get in (by_httpx, by_aiohttp, by_curl, by_curl_socks):
        assert get(web.url, bare)["port"] in SECOND


def test_https_goes_through_connect(proxying: Running, serving: Any, authority: Any, tmp_path: Any) -> None:
    web = Web(tls=serving)
    try:
        authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
        proxies = {"https": proxying.url("wan1")}
        with requests.Session() as session:
            session.trust_env = False
            session.verify = str(tmp_path / "authority.pem")
            assert session.get(web.url, proxies=proxies, timeout=10).json()["port"] in SECOND
    finally:
        web.close()


def test_a_session_keeps_its_connection_and_its_port(proxying: Running, web: Web) -> None:
    with requests.Session() as session:
        session.trust_env = False
        session.proxies = {"http": proxying.url_of(0)}
        seen = [session.get(web.url, timeout=10).json() for _ in range(3)]
        assert seen[0] == seen[1] == seen[2]
        assert proxying.leased() == 1
        assert session.get(web.url + "/bye", timeout=10).json() == seen[0]
        assert session.get(web.url, timeout=10).json()["connection"] == 2


def test_two_clients_at_once_never_cross(proxying: Running, web: Web) -> None:
    def visit(number: int) -> bool:
        wan = number % 2
        return bool(by_requests(web.url, proxying.url(f"wan{wan}"))["port"] in (FIRST, SECOND)[wan])

    with ThreadPoolExecutor(8) as executor:
        assert all(executor.map(visit, range(60)))


def test_http_client_of_the_standard_library_tunnels(proxying: Running, web: Web) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", proxying.proxy.wan_ports[1], timeout=10)
    connection.set_tunnel("127.0.0.1", web.server_port)
    connection.request("GET", "/")
    assert json.load(connection.getresponse())["port"] in SECOND
    connection.close()


def test_a_wan_that_is_defined_later_has_its_port_and_its_name(
    server: Any, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redis_wanpool.proxy.server.LOOK", 0.05)
    with proxied(server, "25620-25639", "25640-25659") as proxying, WanPortPool(server.url, namespace="test") as pool:
        with pytest.raises(requests.HTTPError, match="503"):
            by_requests(web.url, proxying.url("wan2"))
        pool.define_wan(2, "25920-25929", cooldown=0, name="third")
        assert by_requests(web.url, proxying.url("wan2"))["port"] in range(25920, 25930)
        wait_for(lambda: 2 in proxying.proxy.wan_ports)
        for proxy in (proxying.url("third"), proxying.url_of(2)):
            assert by_requests(web.url, proxy)["port"] in range(25920, 25930)
        wait_for(lambda: proxying.leased() == 0)
        assert wanpool("remove", "2", "--url", server.url, "--namespace", "test", "--force").returncode == 0
        with pytest.raises(requests.HTTPError, match="503"):
            by_requests(web.url, proxying.url_of(2))
        wait_for(lambda: 2 not in proxying.proxy.lines.names)
        with pytest.raises(requests.HTTPError, match="407"):
            by_requests(web.url, proxying.url("third"))
