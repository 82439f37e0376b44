"""The smallest pair of scripts that hands out a port and writes the same lease for people: no promise is kept."""

from __future__ import annotations

from typing import Any

from bench.talk import Command, send

KEYS = ("unsafe:free", "unsafe:lease:", "unsafe:leased")
_RELEASE = """
redis.call("DEL", KEYS[2] .. ARGV[1])
redis.call("ZREM", KEYS[3], ARGV[1])
redis.call("SADD", KEYS[1], ARGV[1])
return 1
"""
_RENEW = """
for i = 4, #ARGV do
  redis.call("PEXPIRE", KEYS[2] .. ARGV[i], ARGV[1])
  redis.call("HSET", KEYS[2] .. ARGV[i], "expires_at", ARGV[3])
  redis.call("ZADD", KEYS[3], ARGV[2], ARGV[i])
end
return 1
"""


class Unsafe:
    """Ports beside the product's, on the same server; `fields` is a lease as the product writes it."""

    def __init__(self, client: Any, fields: dict[str, str], ports: range) -> None:
        self._client = client
        self._values = list(fields.values())
        places = ", ".join(f'"{name}", ARGV[{at + 3}]' for at, name in enumerate(fields))
        self._acquire = client.script_load(
            'local port = redis.call("SPOP", KEYS[1])\n'
            "local lease = KEYS[2] .. port\n"
            f'redis.call("HSET", lease, {places})\n'
            'redis.call("PEXPIRE", lease, ARGV[1])\n'
            'redis.call("ZADD", KEYS[3], ARGV[2], port)\n'
            "return port\n"
        )
        self._release = client.script_load(_RELEASE)
        self._renew = client.script_load(_RENEW)
        client.sadd(KEYS[0], *ports)

    def acquire(self, times: int, *, busy: bool) -> list[str]:
        return send(
            self._client, [self._call(self._acquire, 60_000, 1_800_000_000_000, *self._values)] * times, busy=busy
        )

    def release(self, ports: list[str], *, busy: bool) -> None:
        send(self._client, [self._call(self._release, port) for port in ports], busy=busy)

    def renew(self, ports: list[str]) -> None:
        send(self._client, [self._call(self._renew, 60_000, 1_800_000_000_000, self._values[-1], *ports)], busy=False)

    def _call(self, sha: str, *args: Any) -> Command:
        return ("EVALSHA", sha, len(KEYS), *KEYS, *args)
