"""Script calls on a connection of redis-py, each sent once; the faces decide whether to send again."""

from functools import lru_cache
from typing import Any

import redis

from redis_wanpool.model.durability import Durability
from redis_wanpool.protocol import Answer, Ask, Call
from redis_wanpool.system.clock import boottime
from redis_wanpool.transport import cluster
from redis_wanpool.transport.backend import plain

STEPPED = ("STEPPED", b"STEPPED")
GRANTED = ("GRANTED", b"GRANTED")


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


def run(client: Any, step: Call | Ask, clock: str | None) -> Answer:
    """Runs a script, or asks.

    The source is sent only if the server does not know it. A script that finds the server's clock stepped wants to be
    asked again, in case the request only took long. `clock` names the caller's boot clock; None is for the in-process
    stand-in, which has no connections, and has this process's clock.
    """
    if isinstance(client, cluster.Client):
        if isinstance(step, Ask) and step.on_all_primaries:
            sent = boottime()
            return Answer(plain(client.on_all_primaries(lambda node: node.execute_command(*step.words))), sent)
        if isinstance(step, Ask) and step.at:
            return run(client.named(step.at), step, clock)
        return client.follow(step.keys, lambda node: run(node, step, clock))
    sent = boottime()
    if isinstance(step, Ask):
        reply = client.execute_command(*step.words)
        return Answer(plain([["", reply]] if step.on_all_primaries else reply), sent)
    if clock is None:
        run_fake = client.register_script(step.script.source)
        return Answer(plain(run_fake(keys=step.keys, args=step.timed_args("", sent))), sent)
    verb, body = "EVALSHA", step.script.sha
    while True:
        sent = boottime()
        try:
            request = _packed(verb, body, step.keys, step.timed_args(clock, sent))
            reply, confirmed = _exchange(client, request, step.durability)
        except redis.exceptions.NoScriptError:
            verb, body = "EVAL", step.script.source
            continue
        if reply[0] not in STEPPED:
            return Answer(plain(reply), sent, confirmed=confirmed)
        clock += "!"


async def run_async(client: Any, step: Call | Ask, clock: str | None) -> Answer:
    """The same on an asyncio client."""
    if isinstance(client, cluster.AsyncClient):
        if isinstance(step, Ask) and step.on_all_primaries:
            sent = boottime()
            return Answer(plain(await client.on_all_primaries(lambda node: node.execute_command(*step.words))), sent)
        if isinstance(step, Ask) and step.at:
            return await run_async(client.named(step.at), step, clock)
        return await client.follow(step.keys, lambda node: run_async(node, step, clock))
    sent = boottime()
    if isinstance(step, Ask):
        reply = await client.execute_command(*step.words)
        return Answer(plain([["", reply]] if step.on_all_primaries else reply), sent)
    if clock is None:
        run_fake = client.register_script(step.script.source)
        return Answer(plain(await run_fake(keys=step.keys, args=step.timed_args("", sent))), sent)
    verb, body = "EVALSHA", step.script.sha
    while True:
        sent = boottime()
        try:
            request = _packed(verb, body, step.keys, step.timed_args(clock, sent))
            reply, confirmed = await _exchange_async(client, request, step.durability)
        except redis.exceptions.NoScriptError:
            verb, body = "EVAL", step.script.source
            continue
        if reply[0] not in STEPPED:
            return Answer(plain(reply), sent, confirmed=confirmed)
        clock += "!"


def _command(words: tuple[str | int, ...]) -> bytes:
    return b"*%d\r\n%b" % (len(words), b"".join(map(_word, words)))


def _exchange(client: Any, request: bytes, durability: Durability | None) -> tuple[Any, int | None]:
    """The reply; and for a grant, how many of the servers that must confirm it did."""
    pool = client.connection_pool
    connection = pool.get_connection()
    try:
        connection.send_packed_command([request])
        reply, confirmed = connection.read_response(), None
        if durability is not None and reply[0] in GRANTED:
            connection.send_packed_command([_command(durability.command(connection.socket_timeout))])
            confirmed = durability.confirmed(connection.read_response())
        return reply, confirmed
    except redis.ResponseError:
        raise
    except BaseException:  # its reply may still come, and would be taken for the next one's
        connection.disconnect()
        raise
    finally:
        pool.release(connection)


async def _exchange_async(client: Any, request: bytes, durability: Durability | None) -> tuple[Any, int | None]:
    pool = client.connection_pool
    connection = await pool.get_connection()
    try:
        await connection.send_packed_command([request])
        reply, confirmed = await connection.read_response(), None
        if durability is not None and reply[0] in GRANTED:
            await connection.send_packed_command([_command(durability.command(connection.socket_timeout))])
            confirmed = durability.confirmed(await connection.read_response())
        return reply, confirmed
    except redis.ResponseError:
        raise
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    finally:
        await pool.release(connection)
