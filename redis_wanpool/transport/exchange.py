"""Script calls on a connection of redis-py, each sent once; the faces decide whether to send again."""

import asyncio
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import redis

from redis_wanpool.model.checks import milliseconds
from redis_wanpool.model.durability import Durability
from redis_wanpool.protocol import Answer, Ask, Call
from redis_wanpool.protocol.requirements import is_replica
from redis_wanpool.system.clock import boottime
from redis_wanpool.transport import cluster, idle
from redis_wanpool.transport.backend import plain
from redis_wanpool.transport.both import Steps, awaited, blocking
from redis_wanpool.transport.strict import NotPrimary, forget, leave, left, within


@lru_cache(maxsize=4096)
def _head(verb: str, body: str, keys: tuple[str, ...], *clock: str) -> bytes:
    return _words((verb, body, len(keys), *keys, *clock))


def _words(words: Iterable[str | int]) -> bytes:
    return b"".join(map(_word, words))


_alike = lru_cache(maxsize=4096)(_words)


def _word(value: str | int) -> bytes:
    data = value.encode() if isinstance(value, str) else b"%d" % value
    return b"$%d\r\n%b\r\n" % (len(data), data)


def _packed(verb: str, body: str, call: Call, clock: str, now: float) -> bytes:
    """A request as https://redis.io/docs/latest/develop/reference/protocol-spec/ has it."""
    args, alike, many = call.args, call.alike, 3 + len(call.keys) + len(call.args)
    tail = _alike(args[:alike]) + _words(args[alike:]) if alike else _words(args)
    if not call.timed:
        return b"*%d\r\n%b%b" % (many, _head(verb, body, call.keys), tail)
    return b"*%d\r\n%b%b%b" % (many + 2, _head(verb, body, call.keys, clock), _word(milliseconds(now)), tail)


def run(client: Any, step: Call | Ask, clock: str | None) -> Answer:
    """Runs a script, or asks.

    The source is sent only if the server does not know it. A script that finds the server's clock stepped wants to be
    asked again, in case the request only took long. `clock` names the caller's boot clock; None is for the in-process
    stand-in, which has no connections, and has this process's clock.
    """
    now = boottime()
    forget(now)
    with within(_limit(client), now, outermost=True):
        return blocking(_steps(client, step, clock, now))


async def run_async(client: Any, step: Call | Ask, clock: str | None) -> Answer:
    """The same on an asyncio client."""
    seconds, now = _limit(client), boottime()
    forget(now)
    with within(seconds, now, outermost=True):
        async with asyncio.timeout(seconds):
            return await awaited(_steps(client, step, clock, now))


def _steps(client: Any, step: Call | Ask, clock: str | None, now: float) -> Steps[Answer]:
    if type(step) is Call and clock is not None and not isinstance(client, cluster.Nodes):
        return _call(client, step, clock, now)
    return _run(client, step, clock)


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
    if isinstance(step, Ask):
        return (yield from _ask(client, step))
    sent = boottime()
    if clock is None:
        run_fake = client.register_script(step.script.source)
        return Answer(plain((yield run_fake(keys=step.keys, args=step.timed_args("", sent)))), sent)
    return (yield from _call(client, step, clock, sent))


def _ask(client: Any, step: Ask) -> Steps[Answer]:
    sent = boottime()
    try:
        reply = yield client.execute_command(*step.words)
    except NotPrimary:
        yield from leave(client.connection_pool)
        raise
    if isinstance(reply, dict) and is_replica(reply.get("role")):
        yield from leave(client.connection_pool)
    return Answer(plain([["", reply]] if step.on_all_primaries else reply), sent)


def _call(client: Any, call: Call, clock: str, sent: float) -> Steps[Answer]:
    """The answer to a script call, on one connection."""
    pool = client.connection_pool
    verb, body = "EVALSHA", call.script.sha
    connection = idle.taken(pool)
    if connection is None:
        connection = yield from idle.got(pool)
    try:
        for _ in range(3):  # by name, with its source, and after a look at the clock
            request = _packed(verb, body, call, clock, sent)
            try:
                if getattr(connection, "is_quick", False):
                    reply = yield connection.swap(request)
                else:
                    yield connection.send_packed_command([request])
                    reply = plain((yield connection.read_response()))
            except redis.exceptions.NoScriptError:
                verb, body = "EVAL", call.script.source
            else:
                if reply[0] == "GRANTED" and call.durability is not None:
                    return Answer(reply, sent, confirmed=(yield from _confirmed(connection, call.durability)))
                if reply[0] != "STEPPED":
                    return Answer(reply, sent)
                clock += "!"
            sent = boottime()
    except redis.ResponseError:
        raise
    except BaseException as error:  # its reply may still come, and would be taken for the next one's
        yield connection.disconnect(True)  # at once, in asyncio
        yield from leave(pool) if isinstance(error, NotPrimary) else idle.hand_back(pool)  # which may have broken, too
        raise
    finally:
        if not idle.kept(pool, connection):
            yield pool.release(connection)
    raise redis.ResponseError("it answers again and again that it does not know the script, or that its clock stepped")


def _confirmed(connection: Any, durability: Durability) -> Steps[int]:
    """How many of the servers that must confirm what this connection wrote did."""
    words = durability.command(left(connection.socket_timeout))
    yield connection.send_packed_command([b"*%d\r\n%b" % (len(words), _words(words))])
    return durability.confirmed((yield connection.read_response()))
