"""What the proxy makes of HTTP, byte by byte: right codes, whole messages, nothing that somebody smuggles."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from chance import LONG, SEED
from faces import Loop
from listening import listening
from proxied import Running, proxied
from waiting import wait_for
from web import Web

HOST = "Host: example.com\r\n"


@pytest.fixture
def proxying(server: Any, loop: Loop) -> Iterator[Running]:
    with proxied(server, "25660-25679", "25680-25699", loop) as proxying:
        yield proxying


class Origin:
    """A server that says what a test tells it to, to each request, and keeps what it hears."""

    def __init__(self, *answers: bytes, closes: bool = False) -> None:
        self.answers = list(answers)
        self.heard: list[bytes] = []
        self.closes = closes

    def __call__(self, visitor: socket.socket) -> None:
        said = b""
        while more := visitor.recv(65_536):
            said += more
            while b"\r\n\r\n" in said and self.answers:
                head, _, said = said.partition(b"\r\n\r\n")
                length = [
                    int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-l")
                ]
                chunked = b"chunked" in head.lower()
                while len(said) < sum(length) or (chunked and not said.endswith(b"0\r\n\r\n")):
                    said += visitor.recv(65_536)
                self.heard.append(head + b"\r\n\r\n" + said)
                said = b""
                visitor.sendall(self.answers.pop(0))
                if self.closes:
                    return


def request(address: tuple[str, int], head: str = "", method: str = "GET", version: str = "1.1") -> str:
    host, port = address
    return f"{method} http://{host}:{port}/path?q=1 HTTP/{version}\r\nHost: {host}:{port}\r\n{head}\r\n"


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_hop_by_hop_headers_stay_here(proxying: Running) -> None:
    origin = Origin(
        b"HTTP/1.1 200 OK\r\nConnection: X-Theirs\r\nX-Theirs: 1\r\nKeep-Alive: x\r\nX-End: 2\r\n" + OK[17:]
    )
    with listening(origin) as address, proxying.connect() as client:
        head = (
            "Proxy-Connection: keep-alive\r\nConnection: X-Ours, keep-alive, host\r\nX-Ours: 1\r\nTE: trailers\r\n"
            "Trailer: x\r\nUpgrade: websocket\r\nProxy-Authorization: Basic d2FuMDp4\r\nX-End: 1\r\n"
        )
        answer = client.ask(request(address, head))
        client.count(2)
    assert origin.heard == [f"GET /path?q=1 HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nX-End: 1\r\n\r\n".encode()]
    assert b"X-End: 2" in answer and b"Theirs" not in answer and b"Keep-Alive" not in answer


WRONG = [
    ("GET / HTTP/1.1\r\n" + HOST + "\r\n", 400),
    ("GET http:// HTTP/1.1\r\n" + HOST + "\r\n", 400),
    ("GET http://a b/ HTTP/1.1\r\n" + HOST + "\r\n", 400),
    ("GET http://user:secret@127.0.0.1/ HTTP/1.1\r\n" + HOST + "\r\n", 400),
    ("GET http://127.0.0.1:0/ HTTP/1.1\r\n" + HOST + "\r\n", 400),
    ("GET http://127.0.0.1:65536/ HTTP/1.1\r\n" + HOST + "\r\n", 400),
    ("GET http://127.0.0.1:99999999999999999999/ HTTP/1.1\r\n" + HOST + "\r\n", 400),
    ("GET http://%31/ HTTP/1.1\r\n" + HOST + "\r\n", 400),
    ("GET http://a..b/ HTTP/1.1\r\n" + HOST + "\r\n", 400),
    ("GET http://127.0.0.1/#part HTTP/1.1\r\n" + HOST + "\r\n", 400),
    ("GET https://127.0.0.1/ HTTP/1.1\r\n" + HOST + "\r\n", 400),
    ("GET ftp://127.0.0.1/ HTTP/1.1\r\n" + HOST + "\r\n", 400),
    ("GET http://[::1]/ HTTP/1.1\r\n" + HOST + "\r\n", 501),
    ("CONNECT [::1]:443 HTTP/1.1\r\n" + HOST + "\r\n", 501),
    ("CONNECT 127.0.0.1 HTTP/1.1\r\n" + HOST + "\r\n", 400),
    ("CONNECT 127.0.0.1:http HTTP/1.1\r\n" + HOST + "\r\n", 400),
    ("CONNECT http://127.0.0.1:1/ HTTP/1.1\r\n" + HOST + "\r\n", 400),
    ("CONNECT 127.0.0.1:1 HTTP/1.1\r\n" + HOST + "Content-Length: 3\r\n\r\nabc", 400),
    ("GET http://127.0.0.1/ HTTP/1.1\r\n\r\n", 400),
    ("GET http://127.0.0.1/ HTTP/1.1\r\n" + HOST + HOST + "\r\n", 400),
    ("GET http://127.0.0.1/ HTTP/1.1\r\n" + HOST + "X : 1\r\n\r\n", 400),
    ("GET http://127.0.0.1/ HTTP/1.1\r\n" + HOST + "X: a\rb\r\n\r\n", 400),
    ("GET http://127.0.0.1/ HTTP/3.7\r\n" + HOST + "\r\n", 505),
    ("POST http://127.0.0.1/ HTTP/1.1\r\n" + HOST + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    ("POST http://127.0.0.1/ HTTP/1.1\r\n" + HOST + "Content-Length: -1\r\n\r\n", 400),
    ("POST http://127.0.0.1/ HTTP/1.1\r\n" + HOST + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ("POST http://127.0.0.1/ HTTP/1.1\r\n" + HOST + "Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
    ("POST http://127.0.0.1/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("GET http://127.0.0.1/ HTTP/1.1\r\n" + HOST + "X: " + "x" * 70_000 + "\r\n\r\n", 431),
    ("GET http://127.0.0.1/" + "x" * 70_000 + " HTTP/1.1\r\n" + HOST + "\r\n", 431),
    ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    ("nonsense\r\n\r\n", 400),
    ("GET http://no.such.name.invalid/ HTTP/1.1\r\n" + HOST + "\r\n", 502),
    ("CONNECT no.such.name.invalid:443 HTTP/1.1\r\n" + HOST + "\r\n", 502),
    ("CONNECT 127.0.0.1:1 HTTP/1.1\r\n" + HOST + "\r\n", 502),
]


def test_what_cannot_be_done_has_its_code(proxying: Running) -> None:
    for said, status in WRONG:
        with proxying.connect() as client:
            client.sendall(said.encode("latin-1"))
            answer = client.rest()
        assert answer.startswith(f"HTTP/1.1 {status} ".encode()), (said[:200], answer)
        assert b"wanpool: " in answer and answer.endswith(b"\n") and b"Connection: close" in answer
        assert b"secret" not in answer


def test_ports_of_the_proxy_are_no_target(proxying: Running) -> None:
    for host in ("127.0.0.1", "localhost", "0.0.0.0", "127.1"):
        with proxying.connect() as client:
            client.sendall(f"CONNECT {host}:{proxying.proxy.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert client.rest().startswith(b"HTTP/1.1 403 ")


def test_a_password_is_asked_for_again_on_the_same_connection(proxying: Running) -> None:
    with listening(Origin(OK)) as address, proxying.connect(None) as client:
        head = client.ask(request(address))
        assert head.startswith(b"HTTP/1.1 407 ") and b"Proxy-Authenticate: Basic realm=" in head
        client.until(b"\n")
        assert client.ask(request(address, "Proxy-Authorization: Basic d2FuMTp4\r\n")).startswith(b"HTTP/1.1 200 ")
        assert client.count(2) == b"ok"


def test_credentials_that_cannot_be_read_are_none(proxying: Running) -> None:
    for value in (
        "Basic",
        "Basic %%%",
        "Basic d2FuMQ==",
        "Bearer d2FuMTp4",
        "Basic /////w==",
        "Digest x",
        "Basic Ong=",
    ):
        with proxying.connect(None) as client:
            head = client.ask(f"GET http://127.0.0.1:1/ HTTP/1.1\r\n{HOST}Proxy-Authorization: {value}\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 407 "), value


def test_a_user_name_and_a_port_that_contradict_each_other_are_refused(proxying: Running) -> None:
    with proxying.connect(0) as client:
        assert client.ask(
            f"GET http://127.0.0.1:1/ HTTP/1.1\r\n{HOST}Proxy-Authorization: Basic d2FuMTp4\r\n\r\n"
        ).startswith(b"HTTP/1.1 407 ")


def test_bodies_pass_both_ways_as_they_are(proxying: Running) -> None:
    body = random.Random(SEED).randbytes(300_000)
    chunk = b"%x\r\n%b\r\n" % (len(body), body)
    origin = Origin(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk + b"0\r\nX-Trailer: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body),
    )
    with listening(origin) as address, proxying.connect() as client:
        client.sendall(request(address, f"Content-Length: {len(body)}\r\n", "POST").encode() + body)
        head = client.until(b"\r\n\r\n")
        assert b"chunked" in head and b"ontent-Length" not in head
        got = b""
        while size := int(client.until(b"\r\n"), 16):
            got += client.count(size)
            client.count(2)
        client.count(2)
        assert got == body
        client.sendall(
            request(address, "Transfer-Encoding: chunked\r\n", "POST").encode() + chunk + b"0\r\nX: y\r\n\r\n"
        )
        assert b"Content-Length: 300000" in client.until(b"\r\n\r\n")
        assert client.count(len(body)) == body
    assert origin.heard[0].endswith(b"\r\n\r\n" + body)
    assert b"chunked" in origin.heard[1] and body[:1000] in origin.heard[1] and origin.heard[1].endswith(b"0\r\n\r\n")


def test_answers_without_a_body_have_none(proxying: Running) -> None:
    origin = Origin(
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
        OK,
    )
    with listening(origin) as address, proxying.connect() as client:
        assert b"Content-Length: 99" in client.ask(request(address, method="HEAD"))
        assert b" 204 " in client.ask(request(address))
        assert b" 304 " in client.ask(request(address))
        assert b" 200 " in client.ask(request(address)) and client.count(2) == b"ok"


def test_an_answer_that_ends_with_its_connection(proxying: Running) -> None:
    """It is told in chunks to HTTP/1.1, and by the end to HTTP/1.0."""
    until_close = b"HTTP/1.1 200 OK\r\n\r\nall of it"
    with listening(Origin(until_close, closes=True)) as address, proxying.connect() as client:
        assert b"Transfer-Encoding: chunked" in client.ask(request(address))
        assert client.until(b"0\r\n\r\n") == b"9\r\nall of it\r\n0\r\n\r\n"
    with listening(Origin(until_close, closes=True)) as address, proxying.connect() as client:
        head = client.ask(request(address, version="1.0"))
        assert b"chunked" not in head and b"onnection: close" in head and client.rest() == b"all of it"


def test_the_client_waits_for_the_servers_word_before_its_body(proxying: Running) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def talk(visitor: socket.socket) -> None:
        head = visitor.recv(65_536)
        assert b"Expect: 100-continue" in head
        asked.set()
        assert go_on.wait(20)
        visitor.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert visitor.recv(4) == b"body"
        visitor.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK)
        visitor.recv(1)

    with listening(talk) as address, proxying.connect() as client:
        client.sendall(request(address, "Expect: 100-continue\r\nContent-Length: 4\r\n", "PUT").encode())
        assert asked.wait(20)
        go_on.set()
        assert client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        client.sendall(b"body")
        assert client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 103 ")
        assert client.until(b"ok").startswith(b"HTTP/1.1 200 ")


def test_a_server_that_answers_before_the_body_is_heard(proxying: Running) -> None:
    def talk(visitor: socket.socket) -> None:
        visitor.recv(100)
        visitor.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        visitor.shutdown(socket.SHUT_WR)
        while visitor.recv(65_536):
            pass

    with listening(talk) as address, proxying.connect() as client:
        client.sendall(request(address, "Content-Length: 1000000\r\n", "PUT").encode() + b"x" * 1000)
        assert client.rest().startswith(b"HTTP/1.1 413 ")


def test_pipelined_requests_are_answered_in_order(proxying: Running) -> None:
    answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number for number in range(5)]
    with listening(Origin(*answers)) as address, proxying.connect() as client:
        client.sendall(request(address).encode() * 5)
        for number in range(5):
            client.until(b"\r\n\r\n")
            assert client.count(1) == b"%d" % number


def test_an_answer_that_is_none(proxying: Running) -> None:
    for answer in (
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ):
        with listening(Origin(answer, closes=True)) as address, proxying.connect() as client:
            client.sendall(request(address).encode())
            assert client.rest().startswith(b"HTTP/1.1 502 "), answer


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
    ],
)
def test_half_an_answer_does_not_look_whole(answer: bytes, proxying: Running) -> None:
    with listening(Origin(answer, closes=True)) as address, proxying.connect() as client:
        client.sendall(request(address).encode())
        client.until(b"half")
        with pytest.raises(ConnectionResetError):
            while client.recv(100):
                pass


def test_a_server_that_closes_a_kept_connection_is_asked_again(proxying: Running) -> None:
    origin = Origin(OK, OK, closes=True)
    with listening(origin) as address, proxying.connect() as client:
        for _ in range(2):
            assert b" 200 " in client.ask(request(address)) and client.count(2) == b"ok"
            wait_for(lambda: proxying.leased() == 0)
    assert len(origin.heard) == 2


def test_another_host_has_another_connection(proxying: Running, web: Web) -> None:
    with listening(Origin(OK)) as address, proxying.connect() as client:
        assert b" 200 " in client.ask(request(address)) and client.count(2) == b"ok"
        assert b" 200 " in client.ask(request(("127.0.0.1", web.server_port)))
        client.until(b"}")
        wait_for(lambda: proxying.leased() == 1)


def test_a_silent_server_is_a_504_and_gives_its_port_back(server: Any) -> None:
    with proxied(server, "25660-25679", "25680-25699", idle_timeout=0.2) as proxying:
        silent = listening(lambda visitor: visitor.recv(1) and visitor.recv(1_000) and visitor.recv(1))
        with silent as address, proxying.connect() as client:
            client.sendall(request(address).encode())
            assert client.rest().startswith(b"HTTP/1.1 504 ")
        with proxying.connect() as client:
            client.sendall(b"GET http://127.0.0.1/ HT")
            assert client.rest().startswith(b"HTTP/1.1 408 ")
        with proxying.connect() as client:
            assert client.rest() == b""


@pytest.mark.longer
def test_whatever_is_said_has_a_code_or_an_end(proxying: Running) -> None:
    """Requests with random faults: cut, repeated, with bytes that do not belong there."""
    chance = random.Random(SEED)
    with listening(Origin(*[OK] * 1000, closes=True)) as address:
        seeds = [
            request(address).encode(),
            request(address, "Transfer-Encoding: chunked\r\n", "POST").encode() + b"3\r\nabc\r\n0\r\n\r\n",
            request(address, "Content-Length: 3\r\n", "POST").encode() + b"abc",
            f"CONNECT {address[0]}:{address[1]} HTTP/1.1\r\n{HOST}\r\n".encode() + request(address).encode(),
        ]
        for _ in range(int(300 * LONG)):
            said = bytearray(chance.choice(seeds))
            for _ in range(chance.randint(1, 4)):
                at = chance.randrange(len(said))
                match chance.randrange(3):
                    case 0:
                        said[at] = chance.randrange(256)
                    case 1:
                        del said[at : at + chance.randint(1, 9)]
                    case 2:
                        said[at:at] = chance.choice(
                            [b"\r\n", b"\0", b" ", b":", b"\x05\x01\x00", b"9" * 30, said[: at + 1]]
                        )
                said = said or bytearray(b"\n")
            with proxying.connect(chance.choice([0, 1, None])) as client:
                client.sendall(said)
                client.shutdown(socket.SHUT_WR)
                answer = client.rest()
            assert not answer or answer[:1] == b"\x05" or answer.startswith(b"HTTP/1.1 "), (bytes(said), answer)


def test_too_many_clients_are_told_so(server: Any) -> None:
    with proxied(server, "25660-25679", "25680-25699", max_clients=2) as proxying:
        with proxying.connect(), proxying.connect():
            wait_for(lambda: proxying.proxy.clients == 2)
            with proxying.connect() as client:
                assert client.rest().startswith(b"HTTP/1.1 503 ")
        wait_for(lambda: proxying.proxy.clients == 0)


def test_an_exhausted_wan_says_when_to_come_again(server: Any, web: Web) -> None:
    with proxied(server, "25660", "25680-25699", wait=0) as proxying, proxying.connect() as first:
        first.tunnel(("127.0.0.1", web.server_port))
        with proxying.connect() as client:
            client.sendall(f"CONNECT 127.0.0.1:{web.server_port} HTTP/1.1\r\n{HOST}\r\n".encode())
            answer = client.rest()
            assert answer.startswith(b"HTTP/1.1 503 ") and b"Retry-After: " in answer and b"WAN 0" in answer

        async def drain() -> None:
            await proxying.pool.drain(1)

        proxying.loop.run(drain())
        with proxying.connect(1) as client:
            client.sendall(f"CONNECT 127.0.0.1:{web.server_port} HTTP/1.1\r\n{HOST}\r\n".encode())
            assert b"drain" in client.rest()


def test_the_label_is_the_clients_address(proxying: Running, web: Web) -> None:
    with proxying.connect() as client:
        client.tunnel(("127.0.0.1", web.server_port))
        assert proxying.labels() == {"{}:{}".format(*client.getsockname())}
