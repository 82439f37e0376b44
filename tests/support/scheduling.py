"""Which tests may run beside which."""

from __future__ import annotations

from pathlib import Path

CONNECT = {
    "test_cli": "20700-20763, 22700-22763 and 24700-24763, as the demo has them",
    "test_interrupts": "23000-23909",
    "test_soak": "23950-23965",
    "test_sockets": "24100-24110 and 25200-25499",
    "test_doctor": "24200-24215",
    "test_http": "24300-24320",
    "test_doctor_machine": "24400-24490",
    "test_doctor_redis": "24500-24580",
    "test_http_edges": "24600-24620",
    "test_docs": "24800-25199",
    "test_loops": "25520-25529",
    "test_race": "25530-25540",
    "test_http_environment": "25550-25569",
    "test_no_thread": "25570-25609",
    "test_waiting": "25610-25619",
    "test_proxy_clients": "25620-25659 and 25920-25929",
    "test_proxy_http": "25660-25699",
    "test_proxy_socks": "25700-25719",
    "test_proxy_ends": "25720-25879 and, in the long form, 8000-9199",
    "test_proxy_command": "25880-25919",
    "test_install": "24630-24639 and 25930-25969",
    "test_checker": "25970-25999",
    "test_plain_sockets": "10000-19999 and 26000-31999",
}
"""The files whose tests connect from their leases' ports, or look at this machine's, and their ports: each has its own,
so that its tests run one after another, and beside those of other files."""


def connects(path: str) -> bool:
    """Whether tests connect from their leases' ports, or look at this machine's."""
    return Path(path).stem in CONNECT


def scope(nodeid: str) -> str:
    """Tests of one scope run in one worker: those of a file that connects, and those of one lab, which share what it
    has built."""
    path = nodeid.partition("::")[0]
    return path if connects(path) or "labs/" in path else nodeid
