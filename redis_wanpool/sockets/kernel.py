"""What Linux keeps of connections from a port: asked by netlink, as `ss` does, with no need of a privilege."""

import socket
import struct
import sys
from collections.abc import Iterator
from typing import Any

LAST_ACK = 9  #: the other side closed first, then this one, and waits for the last answer (include/net/tcp_states.h)

_SOCK_DIAG, _BY_FAMILY, _REQUEST_ALL, _ERROR, _DONE = 4, 20, 0x301, 2, 3
"""of include/uapi/linux: netlink.h and sock_diag.h"""
_HEADER, _SOCKET = struct.Struct("=IHHII"), struct.Struct("=BBBxI2s46x")
"""nlmsghdr, and inet_diag_req_v2: family, protocol, extensions, states, source port, and no more of its socket"""
_ALL_STATES, _FOUND = 0xFFFFFFFF, struct.Struct("=xB2x2s62xI")
"""of inet_diag_msg the state, the source port, and the inode: 0 when no program has the connection any more"""
_RTT_AT = 68  #: where struct tcp_info of include/uapi/linux/tcp.h has the round trip, in microseconds
TIMEOUT = 0.2  #: seconds; the kernel answers while it is asked


def left_over(port: int) -> set[int] | None:
    """The TCP states of what closed IPv4 connections from a port have left in this network namespace.

    None where programs have the port, too, or the system does not tell.
    """
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as asking:  # type: ignore[attr-defined,unused-ignore]
            asking.settimeout(TIMEOUT)
            wanted = _SOCKET.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, _ALL_STATES, port.to_bytes(2, "big"))
            asking.send(_HEADER.pack(_HEADER.size + len(wanted), _BY_FAMILY, _REQUEST_ALL, 1, 0) + wanted)
            found = [(state, inode) for state, of, inode in _sockets(asking) if of == wanted[8:10]]
    except (AttributeError, OSError):  # not Linux, or a sandbox
        return None
    return None if any(inode for _, inode in found) else {state for state, _ in found}


def _sockets(asking: socket.socket) -> Iterator[tuple[int, bytes, int]]:
    """State, port and inode of each; the kernel adds all sockets that are bound and not connected, of any port."""
    while True:
        told, at = asking.recv(1 << 16), 0
        while at < len(told):
            size, kind, *_ = _HEADER.unpack_from(told, at)
            if kind == _DONE:
                return
            if kind == _ERROR:
                raise OSError("netlink refuses the question")
            at += _HEADER.size
            yield _FOUND.unpack_from(told, at)
            at += (size + 3 & ~3) - _HEADER.size


def round_trip(sock: Any) -> float | None:
    """Seconds that the kernel measured from here to the other side and back; None if the system does not tell."""
    try:
        told = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RTT_AT + 4)  # type: ignore[attr-defined,unused-ignore]
        microseconds: int = int.from_bytes(told[_RTT_AT:], sys.byteorder)
    except (AttributeError, OSError):
        return None
    return microseconds / 1e6 if len(told) == _RTT_AT + 4 and microseconds else None
