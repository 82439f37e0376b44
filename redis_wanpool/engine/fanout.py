"""Conversations about several WANs, side by side where their keys are on different servers."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from redis_wanpool.errors import WanpoolError
from redis_wanpool.protocol import Conversation
from redis_wanpool.protocol.refusals import is_silence
from redis_wanpool.system.signals import DeafThread

Branch = tuple[str, Conversation[Any]]  #: a key, and a conversation about it
NodeOf = Callable[[str], object]  #: returns the node of a key
_OPEN = object()  #: the result of a conversation that did not begin yet


def side_by_side(branches: Sequence[Branch], node_of: NodeOf, lead: Callable[[Conversation[Any]], Any]) -> list[Any]:
    """The result of each conversation, or its error. After one without an answer, a server is asked no more."""
    results: list[Any] = [_OPEN] * len(branches)

    def lead_all(numbers: list[int]) -> None:
        for number in numbers:
            try:
                results[number] = lead(branches[number][1])
            except Exception as error:
                results[number] = error
                if is_silence(error):
                    return _fill(results, numbers, error)
        return None

    first, *others = _grouped(branches, node_of)
    threads = [DeafThread(lead_all, numbers) for numbers in others]
    left = []
    for thread, numbers in zip(threads, others, strict=True):
        with suppress(RuntimeError):  # an interpreter that is ending starts no threads
            thread.start()
            continue
        left.append(numbers)
    for numbers in (first, *left):
        lead_all(numbers)
    for thread in threads:
        if thread.ident is not None:
            thread.join()
    return _checked(results)


async def side_by_side_async(
    branches: Sequence[Branch], node_of: NodeOf, lead: Callable[[Conversation[Any]], Awaitable[Any]]
) -> list[Any]:
    """The same for asyncio."""
    results: list[Any] = [_OPEN] * len(branches)

    async def lead_all(numbers: list[int]) -> None:
        for number in numbers:
            try:
                results[number] = await lead(branches[number][1])
            except Exception as error:
                results[number] = error
                if is_silence(error):
                    return _fill(results, numbers, error)
        return None

    await asyncio.gather(*map(lead_all, _grouped(branches, node_of)))
    return _checked(results)


def _grouped(branches: Sequence[Branch], node_of: NodeOf) -> list[list[int]]:
    """The numbers of the branches, by node."""
    groups: dict[object, list[int]] = {}
    for number, (key, _) in enumerate(branches):
        groups.setdefault(node_of(key), []).append(number)
    return list(groups.values())


def _fill(results: list[Any], numbers: list[int], error: Exception) -> None:
    for number in numbers:
        if results[number] is _OPEN:
            results[number] = error


def _checked(results: list[Any]) -> list[Any]:
    """The results, if each is one, or an error of ours."""
    for result in results:
        if result is _OPEN:
            raise WanpoolError("a thread that asked a shard of Redis was ended; ask again")
        if isinstance(result, Exception) and not isinstance(result, WanpoolError):
            raise result
    return results
