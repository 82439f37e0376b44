"""Turns replies of scripts that refuse a request into errors."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis_wanpool.errors import (
    BackendUnavailable,
    InGrace,
    InvalidValue,
    PoolExhausted,
    PortNotInRange,
    PortRejected,
    PortUnavailable,
    WanDraining,
    WanMismatch,
    WanNotDefined,
    WanpoolError,
)
from redis_wanpool.model.request import Request
from redis_wanpool.model.wan import how_to_define
from redis_wanpool.protocol.keys import MIGRATES_FROM, PROTOCOL


def is_silence(error: Exception) -> bool:
    """Whether a server did not answer; for now it will answer nothing else either."""
    return isinstance(error, BackendUnavailable) and not error.answered


def one_or_all(wans: Sequence[int]) -> int | tuple[int, ...]:
    """The WANs of an error, in the form of its attribute."""
    return wans[0] if len(wans) == 1 else tuple(sorted(wans))


def at(namespace: str, wans: Iterable[int]) -> str:
    """These WANs, in a message."""
    numbers = sorted(set(wans))
    return f"WAN{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))} (namespace {namespace!r})"


def data_is_gone(namespace: str, wan_idx: int) -> WanNotDefined:
    """The error for a WAN that was defined, and that Redis no longer knows."""
    return WanNotDefined(
        f"{at(namespace, [wan_idx])} was defined, and Redis no longer knows it: the data is gone, and granting its "
        "ports again could give them out twice. Restore the data, or define the WAN again with a grace in which "
        f"holders re-assert their leases: wanpool init --recover --wan {wan_idx}=PORTS",
        wan_idx=wan_idx,
        namespace=namespace,
    )


def not_defined(namespace: str, wan_idx: int) -> WanNotDefined:
    """The error for a WAN that nobody defined."""
    return WanNotDefined(
        f"{at(namespace, [wan_idx])} is not defined; define it, for example with: {how_to_define(wan_idx)}",
        wan_idx=wan_idx,
        namespace=namespace,
    )


def in_grace(namespace: str, left: Mapping[int, float], *, is_new: bool = False) -> InGrace:
    """The error for WANs in grace; `left` has the seconds that each grace still lasts, `is_new` that they are new."""
    soonest = min(left.values())
    why, unless = "Redis was restarted or failed over, and may have forgotten grants", ""
    if is_new:
        why = "it was defined on a Redis that may have lost its data shortly before"
        unless = "; if nobody can hold its ports (a first start), say so: wanpool init --fresh, or fresh=True"
    return InGrace(
        f"{at(namespace, left)}: {why}; holders re-assert their leases, and nothing is granted or taken away for "
        f"{soonest:.1f} s. Wait (wait=seconds), or use another WAN{unless}",
        wan_idx=one_or_all(list(left)),
        retry_after=soonest,
    )


def unexpected(namespace: str, wan_idx: int, reply: Sequence[Any]) -> WanpoolError:
    """The error for any other reply that the caller of a script does not expect."""
    if reply[0] == "OTHER_PROTOCOL":
        cure = "use the same version on all machines"
        if str(reply[1]).startswith(MIGRATES_FROM):
            cure = (
                "stop the programs that still run that version, then take the data to this one with: "
                f"wanpool migrate {wan_idx}"
            )
        return WanMismatch(
            f"{at(namespace, [wan_idx])} was written by another version of redis-wanpool (protocol {reply[1]}); {cure}",
            wan_idx=wan_idx,
            differences={"protocol": (PROTOCOL, str(reply[1]))},
        )
    if reply[0] == "GRACE":
        return in_grace(namespace, {wan_idx: reply[1] / 1000}, is_new=reply[3] == "new")
    return WanpoolError(f"{at(namespace, [wan_idx])}: unexpected answer {reply[0]!r}")


@dataclass(slots=True)
class Refusals:
    """The answers of WANs that did not grant a request. All times are in seconds."""

    namespace: str
    request: Request
    ttl: float  #: the wanted ttl; 0 for the WAN's
    longest_pause: float  #: the pause after which a WAN is asked again in any case
    draining: list[int] = field(default_factory=list)
    free_in: dict[int, float | None] = field(default_factory=dict)
    """wan_idx -> when a port is free without a release; None if that is unknown"""
    retry_in: list[float] = field(default_factory=list)  #: when it makes sense to ask again
    caps: dict[int, int] = field(default_factory=dict)  #: wan_idx -> max_per_network, where this network has reached it
    rejecting: dict[int, float] = field(default_factory=dict)
    """wan_idx -> how long this network gets no free port, because its systems refused too many"""
    grace: dict[int, float] = field(default_factory=dict)
    """wan_idx -> how long it grants nothing, because it may have forgotten grants"""
    new: set[int] = field(default_factory=set)  #: the WANs whose grace began with their definition
    reusable: int = 0  #: how many ports there are for sockets with SO_REUSEADDR, if not for plain ones
    port_is: str = ""  #: the state of the wanted port
    passed_by: Sequence[int] = ()  #: the WANs that were not asked, for their line is down

    def note(self, wan_idx: int, reply: Sequence[Any]) -> bool:
        """Notes a refusal; False if other scripts may give the reply, too.

        Raises:
            PortNotInRange, InvalidValue: this WAN will never grant the request.
        """
        word = reply[0]
        if word == "DRAINING":
            self.draining.append(wan_idx)
        elif word in ("EXHAUSTED", "CAPPED"):
            self._note_wait(wan_idx, None if reply[1] < 0 else reply[1] / 1000, reply[2])
            if word == "CAPPED":
                self.caps[wan_idx] = reply[3]
            else:
                self.reusable += reply[3]
        elif word == "REJECTING":
            self.rejecting[wan_idx] = reply[1] / 1000
            self._note_wait(wan_idx, reply[1] / 1000, reply[2])
        elif word == "UNAVAILABLE":
            self.port_is = reply[1]
            free_in = self.free_in[wan_idx] = None if reply[2] < 0 else reply[2] / 1000
            self.retry_in.append(min(0.25, max(0.01, free_in or 0.25)))
        elif word == "GRACE":
            self.grace[wan_idx] = reply[1] / 1000
            (self.new.add if reply[3] == "new" else self.new.discard)(wan_idx)
            self.retry_in.append(min(self.longest_pause, max(reply[1], 10) / 1000))
        elif word == "NOT_IN_RANGE":
            raise PortNotInRange(
                f"port {self.request.port} does not belong to {at(self.namespace, [wan_idx])}; see its ports with: "
                "wanpool init --show",
                port=self.request.port,
                wan_idx=wan_idx,
            )
        elif word == "TTL":
            raise InvalidValue(
                f"ttl {self.ttl:g} s is more than the max_ttl of {at(self.namespace, [wan_idx])}, "
                f"{reply[1] / 1000:g} s; ask for less, or define the WAN with a longer max_ttl"
            )
        else:
            return False
        return True

    def _note_wait(self, wan_idx: int, free_in: float | None, retry_in_ms: int) -> None:
        self.free_in[wan_idx] = free_in
        self.retry_in.append(max(retry_in_ms, 10) / 1000)

    def error(self) -> WanpoolError:
        """The error for the request, when no WAN is to be asked again."""
        tried = [*self.free_in, *self.grace, *self.draining]
        if not tried:
            return WanNotDefined(
                f"namespace {self.namespace!r} has no WAN; define one, for example with: {how_to_define()}",
                wan_idx=None,
                namespace=self.namespace,
            )
        if self.grace and not self.free_in:
            return in_grace(self.namespace, self.grace, is_new=self.new == set(self.grace))
        if not self.free_in:
            return WanDraining(
                f"{at(self.namespace, tried)}: draining, nothing new is granted; use another WAN, or end the drain "
                f"with: wanpool open {tried[0]}",
                wan_idx=tried[0],
            )
        known = [seconds for seconds in (*self.free_in.values(), *self.grace.values()) if seconds is not None]
        free_in = min(known, default=None)
        if self.port_is:
            unless = ", unless its holder renews the lease" if self.port_is == "leased" else ""
            when = "" if free_in is None else f"; it is free in {free_in:.1f} s{unless}"
            return PortUnavailable(
                f"port {self.request.port} of {at(self.namespace, tried)} is {self.port_is}{when}. "
                "Wait (wait=seconds), or take any port",
                port=self.request.port,
                state=self.port_is,
                free_in=free_in,
            )
        if len(self.rejecting) == len(self.free_in):
            return self._barred(sorted(self.rejecting), free_in or 0.0)
        return self._exhausted(tried, free_in)

    def _barred(self, wans: list[int], free_in: float) -> PortRejected:
        return PortRejected(
            f"{at(self.namespace, wans)}: the systems of this network refused too many of its ports recently, so "
            f"it gets no free one for {free_in:.0f} s; see what else uses the WAN's ports there (ss -tanp), and keep "
            "the kernel out of them (net.ipv4.ip_local_reserved_ports)",
            wan_idx=one_or_all(wans),
            ports=(),
            free_in=free_in,
        )

    def _exhausted(self, tried: list[int], free_in: float | None) -> PoolExhausted:
        request = self.request
        need = "no port is free" if request.count == 1 else f"fewer than {request.least} ports are free"
        if self.grace:
            need += f" (WAN {', '.join(map(str, sorted(self.grace)))} in grace after a failover or restart)"
        if self.rejecting:
            barred = ", ".join(map(str, sorted(self.rejecting)))
            need += f" (none of WAN {barred} for this network, whose systems refused too many)"
        if self.caps:
            need = f"this network holds as many ports as it may ({max(self.caps.values())}, max_per_network)"
        if self.reusable:
            need += f" for a plain socket ({self.reusable} for one with SO_REUSEADDR: reuse_address=True)"
        if self.passed_by:
            need += f" (passed by, because the line is down: WAN {', '.join(map(str, self.passed_by))})"
        when = "" if free_in is None else f"; the next one is free in {free_in:.1f} s, if no lease is renewed"
        return PoolExhausted(
            f"{at(self.namespace, tried)}: {need}{when}. Wait (wait=seconds), release sooner, or give the WAN more "
            "ports",
            wan_idx=one_or_all(tried),
            free_in=free_in,
            reusable=self.reusable,
        )
