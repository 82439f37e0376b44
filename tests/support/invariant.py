"""What is true of the data of every WAN, always."""

from __future__ import annotations

from typing import Any

from redis_wanpool.model.ports import port_numbers


def check_invariant(admin: Any) -> None:
    """Each configured port is in exactly one place, and what else is written fits that."""
    for config in list(admin.scan_iter("wanpool:{*}:config")):
        prefix = config[: -len("config")]
        if admin.hget(config, "state") == "filling":
            continue
        free, withheld = admin.smembers(prefix + "free"), admin.smembers(prefix + "withheld")
        leased = set(admin.zrange(prefix + "leased", 0, -1))
        cooling = set(admin.zrange(prefix + "cooling", 0, -1))
        everywhere = [*free, *withheld, *leased, *cooling]
        leaving = admin.hgetall(prefix + "leaving")
        removed = {port for port, why in leaving.items() if why == "removed"}
        configured = {str(port) for port in port_numbers(admin.hget(config, "ports"))}
        assert not configured & removed and set(leaving) <= leased | (cooling & removed), prefix
        assert int(admin.hget(config, "leaving")) == len(leaving), prefix
        assert sorted(everywhere) == sorted(configured | removed), prefix
        held = {
            f"{name[len(prefix + 'held:') :]}/{secret}": port
            for name in admin.scan_iter(prefix + "held:*")
            for secret, port in admin.hgetall(name).items()
        }
        assert sorted(held.values()) == sorted(leased), prefix
        for name in admin.scan_iter(prefix + "resting:*"):
            assert set(admin.zrange(name, 0, -1)) <= cooling - removed, name
        grants = {port: text for port, text in admin.hgetall(prefix + "grants").items() if port.isdecimal()}
        for port in leased:
            assert grants[port].split(" ")[5] == "live" and held[grants[port].split(" ")[0]] == port
        for port in set(grants) - leased:
            assert grants[port].split(" ")[5] != "live", (prefix, port)
        queued, capped = admin.zrange(prefix + "waiting", 0, -1), admin.zrange(prefix + "capped", 0, -1)
        assert sorted(queued + capped) == sorted(admin.hkeys(prefix + "waiters")), prefix
        assert int(admin.hget(config, "waiting")) == len(queued + capped), prefix
        by_network = [one for name in admin.scan_iter(prefix + "capped:*") for one in admin.zrange(name, 0, -1)]
        assert sorted(by_network) == sorted(capped), prefix
        if int(admin.hget(config, "max_per_network")):
            counts: dict[str, int] = {}
            for port in leased:
                network = grants[port].split(" ")[2]
                counts[network] = counts.get(network, 0) + 1
            stored = {name: int(count) for name, count in admin.hgetall(prefix + "networks").items() if int(count)}
            assert stored == counts, prefix
