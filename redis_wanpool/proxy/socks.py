"""SOCKS 5, as far as a client needs it who connects: https://www.rfc-editor.org/rfc/rfc1928 and rfc1929."""

import socket
from dataclasses import dataclass

from redis_wanpool.model.address import Address
from redis_wanpool.proxy.refusal import COMMAND, GENERAL, KIND, Refusal
from redis_wanpool.proxy.wire import Wire

VERSION = 5
_CONNECT, _IPV4, _NAME, _IPV6 = 1, 1, 3, 4
_NO_PASSWORD, _PASSWORD, _NO_METHOD = 0, 2, 0xFF


class GoneWrong(Exception):
    """The client said what cannot be answered further; it has been told what there is to tell."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The user name and the password of a client."""

    user: str
    password: str


async def greet(wire: Wire, *, needs_user: bool) -> Credentials | None:
    """Agrees on a method; the credentials, for which `welcome` has the answer, if the client gives some."""
    _, count = await wire.exactly(2)
    methods = await wire.exactly(count)
    if _PASSWORD in methods and (needs_user or _NO_PASSWORD not in methods):
        await wire.send(bytes((VERSION, _PASSWORD)))
        (version,) = await wire.exactly(1)
        user, password = [await wire.exactly((await wire.exactly(1))[0]) for _ in range(2)]
        if version != 1:
            await welcome(wire, known=False)
        return Credentials(user.decode(errors="replace"), password.decode(errors="replace"))
    if needs_user or _NO_PASSWORD not in methods:
        await wire.send(bytes((VERSION, _NO_METHOD)))
        raise GoneWrong("no credentials" if needs_user else "no method")
    await wire.send(bytes((VERSION, _NO_PASSWORD)))
    return None


async def welcome(wire: Wire, *, known: bool) -> None:
    """Tells a client whether its credentials are right."""
    await wire.send(bytes((1, 0 if known else 1)))
    if not known:
        raise GoneWrong("credentials that are not right")


async def wanted(wire: Wire) -> tuple[str, int]:
    """Where the client wants to be connected to; raises Refusal for what else it may want."""
    version, command, reserved, kind = await wire.exactly(4)
    if version != VERSION or reserved:
        raise Refusal(400, "not a request of SOCKS 5", GENERAL)
    if kind == _IPV4:
        host = socket.inet_ntop(socket.AF_INET, await wire.exactly(4))
    elif kind == _IPV6:
        host = socket.inet_ntop(socket.AF_INET6, await wire.exactly(16))
    elif kind == _NAME:
        (length,) = await wire.exactly(1)
        host = (await wire.exactly(length)).decode("ascii", errors="replace")
    else:
        raise Refusal(400, f"{kind} is no kind of address", KIND)
    port = int.from_bytes(await wire.exactly(2), "big")
    if command != _CONNECT:
        raise Refusal(501, "only CONNECT is supported, not BIND or UDP ASSOCIATE", COMMAND)
    return host, port


async def reply(wire: Wire, code: int, local: Address = ("0.0.0.0", 0)) -> None:
    """Tells the client the result of its request."""
    address, port = local
    await wire.send(bytes((VERSION, code, 0, _IPV4)) + socket.inet_aton(address) + port.to_bytes(2, "big"))
