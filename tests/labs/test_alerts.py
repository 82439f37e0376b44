"""Prometheus's own tool reads what `wanpool metrics` tells, the alerts and the board: apt-get install prometheus."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest

from redis_wanpool import Operator, WanPortPool
from redis_wanpool.doctor.finding import Finding
from redis_wanpool.watch.metrics import PoolCollector
from redis_wanpool.watch.reading import Watch

ROOT = Path(__file__).parents[2]


def promtool(*words: str, given: str = "") -> str:
    done = subprocess.run(["promtool", *words], input=given, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done
    return done.stdout + done.stderr


def test_the_rules_fire_when_they_should() -> None:
    assert "SUCCESS" in promtool("check", "rules", str(ROOT / "docs/alerts.yml"))
    assert "SUCCESS" in promtool("test", "rules", str(ROOT / "tests/watch/alerts.yml"))


def test_what_the_board_asks_can_be_answered(tmp_path: Path) -> None:
    board = json.loads((ROOT / "docs/grafana.json").read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    rules = [{"record": f"asked:{i}", "expr": text.replace("$__rate_interval", "5m")} for i, text in enumerate(asked)]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "board", "rules": rules}]}))  # JSON is YAML
    assert f"{len(asked)} rules found" in promtool("check", "rules", str(tmp_path / "rules.yml"))


def test_what_is_told_is_as_prometheus_wants_it(server: Any) -> None:
    with Operator(server.url) as operator, WanPortPool(server.url) as pool:
        operator.define_wan(0, "20000-20019", name='a "b" \\ c')
        pool.acquire(0, detached=True, ttl=5)
        registry = CollectorRegistry()
        registry.register(PoolCollector(Watch(operator), lambda: [Finding("fail", "maxmemory", (), "x")]))
        assert not promtool("check", "metrics", given=generate_latest(registry).decode())
