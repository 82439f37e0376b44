"""A Redis that keeps nothing on disk restarts again and again, and each time one process defines its WANs again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from history import read, violations
from holder import define
from invariant import check_invariant
from private_server import SERVERS, Server
from waiting import wait_for

from redis_wanpool import BackendUnavailable, InGrace, PoolExhausted, WanNotDefined, WanPortPool

PROCESSES = 4
LEASED, CONFIG = "wanpool:{test:0}:leased", "wanpool:{test:0}:config"


@contextmanager
def holders(url: str, folder: Path) -> Iterator[Path]:
    """Two in each process, of which the first defines the WAN whenever Redis lacks it; the file of what they say."""
    errors = folder / "errors"
    running = []
    try:
        with errors.open("wb") as told:
            for number in range(PROCESSES):
                words = [str(Path(__file__).with_name("holder.py")), url, str(folder), str(number)]
                words += ["defines"] * (number == 0)
                running.append(subprocess.Popen([sys.executable, *words], stderr=told))
        yield errors
    finally:
        for process in running:
            process.kill()
            process.wait()


def granted(url: str) -> Any:
    """The lease that a newcomer gets, who knows nothing of the WAN before; None if it gets none."""
    with WanPortPool(url, namespace="test", network="rival", rest=0, connect_timeout=1) as pool:
        try:
            return pool.acquire(0)
        except (BackendUnavailable, InGrace, PoolExhausted, WanNotDefined):
            return None


def are_back(server: Server, errors: Path) -> bool:
    """Whether all holders have re-asserted their leases; nobody else is granted one meanwhile."""
    assert "Traceback" not in errors.read_text(), errors.read_text()
    assert granted(server.url) is None, "it may be the port of a holder that has not come back yet"
    return bool(server.admin.zcard(LEASED) == 2 * PROCESSES)


@pytest.mark.parametrize(
    "restarts", [pytest.param(2, marks=pytest.mark.slow), pytest.param(20, marks=pytest.mark.long)]
)
@pytest.mark.parametrize("name", SERVERS)
def test_every_holder_keeps_its_port(name: str, restarts: int, tmp_path: Path, as_asked: None) -> None:
    with closing(Server(name, tmp_path)) as server:
        define(server.url, fresh=True)
        with holders(server.url, tmp_path) as errors:
            wait_for(lambda: len(read(tmp_path)) == 2 * PROCESSES, within=60)
            before = {hold.worker: hold.port for hold in read(tmp_path)}
            for _ in range(restarts):
                server.restart()
                wait_for(lambda: are_back(server, errors))
            check_invariant(server.admin)
            server.admin.hset(CONFIG, "grace_until_ms", 0)  # in place of a wait
            rival = granted(server.url)
            assert rival.port not in before.values()
            uses = {hold.worker: hold.uses for hold in read(tmp_path)}
            wait_for(lambda: all(hold.uses > uses[hold.worker] for hold in read(tmp_path)))
            assert "Traceback" not in errors.read_text(), errors.read_text()
        found = read(tmp_path)
        assert violations(found, 0, 0) == []
        assert {hold.worker: hold.port for hold in found} == before and len(found) == len(before)
