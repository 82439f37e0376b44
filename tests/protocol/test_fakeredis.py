"""What the in-process stand-in cannot do: one list, so that nobody relies on it where it differs from a server.

When a line fails, fakeredis has learned something: take the line out, and whatever works around it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from private_server import Fake

UNKNOWN = [("INFO",), ("WAIT", 0, 0), ("CONFIG", "GET", "maxmemory"), ("ROLE",), ("MEMORY", "USAGE", "key")]

LUA = {
    "a global that nobody defined": ("return type(undefined_name)", "nil", redis.ResponseError),
    "io can be reached": ("return type(io)", "table", redis.ResponseError),
    "no bit": ("return type(bit)", "nil", "table"),
    "no struct": ("return type(struct)", "nil", "table"),
    "no cmsgpack": ("return type(cmsgpack)", "nil", "table"),
    "no sha1hex": ("return type(redis.sha1hex)", "nil", "function"),
    "an empty table in JSON": ("return cjson.encode({})", "[]", "{}"),
    "a ttl of 0 does not delete at once": (
        "redis.call('SET', KEYS[1], 1) redis.call('PEXPIRE', KEYS[1], 0) return redis.call('EXISTS', KEYS[1])",
        1,
        0,
    ),
}
"""what -> (script, what comes of it here, what on a server)"""


@pytest.fixture
def fake() -> Iterator[Any]:
    found = Fake()
    yield found.admin
    found.close()


def outcome(admin: Any, source: str) -> Any:
    try:
        return admin.eval(source, 1, "key")
    except redis.ResponseError:
        return redis.ResponseError


@pytest.mark.parametrize("words", UNKNOWN, ids=lambda words: words[0])
def test_a_command_is_missing(words: tuple[Any, ...], fake: Any) -> None:
    with pytest.raises(redis.ResponseError, match="unknown command"):
        fake.execute_command(*words)


@pytest.mark.parametrize("what", LUA)
def test_lua_is_not_the_same(what: str, fake: Any) -> None:
    source, here, _ = LUA[what]
    assert outcome(fake, source) == here


@pytest.mark.parametrize("what", LUA)
def test_what_a_server_makes_of_it(what: str, server: Any) -> None:
    source, _, there = LUA[what]
    assert outcome(server.admin, source) == there


def test_there_are_no_cluster_slots(fake: Any) -> None:
    assert fake.eval("return redis.call('MGET', KEYS[1], KEYS[2])", 2, "{a}", "{b}") == [None, None]
    with pytest.raises(redis.ResponseError, match="unknown command"):
        fake.execute_command("CLUSTER", "INFO")
