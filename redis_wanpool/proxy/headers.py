"""What a proxy reads from the head of an HTTP message, and what it passes on of it."""

import base64
import binascii
import re
from collections.abc import Iterable

from redis_wanpool.proxy.refusal import Refusal

Headers = Iterable[tuple[bytes, bytes]]

_HOP_BY_HOP = {
    b"connection",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authentication-info",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"upgrade",
}
"""of https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1; Transfer-Encoding is h11's to read and write"""
_FRAMING = {b"host", b"content-length", b"transfer-encoding"}  #: what Connection cannot take away
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,255})(?::([0-9]{1,5}))?")


def passed_on(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The headers that are for the other end."""
    every = list(headers)
    lower = [(name.lower(), value) for name, value in every]
    listed = {word.strip().lower() for name, value in lower if name == b"connection" for word in value.split(b",")}
    dropped = _HOP_BY_HOP | (listed - _FRAMING)
    if any(name == b"transfer-encoding" for name, _ in lower):
        dropped = dropped | {b"content-length"}
    return [pair for pair, (name, _) in zip(every, lower, strict=True) if name not in dropped]


def values(headers: Headers, wanted: bytes) -> list[bytes]:
    """The values of a header, whose name is given in lower case."""
    return [value for name, value in headers if name.lower() == wanted]


def credentials(headers: Headers) -> tuple[str, str] | None:
    """The user name and the password for the proxy; None if there are none, or they cannot be read."""
    found = values(headers, b"proxy-authorization")
    kind, _, encoded = (found[0] if len(found) == 1 else b"").strip().partition(b" ")
    if kind.lower() != b"basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (user, password) if colon else None


def authority(text: str, port: int | None) -> tuple[str, int]:
    """The host and the port of `host:port`; raises Refusal for other text.

    Args:
        text: what the client wrote.
        port: the port if it wrote none; None: it must.
    """
    if "@" in text:
        raise Refusal(400, "a user name has no place in a URL")
    match = _AUTHORITY.fullmatch(text)
    number = int(match[2]) if match and match[2] else port
    if match is None or number is None or not 0 < number < 65_536:
        raise Refusal(400, f"{text!r} is not a host and a port")
    return match[1].strip("[]"), number


def absolute(target: str) -> tuple[str, str, int, str]:
    """The authority, its host and port, and the path of a URL, which begins with http://; raises Refusal for others."""
    scheme, separator, rest = target.partition("://")
    if not separator or "#" in rest:
        raise Refusal(400, f"this is a proxy: ask it for a whole URL (http://host/path), not for {target[:80]!r}")
    if scheme.lower() != "http":
        raise Refusal(400, f"a URL of {scheme[:20]!r} cannot be forwarded: use CONNECT")
    match = re.search(r"[/?]", rest)
    end = match.start() if match else len(rest)
    path = rest[end:]
    host, port = authority(rest[:end], 80)
    return rest[:end], host, port, path if path.startswith("/") else f"/{path}"
