"""`wanpool tune` on a real kernel: in a network namespace with sysctls of its own, and private files."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

FIRST, LAST = 20000, 21999
"""all that the kernel gives to programs that choose none"""
POOL = set(range(20500, 20600))
OTHERS = set(range(20700, 20710))
"""reserved by somebody else before"""
POOL_TEXT, OTHERS_TEXT = "20500-20599", "20700-20709"
RESERVED, TIMESTAMPS = "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_timestamps"
FILE = "/etc/sysctl.d/90-wanpool.conf"
APPLY = ("apply", "--ports", POOL_TEXT)

PRIVATE = """
mount --bind "$1" /etc/sysctl.d && mount --bind "$2" /var/lib && shift 2 && exec "$@"
"""
"""`ip netns exec` gives each command mounts of its own"""
SEALED = 'mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec "$@"'
NOBODY = """
import contextlib, io, os, sys
from redis_wanpool.cli.main import main
with contextlib.redirect_stdout(io.StringIO()):
    main(["tune", "show", "--ports", "9"])  # loads what lies where only root may read
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
sys.exit(main(["tune", *sys.argv[1:]]))
"""
KILLED = """
import itertools, json, os, signal, sys
from pathlib import Path
from redis_wanpool.cli.main import main
from redis_wanpool.tuning import journal
from redis_wanpool.tuning.linux import sysctl
verb, apply = sys.argv[1], sys.argv[2:]

def ran(words, last=0):
    # A process of its own; its write number `last` is its end, before it if that is positive, or after it.
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    numbers = itertools.count(1)
    def ending(write):
        def writes(*args):
            number = next(numbers)
            if number == last:
                os.kill(os.getpid(), signal.SIGKILL)
            result = write(*args)
            if number == -last:
                os.kill(os.getpid(), signal.SIGKILL)
            return result
        return writes
    sysctl.Kernel.write, journal._write = ending(sysctl.Kernel.write), ending(journal._write)
    os._exit(main(["tune", *words]))

def state():
    names = ("ip_local_reserved_ports", "tcp_timestamps")
    sysctls = [Path("/proc/sys/net/ipv4", name).read_text().strip() for name in names]
    return [*sysctls, {path.name: path.read_text() for path in Path("/etc/sysctl.d").iterdir()}]

before = state()
for moment in itertools.count(1):
    codes = []
    for last in (moment, -moment):
        assert verb == "apply" or ran(apply) == 0
        codes.append(ran(apply if verb == "apply" else ["undo"], last))
        assert ran(["undo"]) == 0 and state() == before, (last, state())
        for path in Path("/var/lib/redis-wanpool/tuning").glob("*.json"):
            assert json.loads(path.read_text())["undone_at"], last
    if codes != [-signal.SIGKILL] * 2:
        break
print(json.dumps([moment, codes]))
"""
EXHAUST = """
import json, resource, socket, struct, sys
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
listener = socket.create_server((sys.argv[1], 7))
held, error = [], None
while error is None:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # no TIME_WAIT for the next one
    held.append(sock)
    try:
        sock.connect((sys.argv[1], 7))
    except OSError as found:
        error = found.errno
    else:
        listener.accept()[0].close()
print(json.dumps([error, [sock.getsockname()[1] for sock in held[:-1]]]))
"""
BIND = """
import socket, sys
for port in map(int, sys.argv[1:]):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", port))
"""


@dataclass
class Host:
    """A machine with a kernel of its own, as far as tuning goes."""

    namespace: str
    folder: Path

    def run(self, *command: str, code: int | None = 0, sealed: bool = False) -> subprocess.CompletedProcess[str]:
        inner = ["sh", "-c", SEALED, "sh", *command] if sealed else list(command)
        private = ["sh", "-c", PRIVATE, "sh", str(self.folder / "sysctl.d"), str(self.folder / "lib"), *inner]
        done = subprocess.run(
            ["ip", "netns", "exec", self.namespace, *private], capture_output=True, text=True, check=False, cwd="/"
        )
        assert code is None or done.returncode == code, (command, done.stdout, done.stderr)
        return done

    def tune(self, *words: str, code: int = 0, sealed: bool = False) -> str:
        """What it says; of a failure, the error."""
        done = self.run(sys.executable, "-m", "redis_wanpool.cli", "tune", *words, code=code, sealed=sealed)
        return done.stdout + done.stderr

    def plan(self) -> list[Any]:
        return json.loads(self.tune("plan", "--ports", POOL_TEXT, "--json"))["changes"]

    def sysctl(self, name: str, value: str | None = None) -> str:
        """What the kernel says, all of it: sysctl(8) cuts long lists."""
        path = "/proc/sys/" + name.replace(".", "/")
        write = "import sys; open(sys.argv[1], 'w').write(sys.argv[2] + chr(10))"
        if value is not None:
            self._inside(sys.executable, "-I", "-c", write, path, value)
        return self._inside("cat", path).strip()

    def _inside(self, *command: str) -> str:
        done = subprocess.run(
            ["ip", "netns", "exec", self.namespace, *command], capture_output=True, text=True, check=True
        )
        return done.stdout

    def state(self) -> tuple[str, str, dict[str, bytes]]:
        """All that tune may change."""
        files = {path.name: path.read_bytes() for path in (self.folder / "sysctl.d").iterdir()}
        return self.sysctl(RESERVED), self.sysctl(TIMESTAMPS), files

    def journals(self) -> list[Any]:
        paths = sorted(self.folder.glob("lib/redis-wanpool/tuning/*.json"))
        return [json.loads(path.read_text()) for path in paths]

    def given(self, address: str) -> set[int]:
        """All ports that the kernel gives to connections to one address until it has none left."""
        error, ports = json.loads(self.run(sys.executable, "-c", EXHAUST, address).stdout)
        assert error == errno.EADDRNOTAVAIL and len(set(ports)) == len(ports)
        return set(ports)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    assert os.geteuid() == 0, "this lab makes network namespaces: run it as root"
    before = real()
    for name in ("sysctl.d", "lib"):
        (tmp_path / name).mkdir(mode=0o755)
    namespace = f"wanpool-{os.getpid()}-tuned"
    subprocess.run(["ip", "netns", "add", namespace], check=True)
    try:
        made = Host(namespace, tmp_path)
        made.run("ip", "link", "set", "lo", "up")
        made.sysctl("net.ipv4.ip_local_port_range", f"{FIRST} {LAST}")
        made.sysctl(RESERVED, OTHERS_TEXT)
        made.sysctl(TIMESTAMPS, "0")
        yield made
    finally:
        subprocess.run(["ip", "netns", "del", namespace], check=False)
    assert real() == before, "the machine under the lab is as it was"


def real() -> dict[str, bytes]:
    """What no lab may touch."""
    folders = [path for name in ("/etc/sysctl.d", "/var/lib/redis-wanpool") for path in Path(name).rglob("*")]
    names = ("ip_local_reserved_ports", "tcp_timestamps", "ip_local_port_range")
    sysctls = [Path("/proc/sys/net/ipv4") / name for name in names]
    return {str(path): path.read_bytes() for path in [*folders, *sysctls] if path.is_file()}


def test_a_reserved_pool_is_given_to_nobody_until_it_is_undone(host: Host) -> None:
    everything = set(range(FIRST, LAST + 1)) - OTHERS
    before = host.state()
    assert host.given("127.0.0.2") == everything, "pool ports, too, before"
    host.tune(*APPLY)
    assert host.sysctl(RESERVED) == f"{POOL_TEXT},{OTHERS_TEXT}", "what was reserved stays so"
    assert host.sysctl(TIMESTAMPS) == "1"
    assert host.given("127.0.0.3") == everything - POOL
    host.run(sys.executable, "-c", BIND, *map(str, sorted(POOL)))
    assert "taken back, and read back: 3 changes" in host.tune("undo")
    assert host.state() == before
    assert host.given("127.0.0.4") == everything
    assert "nothing to undo" in host.tune("undo")


def test_a_start_sets_it_again_from_the_file(host: Host) -> None:
    host.tune(*APPLY)
    after = host.sysctl(RESERVED)
    host.sysctl(RESERVED, "")
    host.sysctl(TIMESTAMPS, "0")
    host.run("sysctl", "-q", "-p", FILE)
    assert (host.sysctl(RESERVED), host.sysctl(TIMESTAMPS)) == (after, "1")
    assert host.plan() == []


def test_applied_twice_is_applied_once(host: Host) -> None:
    host.tune(*APPLY)
    after = host.state()
    assert "nothing to do" in host.tune(*APPLY)
    assert host.state() == after and len(host.journals()) == 1


def test_a_long_list_that_stands_there_is_not_cut(host: Host) -> None:
    theirs = [*range(0, 1000, 2), *range(24000, 29000, 2)]
    host.sysctl(RESERVED, ",".join(map(str, theirs)))
    before = host.state()
    assert len(before[0]) > 8192, "the kernel tells the rest of a list by no second read"
    host.tune(*APPLY)
    assert set(host.sysctl(RESERVED).split(",")) == {*map(str, theirs), POOL_TEXT}
    host.tune("undo")
    assert host.state() == before


def test_what_somebody_else_set_since_is_left_until_it_is_forced(host: Host) -> None:
    before = host.state()
    host.tune(*APPLY)
    host.sysctl(RESERVED, "30000")
    told = host.tune("undo", code=1)
    assert f"{RESERVED} is 30000, which somebody else set since: left alone" in told
    assert host.state() == ("30000", *before[1:]), "the others are taken back"
    assert "30000" in host.tune("undo", code=1), "it is not forgotten"
    assert "30000 -> " in host.tune("undo", "--force")
    assert host.state() == before


def test_where_the_kernel_is_sealed_nothing_is_done_and_it_is_told(host: Host) -> None:
    """As in a container, where /proc/sys is read-only."""
    before = host.state()
    told = " ".join(host.tune(*APPLY, code=1, sealed=True).split())
    assert f"read-only here: a container gets it from outside, like: docker run --sysctl {TIMESTAMPS}=1" in told
    assert f"docker run --sysctl {RESERVED}={POOL_TEXT},{OTHERS_TEXT}" in told
    assert host.state() == before and not host.journals()
    host.tune(*APPLY)
    after = host.sysctl(RESERVED)
    told = host.tune("undo", code=1, sealed=True)
    assert "Read-only file system; a container gets it from outside" in told
    assert "1 of 3 changes were taken back; ask for the rest again: wanpool tune undo" in told
    assert host.sysctl(RESERVED) == after
    host.tune("undo")
    assert host.state() == before


@pytest.mark.parametrize(("verb", "journals"), [("apply", 1), ("undo", 2)])
def test_a_kill_before_or_after_any_write_is_undone(host: Host, verb: str, journals: int) -> None:
    before = host.state()
    told = host.run(sys.executable, "-c", KILLED, verb, *APPLY).stdout
    writes = journals + 3
    assert json.loads(told) == [writes + 1, [0, 0]], "journals and three changes, each of which was once the last"
    assert host.state() == before


def test_who_is_not_root_may_look_and_change_nothing(host: Host) -> None:
    before = host.state()

    def nobody(*words: str, code: int = 0) -> str:
        done = host.run(sys.executable, "-c", NOBODY, *words, code=code)
        return done.stdout + done.stderr

    for verb in ("show", "plan"):
        assert RESERVED in nobody(verb, "--ports", POOL_TEXT)
    told = nobody(*APPLY, code=77)
    assert "Permission denied; nothing was changed. Run it as root" in told
    assert host.state() == before and not (host.folder / "lib/redis-wanpool").exists()
    host.run("sh", "-c", 'umask 077; exec "$@"', "sh", sys.executable, "-m", "redis_wanpool.cli", "tune", *APPLY)
    after = host.state()
    assert "what is set above lasts" in nobody("show", "--ports", POOL_TEXT)
    assert "nothing to do" in nobody("plan", "--ports", POOL_TEXT)
    assert "Permission denied; nothing was changed. Run it as root" in nobody("undo", code=77)
    assert host.state() == after
    host.tune("undo")
    assert host.state() == before
