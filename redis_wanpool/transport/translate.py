"""What a Redis user may not do, from the words in which the servers say so."""

from __future__ import annotations

import re
from collections.abc import Sequence

from redis_wanpool.protocol.scripts import names, script

_NAMED = re.compile(r"no permissions to run the '([^']+)'")
_UNNAMED = "can't run this command"  # by scripts of Redis 6.2 and 7.0
_KEY = re.compile(r"permissions to access|can't access at least one of the keys")
_PLACE = re.compile(r"\b(?:f_)?([0-9a-f]{40})\b.*?@user_script:(\d+)")


def denied(error: Exception, keys: Sequence[str]) -> str | None:
    """What the user may not do who asked for something with these keys; None if the error says nothing of that."""
    text = str(error)
    if named := _NAMED.search(text):
        return f"run {named[1].replace('|', ' ').upper()}"
    if _UNNAMED in text:
        return f"run {_command_at(text)}"
    if _KEY.search(text):
        return f"use keys like {keys[0]}" if keys else "use these keys"
    return None


def _command_at(text: str) -> str:
    """The command at the place in one of our scripts that an error names."""
    place = _PLACE.search(text)
    source = next((script(name).source for name in names() if place and script(name).sha == place[1]), None)
    if place is None or source is None:
        return "a command of a script"
    return " or ".join(re.findall(r'redis\.call\("([A-Z]+)"', source.splitlines()[int(place[2]) - 1]))
