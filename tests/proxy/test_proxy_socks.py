"""SOCKS 5, byte by byte: RFC 1928 and RFC 1929."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from chance import LONG, SEED
from faces import Loop
from listening import listening
from proxied import Raw, Running, proxied
from waiting import wait_for

NONE, BOTH = b"\x05\x01\x00", b"\x05\x02\x00\x02"
USER = b"\x01\x04wan1\x01x"


@pytest.fixture
def proxying(server: Any, loop: Loop) -> Iterator[Running]:
    with proxied(server, "25700-25709", "25710-25719", loop) as running:
        yield running


def connect_to(address: tuple[str, int], *, command: int = 1, kind: int = 1) -> bytes:
    host = socket.inet_aton(address[0]) if kind == 1 else bytes([len(address[0])]) + address[0].encode()
    return bytes([5, command, 0, kind]) + host + address[1].to_bytes(2, "big")


def echo(visitor: socket.socket) -> None:
    while data := visitor.recv(1_000):
        visitor.sendall(data)


def through(client: Raw) -> int:
    """The leased port, of a tunnel that works to its end."""
    answer = client.count(10)
    assert answer[:4] == b"\x05\x00\x00\x01", answer
    client.sendall(b"word")
    assert client.count(4) == b"word"
    client.shutdown(socket.SHUT_WR)
    assert client.rest() == b""
    return int.from_bytes(answer[8:], "big")


@pytest.mark.parametrize("kind", [1, 3])
def test_a_client_gets_its_tunnel_and_is_told_its_port(kind: int, proxying: Running) -> None:
    with listening(echo) as address:
        with proxying.connect(0) as client:
            client.sendall(NONE)
            assert client.count(2) == b"\x05\x00"
            client.sendall(connect_to(address, kind=kind))
            assert through(client) in range(25700, 25710)
        with proxying.connect(None) as client:
            client.sendall(BOTH + USER + connect_to(address, kind=kind))  # without waiting for any answer
            assert client.count(4) == b"\x05\x02\x01\x00"
            assert through(client) in range(25710, 25720)


WRONG = [
    (None, NONE, b"\x05\xff"),
    (None, b"\x05\x00", b"\x05\xff"),
    (None, b"\x05\x02\x00\x01", b"\x05\xff"),
    (0, b"\x05\x01\x01", b"\x05\xff"),
    (None, BOTH + b"\x01\x00\x00", b"\x05\x02\x01\x01"),
    (None, BOTH + b"\x01\x04wan1\x00" + b"\x05\x02\x00\x01" + bytes(6), b"\x05\x02\x01\x00\x05\x07"),
    (None, BOTH + b"\x02\x04wan1\x01x", b"\x05\x02\x01\x01"),
    (None, BOTH + b"\x01\x04\xff\xff\xff\xff\x01x", b"\x05\x02\x01\x01"),
    (None, BOTH + b"\x01\x05third\x01x", b"\x05\x02\x01\x01"),
    (0, b"\x05\x01\x02" + USER, b"\x05\x02\x01\x01"),  # another WAN's name, at the port of WAN 0
    (0, NONE + b"\x04\x01\x00\x01\x7f\x00\x00\x01\x00\x01", b"\x05\x00\x05\x01"),
    (0, NONE + b"\x05\x01\x07\x01\x7f\x00\x00\x01\x00\x01", b"\x05\x00\x05\x01"),
    (0, NONE + b"\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x01", b"\x05\x00\x05\x07"),
    (0, NONE + b"\x05\x03\x00\x01\x7f\x00\x00\x01\x00\x01", b"\x05\x00\x05\x07"),
    (0, NONE + b"\x05\x09\x00\x01\x7f\x00\x00\x01\x00\x01", b"\x05\x00\x05\x07"),
    (0, NONE + b"\x05\x01\x00\x04" + bytes(15) + b"\x01\x00\x50", b"\x05\x00\x05\x08"),
    (0, NONE + b"\x05\x01\x00\x02\x7f\x00\x00\x01\x00\x01", b"\x05\x00\x05\x08"),
    (0, NONE + b"\x05\x01\x00\x03\x00\x00\x50", b"\x05\x00\x05\x01"),
    (0, NONE + b"\x05\x01\x00\x03\x03a\xffb\x00\x50", b"\x05\x00\x05"),
    (0, NONE + b"\x05\x01\x00\x03\x03a..\x00\x50", b"\x05\x00\x05\x01"),
    (0, NONE + connect_to(("127.0.0.1", 0)), b"\x05\x00\x05\x01"),
    (0, NONE + connect_to(("127.0.0.1", 1)), b"\x05\x00\x05\x05"),
    (0, NONE + connect_to(("no.such.name.invalid", 80), kind=3), b"\x05\x00\x05\x04"),
    (None, BOTH + b"\x01\x04wan7\x00" + connect_to(("127.0.0.1", 1)), b"\x05\x02\x01\x00\x05\x01"),
]
"""the WAN of the port, None where the user name chooses; what the client says; what the answer begins with"""


def test_what_cannot_be_done_has_its_code(proxying: Running) -> None:
    for wan, said, answer in WRONG:
        with proxying.connect(wan) as client:
            client.sendall(said)
            assert client.rest().startswith(answer), said


def test_what_is_not_socks_5_ends(proxying: Running) -> None:
    for said in (b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00", b"\x05", b"\x05\x03\x00"):
        with proxying.connect() as client:
            client.sendall(said)
            client.shutdown(socket.SHUT_WR)
            assert not client.rest().startswith(b"\x05\x00")


@pytest.mark.longer
def test_whatever_is_said_is_answered_by_socks_or_ends(proxying: Running) -> None:
    chance = random.Random(SEED)
    with listening(echo) as address:
        for _ in range(int(300 * LONG)):
            said = bytearray(
                chance.choice([NONE, BOTH + USER]) + connect_to(address, kind=chance.choice([1, 3])) + b"x"
            )
            for _ in range(chance.randint(1, 3)):
                said[chance.randrange(1, len(said))] = chance.randrange(256)
            del said[chance.randrange(2, 200) :]
            with proxying.connect(chance.choice([0, None])) as client:
                client.sendall(said)
                client.shutdown(socket.SHUT_WR)
                answer = client.rest()
            assert answer[:1] in (b"", b"\x05"), (bytes(said), answer)


def test_a_hesitant_client_is_not_waited_for(server: Any) -> None:
    with proxied(server, "25700-25709", "25710-25719", idle_timeout=0.2) as running:
        for said in (b"\x05", BOTH, BOTH + USER[:3], NONE + b"\x05\x01"):
            with running.connect() as client:
                client.sendall(said)
                client.rest()
        wait_for(lambda: running.proxy.clients == 0)
