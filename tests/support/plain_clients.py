"""Clients that take a bare port number and know nothing of leases; each gets a URL once, and says what came."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import Callable
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pycurl
import requests
import urllib3

Client = Callable[[str, int, bool], Any]
"""of a URL, a port, and whether the server closes first; the JSON that it sends"""
TIMEOUT = 10


def _request(url: str) -> tuple[tuple[str, int], bytes]:
    parts = urlsplit(url)
    return (parts.hostname or "", parts.port or 80), f"GET {parts.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def by_socket(url: str, port: int, server_first: bool) -> Any:
    address, request = _request(url)
    with socket.create_connection(address, TIMEOUT, source_address=("", port)) as sock:
        sock.sendall(request)
        answer = b""
        while not answer.endswith(b"}"):
            answer += sock.recv(4096)
        while server_first and sock.recv(4096):
            pass
    return json.loads(answer.partition(b"\r\n\r\n")[2])


class SourceAdapter(requests.adapters.HTTPAdapter):
    def __init__(self, port: int) -> None:
        self.port = port
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, source_address=("", self.port), **kwargs)


def by_requests(url: str, port: int, server_first: bool) -> Any:
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", SourceAdapter(port))
        return session.get(url, timeout=TIMEOUT).json()


def by_urllib3(url: str, port: int, server_first: bool) -> Any:
    with urllib3.PoolManager(source_address=("", port), retries=False, timeout=TIMEOUT) as manager:
        return manager.request("GET", url).json()


def by_http_client(url: str, port: int, server_first: bool) -> Any:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT, source_address=("", port))
    connection.request("GET", parts.path)
    answer = json.load(connection.getresponse())
    connection.close()
    return answer


def by_aiohttp(url: str, port: int, server_first: bool) -> Any:
    async def get() -> Any:
        connector = aiohttp.TCPConnector(local_addr=("0.0.0.0", port), force_close=server_first)
        async with aiohttp.ClientSession(connector=connector) as session, session.get(url) as response:
            return await response.json(content_type=None)

    return asyncio.run(get())


def by_asyncio(url: str, port: int, server_first: bool) -> Any:
    async def get() -> Any:
        address, request = _request(url)
        reader, writer = await asyncio.open_connection(*address, local_addr=("0.0.0.0", port))
        writer.write(request)
        answer = await reader.readuntil(b"}")
        if server_first:
            await reader.read()
        writer.close()
        await writer.wait_closed()
        return json.loads(answer.partition(b"\r\n\r\n")[2])

    return asyncio.run(get())


def by_pycurl(url: str, port: int, server_first: bool) -> Any:
    curl, body = pycurl.Curl(), BytesIO()
    curl.setopt(pycurl.URL, url)
    curl.setopt(pycurl.LOCALPORT, port)
    curl.setopt(pycurl.WRITEDATA, body)
    curl.setopt(pycurl.PROXY, "")
    curl.setopt(pycurl.TIMEOUT, TIMEOUT)
    curl.perform()
    curl.close()
    return json.loads(body.getvalue())


CLIENTS = {
    f"plain {client.__name__.removeprefix('by_')}": client
    for client in (by_socket, by_requests, by_urllib3, by_http_client, by_aiohttp, by_asyncio, by_pycurl)
}
