"""Script calls on a connection of redis-py, each sent once; the faces decide whether to send again."""

import asyncio
from functools import lru_cache
from typing import Any

import redis

from redis_wanpool.model.durability import Durability
from redis_wanpool.protocol import Answer, Ask, Call
from redis_wanpool.protocol.requirements import is_replica
from redis_wanpool.system.clock import boottime
from redis_wanpool.transport import cluster
from redis_wanpool.transport.backend import plain
from redis_wanpool.transport.both import Steps, awaited, blocking
from redis_wanpool.transport.strict import NotPrimary, forget, leave, left, within

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
    forget()
    with within(_limit(client), outermost=True):
        return blocking(_run(client, step, clock))


async def run_async(client: Any, step: Call | Ask, clock: str | None) -> Answer:
    """The same on an asyncio client."""
    seconds = _limit(client)
    forget()
    with within(seconds, outermost=True):
        async with asyncio.timeout(seconds):
            return await awaited(_run(client, step, clock))


def _limit(client: Any) -> float | None:
    """The most seconds that a step takes, whatever the server does; None: without limit, as a user's client may be."""
    if isinstance(client, cluster.Nodes):
        return client.timeout
    options = client.connection_pool.connection_kwargs
    seconds = options.get("socket_timeout"), options.get("socket_connect_timeout")
    return None if None in seconds else max(seconds)


def _run(client: Any, step: Call | Ask, clock: str | None) -> Steps[Answer]:
    if isinstance(client, cluster.Nodes):
        if isinstance(step, Ask) and step.on_all_primaries:
            sent = boottime()
            return Answer(plain((yield from client.on_all_primaries(step.words))), sent)
        if isinstance(step, Ask) and step.at:
            return (yield from _run(client.named(step.at), step, clock))
        return (yield from client.follow(step.keys, lambda node: _run(node, step, clock)))
    try:
        return (yield from _talk(client, step, clock))
    except NotPrimary:
        yield from leave(client.connection_pool)
        raise


def _talk(client: Any, step: Call | Ask, clock: str | None) -> Steps[Answer]:
    sent = boottime()
    if isinstance(step, Ask):
        reply = yield client.execute_command(*step.words)
        if isinstance(reply, dict) and is_replica(reply.get("role")):
            yield from leave(client.connection_pool)
        return Answer(plain([["", reply]] if step.on_all_primaries else reply), sent)
    if clock is None:
        run_fake = client.register_script(step.script.source)
        return Answer(plain((yield run_fake(keys=step.keys, args=step.timed_args("", sent)))), sent)
    verb, body = "EVALSHA", step.script.sha
    for _ in range(3):  # by name, with its source, and after a look at the clock
        sent = boottime()
        try:
            request = _packed(verb, body, step.keys, step.timed_args(clock, sent))
            reply, confirmed = yield from _exchange(client, request, step.durability)
        except redis.exceptions.NoScriptError:
            verb, body = "EVAL", step.script.source
            continue
        if reply[0] not in STEPPED:
            return Answer(plain(reply), sent, confirmed=confirmed)
        clock += "!"
    raise redis.ResponseError("it answers again and again that it does not know the script, or that its clock stepped")


def _command(words: tuple[str | int, ...]) -> bytes:
    return b"*%d\r\n%b" % (len(words), b"".join(map(_word, words)))


def _exchange(client: Any, request: bytes, durability: Durability | None) -> Steps[tuple[Any, int | None]]:
    """The reply; and for a grant, how many of the servers that must confirm it did."""
    pool = client.connection_pool
    connection = yield pool.get_connection()
    try:
        yield connection.send_packed_command([request])
        reply, confirmed = (yield connection.read_response()), None
        if durability is not None and reply[0] in GRANTED:
            yield connection.send_packed_command([_command(durability.command(left(connection.socket_timeout)))])
            confirmed = durability.confirmed((yield connection.read_response()))
        return reply, confirmed
    except redis.ResponseError:
        raise
    except BaseException:  # its reply may still come, and would be taken for the next one's
        yield connection.disconnect(True)  # at once, in asyncio
        raise
    finally:
        yield pool.release(connection)
