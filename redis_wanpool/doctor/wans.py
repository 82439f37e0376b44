"""The WANs of a namespace: whether they are whole, what the configuration says of them, and whether they have ports."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from redis_wanpool.doctor.finding import FAIL, OK, WARN, Finding, found
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
        findings.append(found(FAIL, "no-wans", namespace=namespace))
    for wan in wans:
        if wan.snapshot is not None:
            findings += _judge_state(wan.snapshot, rest)
    return findings


def _troubles(wans: Sequence[WanFacts]) -> Iterator[Finding]:
    for wan in wans:
        wan_idxs = (wan.wan_idx,) if wan.wan_idx >= 0 else ()
        if wan.trouble == "unfinished":
            yield found(FAIL, "wan-unfinished", wan_idxs, wan_idx=wan.wan_idx)
        elif wan.trouble == "lost":
            recover = f"wanpool init --recover --wan {wan.wan_idx}=PORTS"
            yield found(FAIL, "wan-lost", wan_idxs, wan_idx=wan.wan_idx, recover=recover)
        elif wan.trouble:
            yield found(FAIL, "wan-foreign", wan_idxs, code=f"wan-{wan.trouble}", seen=wan.why)


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
                yield found(OK, "wan-new", (wanted.wan_idx,), wan_idx=wanted.wan_idx)
        else:
            continue
        if told:
            seen = f"WAN {wanted.wan_idx}: {'; '.join(told)}"
            yield found(FAIL, "wan-differs", (wanted.wan_idx,), seen=seen)


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
        "{wan.total} ports: {wan.free} free, {wan.leased} leased, {wan.cooling} cooling, {wan.withheld} withheld",
        wan=wan,
    )
    refused_ms = int(wan.config.get("rejects_until") or 0) - wan.now_ms
    if wan.state == "draining":
        yield found(WARN, "wan-draining", (wan.wan_idx,), name=name, counts=counts, wan_idx=wan.wan_idx)
    elif wan.grace_ms:
        left = f"{wan.grace_ms / 1000:.0f} s"
        seen = said("{name} is in grace for {left}; {counts}", name=name, left=left, counts=counts)
        kind = "wan-grace/new" if wan.is_new else "wan-grace"
        yield found(WARN, kind, (wan.wan_idx,), seen=seen)
    elif wan.free == wan.rested == 0:
        cooldown = max(int(wan.config["cooldown_ms"]) / 1000, rest)
        seen = f"{name}: {counts}"
        yield found(WARN, "wan-exhausted", (wan.wan_idx,), seen=seen, wan=wan, rest=rest, cooldown=cooldown)
    else:
        yield found(OK, "wan", (wan.wan_idx,), seen=f"{name}: {counts}")
    if wan.graces > 1:
        length = f"{(int(wan.config['max_ttl_ms']) + int(wan.config['failover_margin_ms'])) / 1000:g} s"
        yield found(WARN, "wan-graces", (wan.wan_idx,), name=name, count=wan.graces, length=length)
    if refused_ms > 0:
        yield found(WARN, "wan-refusing", (wan.wan_idx,), name=name, seconds=refused_ms / 1000)
