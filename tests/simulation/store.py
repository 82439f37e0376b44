"""A real server whose databases are the memories of simulated ones, and the package's scripts as it runs them there."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from redis_wanpool.protocol.scripts import names, script

AROUND = Path(__file__).with_name("around.lua").read_text(encoding="utf-8")
SAVE = """local all = {}
for _, name in ipairs(redis.call("KEYS", "*")) do all[#all + 1], all[#all + 2] = name, redis.call("DUMP", name) end
return all"""
LOAD = """for i = 1, #ARGV, 2 do redis.call("RESTORE", ARGV[i], 0, ARGV[i + 1]) end"""
DATABASES = 64


class ServerError(Exception):
    """The server answered with an error."""


@lru_cache(maxsize=4096)
def head(sha: str, keys: tuple[str, ...]) -> bytes:
    """The beginning of a request for a script, behind the number of its words."""
    return packed("EVALSHA", sha, len(keys), *keys).partition(b"\r\n")[2]


def packed(*words: str | bytes | int) -> bytes:
    """A request as the server reads it."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


class Wire:
    """A connection to the real server that does no more than is needed, for each microsecond counts."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._data, self._at = b"", 0

    def ask(self, request: bytes, *, raw: bool = False) -> Any:
        self._socket.sendall(request)
        reply = self._reply(raw)
        if isinstance(reply, ServerError):
            raise reply
        return reply

    def ask_all(self, requests: Sequence[bytes]) -> None:
        """Sends many requests, whose replies are of no interest."""
        for first in range(0, len(requests), 200):
            some = requests[first : first + 200]
            self._socket.sendall(b"".join(some))
            for _ in some:
                self._reply(True)

    def close(self) -> None:
        self._socket.close()

    def _more(self) -> None:
        data = self._socket.recv(1 << 16)
        if not data:
            raise ConnectionError("the real server has ended the connection")
        self._data, self._at = self._data[self._at :] + data, 0

    def _reply(self, raw: bool) -> Any:
        while (end := self._data.find(b"\r\n", self._at)) < 0:
            self._more()
        data, at = self._data, self._at
        self._at = end + 2
        kind = data[at]
        if kind == ord(":"):
            return int(data[at + 1 : end])
        if kind == ord("$"):
            size = int(data[at + 1 : end])
            if size < 0:
                return None
            while len(self._data) < self._at + size + 2:
                self._more()
            found = self._data[self._at : self._at + size]
            self._at += size + 2
            return found if raw else found.decode()
        if kind == ord("*"):
            return [self._reply(raw) for _ in range(int(data[at + 1 : end]))]
        text = data[at + 1 : end].decode()
        return ServerError(text) if kind == ord("-") else text


class Memories:
    """The databases of the real server: a simulated server takes one, and gives it back."""

    def __init__(self, path: str) -> None:
        self.path = path
        wire = Wire(path)
        self.shas = {name: self._load(wire, AROUND.replace("-- @script", script(name).source)) for name in names()}
        self.save, self.load = (wire.ask(packed("SCRIPT", "LOAD", source)) for source in (SAVE, LOAD))
        wire.close()
        self._wires: dict[int, Wire] = {}
        self._free = list(range(DATABASES))[::-1]
        self.scripts = 0  #: how many scripts ran

    def _load(self, wire: Wire, source: str) -> str:
        sha: str = wire.ask(packed("SCRIPT", "LOAD", source))
        return sha

    def cpu_seconds(self) -> float:
        """How long the real server has worked."""
        wire = Wire(self.path)
        info: str = wire.ask(packed("INFO", "cpu"))
        wire.close()
        return sum(
            float(line.split(":")[1]) for line in info.split() if line.startswith(("used_cpu_sys:", "used_cpu_user:"))
        )

    def take(self) -> Memory:
        """An empty database."""
        number = self._free.pop()
        if number not in self._wires:
            self._wires[number] = Wire(self.path)
            self._wires[number].ask(packed("SELECT", number))
        self._wires[number].ask(packed("FLUSHDB", "SYNC"))
        return Memory(self, number, self._wires[number])

    def give_back(self, memory: Memory) -> None:
        self._free.append(memory.number)


class Memory:
    """What one simulated server knows, and the log of how it came to that."""

    CHECKPOINT = 100

    def __init__(self, memories: Memories, number: int, wire: Wire) -> None:
        self.number = number
        self._memories = memories
        self._wire = wire
        self.log: list[bytes] = []
        self._checkpoints: list[tuple[int, list[Any]]] = [(0, [])]

    def run(self, name: str, keys: tuple[str, ...], args: Sequence[str | int], facts: str, listening: str) -> list[Any]:
        """The reply of a script, what is wrong with the data afterwards, and what was popped."""
        self._memories.scripts += 1
        words = [*map(str, args), facts, listening]
        parts = [b"*%d\r\n" % (3 + len(keys) + len(words)), head(self._memories.shas[name], keys)]
        for word in words:
            data = word.encode()
            parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
        request = b"".join(parts)
        self.log.append(request)
        reply: list[Any] = self._wire.ask(request)
        if len(self.log) % self.CHECKPOINT == 0:
            self._checkpoints.append((len(self.log), self._saved()))
        return reply

    def ask(self, *words: str) -> Any:
        """The reply to a command that changes nothing."""
        return self._wire.ask(packed(*words))

    def change(self, *words: str) -> Any:
        """The reply to a command that changes something."""
        request = packed(*words)
        self.log.append(request)
        return self._wire.ask(request)

    def copy(self, length: int) -> Memory:
        """Another memory with the first `length` entries of this one's log."""
        other = self._memories.take()
        at, saved = next(point for point in reversed(self._checkpoints) if point[0] <= length)
        other.restore(saved)
        other._wire.ask_all(self.log[at:length])
        other.log = self.log[:length]
        other._checkpoints = [point for point in self._checkpoints if point[0] <= length]
        return other

    def restore(self, saved: list[Any]) -> None:
        if saved:
            self._wire.ask(packed("EVALSHA", self._memories.load, 0, *saved))

    def _saved(self) -> list[Any]:
        saved: list[Any] = self._wire.ask(packed("EVALSHA", self._memories.save, 0), raw=True)
        return saved

    def drop(self) -> None:
        self._memories.give_back(self)
