"""A running program has all that it needs in memory: neither a changed disk nor a lack of descriptors costs a lease."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from command_line import Program
from waiting import KEPT_TTL

import redis_wanpool
from redis_wanpool import WanPortPool
from redis_wanpool.protocol.scripts import folder

PREFIX = "wanpool:{test:0}:"
PROGRAM = """
import asyncio, errno, os, resource, sys, time
import redis_wanpool
from redis_wanpool import AsyncWanPortPool, WanPortPool

url, face, what = sys.argv[1:]
imported = []

class Imports:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.startswith("redis"):
            imported.append(name)

def change():
    print(os.path.dirname(redis_wanpool.__file__), flush=True)
    sys.stdin.readline()
    sys.meta_path.insert(0, Imports)
    if what == "no file may be opened":
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        try:
            while True:
                os.dup(0)
        except OSError as error:
            assert error.errno == errno.EMFILE

def kept(leases, before):
    for lease in leases:
        lease.check()
    return all(lease.expires_at > then + 4 for lease, then in zip(leases, before))

def blocking():
    with WanPortPool(url, namespace="test", rest=0) as pool:
        leases = pool.acquire_many(0, 3)
        change()
        before = [lease.expires_at for lease in leases]
        while not kept(leases, before):
            time.sleep(0.01)
        print("kept", flush=True)
        sys.stdin.readline()
        assert leases[0].release() and pool.acquire(0).release()

async def with_asyncio():
    async with AsyncWanPortPool(url, namespace="test", rest=0) as pool:
        leases = await pool.acquire_many(0, 3)
        change()
        before = [lease.expires_at for lease in leases]
        while not kept(leases, before):
            await asyncio.sleep(0.01)
        print("kept", flush=True)
        sys.stdin.readline()
        assert await leases[0].release() and await (await pool.acquire(0)).release()

blocking() if face == "sync" else asyncio.run(with_asyncio())
print(imported)
"""


def remove(package: Path, lua: Path) -> None:
    shutil.move(package, package.with_name("gone"))
    shutil.rmtree(lua)


def replace(package: Path, lua: Path) -> None:
    for file in package.rglob("*.py"):
        file.write_text("raise SystemExit('a newer version')")
    for file in lua.rglob("*.lua"):
        file.write_text("return {'NEWER'}")


CHANGES = {"uninstalled": remove, "upgraded": replace, "no file may be opened": lambda package, lua: None}


@pytest.mark.slow
@pytest.mark.parametrize("what", CHANGES)
def test_a_program_keeps_and_gives_back_its_leases(
    own_server: Any, program: Any, tmp_path: Path, face: str, what: str
) -> None:
    package, lua = tmp_path / "redis_wanpool", tmp_path / "lua"
    ignored = shutil.ignore_patterns("__pycache__", "lua")
    shutil.copytree(Path(redis_wanpool.__file__).parent, package, ignore=ignored)
    shutil.copytree(folder(), lua)
    with WanPortPool(own_server.url, namespace="test") as pool:
        pool.define_wan(0, "20000-20009", cooldown=100, lease_ttl=KEPT_TTL)
    running: Program = program(PROGRAM, own_server.url, face, what)
    assert running.line() == str(package)
    CHANGES[what](package, lua)
    own_server.admin.script_flush()
    running.tell("go on")
    assert running.line() == "kept", running.end()
    own_server.admin.script_flush()
    running.tell("give back")
    code, said, errors = running.end()
    assert (code, said, errors) == (0, "[]\n", "")
    assert own_server.admin.zcard(PREFIX + "leased") == 0 and own_server.admin.zcard(PREFIX + "cooling") >= 3
