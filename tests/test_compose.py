"""docker-compose.yml: no server listens beyond loopback without a password, in any profile."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[1] / "docker-compose.yml").read_text(encoding="utf-8")


def guard() -> str:
    """The shell's text that runs before each server."""
    block = re.search(r"^x-guarded: &guarded\n  - /bin/sh\n  - -c\n  - \|\n((?:    .*\n)+)", TEXT, re.MULTILINE)
    assert block is not None
    return re.sub("^    ", "", block[1], flags=re.MULTILINE).replace("$$", "$")


def test_every_server_and_sentinel_is_guarded() -> None:
    blocks = re.split(r"^(?=x-|services:|  [\w-]+:\n)", TEXT, flags=re.MULTILINE)
    servers = [block for block in blocks if "image: valkey/" in block and "valkey-cli --cluster create" not in block]
    assert len(servers) == 3, "a single server, nodes (with the Sentinels), shards"
    assert all("entrypoint: *guarded" in block for block in servers)
    made = [block for block in blocks if "<<: *node" in block or "<<: *shard" in block]
    assert len(made) == 12 and not any("entrypoint:" in block for block in made)


@pytest.mark.parametrize(
    ("bind", "is_open"),
    [
        *[(bind, False) for bind in ("127.0.0.1", "::1", "localhost", "127.0.0.1 ::1", "127.8.9.1")],
        *[(bind, True) for bind in ("127.0.0.1 10.0.0.2", "10.0.0.2", "*", "0.0.0.0", "::", "127.0.0.1\n10.0.0.2")],
        *[(bind, True) for bind in ("127.example.com", "127.0.0.1,10.0.0.2", "::1 -::*", "::1\t10.0.0.2", "-::*")],
    ],
)
def test_an_address_beyond_loopback_wants_a_password(bind: str, is_open: bool) -> None:
    for password in ("", "sesame"):
        done = subprocess.run(
            ["/bin/sh", "-c", guard(), "echo started; umask"],
            env={"WANPOOL_BIND": bind, "WANPOOL_PASSWORD": password, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        if is_open and not password:
            assert done.returncode == 1 and "set WANPOOL_PASSWORD" in done.stderr and not done.stdout
        else:
            assert (done.returncode, done.stdout) == (0, "started\n0077\n"), done.stderr
