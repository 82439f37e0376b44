"""The state of a namespace in the form that Prometheus reads."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from redis_wanpool.doctor.finding import Finding
from redis_wanpool.errors import InvalidValue, WanpoolError
from redis_wanpool.model.views import WanStatus
from redis_wanpool.watch.reading import Reading, Watch

logger = logging.getLogger("redis_wanpool")

STATES = ("free", "leased", "cooling", "withheld")
MOST_NAMES = 50  #: of the reasons and endings that a WAN counted
Findings = Callable[[], Sequence[Finding] | None]


class PoolCollector(Collector):
    """Answers each scrape from the last reading.

    Args:
        watch: reads the WANs.
        doctor: what the doctor found last; None: nothing yet.
    """

    def __init__(self, watch: Watch, doctor: Findings = lambda: None) -> None:
        self._watch = watch
        self._doctor = doctor

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("wanpool_redis_up", "Whether Redis answers: 1, or 0, and then it has no more to tell.")
        try:
            reading = self._watch.wans.get()
        except WanpoolError as error:
            logger.warning("cannot read the WANs: %s", error)
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield from _of_wans(reading)
        findings = self._doctor()
        if findings is not None:
            yield _of_doctor(findings)


def _of_wans(reading: Reading) -> Iterator[Metric]:
    readable = GaugeMetricFamily(
        "wanpool_wan_readable",
        "Whether a WAN can be read: 0 if its data is lost or of another version.",
        labels=["wan"],
    )
    for wan_idx in sorted({*reading.wans, *reading.troubles}):
        readable.add_metric([str(wan_idx)], float(wan_idx in reading.wans))
    info = GaugeMetricFamily("wanpool_wan_info", "1, with the name of a WAN.", labels=["wan", "name"])
    ports = GaugeMetricFamily("wanpool_ports", "Ports by state; the states add up to all.", labels=["wan", "state"])
    quarantined = GaugeMetricFamily("wanpool_ports_quarantined", "Cooling ports that a system refused.", labels=["wan"])
    draining = GaugeMetricFamily(
        "wanpool_wan_draining", "Whether nothing new is granted by an operator.", labels=["wan"]
    )
    grants = CounterMetricFamily("wanpool_grants", "Leases that were granted.", labels=["wan"])
    refused = CounterMetricFamily("wanpool_refused", "Calls that got no port, by reason.", labels=["wan", "reason"])
    ended = CounterMetricFamily("wanpool_ended", "Leases that ended, by how.", labels=["wan", "how"])
    grace = GaugeMetricFamily("wanpool_grace_seconds", "Seconds that a grace still lasts; 0: none.", labels=["wan"])
    graces = CounterMetricFamily("wanpool_graces", "Graces that began.", labels=["wan"])
    waiting = GaugeMetricFamily("wanpool_waiting", "Calls that wait for a port.", labels=["wan"])
    capacity = GaugeMetricFamily(
        "wanpool_capacity_leases_per_second",
        "Leases a second that the ports carry, by whether they stay with one network or change between networks.",
        labels=["wan", "ports"],
    )
    line = GaugeMetricFamily(
        "wanpool_wan_up", "Whether the health check finds the line up; no value while nobody checks.", labels=["wan"]
    )
    for wan_idx, one in reading.wans.items():
        wan = [str(wan_idx)]
        info.add_metric([*wan, one.seen.name], 1)
        for state in STATES:
            ports.add_metric([*wan, state], getattr(one.seen, state))
        quarantined.add_metric(wan, one.quarantined)
        draining.add_metric(wan, float(one.seen.state == "draining"))
        grace.add_metric(wan, one.seen.grace_ms / 1000)
        waiting.add_metric(wan, one.waiting)
        for path, value in (("one_network", one.for_one_network), ("between_networks", one.between_networks)):
            capacity.add_metric([*wan, path], float("inf") if value is None else value)
        if (state := reading.health.state(wan_idx)) != "unknown":
            line.add_metric(wan, float(state == "up"))
        _count(one, grants, refused, ended, graces)
    yield from (readable, info, ports, quarantined, draining, grants, refused, ended, grace, graces, waiting)
    yield from (capacity, line)


def _count(
    one: WanStatus,
    grants: CounterMetricFamily,
    refused: CounterMetricFamily,
    ended: CounterMetricFamily,
    graces: CounterMetricFamily,
) -> None:
    if one.counters is None:
        return
    wan = [str(one.seen.wan_idx)]
    grants.add_metric(wan, one.counters.granted)
    graces.add_metric(wan, one.counters.graces)
    for family, counts in ((refused, one.counters.refused), (ended, one.counters.ended)):
        for name, count in list(counts.items())[:MOST_NAMES]:
            family.add_metric([*wan, name], count)


def _of_doctor(findings: Sequence[Finding]) -> Metric:
    found = GaugeMetricFamily(
        "wanpool_doctor",
        "How many findings of wanpool doctor there are, by code and severity.",
        labels=["code", "severity"],
    )
    counts = Counter((finding.code, finding.severity) for finding in findings)
    for labels, count in sorted(counts.items()):
        found.add_metric(labels, count)
    return found


def serve(collector: PoolCollector, bind: str, port: int) -> tuple[WSGIServer, int]:
    """Answers scrapes in threads, until `shutdown` of the server; returns it, and the port at which it listens.

    Raises:
        InvalidValue: the address cannot be had.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    try:
        server, _ = start_http_server(port, bind, registry)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise InvalidValue(f"port {port} at {bind}: {why}; choose another with --port or --bind") from error
    return server, int(server.server_address[1])
