"""The embedded server's folder: nothing of another user is used, followed or changed; any path works."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis
from command_line import wanpool

from redis_wanpool import BackendUnavailable, WanPortPool
from redis_wanpool.transport import embedded as server
from redis_wanpool.transport.embedded import place

SOMEBODY = 65534

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's files")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files of all users."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    folder.chmod(0o1777)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Path]]:
    """Chooses the server's folder."""

    def choose(name: str) -> Path:
        monkeypatch.setenv("WANPOOL_HOME", str(tmp_path / name))
        return tmp_path / name

    yield choose
    with suppress(BackendUnavailable):
        server.stop()


def modes(*paths: Path) -> list[tuple[int, int]]:
    return [(stat.S_IMODE(path.stat().st_mode), path.stat().st_uid) for path in paths]


def refused(match: str) -> None:
    """Neither starting, nor looking, nor stopping touches it."""
    for act in (server.ensure, server.status, server.stop):
        with pytest.raises(BackendUnavailable, match=match):
            act()


def test_another_users_folder_is_refused_and_not_changed(at: Callable[[str], Path]) -> None:
    folder = at("home")
    folder.mkdir(mode=0o700)
    os.chown(folder, SOMEBODY, SOMEBODY)
    refused(r"belongs to another user .uid 65534.")
    assert list(folder.iterdir()) == [] and modes(folder) == [(0o700, SOMEBODY)]


def test_a_folder_that_others_may_use_is_refused_with_the_cure_and_not_changed(at: Callable[[str], Path]) -> None:
    folder = at("home")
    folder.mkdir()
    folder.chmod(0o1777)
    refused(f"mode 1777.*chmod 700 {folder}")
    assert modes(folder) == [(0o1777, 0)]
    folder.chmod(0o700)
    server.ensure()


def test_others_may_look_into_the_folder_and_read_nothing(at: Callable[[str], Path]) -> None:
    folder = at("home")
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    with WanPortPool() as pool:
        pool.define_wan(0, "20000-20009")
        pool.acquire(0, reuse_address=True)
    assert modes(folder) == [(0o755, 0)]
    data = [folder / "server.log", *(folder / "appendonlydir").iterdir()]
    assert len(data) > 2 and not any(mode & 0o077 for mode, _ in modes(folder / "s", folder / "appendonlydir", *data))


def test_a_folder_with_other_things_in_it_is_refused_by_name(at: Callable[[str], Path]) -> None:
    folder = at("home")
    (folder / "appendonlydir").mkdir(mode=0o700, parents=True)  # as of a Redis that the system runs
    folder.chmod(0o700)
    refused(r"not the embedded server's .'appendonlydir'.")
    assert [path.name for path in folder.iterdir()] == ["appendonlydir"]


def test_a_link_of_another_user_is_not_followed_and_of_ones_own_is(at: Callable[[str], Path], tmp_path: Path) -> None:
    folder = at("home")
    (tmp_path / "data").mkdir(mode=0o700)
    folder.symlink_to("data")
    os.chown(folder, SOMEBODY, SOMEBODY, follow_symlinks=False)
    refused("is a link")
    os.chown(folder, 0, 0, follow_symlinks=False)
    assert server.ensure() == f"unix://{folder / 's'}"


def test_a_link_at_the_predictable_temporary_path_is_not_followed(at: Callable[[str], Path], temporary: Path) -> None:
    folder = at("long" * 30)
    victim = temporary / "victim"
    victim.mkdir()
    victim.chmod(0o755)
    planted = place.way_to(folder).parent
    (planted / "d").unlink()
    planted.rmdir()
    planted.symlink_to(victim)
    with pytest.raises(BackendUnavailable, match="is a link"):
        server.ensure()
    assert modes(victim) == [(0o755, 0)] and list(victim.iterdir()) == []


def test_a_folder_at_the_predictable_temporary_path_is_not_taken(at: Callable[[str], Path]) -> None:
    planted = place.way_to(at("long" * 30)).parent
    os.chown(planted, SOMEBODY, SOMEBODY)
    with pytest.raises(BackendUnavailable, match="belongs to another user"):
        server.ensure()


@pytest.mark.parametrize("whose", ["socket", "process"])
def test_another_users_server_is_not_talked_to(at: Callable[[str], Path], whose: str) -> None:
    folder = at("home")
    place.make_home(folder)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "s"))
        if whose == "socket":
            os.chown(folder / "s", SOMEBODY, SOMEBODY)
            listening.listen()
        elif (child := os.fork()) == 0:
            os.setuid(SOMEBODY)
            listening.listen()
            os._exit(0)
        else:
            os.waitpid(child, 0)
        with pytest.raises(BackendUnavailable, match="is another user's"):
            server.ensure()
        assert "another user's" in server.status().trouble
        listening.settimeout(5)
        for _ in range(2):
            link, _ = listening.accept()
            assert link.recv(100) == b"", "not a byte was said"
            link.close()


def test_root_with_a_users_home_does_not_lock_the_user_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANPOOL_HOME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    (tmp_path / "user").mkdir()
    os.chown(tmp_path / "user", SOMEBODY, SOMEBODY)
    with pytest.raises(BackendUnavailable, match=r"belongs to another user.*you are root"):
        server.ensure()
    assert list((tmp_path / "user").iterdir()) == []


@pytest.mark.parametrize("name", ["two\nlines", 'a "quote" \\', "50%41?x#y@z", "线"])
def test_any_path_works(at: Callable[[str], Path], name: str) -> None:
    folder = at(name)
    with WanPortPool() as pool:
        pool.define_wan(0, "20000-20009")
        assert pool.acquire(0, reuse_address=True)
    assert redis.Redis.from_url(server.status().url).ping()
    assert {"s", "appendonlydir", "server.log"} <= {path.name for path in folder.iterdir()}
    result = wanpool("server", "status")
    assert result.returncode == 0 and "Traceback" not in result.stderr


def test_a_path_that_is_not_utf_8_is_refused_by_name(at: Callable[[str], Path]) -> None:
    at(os.fsdecode(b"caf\xe9"))
    with pytest.raises(BackendUnavailable, match=r"caf\\udce9.*not UTF-8"):
        server.ensure()
    result = wanpool("status")
    assert result.returncode == 3 and "not UTF-8" in result.stderr
