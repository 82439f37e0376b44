"""How a Linux is judged: its reserved ports, what its files set at each start, if it is a router or a container."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tuned import linux_machine

from redis_wanpool.tuning import Item, Setting, Status, System, Value, engine, left, plan
from redis_wanpool.tuning.linux.settings import FILE, RANGE, RESERVED, TIMESTAMPS
from redis_wanpool.tuning.linux.sysctl import HEAD, Kernel, listed_ports

POOL = range(20000, 22000)
LINE = f"{RESERVED} = 20000-21999\n"


def judged(system: System, name: str) -> Setting | None:
    return next((one for one in system.settings(POOL) if one.name == name), None)


def wanted(system: System) -> dict[str, str]:
    """What is to become of each item."""
    return {change.item.name or "file": str(change.after) for change in plan(system.settings(POOL))}


def write(root: Path, **files: str) -> None:
    """Files of sysctl.d, with _ for what names cannot have."""
    for name, text in files.items():
        folder, _, file = name.partition("__")
        path = root / folder.replace("_", "/") / "sysctl.d" / f"{file.replace('_', '-')}.conf"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())


# -- the list of reserved ports


@pytest.mark.parametrize("theirs", ["0-1023", "0", "7,0-3", ",".join(str(port) for port in range(1, 19999, 2))])
def test_no_list_that_the_kernel_has_is_lost(tmp_path: Path, theirs: str) -> None:
    system = linux_machine(tmp_path, ip_local_reserved_ports=theirs)
    engine.apply(system, plan(system.settings(POOL)))
    now = listed_ports(str(system.read(Item("sysctl", "", RESERVED))))
    assert now == listed_ports(theirs) | set(POOL)
    assert judged(system, RESERVED).status == Status.OK  # type: ignore[union-attr]


def test_a_list_is_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second read of a list in /proc/sys has nothing."""
    text = ",".join(str(port) for port in range(1, 65536, 2))
    kernel = Kernel(tmp_path)
    path = tmp_path / "proc/sys/net/ipv4/ip_local_reserved_ports"
    path.parent.mkdir(parents=True)
    path.write_text(text + "\n")
    reads: list[int] = []
    opened = Path.open

    def open_(self: Path, *args: Any, **kwargs: Any) -> Any:
        file = opened(self, *args, **kwargs)
        assert kwargs == {"buffering": 0}
        reads.append(1)
        return file

    monkeypatch.setattr(Path, "open", open_)
    assert str(kernel.read(Item("sysctl", "", RESERVED))) == text and len(reads) == 1


def test_a_pool_that_would_leave_the_kernel_no_ports_is_left_to_the_operator(tmp_path: Path) -> None:
    system = linux_machine(tmp_path, ip_local_port_range="20000 22500")
    assert wanted(system) == {}
    (one,) = left(system.settings(POOL))
    assert one.name == RESERVED and "fewer than 1000" in one.why


@pytest.mark.parametrize("text", ["32768 60999", "32768\t60999"])
def test_the_kernels_own_range_is_shown(tmp_path: Path, text: str) -> None:
    found = judged(linux_machine(tmp_path, ip_local_port_range=text), RANGE)
    assert found and (found.status, found.value) == (Status.OK, "32768 60999") and "keeps off" in found.why


def test_a_range_with_ends_of_the_same_parity_is_told(tmp_path: Path) -> None:
    found = judged(linux_machine(tmp_path, ip_local_port_range="20000 60000"), RANGE)
    assert found and "2000 of the pool are in it" in found.why and "one of its ends should be even" in found.why


@pytest.mark.parametrize("name", ["ip_local_reserved_ports", "tcp_timestamps", "ip_local_port_range"])
def test_what_is_not_told_is_unknown_and_not_its_default(tmp_path: Path, name: str) -> None:
    system = linux_machine(tmp_path)
    (tmp_path / "proc/sys/net/ipv4" / name).write_bytes(b"\xff")
    found = judged(system, f"net.ipv4.{name}")
    assert found and (found.status, found.value, found.changes) == (Status.UNKNOWN, None, ())
    (tmp_path / "proc/sys/net/ipv4" / name).unlink()
    found = judged(system, f"net.ipv4.{name}")
    assert found and (found.status, found.changes) == (Status.UNKNOWN, ())


def test_ports_below_the_unprivileged_ones_are_told(tmp_path: Path) -> None:
    found = judged(linux_machine(tmp_path, ip_unprivileged_port_start="20010"), "net.ipv4.ip_unprivileged_port_start")
    assert found and found.status == Status.SUGGESTION and "of the pool 10 below it" in found.why


# -- what lasts


def test_what_another_file_sets_at_each_start_needs_no_file_of_ours(tmp_path: Path) -> None:
    write(tmp_path, etc__50_mine=LINE)
    system = linux_machine(tmp_path, ip_local_reserved_ports="20000-21999")
    assert wanted(system) == {}


@pytest.mark.parametrize("folder", ["etc", "run", "usr_lib", "usr_local_lib"])
def test_a_file_that_is_read_after_ours_is_told(tmp_path: Path, folder: str) -> None:
    write(tmp_path, **{f"{folder}__99_theirs": f"-{RESERVED.replace('.', '/')}=8080\n"})
    system = linux_machine(tmp_path)
    assert wanted(system) == {RESERVED: "20000-21999"}, "ours would not count"
    (one,) = left(system.settings(POOL))
    assert one.name == FILE and "99-theirs.conf (net.ipv4.ip_local_reserved_ports = 8080)" in one.why


def test_a_later_file_that_has_the_pools_ports_is_well(tmp_path: Path) -> None:
    write(tmp_path, etc__99_theirs=LINE)
    assert wanted(linux_machine(tmp_path)) == {RESERVED: "20000-21999"}
    assert left(linux_machine(tmp_path).settings(POOL)) == []


def test_of_two_files_of_one_name_the_administrators_counts(tmp_path: Path) -> None:
    write(tmp_path, etc__99_theirs=LINE, usr_lib__99_theirs=f"{RESERVED} = 8080\n")
    assert left(linux_machine(tmp_path).settings(POOL)) == []


def test_timestamps_that_a_start_would_switch_off_are_kept_on(tmp_path: Path) -> None:
    write(tmp_path, etc__50_theirs=f"{TIMESTAMPS} = 0\n{LINE}")
    system = linux_machine(tmp_path, ip_local_reserved_ports="20000-21999", tcp_timestamps="1")
    assert wanted(system) == {"file": f"{HEAD}\n{TIMESTAMPS} = 1\n"}


def test_our_file_keeps_what_others_wrote_into_it_and_undo_gives_back_each_byte(tmp_path: Path) -> None:
    theirs = "# why\r\nnet.ipv4.ip_local_reserved_ports=9\r\n\r\n; off: net.ipv4.tcp_timestamps = 0\nvm.swappiness = 1"
    write(tmp_path, etc__90_wanpool=theirs)
    system, path = linux_machine(tmp_path, tcp_timestamps="0"), tmp_path / FILE.lstrip("/")
    path.chmod(0o640)
    engine.apply(system, plan(system.settings(POOL)))
    assert path.read_text().splitlines() == [
        HEAD,
        "# why",
        f"{RESERVED} = 9,20000-21999",
        "",
        "; off: net.ipv4.tcp_timestamps = 0",
        "vm.swappiness = 1",
        f"{TIMESTAMPS} = 1",
    ]
    engine.undo(system)
    assert path.read_bytes() == theirs.encode() and path.stat().st_mode & 0o777 == 0o640


def test_journals_can_be_read_by_who_may_only_look(tmp_path: Path) -> None:
    system = linux_machine(tmp_path)
    mask = os.umask(0o077)
    try:
        engine.apply(system, plan(system.settings(POOL)))
    finally:
        os.umask(mask)
    modes = [path.stat().st_mode & 0o777 for path in (system.folder.parent, system.folder, *system.folder.iterdir())]
    assert modes == [0o755, 0o755, 0o644]


# -- containers and routers


def test_what_is_read_only_is_left_to_who_starts_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = linux_machine(tmp_path, ip_local_reserved_ports="8080", tcp_timestamps="0")
    monkeypatch.setattr(Kernel, "is_sealed", lambda *_: True)
    assert wanted(system) == {}
    first, second = left(system.settings(POOL))
    assert f"docker run --sysctl {RESERVED}=8080,20000-21999" in first.why
    assert f"docker run --sysctl {TIMESTAMPS}=1" in second.why


@pytest.fixture
def tracking(tmp_path: Path) -> Any:
    """Makes a Linux that tracks connections; what it says of that."""

    def made(forward: str = "1", count: int = 10, most: int = 1000, ended: int = 120) -> dict[str, Setting]:
        system = linux_machine(tmp_path, ip_forward=forward)
        folder = tmp_path / "proc/sys/net/netfilter"
        folder.mkdir()
        texts = {"max": most, "count": count, "tcp_timeout_established": 432000, "tcp_timeout_time_wait": ended}
        for name, number in texts.items():
            (folder / f"nf_conntrack_{name}").write_text(f"{number}\n")
        prefix = "net.netfilter.nf_conntrack_"
        settings = system.settings(POOL)
        return {one.name.removeprefix(prefix): one for one in settings if one.name.startswith(prefix)}

    return made


def test_a_router_shows_what_its_nat_remembers(tracking: Any) -> None:
    found = tracking()
    assert {name: (one.value, one.status) for name, one in found.items()} == {
        "max": ("1000", Status.OK),
        "count": ("10", Status.OK),
        "tcp_timeout_established": ("432000", Status.OK),
        "tcp_timeout_time_wait": ("120", Status.OK),
    }


def test_who_is_no_router_is_told_of_no_nat(tracking: Any) -> None:
    assert tracking(forward="0") == {}


@pytest.mark.parametrize("forward", ["0", "1"])
def test_a_table_of_connections_that_is_nearly_full_is_told(tracking: Any, forward: str) -> None:
    found = tracking(forward=forward, count=800)
    assert found["count"].status == Status.SUGGESTION and "800 of 1000" in found["count"].why


def test_a_table_without_a_limit_is_never_full(tracking: Any) -> None:
    assert tracking(count=800, most=0)["count"].status == Status.OK


def test_a_nat_that_remembers_longer_than_ports_cool_is_told(tracking: Any) -> None:
    found = tracking(ended=125)["tcp_timeout_time_wait"]
    assert found.status == Status.SUGGESTION and "cool-down must be longer" in found.why


def test_a_kernel_without_connection_tracking_says_nothing_of_it(tmp_path: Path) -> None:
    names = [one.name for one in linux_machine(tmp_path, ip_forward="1").settings(POOL)]
    assert not [name for name in names if "conntrack" in name]


def test_a_change_that_the_kernel_spells_otherwise_is_still_the_same(tmp_path: Path) -> None:
    system = linux_machine(tmp_path, ip_local_reserved_ports="20000-21999\t")
    assert system.read(Item("sysctl", "", RESERVED)) == Value("sysctl", "20000-21999")
