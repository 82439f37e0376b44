"""Script calls on a connection of redis-py, each sent once; whether to send again is for the faces to decide."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import redis

from redis_wanpool.clock import boottime
from redis_wanpool.protocol import Call

STEPPED = ("STEPPED", b"STEPPED")


@lru_cache(maxsize=4096)
def _head(verb: str, body: str, keys: tuple[str, ...]) -> bytes:
    words: tuple[str | int, ...] = (verb, body, len(keys), *keys)
    return b"".join(map(_word, words))


def _word(value: str | int) -> bytes:
    data = value.encode() if isinstance(value, str) else b"%d" % value
    return b"$%d\r\n%b\r\n" % (len(data), data)


def _packed(verb: str, body: str, keys: tuple[str, ...], args: tuple[str | int, ...]) -> bytes:
    """A request as https://redis.io/docs/latest/develop/reference/protocol-spec/ has it."""
    return b"*%d\r\n%b%b" % (3 + len(keys) + len(args), _head(verb, body, keys), b"".join(map(_word, args)))


def run(client: Any, call: Call, clock: str | None) -> tuple[Any, float]:
    """Runs a script; its reply, and the local time before it was sent.

    The source goes along only if the server does not know it. A script that finds the server's clock stepped wants to
    be asked again, to be sure that it was not the request that took so long. `clock` names the caller's boot clock;
    None is for the in-process stand-in, which has no connections, and this process's own clock.
    """
    if clock is None:
        sent = boottime()
        return client.register_script(call.script.source)(keys=call.keys, args=call.timed_args("", sent)), sent
    verb, body = "EVALSHA", call.script.sha
    while True:
        sent = boottime()
        try:
            reply = _exchange(client, _packed(verb, body, call.keys, call.timed_args(clock, sent)))
        except redis.exceptions.NoScriptError:
            verb, body = "EVAL", call.script.source
            continue
        if reply[0] not in STEPPED:
            return reply, sent
        clock += "!"


async def run_async(client: Any, call: Call, clock: str | None) -> tuple[Any, float]:
    """The same on an asyncio client."""
    if clock is None:
        sent = boottime()
        return await client.register_script(call.script.source)(keys=call.keys, args=call.timed_args("", sent)), sent
    verb, body = "EVALSHA", call.script.sha
    while True:
        sent = boottime()
        try:
            reply = await _exchange_async(client, _packed(verb, body, call.keys, call.timed_args(clock, sent)))
        except redis.exceptions.NoScriptError:
            verb, body = "EVAL", call.script.source
            continue
        if reply[0] not in STEPPED:
            return reply, sent
        clock += "!"


def _exchange(client: Any, request: bytes) -> Any:
    pool = client.connection_pool
    connection = pool.get_connection()
    try:
        connection.send_packed_command([request])
        return connection.read_response()
    except redis.ResponseError:
        raise
    except BaseException:  # its reply may yet come, and would be taken for the next one's
        connection.disconnect()
        raise
    finally:
        pool.release(connection)


async def _exchange_async(client: Any, request: bytes) -> Any:
    pool = client.connection_pool
    connection = await pool.get_connection()
    try:
        await connection.send_packed_command([request])
        return await connection.read_response()
    except redis.ResponseError:
        raise
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    finally:
        await pool.release(connection)
