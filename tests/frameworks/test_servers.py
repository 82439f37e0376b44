"""Servers and task queues: workers that are forked, patched, and ended by a signal or by os._exit."""

from __future__ import annotations

import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_for
from web import Web

WITHIN = 90.0


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def answers(process: subprocess.Popen[str], port: int) -> bool:
    assert process.poll() is None, process.communicate()
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def get(port: int) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=WITHIN)
    try:
        connection.request("GET", "/", headers={"Connection": "close"})
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, body
        return int(body)
    finally:
        connection.close()


def serve(site: Any, web: Web, *command: str, code: int = 0, **environment: str) -> None:
    """Twenty requests at a time, of programs that have four ports; then SIGTERM."""
    port = int(command[-1].rpartition(":")[2])
    process = site.start("-m", *command, TARGET=str(web.server_address[1]), **environment)
    wait_for(lambda: answers(process, port), WITHIN)
    with ThreadPoolExecutor(20) as executor:
        seen = list(executor.map(get, [port] * 40))
    assert set(seen) <= set(site.ports)
    process.send_signal(signal.SIGTERM)
    site.ended(process, code)


@pytest.mark.parametrize(("preload", "used"), [((), ""), (("--preload",), ""), (("--preload",), "1")])
@pytest.mark.parametrize("kind", ["sync", "gthread", "gevent"])
def test_gunicorn(site: Any, web: Web, kind: str, preload: tuple[str, ...], used: str) -> None:
    threads = ("--threads", "4") if kind == "gthread" else ()
    serve(
        site,
        web,
        *("gunicorn", "--log-level", "error", "--timeout", "80", "--workers", "2", "--worker-class", kind),
        *("--no-control-socket", *threads, *preload),
        *("served:wsgi", "--bind", f"127.0.0.1:{free_port()}"),
        USED=used,
    )


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_an_asgi_server(site: Any, web: Web, loop: str) -> None:
    port = str(free_port())
    serve(
        site, web, "uvicorn", "--log-level", "error", "--loop", loop, "served:asgi", "--port", port, code=-15
    )  # it ends as told


def test_celery_gives_back_when_a_child_ends(site: Any, tmp_path: Path) -> None:
    for name in ("broker", "broker-control", "broker-done"):
        (tmp_path / name).mkdir()
    environment = {"FOLDER": str(tmp_path / "broker")}
    options = ("worker", "-P", "prefork", "-c", "2", "--without-gossip", "--without-mingle", "--loglevel", "CRITICAL")
    worker = site.start("-W", "ignore", "-m", "celery", "--quiet", "-A", "tasks", *options, **environment)
    site.run_loose("-c", "import tasks; [tasks.hold.delay(number) for number in range(4)]", **environment)
    wait_for(lambda: len(list((tmp_path / "broker-done").iterdir())) == 4, WITHIN)
    assert site.leased() == 4
    worker.send_signal(signal.SIGTERM)
    worker.communicate(timeout=WITHIN)
    assert site.leased() == 0


def test_rq_gives_back_at_the_end_of_each_job(site: Any, tmp_path: Path) -> None:
    program = f"""
import os, redis, rq, tasks
connection = redis.Redis.from_url(os.environ["WANPOOL_URL"])
queue = rq.Queue(connection=connection)
jobs = [queue.enqueue(tasks.job, number) for number in range(4)]
rq.Worker([queue], connection=connection).work(burst=True, logging_level="ERROR")
print(sorted(job.return_value() in {site.ports!r} for job in jobs))
"""
    assert site.run("-W", "ignore", "-c", program, FOLDER=str(tmp_path)) == "[True, True, True, True]\n"
