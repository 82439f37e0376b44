"""What a session takes from its surroundings: certificates, passwords, threads, forks; and what it refuses."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import pickle
import ssl
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from contextvars import copy_context
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
import requests
import trustme
from cryptography.x509 import load_pem_x509_certificate
from waiting import wait_for
from web import Web

from redis_wanpool import AsyncWanPortPool, InvalidValue, WanPortPool
from redis_wanpool.http import line, over_wan
from redis_wanpool.http.aiohttp import WanConnector
from redis_wanpool.http.httpx import AsyncWanTransport, WanTransport
from redis_wanpool.http.requests import WanAdapter, WanSession


@pytest.fixture
def pool(server: Any) -> Iterator[WanPortPool]:
    with WanPortPool(server.url, namespace="test", rest=0) as pool:
        pool.define_wan(0, "25550-25559", cooldown=0)
        pool.define_wan(1, "25560-25569", cooldown=0)
        yield pool


class Asks(BaseHTTPRequestHandler):
    """Says who comes, by name and password; sends /away to another host."""

    server: HTTPServer

    def do_GET(self) -> None:
        named = b64decode(self.headers.get("Authorization", "Basic ").removeprefix("Basic "))
        away = self.path == "/away"
        self.send_response(302 if away else 200)
        if away:
            self.send_header("Location", f"http://localhost:{self.server.server_port}/")
        self.send_header("Content-Length", str(len(named)))
        self.end_headers()
        self.wfile.write(named)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def asks() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Asks) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def bundle(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def tls(serving: ssl.SSLContext) -> Iterator[str]:
    with closing(Web(tls=serving)) as web:
        yield web.url


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_requests_believes_whom_the_environment_names(
    pool: WanPortPool, tls: str, bundle: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with WanSession(pool, 0) as session:
        with pytest.raises(requests.exceptions.SSLError):
            session.get(tls, timeout=5)
        for other in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            monkeypatch.delenv(other, raising=False)
        monkeypatch.setenv(name, bundle)
        assert session.get(tls, timeout=5).json()["port"] in range(25550, 25560)


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
async def test_httpx_believes_whom_the_environment_names(
    pool: WanPortPool,
    async_pool: AsyncWanPortPool,
    tls: str,
    bundle: str,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "authorities"
    folder.mkdir()
    (folder / f"{hash_of(bundle)}.0").symlink_to(bundle)
    for other in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, bundle if name == "SSL_CERT_FILE" else str(folder))
    with httpx.Client(transport=WanTransport(pool, 0)) as client:
        assert client.get(tls).status_code == 200
    async with httpx.AsyncClient(transport=AsyncWanTransport(async_pool, 0)) as async_client:
        assert (await async_client.get(tls)).status_code == 200
    with httpx.Client(transport=WanTransport(pool, 0, trust_env=False)) as client, pytest.raises(httpx.ConnectError):
        client.get(tls)


def hash_of(certificate: str) -> str:
    """The name by which OpenSSL finds it in a folder: of its subject in small letters (X509_NAME_hash(3))."""

    def der(tag: int, content: bytes) -> bytes:
        return bytes([tag, len(content)]) + content

    names = b""
    for attribute in load_pem_x509_certificate(Path(certificate).read_bytes()).subject:
        oid = der(6, bytes([0x55, 4, int(attribute.oid.dotted_string.removeprefix("2.5.4."))]))
        names += der(0x31, der(0x30, oid + der(0x0C, " ".join(str(attribute.value).lower().split()).encode())))
    return f"{int.from_bytes(hashlib.sha1(names).digest()[:4], 'little'):08x}"


def test_netrc_is_read_and_its_password_goes_to_its_host_only(
    pool: WanPortPool, asks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login anna password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with WanSession(pool, 0) as session, requests.Session() as plain:
        plain.trust_env = True
        for path in ("/", "/away"):
            assert session.get(asks + path, timeout=5).text == plain.get(asks + path, timeout=5).text
        assert session.get(asks, timeout=5).text == "anna:secret"
        assert session.get(asks + "/away", timeout=5).text == ""


def test_the_environments_proxies_are_passed_by_and_others_refused(
    pool: WanPortPool, asks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with WanSession(pool, 0) as session:
        assert session.get(asks + "/away", timeout=5).status_code == 200
        prepared = session.prepare_request(requests.Request("GET", asks))
        assert session.send(prepared, timeout=5).status_code == 200
        with pytest.raises(InvalidValue, match="proxy"):
            session.get(asks, proxies={"http": "http://127.0.0.1:9"}, timeout=5)


async def test_aiohttp_with_a_proxy_is_refused(
    pool: WanPortPool, async_pool: AsyncWanPortPool, asks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with aiohttp.ClientSession(connector=WanConnector(async_pool, 0), trust_env=True) as session:
        with pytest.raises(InvalidValue, match="trust_env"):
            await session.get(asks)
    async with aiohttp.ClientSession(connector=WanConnector(async_pool, 0)) as session, session.get(asks) as response:
        assert response.status == 200


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
@pytest.mark.parametrize("of", ["pool", "lease", "adapter", "session", "transport"])
def test_what_lives_in_one_process_cannot_be_copied(pool: WanPortPool, copied: Callable[[Any], Any], of: str) -> None:
    with pool.acquire(0, reuse_address=True) as lease, WanSession(pool, 0) as session:
        things = {"pool": pool, "lease": lease, "adapter": WanAdapter(pool, 0), "session": session}
        with pytest.raises(TypeError, match="cannot be copied or pickled"):
            copied(things.get(of) or WanTransport(pool, 0))


@pytest.mark.slow
def test_a_session_from_before_a_fork_hears_no_answers_of_others(
    pool: WanPortPool, web: Web, tls: str, bundle: str
) -> None:
    """Neither with TLS, where another object has the descriptor."""

    def seen(url: str) -> tuple[str, int]:
        told = session.get(f"{url}/", verify=bundle, timeout=20).json()
        return url, told["connection"]

    urls = [web.url, tls]
    with WanSession(pool, 0, wait=30) as session:
        before = {seen(url) for url in urls}
        found: list[set[tuple[str, int]]] = []
        children = []
        for _ in range(4):
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                try:
                    made = {seen(url) for url in urls for _ in range(60)}
                    os.write(writing, json.dumps(sorted(made)).encode())
                    pool.close()
                    os._exit(0)
                finally:
                    os._exit(1)
            os.close(writing)
            children.append((child, reading))
        assert {seen(url) for url in urls} == before, "the parent's live on"
        for child, reading in children:
            assert os.waitpid(child, 0)[1] == 0
            with os.fdopen(reading, "rb") as pipe:
                found.append({(url, number) for url, number in json.load(pipe)})
        assert {seen(url) for url in urls} == before
    assert [len(made) for made in found] == [2, 2, 2, 2], "each has one of its own to each server"
    assert len(set.union(before, *found)) == 10
    wait_for(lambda: pool.snapshot(0).leased == 0)


def test_a_thread_that_does_not_inherit_the_choice_is_told_once(
    pool: WanPortPool, web: Web, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "_told", False)

    def get() -> int:
        return int(session.get(web.url, timeout=5).json()["port"])

    with WanSession(pool, 0, wait=5) as session, ThreadPoolExecutor(1) as executor:
        assert executor.submit(get).result() in range(25550, 25560)
        assert not caplog.records, "nobody has chosen"
        with over_wan(1):
            assert get() in range(25560, 25570)
            assert executor.submit(copy_context().run, get).result() in range(25560, 25570)
            assert not caplog.records
            assert executor.submit(get).result() in range(25550, 25560)
            executor.submit(get).result()
    (told,) = caplog.records
    assert "copy_context" in told.getMessage()
