"""Which tests may run beside which."""

from __future__ import annotations

from pathlib import Path

CONNECT = {"test_cli", "test_docs", "test_doctor", "test_doctor_machine", "test_doctor_redis", "test_embedded"}
CONNECT |= {
    "test_http",
    "test_loops",
    "test_http_edges",
    "test_interrupts",
    "test_legacy",
    "test_operator",
    "test_sockets",
}


def connects(path: str) -> bool:
    """Whether tests connect from their leases' ports, or look at this machine's: these run one after another."""
    return Path(path).stem in CONNECT


def scope(nodeid: str) -> str:
    """Tests of one scope run in one worker: those that connect, and those of one lab, which share what it has built."""
    path = nodeid.partition("::")[0]
    if connects(path):
        return "ports"
    return path if "labs/" in path else nodeid
