"""Script calls on a connection of redis-py, each sent once; whether to send again is for the faces to decide."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import redis

from redis_wanpool.scripts import Script


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


def run(client: Any, script: Script, keys: tuple[str, ...], args: tuple[str | int, ...]) -> Any:
    """Runs a script; its source goes along only if the server does not know it."""
    try:
        return _exchange(client, _packed("EVALSHA", script.sha, keys, args))
    except redis.exceptions.NoScriptError:
        return _exchange(client, _packed("EVAL", script.source, keys, args))


async def run_async(client: Any, script: Script, keys: tuple[str, ...], args: tuple[str | int, ...]) -> Any:
    """The same on an asyncio client."""
    try:
        return await _exchange_async(client, _packed("EVALSHA", script.sha, keys, args))
    except redis.exceptions.NoScriptError:
        return await _exchange_async(client, _packed("EVAL", script.source, keys, args))


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
