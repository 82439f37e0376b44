"""Which values are acceptable."""

import math
import re

from redis_wanpool.errors import InvalidValue

SHORTEST_TTL = 0.5
LONGEST_TTL = 86_400.0
MOST_PORTS_A_CALL = 1_000
LONGEST_KEY = 256
NAMESPACE = "[A-Za-z0-9_.-]{1,64}"
_NAMESPACE = re.compile(NAMESPACE)
_NETWORK = re.compile(r"[A-Za-z0-9_.:/-]{1,64}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_LEASE_ID = re.compile(r"[!-~]+:\d+:[!-~]+/[A-Za-z0-9_-]+")


def checked_namespace(value: object) -> str:
    if isinstance(value, str) and _NAMESPACE.fullmatch(value):
        return value
    raise InvalidValue(f"namespace {value!r}: use 1 to 64 of A-Z a-z 0-9 _ . -")


def checked_network(value: object) -> str:
    if isinstance(value, str) and _NETWORK.fullmatch(value):
        return value
    raise InvalidValue(f"network {value!r}: use 1 to 64 of A-Z a-z 0-9 _ . : / -")


def checked_integer(name: str, value: object, least: int, most: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    raise InvalidValue(f"{name} {value!r}: must be an integer from {least} to {most}")


def checked_wan(value: object) -> int:
    return checked_integer("wan_idx", value, 0, 999_999)


def checked_port(value: object) -> int:
    return checked_integer("port", value, 1, 65_535)


def checked_lease_id(value: object) -> str:
    if isinstance(value, str) and _LEASE_ID.fullmatch(value):
        return value
    raise InvalidValue(
        f"lease_id {value!r}: give it as the lease has it, or as wanpool acquire printed it behind the port"
    )


def checked_seconds(name: str, value: object, least: float = 0.0, most: float = LONGEST_TTL) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most:
        return float(value)
    raise InvalidValue(f"{name} {value!r}: must be a number of seconds from {least:g} to {most:g}")


def checked_flag(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise InvalidValue(f"{name} {value!r}: must be True or False")


def checked_timeout(value: object) -> float | None:
    """Seconds, of which less than none are none; None: without an end."""
    return None if value is None else checked_seconds("timeout", value, -math.inf, math.inf)


def checked_ttl(value: object, most: float = LONGEST_TTL) -> float:
    return checked_seconds("ttl", value, SHORTEST_TTL, most)


def checked_text(name: str, value: object, most: int = 128) -> str:
    if isinstance(value, str) and len(value) <= most and value.isprintable():
        return value
    raise InvalidValue(f"{name} {value!r}: must be printable text of at most {most} characters")


def checked_key(value: object) -> str:
    """A key of `sticky=`; the error does not repeat it, because it may name somebody's account."""
    if isinstance(value, str) and 1 <= len(value) <= LONGEST_KEY and not _SURROGATE.search(value):
        return value
    raise InvalidValue(f"sticky: must be text of 1 to {LONGEST_KEY} characters that UTF-8 has, like an account's name")


def checked_on_failover(value: object) -> str:
    if isinstance(value, str) and value in ("grace", "continue"):
        return value
    raise InvalidValue(
        f'on_failover {value!r}: must be "grace" (holders re-assert, nothing new is granted for a while) or "continue"'
    )


def milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
