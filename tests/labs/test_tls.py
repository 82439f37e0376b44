"""A Redis that speaks TLS, and asks for certificates: that of the system, for the other binaries cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from command_line import wanpool
from faces import Loop, make
from private_server import Server

from redis_wanpool import BackendUnavailable

PORT = 24295


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority, a server's certificate and a client's, and another authority and its client's."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("ours", "theirs"):
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(folder / f"{name}.pem"))
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
            str(folder / f"{name}-server.pem")
        )
        authority.issue_cert("client").private_key_and_cert_chain_pem.write_to_path(str(folder / f"{name}-client.pem"))
    return folder


@pytest.fixture
def guarded(certificates: Path, tmp_path: Path) -> Iterator[Server]:
    pem = str(certificates / "ours-server.pem")
    server = Server(
        "redis-7.0",
        tmp_path,
        *("--tls-port", str(PORT), "--bind", "127.0.0.1", "--tls-auth-clients", "yes"),
        *("--tls-cert-file", pem, "--tls-key-file", pem, "--tls-ca-cert-file", str(certificates / "ours.pem")),
    )
    server.admin.acl_setuser("leaser", enabled=True, passwords=["+sesame"], categories=["+@all"], keys=["*"])
    yield server
    server.close()


@pytest.fixture
def url(certificates: Path) -> Callable[..., str]:
    def told(authority: str = "ours", client: str = "ours") -> str:
        options = f"?ssl_ca_certs={certificates / authority}.pem"
        if client:
            pem = certificates / f"{client}-client.pem"
            options += f"&ssl_certfile={pem}&ssl_keyfile={pem}"
        return f"rediss://leaser:sesame@127.0.0.1:{PORT}/0{options}"

    return told


def test_leases_over_tls_with_a_certificate(guarded: Server, url: Callable[..., str], face: str, loop: Loop) -> None:
    pool: Any = make(face, loop, url(), namespace="test", rest=0)
    pool.define_wan(0, "20000-20001", cooldown=0)
    leases = pool.acquire_many(0, 2)
    leases[0].renew()
    assert leases[0].release() and pool.acquire(0, wait=5).port == leases[0].port
    assert "sesame" not in repr(pool)
    pool.close()
    assert guarded.admin.scard("wanpool:{test:0}:free") == 2


@pytest.mark.parametrize(("authority", "client"), [("theirs", "ours"), ("ours", "theirs"), ("ours", "")])
def test_who_is_not_trusted_is_told_so_and_no_secret(
    guarded: Server, url: Callable[..., str], authority: str, client: str, face: str, loop: Loop
) -> None:
    pool: Any = make(face, loop, url(authority, client), namespace="test")
    with pytest.raises(BackendUnavailable) as caught:
        pool.define_wan(0, "20000-20001")
    assert "127.0.0.1" in str(caught.value) and "sesame" not in str(caught.value)
    pool.close()
    told = wanpool("status", WANPOOL_URL=url(authority, client))
    assert told.returncode == 3 and told.stderr.count("\n") == 1 and "sesame" not in told.stderr
    assert not guarded.admin.keys()
