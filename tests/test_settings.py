"""Where settings come from, what is refused, and that no password is ever shown."""

from __future__ import annotations

import logging
import os
import pickle
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from faces import make
from waiting import KEPT_TTL, wait_for

from redis_wanpool import (
    AsyncWanPortPool,
    BackendUnavailable,
    InvalidValue,
    LeaseLost,
    Operator,
    PoolExhausted,
    UnsafeRedis,
    WanPortPool,
    settings,
)
from redis_wanpool.model.holder import host_and_pid
from redis_wanpool.model.ports import ports_text
from redis_wanpool.model.wan import WanDefinition
from redis_wanpool.protocol import scripts
from redis_wanpool.protocol.requirements import check_server
from redis_wanpool.system import identity
from redis_wanpool.transport.backend import checked_url
from redis_wanpool.transport.url import public_url

PASSWORDS = [
    "redis://user:sesame@127.0.0.1:1/0",
    "redis://:sesame@127.0.0.1:1/0",
    "redis://:ses%40sesame@127.0.0.1:1/0",
    "rediss://user:sesame@127.0.0.1:1/0",
    "redis://127.0.0.1:1/0?password=sesame",
    "unix:///nowhere/s?password=sesame",
    "redis://:ses/sesame@127.0.0.1:1/0",
    "redis://127.0.0.1:1/0?%70assword=sesame",
    "redis://127.0.0.1:1/0?password=a&sesame",
    "redis://127.0.0.1:1/0?password=a&sesame=1",
    "redis://user:sesame",
    "redis://user:sesame/0",
    "redis://user:1234567sesame",
    "redis:///sesame@",
    "redis+sentinel://a,b:sesame",
    "redis+sentinel://a,b/prod?sentinel_%70assword=sesame",
]


class TestSources:
    def test_the_first_that_has_it_wins(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert settings.settings().namespace == "default" and settings.settings().url is None
        user = tmp_path / "config" / "redis-wanpool"
        user.mkdir(parents=True)
        (user / "wanpool.toml").write_text('namespace = "user"\nurl = "redis://user/0"')
        assert settings.settings().namespace == "user"
        (tmp_path / "wanpool.toml").write_text('namespace = "here"\nurl = "redis://here/0"')
        assert (settings.settings().namespace, settings.settings().url) == ("here", "redis://here/0")
        (tmp_path / "named.toml").write_text('namespace = "named"')
        monkeypatch.setenv("WANPOOL_CONFIG", "named.toml")
        assert (settings.settings().namespace, settings.settings().url) == ("named", None)
        monkeypatch.setenv("WANPOOL_NAMESPACE", "env")
        monkeypatch.setenv("WANPOOL_URL", "redis://env/0")
        monkeypatch.setenv("WANPOOL_NETWORK", "net-env")
        found = settings.settings()
        assert (found.namespace, found.url, found.network) == ("env", "redis://env/0", "net-env")
        found = settings.settings(url="redis://arg/0", namespace="arg", network="net-arg")
        assert (found.namespace, found.url, found.network) == ("arg", "redis://arg/0", "net-arg")

    def test_how_long_the_old_interface_waits(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert settings.settings().legacy_wait == 90
        (tmp_path / "wanpool.toml").write_text("legacy_wait = 7.5")
        assert settings.settings().legacy_wait == 7.5
        monkeypatch.setenv("WANPOOL_LEGACY_WAIT", "0")
        assert settings.settings().legacy_wait == 0
        monkeypatch.setenv("WANPOOL_LEGACY_WAIT", "90 s")
        with pytest.raises(InvalidValue, match="WANPOOL_LEGACY_WAIT: legacy_wait '90 s': must be a number of seconds"):
            settings.settings()

    def test_wans_come_with_their_defaults(self, tmp_path: Path) -> None:
        (tmp_path / "wanpool.toml").write_text(
            'lease_ttl = 30\n[wan.0]\nports = "20000-20009"\n[wan.1]\nports = "21000"'
        )
        assert settings.settings().wans == (
            WanDefinition.of(0, "20000-20009", lease_ttl=30),
            WanDefinition.of(1, "21000", lease_ttl=30),
        )

    def test_a_pool_defines_the_wans_of_its_file_at_first_use(self, tmp_path: Path) -> None:
        (tmp_path / "wanpool.toml").write_text('url = "fake://settings"\n[wan.7]\nports = "20000-20009"\ncooldown = 0')
        pool = WanPortPool.get_instance()
        assert pool is WanPortPool.get_instance()
        assert pool.acquire(7).release() is True
        pool.close()
        assert WanPortPool.get_instance() is not pool
        WanPortPool.get_instance().close()

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("url = ", "wanpool.toml"),
            ("urll = 'x'", "unknown setting 'urll'"),
            ("[wan.0]\nport = '1'", "unknown setting 'port'"),
            ("[wan.0]\ncooldown = 1", "has no ports"),
            ("[wan.x]\nports = '1'", "[wan.x]"),
            ("wan = 3", "wan must be tables"),
            ("[wan.0]\nports = '9-1'", "must go up"),
            ("[wan.0]\nports = '1'\ncooldown = 'x'", "cooldown 'x'"),
            ("url = 'ftp://x'", "scheme"),
            ("namespace = 'a b'", "namespace 'a b'"),
            ("rest = -1", "rest -1"),
            ("lease_ttl = 0", "ttl 0"),
            ("legacy_wait = -1", "legacy_wait -1"),
        ],
    )
    def test_a_bad_file_is_refused_and_named(self, tmp_path: Path, text: str, said: str) -> None:
        (tmp_path / "wanpool.toml").write_text(text)
        with pytest.raises(InvalidValue) as caught:
            WanPortPool()
        assert said in str(caught.value)

    def test_a_password_wants_a_file_that_only_its_owner_reads(self, tmp_path: Path) -> None:
        file = tmp_path / "wanpool.toml"
        file.write_text('url = "unix:///s?password=sesame"')
        file.chmod(0o644)
        with pytest.raises(InvalidValue, match="chmod 600"):
            settings.settings()
        file.write_text('url = "redis://:sesame@h/0"')
        with pytest.raises(InvalidValue, match="chmod 600") as caught:
            settings.settings()
        assert "sesame" not in str(caught.value)
        file.chmod(0o600)
        assert settings.settings().url == "redis://:sesame@h/0"

    @pytest.mark.parametrize("data", ["\ufeffnamespace = 'x'".encode(), b"namespace = 'x'\r\n"])
    def test_a_file_of_an_editor_on_windows_is_read(self, tmp_path: Path, data: bytes) -> None:
        (tmp_path / "wanpool.toml").write_bytes(data)
        assert settings.settings().namespace == "x"

    @pytest.mark.parametrize(
        ("data", "said"),
        [
            ("namespace = 'x'".encode("utf-16"), "in UTF-16"),
            ("namespace = 'x'".encode("utf-16-be"), "in UTF-16"),
            ("namespace = 'x' # \u7ebf\u8def".encode("gbk"), "in GBK"),
            (b"namespace = '\xff'", "codec can't decode"),
            (b"rest = " + b"9" * 5000, "4300"),
            (b"wan = " + b"[" * 5000, "recursion"),
        ],
    )
    def test_a_file_that_is_no_utf_8_is_told_from_others(self, tmp_path: Path, data: bytes, said: str) -> None:
        (tmp_path / "wanpool.toml").write_bytes(data)
        with pytest.raises(InvalidValue, match=said):
            settings.settings()

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can make another's files")
    def test_another_users_file_must_be_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path / "wanpool.toml"
        file.write_text("namespace = 'x'")
        assert settings.settings().namespace == "x"
        file.chmod(0o664)
        with pytest.raises(InvalidValue, match=f"{file} may be written by others than root; if you trust it, name it"):
            settings.settings()
        file.chmod(0o600)
        os.chown(file, 1234, 1234)
        with pytest.raises(InvalidValue, match=f"{file} belongs to another user .uid 1234.; if you trust it, name it"):
            settings.settings()
        assert settings.settings(config=file).namespace == "x"
        real = file.rename(tmp_path / "real.toml")
        os.chown(real, 0, 0)
        file.symlink_to(real)
        os.chown(file, 1234, 1234, follow_symlinks=False)
        with pytest.raises(InvalidValue, match="belongs to another user"):
            settings.settings()
        file.unlink()
        monkeypatch.setattr(os, "geteuid", lambda: 4321)
        file.write_text("url = 'redis://h/0'")
        os.chown(file, 1234, 1234)
        assert settings.settings().url == "redis://h/0", "as a deployed file"
        file.write_text("url = 'redis://:sesame@h/0'")
        file.chmod(0o600)
        with pytest.raises(InvalidValue, match="belongs to another user"):
            settings.settings()


@pytest.mark.parametrize(
    "url",
    [
        *("x", "http://h/0", "redis://", "redis://h:port/0", "redis://h:70000/0"),
        *("redis://h/x", "redis://h/0?x=1", "redis://h?db=x", "unix:///s?db=x", 5),
    ],
)
def test_a_url_that_cannot_be_one_is_refused(url: Any) -> None:
    with pytest.raises(InvalidValue):
        WanPortPool(url)


@pytest.mark.parametrize("scheme", ["redis://h/0", "unix:///s", "redis+sentinel://a,b/prod", "redis+cluster://a"])
@pytest.mark.parametrize(
    ("option", "said"),
    [
        *[(f"{name}={value}", name) for name in ("socket_timeout", "timeout") for value in ("nan", "-1", "inf", "0")],
        *[("retry=1", "option"), ("retry_on_error=x", "option"), ("credential_provider=x", "option")],
        *[("encoding=nope", "encoding"), ("protocol=4", "protocol"), ("health_check_interval=-1", "health")],
        *[("max_connections=-1", "max_connections"), ("socket_read_size=-1", "read_size")],
    ],
)
def test_an_option_of_a_url_that_cannot_be_meant_is_refused_by_name(scheme: str, option: str, said: str) -> None:
    with pytest.raises(InvalidValue, match=f"url .*: .*{said}"):
        checked_url(f"{scheme}?{option}")
    with pytest.raises(InvalidValue, match=r"url '\*\*\*': "):
        checked_url("redis:user:sesame")
    assert checked_url(f"{scheme}?socket_timeout=1.5&protocol=2&encoding=utf-8") != scheme


@pytest.mark.parametrize(
    "url",
    [
        *("redis://h:6379/0", "redis://[::1]:6379/0", "redis+sentinel://a:1,[::2]:26379/prod", "unix:///a@b/s?db=0"),
        *("Error 111 connecting to redis://h:1/0. No.", "at redis://h:1.", "see https://redis.io/docs: yes"),
    ],
)
def test_what_has_no_password_is_shown(url: str) -> None:
    assert public_url(url) == url


@pytest.mark.parametrize("url", [*PASSWORDS, "redis://user:sesame@h:port/0", "ftp://user:sesame@h/"])
def test_no_password_is_ever_shown(url: str, caplog: pytest.LogCaptureFixture, face: str, loop: Any) -> None:
    caplog.set_level(logging.DEBUG)
    shown = [public_url(url)]
    try:
        pool = make(face, loop, url, connect_timeout=0.5)
    except InvalidValue as error:
        shown.append(str(error))
    else:
        shown += [repr(pool), pool.url]
        with pytest.raises(BackendUnavailable) as caught:
            pool.acquire(0)
        shown.append(str(caught.value))
        pool.close()
    assert "sesame" not in " ".join(shown) + caplog.text


LIKE_REDIS = {"role": "master", "master_replid": "0123456789" * 3 + "abcdefabcd"}


@pytest.mark.parametrize(
    "arguments",
    [
        *({"on_lost": 5}, {"reap": "x"}, {"reap": 1}, {"release_on_sigterm": "no"}, {"allow_eviction": "no"}),
    ],
)
def test_an_argument_that_would_be_taken_for_true_is_refused_by_name(
    arguments: dict[str, Any], face: str, loop: Any
) -> None:
    with pytest.raises(InvalidValue, match=f"^{next(iter(arguments))} "):
        make(face, loop, "fake://arguments", **arguments)


def test_of_a_lease_too(face: str, loop: Any) -> None:
    pool = make(face, loop, "fake://arguments")
    pool.define_wan(0, "20000-20009")
    lease = pool.acquire(0, reuse_address=True)
    with pytest.raises(InvalidValue, match=r"^used 'no': must be True or False"):
        lease.release(used="no")
    for timeout in (float("nan"), "1", True):
        with pytest.raises(InvalidValue, match=r"^timeout "):
            lease.wait_lost(timeout)
    assert lease.wait_lost(-1) is False and lease.release(used=False) is True
    pool.close()


@pytest.mark.parametrize("kind", [WanPortPool, AsyncWanPortPool, Operator])
def test_what_was_only_half_made_can_be_shown(kind: Any) -> None:
    assert repr(kind.__new__(kind)) == f"<{kind.__name__}, not made>"


class TestServersThatWillNotDo:
    def test_one_that_evicts_anything(self, started: Any, face: str, loop: Any) -> None:
        server = started("--maxmemory-policy", "allkeys-lru")
        pool = make(face, loop, server.url)
        with pytest.raises(UnsafeRedis, match="allkeys-lru"):
            pool.define_wan(0, "20000-20009")
        assert server.admin.dbsize() == 0
        pool.close()
        insisting = make(face, loop, server.url, allow_eviction=True)
        assert insisting.define_wan(0, "20000-20009") is True
        insisting.close()

    def test_one_that_evicts_what_has_a_ttl_will_do(self, started: Any, face: str, loop: Any) -> None:
        pool = make(face, loop, started("--maxmemory-policy", "volatile-lru").url)
        assert pool.define_wan(0, "20000-20009") is True
        pool.close()

    @pytest.mark.parametrize(
        ("info", "said"),
        [
            ({"redis_version": "6.0.16"}, "too old"),
            ({"redis_version": "5.0.14"}, "too old"),
            ({"redis_version": "7.0.15", "role": "slave"}, "replica"),
            ({"redis_version": "7.0.15", "role": "master"}, "not Redis or Valkey.*replication id None"),
            ({"redis_version": "7.0.15", "role": "master", "master_replid": "none"}, "not Redis or Valkey"),
            ({"redis_version": "7.0.15", **LIKE_REDIS, "role": "active-replica"}, "role 'active-replica'"),
            ({}, "not Redis or Valkey"),
            ({"redis_version": "7.0.15", **LIKE_REDIS, "maxmemory_policy": "allkeys-random"}, "evict"),
        ],
    )
    def test_by_what_they_say_of_themselves(self, info: dict[str, str], said: str) -> None:
        with pytest.raises(UnsafeRedis, match=said):
            check_server(info, allow_eviction=False)

    def test_one_that_is_full(self, started: Any) -> None:
        """Leases live on and end as ever; new ones are refused before anything changes."""
        server = started("--maxmemory-policy", "noeviction")
        with WanPortPool(server.url, namespace="test", rest=0) as pool:
            pool.define_wan(0, "20000-20009", cooldown=0)
            lease, other = pool.acquire_many(0, 2)
            server.admin.config_set("maxmemory", "1")
            before = pool.snapshot(0)
            with pytest.raises(BackendUnavailable, match="maxmemory"):
                pool.acquire(0)
            assert (pool.snapshot(0).free, pool.snapshot(0).leased) == (before.free, 2)
            lease.renew()
            assert lease.release() is True and other.release() is True
            assert pool.snapshot(0).free == 10
            server.admin.config_set("maxmemory", "0")

    def test_one_that_wants_a_password(self, started: Any, face: str, loop: Any) -> None:
        server = started()
        server.admin.config_set("requirepass", "open")
        for url in (server.url, server.url + "?password=sesame"):
            pool = make(face, loop, url)
            with pytest.raises(BackendUnavailable) as caught:
                pool.acquire(0)
            assert "sesame" not in str(caught.value)
            pool.close()
        pool = make(face, loop, server.url + "?password=open")
        assert pool.define_wan(0, "20000-20009") is True
        pool.close()

    def test_one_that_takes_connections_and_never_answers(self, face: str, loop: Any) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            pool = make(face, loop, f"redis://127.0.0.1:{silent.getsockname()[1]}/0", connect_timeout=0.3)
            with pytest.raises(BackendUnavailable, match=r"connect_timeout 0\.3 s"):
                pool.acquire(0)
            pool.close()
            silent.settimeout(0)
            connections = 0
            with suppress(BlockingIOError):
                while silent.accept()[0].close() is None:
                    connections += 1
            assert connections == 1, "not after ten retries"


def test_a_client_of_the_wrong_kind_is_refused() -> None:
    import redis.asyncio

    with pytest.raises(InvalidValue, match=r"needs a redis\.Redis"):
        WanPortPool(client=redis.asyncio.Redis())
    with pytest.raises(InvalidValue, match="not both"):
        WanPortPool("redis://h/0", client=redis.Redis())


@pytest.mark.parametrize("decoded", [True, False])
@pytest.mark.parametrize("resp", [2, 3])
def test_any_client_will_do(server: Any, face: str, loop: Any, decoded: bool, resp: int) -> None:
    import redis.asyncio

    kind = redis.Redis if face == "sync" else redis.asyncio.Redis
    client = kind(unix_socket_path=str(server.socket), decode_responses=decoded, protocol=resp)
    pool = make(face, loop, client=client, namespace="test", rest=0)
    pool.define_wan(0, "20000-20009", cooldown=0, lease_ttl=KEPT_TTL)
    with pool:
        lease = pool.acquire(0, label="käse")
        first = lease.expires_at
        wait_for(lambda: lease.expires_at > first)
        assert pool.get_port_usage_info()["total_allocated_ports"] == 1
        assert lease.release() is True
        pool.release_port(0, 20001)
    if face == "aio":
        loop.run(client.aclose())
    else:
        client.close()


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        *(("20000", "20000"), ("20000-20000", "20000"), (" 3-5 , 1 ", "1,3-5")),
        *(("1-2,3-4", "1-4"), ("65535,1", "1,65535")),
    ],
)
def test_lists_of_ports_have_one_form(given: str, canonical: str) -> None:
    assert ports_text(given) == canonical


def test_errors_travel_between_processes() -> None:
    error = pickle.loads(pickle.dumps(PoolExhausted("no port", wan_idx=3, free_in=1.5)))
    assert (str(error), error.wan_idx, error.free_in) == ("no port", 3, 1.5)
    lost = pickle.loads(pickle.dumps(LeaseLost("gone", port=1, wan_idx=0, reason="expired")))
    assert isinstance(lost, LeaseLost) and lost.reason == "expired"


def test_every_script_is_assembled() -> None:
    assert len(scripts.names()) == 32
    for name in scripts.names():
        assert "@include" not in scripts.script(name).source


class TestIdentity:
    def test_each_pool_object_is_a_holder(self) -> None:
        one, two = identity.this_holder(), identity.this_holder()
        assert one.id != two.id
        assert host_and_pid(one.id) == (one.host, one.pid)
        assert one.new_lease_id().startswith(one.id + "/")
        assert host_and_pid(one.detached_id) == (one.host, 0)

    def test_processes_of_one_network_namespace_are_one_network(self) -> None:
        told = subprocess.run(
            [sys.executable, "-c", "from redis_wanpool.system.identity import this_network; print(this_network())"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert told.stdout.strip() == identity.this_network()

    def test_another_cookie_or_boot_is_another_network(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def network() -> str:
            identity.this_network.cache_clear()
            return identity.this_network()

        names = {network()}
        monkeypatch.setattr(socket.socket, "getsockopt", lambda *_: (12345).to_bytes(8, "little"))
        names.add(network())
        monkeypatch.setattr(identity, "_boot_id", lambda: "another boot")
        names.add(network())
        identity.this_network.cache_clear()
        assert len(names) == 3

    def test_an_old_kernel_has_inode_and_address(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any) -> bytes:
            raise OSError(92, "Protocol not available")

        monkeypatch.setattr(socket.socket, "getsockopt", refuse)
        facts = identity._network_facts()
        assert len(facts) == 3 and facts[1].startswith("inode-")

    def test_the_start_time_is_read_behind_any_name(self, tmp_path: Path) -> None:
        odd = tmp_path / "a) b (c"
        odd.write_bytes(Path("/bin/sleep").read_bytes())
        odd.chmod(0o755)
        process = subprocess.Popen([odd, "60"])
        try:
            assert int(identity.proc_stat(process.pid)[19]) > 0
        finally:
            process.kill()
            process.wait()


def test_a_user_without_a_home_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "WANPOOL_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert settings.settings(url="redis://127.0.0.1:1/0").url == "redis://127.0.0.1:1/0"
    with pytest.raises(BackendUnavailable, match=r"home directory\. Set WANPOOL_HOME"):
        WanPortPool().snapshot(0)


def test_a_home_that_is_somebody_elses_holds_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after sudo -u, which may leave the caller's HOME."""
    is_file = Path.is_file

    def guarded(path: Path) -> bool:
        if path.parent == settings.user_folder():
            raise PermissionError(13, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", guarded)
    assert settings.find() is None
