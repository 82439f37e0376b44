"""Reads URLs of Redis: which parts may be shown, and which servers they name (Sentinels, a cluster)."""

import codecs
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

from redis.connection import parse_url

from redis_wanpool.errors import InvalidValue
from redis_wanpool.model.address import Address

# Up to the last @: a password that is not percent-encoded may have "/", "#" or spaces in it.
_CREDENTIALS = re.compile(r"(?:(?<=unix://)(?!/)|(?<=://)(?<!unix://)).*@", re.DOTALL)
_QUERY = re.compile(r"([?&][^=&\s]*(?:pass|secret|key|token)[^=&\s]*=).*", re.IGNORECASE | re.DOTALL)
# Half of one, "redis://user:password", in place of a port; or an option whose name is encoded.
_PORT = r"\d{0,5}(?:[/?#,'\")]|[.;:]?(?:\s|$))"
_UNSURE = re.compile(rf"://(?:[^/?#\s]*,)?[^/?#\s\[,]*:(?!{_PORT})|[?&][^=&\s]*%[^=&\s]*=")


def public_url(text: object) -> str:
    """`text` without the credentials of the URLs in it, fit for logs and errors; "***" for what cannot surely be shown.

    What follows a password among the options is not shown: it may be a part of it.
    """
    shown = _QUERY.sub(r"\1***", _CREDENTIALS.sub("***@", str(text)))
    if _UNSURE.search(shown):
        return re.sub(r"(?<=://).*", "***", shown, flags=re.DOTALL)
    return shown


def has_password(url: str) -> bool:
    """Whether the URL holds a password, before its host or as an option."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False  # `checked_url` says that it does not parse
    return bool(parts.password) or any("pass" in name.lower() for name, _ in parse_qsl(parts.query))


def _is_span(value: Any) -> bool:
    return isinstance(value, float) and 0 < value < 1e7


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and 0 <= value < 2**31


def _is_codec(value: Any) -> bool:
    try:
        return bool(codecs.lookup(value))
    except (LookupError, TypeError, ValueError):
        return False


_OPTIONS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("socket_timeout", "socket_connect_timeout", "timeout"), _is_span),
    **dict.fromkeys(("db", "socket_read_size", "max_connections", "health_check_interval"), _is_count),
    **dict.fromkeys(("socket_keepalive", "retry_on_timeout", "ssl_check_hostname"), lambda value: True),
    **dict.fromkeys(("username", "password", "client_name", "lib_name", "lib_version"), lambda value: True),
    "encoding": _is_codec,
    "decode_responses": lambda value: True,  # ours is taken
    "protocol": lambda value: value in (2, 3),
    "path": lambda value: "\0" not in value,
}


def check_options(url: str) -> None:
    """Raises InvalidValue, which names it, for an option with a value that cannot be meant, and ValueError for others.

    What takes an object (`retry`, `credential_provider`) cannot be an option of a URL.
    """
    options: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]
    for name in options.keys() - {"host", "port", "connection_class"}:
        check = _OPTIONS.get(name)
        if check is None and not name.startswith("ssl_"):
            raise ValueError("an unknown option")  # by no name: it may be the end of a password
        if check is not None and not check(options[name]):
            raise InvalidValue(f"option {name}: its value is invalid")


@dataclass(frozen=True)
class Several:
    """The servers that a URL names, and how to talk to them."""

    addresses: tuple[Address, ...]
    path: tuple[str, ...]
    is_tls: bool
    own: dict[str, str]  #: the options that are not redis-py's
    options: dict[str, Any]  #: options of connections, as redis-py has them

    @classmethod
    def parse(cls, url: str, schemes: tuple[str, str], port: int, own_options: tuple[str, ...] = ()) -> Self:
        """Reads a URL of one of the schemes, without and with TLS; what follows a "?" is as in redis://.

        Args:
            port: the default, for servers that the URL names without one.
            own_options: further names that may follow the "?".

        Raises:
            ValueError, TypeError: the URL is of another form, or an option is unknown; the message may show a password.
        """
        scheme, _, rest = url.partition("://")
        rest, _, query = rest.partition("?")
        where, _, path = rest.partition("/")
        user, at, hosts = where.rpartition("@")
        if scheme not in schemes:
            raise ValueError("another scheme")
        is_tls = scheme == schemes[1]
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
        own = {name: value for name, value in pairs if name in own_options}
        others = urlencode([pair for pair in pairs if pair[0] not in own])
        read: Any = parse_url
        plain = f"{'rediss' if is_tls else 'redis'}://{user}{at}server/" + (others and f"?{others}")
        check_options(plain)
        options = read(plain)
        for name in ("host", "port", "connection_class"):
            options.pop(name, None)
        words = tuple(word for word in path.split("/") if word)
        return cls(tuple(_address(host, port) for host in hosts.split(",")), words, is_tls, own, options)


def _address(text: str, port: int) -> Address:
    """A host with or without a port; an IPv6 address with one is in brackets."""
    host, colon, behind = text.rpartition(":") if ":" in text and not text.endswith("]") else (text, "", "")
    host = host.removeprefix("[").removesuffix("]")
    number = int(behind) if colon else port
    if not host or not 0 < number < 65_536 or set(host) & set(" /?#"):
        raise ValueError("a server without a host, or with an impossible port")
    return host, number
