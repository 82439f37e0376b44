"""A primary that Sentinels watch: found, followed when another takes its place, and told clearly when there is none."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio.sentinel
import redis.sentinel
from command_line import wanpool
from faces import Loop, make
from private_server import SERVERS
from sentinels import SERVICE, Watch
from waiting import KEPT_TTL, wait_for

from redis_wanpool import AsyncWanPortPool, BackendUnavailable, InvalidValue, WanPortPool
from redis_wanpool.system.clock import boottime
from redis_wanpool.transport.backend import checked_url
from redis_wanpool.transport.sentinel import Watched
from redis_wanpool.transport.url import has_password, public_url


@pytest.mark.parametrize(
    ("url", "sentinels", "options"),
    [
        ("redis+sentinel://10.0.0.2/prod", (("10.0.0.2", 26379),), {}),
        ("redis+sentinel://a:1,b,[::1]:3/prod/4", (("a", 1), ("b", 26379), ("::1", 3)), {"db": 4}),
        ("redis+sentinel://u:p%40x@a/prod", (("a", 26379),), {"username": "u", "password": "p@x"}),
        ("rediss+sentinel://a/prod?ssl_ca_certs=/x.pem", (("a", 26379),), {"ssl_ca_certs": "/x.pem"}),
    ],
)
def test_a_url_names_sentinels_service_and_database(url: str, sentinels: Any, options: dict[str, Any]) -> None:
    assert checked_url(url) == url
    watched = Watched.parse(url)
    assert (watched.service, watched.sentinels, watched.options) == ("prod", sentinels, options)
    assert watched.is_tls == url.startswith("rediss")


def test_sentinels_have_a_login_of_their_own() -> None:
    watched = Watched.parse("redis+sentinel://u:p@a/prod?sentinel_username=s&sentinel_password=q%26")
    assert watched.options == {"username": "u", "password": "p"}
    assert watched.sentinel_options == {"username": "s", "password": "q&"}


@pytest.mark.parametrize(
    "url",
    [
        *("redis+sentinel://", "redis+sentinel://a", "redis+sentinel:///prod", "redis+sentinel://a,/prod"),
        *("redis+sentinel://a:x/prod", "redis+sentinel://a:0/prod", "redis+sentinel://a:99999/prod"),
        *("redis+sentinel://sesame:sesame@a/prod/x", "redis+sentinel://a/prod?db=x", "redis+sentinel://a/prod?x=1"),
        "redis+sentinel://a/prod?sentinel_password=sesame&socket_timeout=x",
    ],
)
def test_what_no_url_can_be(url: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        WanPortPool(url)
    assert "redis+sentinel://user:password@10.0.0.2:26379" in str(caught.value) and "sesame" not in str(caught.value)


def test_no_password_shows() -> None:
    url = "redis+sentinel://u:sesame@a,b/prod?sentinel_password=sesame"
    assert public_url(url) == "redis+sentinel://***@a,b/prod?sentinel_password=***"
    assert has_password(url) and has_password("redis+sentinel://a/prod?sentinel_password=x")
    assert not has_password("redis+sentinel://a,b/prod")


def test_leases_by_way_of_sentinels(watch: Watch, face: str, loop: Loop) -> None:
    pool: Any = make(face, loop, watch.url, namespace="test", rest=0)
    pool.define_wan(0, "20000-20001", cooldown=0)
    lease = pool.acquire(0)
    lease.renew()
    assert lease.release() and watch.primary().admin.scard("wanpool:{test:0}:free") == 2
    pool.close()
    status = wanpool("status", "--namespace", "test", "--json", WANPOOL_URL=watch.url)
    assert '"total": 2' in status.stdout and '"role": "primary"' in status.stdout, status
    doctor = wanpool("doctor", "--namespace", "test", "--json", WANPOOL_URL=watch.url)
    assert '"replicas"' in doctor.stdout and "Traceback" not in doctor.stderr


def test_secrets_of_servers_and_of_sentinels(tmp_path: Path, face: str, loop: Loop) -> None:
    guarded = Watch(SERVERS[0], tmp_path, password="sesame", sentinel_password="poppy")
    try:
        end = f"{guarded.hosts}/{SERVICE}"
        pool: Any = make(face, loop, f"redis+sentinel://:sesame@{end}?sentinel_password=poppy", namespace="test")
        pool.define_wan(0, "20000", cooldown=0)
        assert pool.acquire(0).release()
        assert "sesame" not in repr(pool) + pool.url and "poppy" not in repr(pool) + pool.url
        pool.close()
        for url in (
            f"redis+sentinel://:wrong@{end}?sentinel_password=poppy",
            f"redis+sentinel://:sesame@{end}?sentinel_password=wrong",
            f"redis+sentinel://:sesame@{guarded.hosts}/other?sentinel_password=poppy",
        ):
            pool = make(face, loop, url, namespace="test")
            with pytest.raises(BackendUnavailable) as caught:
                pool.acquire(0)
            told = str(caught.value)
            assert guarded.hosts in told and not {"sesame", "poppy", "wrong"} & set(told.replace(":", " ").split())
            pool.close()
    finally:
        guarded.close()


def test_no_sentinel_is_there(face: str, loop: Loop) -> None:
    pool: Any = make(face, loop, "redis+sentinel://127.0.0.1:1,127.0.0.1:2/prod", namespace="test")
    begun = boottime()
    with pytest.raises(BackendUnavailable, match="Sentinel") as caught:
        pool.acquire(0)
    assert "prod" in str(caught.value) and boottime() - begun < 10
    pool.close()


@pytest.mark.slow
def test_a_client_of_ones_own(watch: Watch, face: str) -> None:
    hosts = [(sentinel.place.host, sentinel.port) for sentinel in watch.sentinels]
    (blocking if face == "sync" else lambda hosts: asyncio.run(awaiting(hosts)))(hosts)


def blocking(hosts: list[tuple[str, int]]) -> None:
    manager = redis.sentinel.Sentinel(hosts)
    with manager.master_for(SERVICE) as client, WanPortPool(client=client, namespace="test", rest=0) as pool:
        pool.define_wan(0, "20000", cooldown=0, lease_ttl=KEPT_TTL)
        lease = pool.acquire(0)
        before = lease.expires_at
        wait_for(lambda: lease.expires_at > before)
    for sentinel in manager.sentinels:
        sentinel.close()


async def awaiting(hosts: list[tuple[str, int]]) -> None:
    manager = redis.asyncio.sentinel.Sentinel(hosts)
    async with manager.master_for(SERVICE) as client, AsyncWanPortPool(client=client, namespace="test", rest=0) as pool:
        await pool.define_wan(0, "20000", cooldown=0, lease_ttl=KEPT_TTL)
        lease = await pool.acquire(0)
        before = lease.expires_at
        await asyncio.to_thread(wait_for, lambda: lease.expires_at > before)  # the heartbeat has a blocking twin
    for sentinel in manager.sentinels:
        await sentinel.aclose()
