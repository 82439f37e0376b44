"""The WANs of a namespace: whether they are whole, what the configuration says of them, and whether they have ports."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from redis_wanpool.doctor import FAIL, OK, WARN, Finding
from redis_wanpool.errors import BackendUnavailable, InvalidValue, WanMismatch, WanNotDefined, WanpoolError
from redis_wanpool.model.ports import port_list, port_numbers, ports_text
from redis_wanpool.model.views import WanSnapshot
from redis_wanpool.model.wan import WanDefinition
from redis_wanpool.protocol.keys import namespace_keys
from redis_wanpool.sync.operator import Operator
from redis_wanpool.terminal.language import said


@dataclass(frozen=True, slots=True)
class WanFacts:
    """A WAN as Redis has it: a snapshot, or what is wrong with it."""

    wan_idx: int
    claimed: str  #: its ports, as the namespace has them
    snapshot: WanSnapshot | None = None
    trouble: str = ""  #: unfinished, lost, other-protocol or unreadable
    why: str = ""

    @property
    def ports(self) -> str:
        return self.claimed if self.snapshot is None else self.snapshot.config["ports"]


def look(operator: Operator) -> tuple[WanFacts, ...]:
    """The WANs of the namespace, ascending.

    Raises:
        BackendUnavailable: Redis does not answer, or does not let this user ask.
    """
    claims: dict[str, str] = operator.ask("HGETALL", namespace_keys(operator.namespace)[0])
    found = (_look(operator, index, claim) for index, claim in claims.items())
    return tuple(sorted(found, key=lambda wan: (wan.wan_idx, wan.why)))


def _look(operator: Operator, index: str, claim: str) -> WanFacts:
    words = claim.split(" ")
    try:
        wan_idx, claimed = int(index), ports_text(words[0])
    except (ValueError, InvalidValue):
        return WanFacts(-1, "", trouble="unreadable", why=f"{index}: {claim[:80]!r}")
    try:
        return WanFacts(wan_idx, claimed, operator.snapshot(wan_idx))
    except WanMismatch as error:
        return WanFacts(wan_idx, claimed, trouble="other-protocol", why=str(error))
    except WanNotDefined as error:
        return WanFacts(wan_idx, claimed, trouble="lost" if words[-1] == "ready" else "unfinished", why=str(error))
    except BackendUnavailable:
        raise
    except (WanpoolError, KeyError, ValueError) as error:
        return WanFacts(wan_idx, claimed, trouble="unreadable", why=f"WAN {wan_idx}: {error}")


# -- judging


def judge(namespace: str, wans: Sequence[WanFacts], configured: Sequence[WanDefinition], rest: float) -> list[Finding]:
    """What stands in Redis, beside what this machine's wanpool.toml wants; `rest` is this network's, in seconds."""
    findings = [*_troubles(wans), *_differences(wans, configured)]
    if not wans and not configured:
        seen = said("namespace {namespace!r} has no WAN", namespace=namespace)
        means = said("nothing can be leased, or the namespace is another")
        cure = said("define one: wanpool init --wan 0=20000-21999; or give --namespace")
        findings.append(Finding(FAIL, "no-wans", (), seen, means, cure))
    for wan in wans:
        if wan.snapshot is not None:
            findings += _judge_state(wan.snapshot, rest)
    return findings


def _troubles(wans: Sequence[WanFacts]) -> Iterator[Finding]:
    for wan in wans:
        wan_idxs = (wan.wan_idx,) if wan.wan_idx >= 0 else ()
        if wan.trouble == "unfinished":
            seen = said("the definition of WAN {wan_idx} was begun and not finished", wan_idx=wan.wan_idx)
            cure = said("have it defined once more, the same: wanpool init")
            yield Finding(FAIL, "wan-unfinished", wan_idxs, seen, said("it grants nothing"), cure)
        elif wan.trouble == "lost":
            seen = said("the data of WAN {wan_idx} is gone", wan_idx=wan.wan_idx)
            means = said("it grants nothing: granting its ports anew could give them out twice")
            recover = f"wanpool init --recover --wan {wan.wan_idx}=PORTS"
            cure = said(
                "restore the data; or define it anew, with a grace in which holders re-assert their leases: {recover}",
                recover=recover,
            )
            yield Finding(FAIL, "wan-lost", wan_idxs, seen, means, cure)
        elif wan.trouble:
            means = said("another version wrote it, or it is not ours: programs are refused")
            cure = said("use the same version on all machines, or a namespace of your own")
            yield Finding(FAIL, f"wan-{wan.trouble}", wan_idxs, wan.why, means, cure)


def _differences(wans: Sequence[WanFacts], configured: Sequence[WanDefinition]) -> Iterator[Finding]:
    stands = {wan.wan_idx: wan.snapshot for wan in wans}
    for wanted in configured:
        snapshot = stands.get(wanted.wan_idx)
        if snapshot is not None:
            told = [
                said("{name} {ours} in wanpool.toml, {theirs} in Redis", name=name, ours=ours, theirs=theirs)
                for name, ours, theirs in _different(wanted, snapshot)
            ]
        elif wanted.wan_idx not in stands:
            told = [
                said(
                    "ports {ports} in wanpool.toml, of which {shared} belong to WAN {wan_idx}",
                    ports=wanted.ports,
                    shared=shared,
                    wan_idx=wan.wan_idx,
                )
                for wan in wans
                if (shared := common(wanted.ports, port_numbers(wan.claimed) if wan.claimed else []))
            ]
            if not told:
                seen = said("WAN {wan_idx} stands in wanpool.toml only", wan_idx=wanted.wan_idx)
                means = said("the first program that uses it defines it")
                yield Finding(OK, "wan-new", (wanted.wan_idx,), seen, means)
        else:
            continue
        if told:
            means = said("programs that read this file are refused (WanMismatch)")
            cure = said("have the file say what stands in Redis; other ports: wanpool resize")
            seen = f"WAN {wanted.wan_idx}: {'; '.join(told)}"
            yield Finding(FAIL, "wan-differs", (wanted.wan_idx,), seen, means, cure)


def _different(wanted: WanDefinition, snapshot: WanSnapshot) -> Iterator[tuple[str, str, str]]:
    for name, ours in wanted.fields().items():
        theirs = snapshot.config.get(name, "")
        if ours != theirs:
            yield name.removesuffix("_ms"), _readable(name, ours), _readable(name, theirs)


def _readable(name: str, value: str) -> str:
    return f"{int(value) / 1000:g} s" if name.endswith("_ms") and value.isdecimal() else value or '""'


def common(ports: str, others: Sequence[int]) -> str:
    """The ports that a list of ports shares with others, as a list; "" if there are none."""
    return port_list(set(port_numbers(ports)).intersection(others))


def _judge_state(wan: WanSnapshot, rest: float) -> Iterator[Finding]:
    name = f"WAN {wan.wan_idx}" + (f" ({wan.name})" if wan.name else "")
    counts = said(
        "{total} ports: {free} free, {leased} leased, {cooling} cooling, {withheld} withheld",
        total=wan.total,
        free=wan.free,
        leased=wan.leased,
        cooling=wan.cooling,
        withheld=wan.withheld,
    )
    refused_ms = int(wan.config.get("rejects_until") or 0) - wan.now_ms
    if wan.state == "draining":
        means = said("it grants nothing new; an operator said so")
        cure = said("when it is to grant again: wanpool open {wan_idx}", wan_idx=wan.wan_idx)
        seen = said("{name} is draining; {counts}", name=name, counts=counts)
        yield Finding(WARN, "wan-draining", (wan.wan_idx,), seen, means, cure)
    elif wan.grace_ms:
        left = f"{wan.grace_ms / 1000:.0f} s"
        means = said("it grants nothing so long; holders re-assert their leases")
        cure = said("wait; see in Redis's log why it restarted or failed over")
        seen = said("{name} is in grace for {left}; {counts}", name=name, left=left, counts=counts)
        yield Finding(WARN, "wan-grace", (wan.wan_idx,), seen, means, cure)
    elif wan.free == wan.rested == 0:
        cooldown = max(int(wan.config["cooldown_ms"]) / 1000, rest)
        means = said(
            "no port for this network now; ports that stay with a network make {total} / (hold + {rest:g} s) leases a "
            "second, ports that change networks {total} / (hold + {cooldown:g} s)",
            total=wan.total,
            rest=rest,
            cooldown=cooldown,
        )
        cure = said(
            "more ports: wanpool resize {wan_idx}; or hold them for less long, or lease from fewer networks",
            wan_idx=wan.wan_idx,
        )
        yield Finding(WARN, "wan-exhausted", (wan.wan_idx,), f"{name}: {counts}", means, cure)
    else:
        yield Finding(OK, "wan", (wan.wan_idx,), f"{name}: {counts}")
    if refused_ms > 0:
        seen = said("{name}: a network gets no free ports for {seconds:.0f} s", name=name, seconds=refused_ms / 1000)
        means = said("its systems refused too many ports within a minute")
        cure = said("run the doctor on its machines: something there has these ports, or the kernel keeps them")
        yield Finding(WARN, "wan-refusing", (wan.wan_idx,), seen, means, cure)
