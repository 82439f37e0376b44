"""What holds for programs like this one: how many files they may have open, and which network they are."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from redis_wanpool.doctor.finding import OK, WARN, Finding, found
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
        yield found(WARN, "files/too-few", files=facts.files, ports=ports, enough=ports + 1000)
    elif facts.files is not None:
        yield found(OK, "files/enough", files=facts.files)
    yield _network(facts)


def _network(facts: ProcessFacts) -> Finding:
    seen = said("leases as network {network}", network=facts.network)
    if facts.network != facts.default_network:
        seen += said(" (WANPOOL_NETWORK or wanpool.toml)")
        if facts.is_inside:
            return found(WARN, "network/named-inside", seen=seen)
        return found(OK, "network/named", seen=seen)
    return found(OK, "network/inside" if facts.is_inside else "network", seen=seen)
