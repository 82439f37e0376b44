"""Through the proxy: streams and new connections, beside a bare relay of asyncio and a direct connection, in turn."""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import Any

import psutil

from bench.results import Row, Size
from bench.servers import private_server
from redis_wanpool import AsyncWanPortPool
from redis_wanpool.proxy import serve

PART = "The proxy"
RELAY, DIRECT = "a bare relay of asyncio protocols", "a direct connection"
ROUNDS_OF_FULL = 7
BLOCK = bytes(262_144)
AT_ONCE = 500
Open = Callable[[], socket.socket]


def measure(size: Size) -> Iterator[Row]:
    """Bytes a second each way, what a new connection takes, and the memory of one that is open."""
    with ExitStack() as stack:
        server = stack.enter_context(private_server())
        target, _ = stack.enter_context(_beside(_be_server))
        relay, _ = stack.enter_context(_beside(_be_relay, target))
        proxy, process = stack.enter_context(_beside(_be_proxy, server.url))
        ways: list[Open] = [partial(_tunnel, proxy, target), partial(_plain, relay), partial(_plain, target)]
        rounds, size_of = min(size.rounds, ROUNDS_OF_FULL), int(1e9 * size.seconds)
        for what, stream in (("to", _up), ("from", _down)):
            ours, theirs, _ = _in_turn([partial(stream, way, size_of) for way in ways], rounds)
            yield Row.of(PART, f"a stream {what} the server", "MB/s", ours, RELAY, theirs, (">=", 0.7))
        ours, theirs, direct = _in_turn([partial(_news, way, size.pairs) for way in ways], rounds)
        yield Row.of(PART, "a new connection", "us", ours, DIRECT, direct, ("<=", 2.5))
        yield Row.of(PART, "a new connection", "us", ours, RELAY, theirs)
        yield Row.of(PART, "memory of an open connection", "kB", [_memory(ways[0], process)])


def _in_turn(works: Sequence[Callable[[], float]], rounds: int) -> list[list[float]]:
    found = [[work() for work in works] for _ in range(rounds)]
    return [list(column) for column in zip(*found, strict=True)]


def _plain(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def _tunnel(port: int, target: int) -> socket.socket:
    sock = _plain(port)
    sock.sendall(f"CONNECT 127.0.0.1:{target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head = sock.recv(1_000)
    assert head.startswith(b"HTTP/1.1 200 "), head
    return sock


def _up(way: Open, count: int) -> float:
    with closing(way()) as sock:
        begun = time.perf_counter()
        sock.sendall(b"S")
        for _ in range(count // len(BLOCK)):
            sock.sendall(BLOCK)
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b"S"
        return count / (time.perf_counter() - begun) / 1e6


def _down(way: Open, count: int) -> float:
    blocks, memory = count // len(BLOCK), bytearray(1 << 20)
    with closing(way()) as sock:
        begun = time.perf_counter()
        sock.sendall(b"G" + blocks.to_bytes(4, "big"))
        got = 0
        while more := sock.recv_into(memory):
            got += more
        assert got == blocks * len(BLOCK)
        return count / (time.perf_counter() - begun) / 1e6


def _news(way: Open, count: int) -> float:
    """Microseconds of a connection, with one byte there and back."""
    begun = time.perf_counter()
    for _ in range(count):
        with closing(way()) as sock:
            sock.sendall(b"E")
            assert sock.recv(1) == b"E"
    return (time.perf_counter() - begun) / count * 1e6


def _memory(way: Open, process: psutil.Process) -> float:
    with ExitStack() as stack:
        for _ in range(AT_ONCE // 10):
            way().close()
        before = process.memory_info().rss
        for _ in range(AT_ONCE):
            stack.enter_context(closing(way()))
        return (process.memory_info().rss - before) / AT_ONCE / 1024


# -- what runs beside


@contextmanager
def _beside(work: Callable[..., None], *arguments: Any) -> Iterator[tuple[int, psutil.Process]]:
    """A process that listens; its port."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=work, args=(there, *arguments), daemon=True)
    process.start()
    try:
        yield here.recv(), psutil.Process(process.pid)
    finally:
        process.kill()
        process.join(10)


def _be_server(link: Any) -> None:
    """Swallows, gives or echoes, as the first byte says."""

    def talk(sock: socket.socket) -> None:
        with sock:
            asked, memory = sock.recv(1), bytearray(1 << 20)
            if asked == b"S":
                while sock.recv_into(memory):
                    pass
                sock.sendall(b"S")
            elif asked == b"G":
                for _ in range(int.from_bytes(sock.recv(4), "big")):
                    sock.sendall(BLOCK)
            elif asked:
                sock.sendall(asked)

    with socket.create_server(("127.0.0.1", 0), backlog=1_024) as listener:
        link.send(listener.getsockname()[1])
        while True:
            threading.Thread(target=talk, args=listener.accept()[:1], daemon=True).start()


class _End(asyncio.Protocol):
    """What is said to it, the other end says."""

    other: _End
    ended = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.other.transport.write(data)

    def pause_writing(self) -> None:
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        self.other.transport.resume_reading()

    def eof_received(self) -> bool:
        self.ended = True
        if self.other.ended:
            self.transport.close()
            self.other.transport.close()
        else:
            self.other.transport.write_eof()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self.other.transport.close()


class _Front(_End):
    """The client's end, which waits for the other."""

    def __init__(self, target: int) -> None:
        self._target = target

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        transport.pause_reading()
        self._opening = asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        self.other = _End()
        self.other.other = self
        await asyncio.get_running_loop().create_connection(lambda: self.other, "127.0.0.1", self._target)
        self.transport.resume_reading()


def _be_relay(link: Any, target: int) -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(lambda: _Front(target), "127.0.0.1", 0, backlog=1_024)
        link.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


def _be_proxy(link: Any, url: str) -> None:
    async def main() -> None:
        async with AsyncWanPortPool(url) as pool:
            await pool.define_wan(0, "20000-29999", cooldown=0)
            async with serve(pool, port=0) as proxy:
                link.send(proxy.wan_ports[0])
                await asyncio.Event().wait()

    asyncio.run(main())
