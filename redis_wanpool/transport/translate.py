"""Puts the errors of redis-py and of servers into our words."""

import re
from collections.abc import Sequence

import redis
import redis.exceptions

from redis_wanpool.errors import BackendUnavailable
from redis_wanpool.protocol.scripts import names, script
from redis_wanpool.transport import cluster, sentinel
from redis_wanpool.transport.strict import NotPrimary, place
from redis_wanpool.transport.url import public_url

_NAMED = re.compile(r"no permissions to run the '([^']+)'")
_UNNAMED = "can't run this command"  # by scripts of Redis 6.2 and 7.0
_KEY = re.compile(r"permissions to access|can't access at least one of the keys")
_PASSING = re.compile("(BUSY|LOADING|MISCONF|NOREPLICAS|UNKILLABLE) ")
"""how the replies begin of a server that runs a foreign script, reads its data, has a full disk, or lacks replicas"""
_TOLD = "does not let this user"
_PLACE = re.compile(r"\b(?:f_)?([0-9a-f]{40})\b.*?@user_script:(\d+)")


def translated(error: Exception, keys: Sequence[str], *, name: str, timeout: float) -> BackendUnavailable:
    """The error for what redis-py raised after a request with these keys.

    Args:
        name: the server's, without a password.
        timeout: seconds for which the client waited.
    """
    if isinstance(error, UnicodeDecodeError):
        return BackendUnavailable(f"Redis ({name}) has contents that are no text ({error}), in {' or '.join(keys[:1])}")
    if isinstance(error, redis.exceptions.OutOfMemoryError) or "-OOM " in str(error):  # the latter from Redis 6.2
        return BackendUnavailable(
            f"Redis ({name}) is out of memory and takes nothing new; leases are renewed and released as ever. "
            "Free memory there, or raise maxmemory"
        )
    if isinstance(error, NotPrimary):
        return BackendUnavailable(
            f"Redis ({name}) is a replica, or became one just now, and takes no writes: {public_url(error)}; "
            "ask the primary, or Sentinel where it is (redis+sentinel://)",
            passing=True,
        )
    if isinstance(error, sentinel.NO_PRIMARY):
        return BackendUnavailable(
            f"no Sentinel of {name} tells of a primary that is alive: {sentinel.why(error)}; after a failure "
            "they need some seconds",
            answered=False,
            passing=True,
        )
    if isinstance(error, redis.exceptions.MovedError):
        return BackendUnavailable(
            f"Redis ({name}) is one node of a cluster, and others have these keys: give the URL of the "
            f"cluster, like {cluster.LIKE}"
        )
    if isinstance(error, cluster.NOT_NOW):
        return BackendUnavailable(
            f"Redis ({name}) does not serve these keys just now: they move to another node, or theirs has "
            f"failed ({public_url(error)}); see to it with: redis-cli --cluster check",
            passing=True,
        )
    is_loading = isinstance(error, redis.exceptions.BusyLoadingError)
    if is_loading or not isinstance(error, (redis.ConnectionError, redis.TimeoutError, OSError)):
        if may_not := denied(error, keys):
            return BackendUnavailable(f"Redis ({name}) {_TOLD} {may_not}; see what it should, with: wanpool acl")
        return BackendUnavailable(
            f"Redis ({name}) refused: {public_url(error)}", passing=is_loading or bool(_PASSING.match(str(error)))
        )
    wrapped = error.__cause__ if type(error) is redis.ConnectionError else None  # by redis.asyncio
    if isinstance(wrapped or error, redis.exceptions.AuthenticationError):
        return BackendUnavailable(
            f"Redis ({name}) wants other credentials: {public_url(error)}; put user and password into the URL"
        )
    where, took = place()
    return BackendUnavailable(
        f"Redis ({name}) does not answer ({where and where + ', '}{took:.1f} s, connect_timeout {timeout:g} s): "
        f"{public_url(error) or type(error).__name__}; check that it runs, and the URL",
        answered=False,
        passing=True,
    )


def is_denial(text: str) -> bool:
    """Whether this text, of a server or of one of our errors, says that a user may not do something."""
    return _UNNAMED in text or _TOLD in text or bool(_NAMED.search(text) or _KEY.search(text))


def denied(error: Exception, keys: Sequence[str]) -> str | None:
    """What the user may not do, after a request with these keys; None if the error is about something else."""
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
