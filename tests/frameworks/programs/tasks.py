"""Tasks of Celery and RQ that connect from leased ports."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from celery import Celery
from celery.signals import worker_process_shutdown

from redis_wanpool import WanPortPool

FOLDER = os.environ["FOLDER"]
app = Celery("tasks", broker="filesystem://")
app.conf.broker_transport_options = {
    "data_folder_in": FOLDER,
    "data_folder_out": FOLDER,
    "control_folder": f"{FOLDER}-control",
}
app.conf.worker_hijack_root_logger = False
pool = WanPortPool()


@worker_process_shutdown.connect
def give_back(**_: Any) -> None:
    pool.close()


@app.task
def hold(number: int) -> None:
    lease = pool.acquire(0, wait=60, reuse_address=True)  # to the end of this process
    lease.check()
    Path(f"{FOLDER}-done", str(number)).touch()


def job(number: int) -> int:
    with WanPortPool() as own:  # RQ's work horse ends by os._exit after each job
        return own.acquire(0, wait=60, reuse_address=True).port
