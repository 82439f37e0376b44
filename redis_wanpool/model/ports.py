"""Lists of ports, as text and as numbers."""

import re
from collections.abc import Iterable

from redis_wanpool.errors import InvalidValue

_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


def ports_text(ports: object) -> str:
    """The canonical form of a list of ports like "20000-21999,23000": ascending, neighbours joined.

    Raises:
        InvalidValue: it is empty, a port is outside 1 to 65535, or ranges are reversed or overlap.
    """
    if not isinstance(ports, str) or not ports.strip():
        raise InvalidValue(f'ports {ports!r}: give a list of ports and ranges, like "20000-21999,23000"')
    ranges: list[tuple[int, int]] = []
    for part in ports.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise InvalidValue(f'ports {ports!r}: {part.strip()!r} is neither a port nor a range like "20000-21999"')
        first, last = int(match[1]), int(match[2] or match[1])
        if not 1 <= first <= last <= 65_535:
            raise InvalidValue(f"ports {ports!r}: {part.strip()!r} must go up, within 1 to 65535")
        ranges.append((first, last))
    ranges.sort()
    joined = [ranges[0]]
    for first, last in ranges[1:]:
        if first <= joined[-1][1]:
            raise InvalidValue(f"ports {ports!r}: {first} is in two of its ranges")
        if first == joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return _spelled(joined)


def _spelled(ranges: Iterable[tuple[int, int]]) -> str:
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def port_ranges(ports: Iterable[int]) -> list[tuple[int, int]]:
    """Ports as ranges, first and last of each, ascending."""
    found: list[tuple[int, int]] = []
    for port in sorted(set(ports)):
        if found and port == found[-1][1] + 1:
            found[-1] = (found[-1][0], port)
        else:
            found.append((port, port))
    return found


def port_list(ports: Iterable[int]) -> str:
    """Ports as a list in its canonical form; "" for none."""
    return _spelled(port_ranges(ports))


def port_numbers(ports: str) -> list[int]:
    """The ports of a list in its canonical form, ascending."""
    found: list[int] = []
    for part in ports.split(","):
        match = _RANGE.fullmatch(part)
        if match is None or (found and int(match[1]) <= found[-1]):
            raise ValueError(f"{part[:20]!r} is not the next range of a list of ports")
        found += range(int(match[1]), int(match[2] or match[1]) + 1)
    return found
