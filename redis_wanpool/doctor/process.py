"""What holds for programs like this one: how many files they may have open, and which network they are."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from redis_wanpool.doctor import OK, WARN, Finding
from redis_wanpool.system.identity import this_network
from redis_wanpool.terminal.language import said


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """What is known of this process."""

    files: int | None = None  #: how many it may have open; None: no limit, or not known
    network: str = "net-1"
    default_network: str = "net-1"
    is_inside: bool = False
    """whether its way out is a veth, whose other end is this machine's: most often it is in a container"""


def look(network: str, root: Path = Path("/")) -> ProcessFacts:
    """Looks at this process, which leases as that network."""
    files = None
    if sys.platform != "win32":
        import resource

        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        files = None if limit == resource.RLIM_INFINITY else limit
    return ProcessFacts(files, network, this_network(), _leaves_by_veth(root))


def _leaves_by_veth(root: Path) -> bool:
    try:
        routes = [line.split() for line in (root / "proc/net/route").read_text(encoding="ascii").splitlines()[1:]]
        device = next((root / "sys/class/net" / words[0] for words in routes if words[1] == words[7] == "0" * 8), None)
        if device is None:
            return False
        own, other = ((device / name).read_text().strip() for name in ("ifindex", "iflink"))
        return own != other and "DEVTYPE=" not in (device / "uevent").read_text()  # a VLAN, or the like, has one
    except (OSError, IndexError, UnicodeDecodeError):
        return False


def judge(facts: ProcessFacts, ports: int) -> Iterator[Finding]:
    """What these facts mean, where all WANs have so many ports."""
    if facts.files is not None and facts.files < ports:
        seen = said(
            f"a process may have {facts.files} files open (ulimit -n), and the pool has {ports} ports",
            f"一个进程最多打开 {facts.files} 个文件（ulimit -n），而端口池有 {ports} 个端口",
        )
        means = said("one process alone cannot use them all", "单个进程无法用完所有端口")
        cure = said(
            f"ulimit -n {ports + 1000} before it starts; of a service: LimitNOFILE={ports + 1000}",
            f"启动前执行 ulimit -n {ports + 1000}；服务则设置 LimitNOFILE={ports + 1000}",
        )
        yield Finding(WARN, "files", (), seen, means, cure)
    elif facts.files is not None:
        seen = said(
            f"a process may have {facts.files} files open (ulimit -n)",
            f"一个进程最多打开 {facts.files} 个文件（ulimit -n）",
        )
        yield Finding(OK, "files", (), seen)
    yield _network(facts)


def _network(facts: ProcessFacts) -> Finding:
    seen = said(f"leases as network {facts.network}", f"以网络 {facts.network} 租用")
    if facts.network != facts.default_network:
        seen += said(" (WANPOOL_NETWORK or wanpool.toml)", "（来自 WANPOOL_NETWORK 或 wanpool.toml）")
        means = said(
            "who says the same may have a port again after its rest: right where the router sees one address, and only "
            "there",
            "使用同一名称者在静置后即可再用同一端口：仅当路由器看到的是同一地址时才正确",
        )
        if not facts.is_inside:
            return Finding(OK, "network", (), seen, means)
        means = said(
            "its way out leads through this machine, as a container's does: containers that say the same meet in the "
            "NAT there, and leave by the wrong WAN",
            "它经由本机出去（如同容器）：使用同一名称的容器会在本机的 NAT 里冲突，并从错误的 WAN 出去",
        )
        cure = said("unset it, unless these share one address", "请取消该设置，除非它们共用一个地址")
        return Finding(WARN, "network", (), seen, means, cure)
    if facts.is_inside:
        means = said(
            "its way out leads through this machine, as a container's does: a NAT here must keep ports, too; wanpool "
            "doctor --echo tells",
            "它经由本机出去（如同容器）：本机的 NAT 也必须保留端口；可用 wanpool doctor --echo 检查",
        )
        return Finding(OK, "network", (), seen, means)
    return Finding(OK, "network", (), seen)
