"""Leads the product's own conversations with a bare client: what stands beside them is sent in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis_wanpool import WanPortPool
from redis_wanpool.model.lease import LeaseState
from redis_wanpool.protocol import Answer, Ask, Call, Conversation, Request, Step
from redis_wanpool.protocol.steps import Parallel
from redis_wanpool.system.clock import boottime
from redis_wanpool.system.identity import boot_clock

Command = tuple[Any, ...]


def command(step: Step) -> Command:
    """The step as a Redis command."""
    if isinstance(step, Call):
        args = step.timed_args(boot_clock(), boottime())
        return ("EVALSHA", step.script.sha, len(step.keys), *step.keys, *args)
    if isinstance(step, Ask):
        return step.words
    raise TypeError(f"{step} is not for Redis")


def send(client: Any, commands: Sequence[Command], *, busy: bool) -> list[Any]:
    """The replies; sent one by one, or, to keep the server busy, all at once."""
    if not busy:
        return [client.execute_command(*words) for words in commands]
    pipeline = client.pipeline(transaction=False)
    for words in commands:
        pipeline.execute_command(*words)
    replies: list[Any] = pipeline.execute()
    return replies


def lead(client: Any, conversations: Sequence[Conversation[Any]], *, busy: bool = True) -> list[Any]:
    """Leads conversations step by step, abreast; what each came to."""
    results: list[Any] = [None] * len(conversations)
    steps = {at: next(conversation) for at, conversation in enumerate(conversations)}
    while steps:
        sent = boottime()
        parted = {
            at: lead(client, [branch for _, branch in step.branches], busy=busy)
            for at, step in steps.items()
            if isinstance(step, Parallel)
        }
        replies = send(client, [command(step) for at, step in steps.items() if at not in parted], busy=busy)
        answered = [at for at in steps if at not in parted]
        for at, reply in [*parted.items(), *zip(answered, replies, strict=True)]:
            try:
                steps[at] = conversations[at].send(Answer(reply, sent))
            except StopIteration as end:
                results[at] = end.value
                del steps[at]
    return results


def acquire(
    client: Any, pool: WanPortPool, wan_idx: int, times: int, *, busy: bool = True, **request: Any
) -> list[LeaseState]:
    """So many leases by so many calls, unknown to the pool's threads."""
    asked = [pool._engine.protocol.acquire(Request.of(wan_idx, **request)) for _ in range(times)]
    leases = [lease for some in lead(client, asked, busy=busy) for lease in some]
    pool._engine.protocol.ledger.keep(leases)
    return leases


def release(client: Any, pool: WanPortPool, leases: Sequence[LeaseState], *, busy: bool = True) -> None:
    """Gives leases back, each by a call of its own."""
    lead(client, [pool._engine.protocol.release_one(lease, closed="fin") for lease in leases], busy=busy)
