"""Why a client does not get what it asks for, in the words of HTTP and of SOCKS."""

import errno
import math
import os
import socket

from redis_wanpool.errors import InGrace, InvalidValue, PoolExhausted, PortRejected, WanpoolError

GENERAL, NOT_ALLOWED, NETWORK, HOST, REFUSED, COMMAND, KIND = 1, 2, 3, 4, 5, 7, 8
"""replies of https://www.rfc-editor.org/rfc/rfc1928#section-6"""
SOON = 2.0  #: seconds after which to try again, where nothing tells how long it takes


class Refusal(Exception):
    """An answer other than the wanted one.

    Attributes:
        status: the HTTP status.
        reply: the SOCKS reply.
        retry_after: seconds; None: trying again does not help.
    """

    def __init__(self, status: int, text: str, reply: int = GENERAL, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.reply = reply
        self.retry_after = None if retry_after is None else max(1, math.ceil(retry_after))


_REPLIES = {
    errno.ECONNREFUSED: REFUSED,
    errno.ENETUNREACH: NETWORK,
    errno.EHOSTUNREACH: HOST,
    errno.EACCES: NOT_ALLOWED,
}


def refusal(error: WanpoolError | OSError, host: str, port: int) -> Refusal:
    """What an error of a connection to a server means to the client."""
    there = f"{host}:{port}"
    if isinstance(error, InvalidValue):
        return Refusal(400, str(error))
    if isinstance(error, InGrace):
        return Refusal(503, str(error), retry_after=error.retry_after)
    if isinstance(error, (PoolExhausted, PortRejected)):
        return Refusal(503, str(error), retry_after=SOON if error.free_in is None else error.free_in)
    if isinstance(error, WanpoolError):
        return Refusal(503, str(error), retry_after=SOON)
    if isinstance(error, TimeoutError):
        return Refusal(504, f"{there} does not answer", HOST)
    if isinstance(error, socket.gaierror):
        return Refusal(502, f"{host} has no IPv4 address: {error.strerror}", HOST)
    why = os.strerror(error.errno) if error.errno else str(error)
    return Refusal(502, f"{there}: {why}", _REPLIES.get(error.errno or 0, GENERAL))
