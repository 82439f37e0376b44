"""Finds the namespaces of a Redis."""

import re
from dataclasses import dataclass

from redis_wanpool.errors import WanpoolError
from redis_wanpool.model.checks import NAMESPACE
from redis_wanpool.protocol.session import Session
from redis_wanpool.protocol.steps import Ask, Conversation

KEYS_A_CALL, MOST_CALLS, MOST_NAMESPACES = 1_000, 1_000, 1_000
_KEY = re.compile(rf"wanpool:\{{({NAMESPACE})\}}:wans")


@dataclass(frozen=True, slots=True)
class Namespaces:
    """What was found.

    Attributes:
        found: namespace -> the ports of each of its WANs; None: this user may not read them, or nobody can.
        is_complete: whether all keys of the Redis were looked at: at most a million of each server.
    """

    found: dict[str, dict[int, str] | None]
    is_complete: bool


class Listing(Session):
    """The part of the conversation that looks beyond its namespace."""

    def namespaces(self) -> Conversation[Namespaces]:
        """The namespaces that have WANs; goes through the names of all keys, 1,000 a call."""
        words = ("MATCH", "wanpool:{*}:wans", "COUNT", str(KEYS_A_CALL), "TYPE", "hash")
        names: set[str] = set()
        is_complete = True
        answers = (yield Ask(("SCAN", "0", *words), on_all_primaries=True)).reply
        for server, first in answers:
            if first is None:
                is_complete = False  # it is silent
                continue
            page = first
            for _ in range(MOST_CALLS):
                cursor, keys = str(int(page[0])), page[1]
                texts = (key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key) for key in keys)
                names.update(match[1] for text in texts if (match := _KEY.fullmatch(text)))
                if cursor == "0" or len(names) > MOST_NAMESPACES:
                    break
                page = (yield Ask(("SCAN", cursor, *words), at=server)).reply
            is_complete = is_complete and cursor == "0"
        found: dict[str, dict[int, str] | None] = {}
        for name in sorted(names)[:MOST_NAMESPACES]:
            found[name] = yield from self._wans_of(name)
        return Namespaces(found, is_complete)

    def _wans_of(self, namespace: str) -> Conversation[dict[int, str] | None]:
        try:
            flat = (yield Ask(("HGETALL", f"wanpool:{{{namespace}}}:wans"))).reply
            pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
            return dict(sorted((int(wan_idx), str(claim).split(" ")[0]) for wan_idx, claim in pairs))
        except (WanpoolError, ValueError):
            return None
