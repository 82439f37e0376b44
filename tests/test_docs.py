"""What the documentation shows runs as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_for
from web import Web

TEXT = (Path(__file__).parents[1] / "docs/http.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
PRELUDE = """
from redis_wanpool import WanPortPool
pool = WanPortPool()
"""


WITH_CURL = [number for number, block in enumerate(BLOCKS) if '"curl"' in block]
WITHOUT_CURL = [number for number in range(len(BLOCKS)) if number not in WITH_CURL]


@pytest.mark.parametrize("number", WITHOUT_CURL)
def test_an_example_of_an_http_client(server: Any, tmp_path: Path, number: int) -> None:
    run_example(server, tmp_path, number, 24800)


def run_example(server: Any, folder: Path, number: int, first: int) -> None:
    (folder / "wanpool.toml").write_text(
        f'url = "{server.url}"\nrest = 0\n'
        f'[wan.0]\nports = "{first}-{first + 9}"\n[wan.1]\nports = "{first + 10}-{first + 19}"\n'
    )
    web = Web()
    try:
        text = BLOCKS[number].replace("http://example.com", web.url).replace('"example.com"', f'"{web.url[7:]}"')
        command = [sys.executable, "-W", "error", "-c", PRELUDE + text]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    finally:
        web.close()
    assert (done.returncode, done.stderr) == (0, "")
    assert web.connections == text.count(web.url[7:])
    wait_for(lambda: not server.admin.zcard("wanpool:{default:0}:leased"))
