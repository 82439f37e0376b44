"""The clients that may use the proxy, and the addresses that it may connect to."""

import hmac
import os
import socket
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path

from redis_wanpool.errors import InvalidValue

Networks = tuple[IPv4Network | IPv6Network, ...]
_LARGEST_FILE = 65_536


@dataclass(frozen=True, slots=True)
class Access:
    """The rules. On a loopback address everybody on this machine may connect to everything, as without a proxy."""

    is_local: bool  #: whether it listens on a loopback address only
    allowed: Networks = ()
    targets: Networks = ()
    passwords: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, bind: str, allow: Iterable[str] = (), allow_target: Iterable[str] = (), passwords: Iterable[str] = ()
    ) -> "Access":
        """Checks the rules; raises InvalidValue."""
        try:
            is_local = ip_address(bind).is_loopback
        except ValueError:
            raise InvalidValue(f"bind {bind!r}: must be an IP address of this machine, like 127.0.0.1") from None
        rules = cls(is_local, networks("allow", allow), networks("allow_target", allow_target), tuple(passwords))
        if not all(rules.passwords):
            raise InvalidValue("passwords: one of them is empty")
        if not is_local and not (rules.allowed and rules.passwords):
            raise InvalidValue(
                f"bind {bind}: beyond loopback the proxy needs a password, and the networks of its clients "
                "(--allow NETWORK --password-file FILE, or allow= and passwords=): anybody could use your lines"
            )
        return rules

    def admits(self, address: str) -> bool:
        """Whether a client may connect from the address."""
        client = ip_address(address.partition("%")[0])
        return client.is_loopback or any(client in network for network in self.allowed)

    def knows(self, password: str) -> bool:
        """Whether that is a password. It takes the same time for all that are wrong."""
        given = password.encode()
        return True in [hmac.compare_digest(given, one.encode()) for one in self.passwords]

    def may_reach(self, address: str, port: int, own: Collection[int]) -> bool:
        """Whether a client may be connected to the address, which is not a name, and not a port of the proxy's own."""
        if port in own and _is_here(address):
            return False
        target = ip_address(address)
        if self.is_local or (target.is_global and not target.is_multicast):
            return True
        return any(target in network for network in self.targets)


def _is_here(address: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((address, 0))
        except OSError:
            return False
    return True


def networks(name: str, texts: Iterable[str]) -> Networks:
    """Networks, or addresses, as somebody wrote them; raises InvalidValue."""
    try:
        return tuple(ip_network(text) for text in texts)
    except ValueError as error:
        raise InvalidValue(f"{name}: {error}; write a network like 192.168.1.0/24") from None


def read_passwords(path: str) -> list[str]:
    """The passwords of a file, one a line; lines that begin with # say something to people.

    Raises:
        InvalidValue: there is none, or others than the file's owner may read it.
    """
    try:
        with Path(path).open("rb") as file:
            if os.name == "posix" and os.fstat(file.fileno()).st_mode & 0o077:
                raise InvalidValue(f"password file {path}: others can read it; chmod 600 {path}")
            text = file.read(_LARGEST_FILE).decode()
    except OSError as error:
        raise InvalidValue(f"password file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidValue(f"password file {path}: is not UTF-8 text") from None
    found = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not found:
        raise InvalidValue(f"password file {path}: has no password; write one on a line")
    return found
