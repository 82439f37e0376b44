"""The board and the alerts in docs ask only for what `wanpool metrics` tells; tests/labs/test_alerts.py tries them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from redis_wanpool.watch import metrics

DOCS = Path(__file__).parents[2] / "docs"
SOURCE = Path(metrics.__file__).read_text(encoding="utf-8")
TOTALS = {f"wanpool_{name}" for name in ("grants", "refused", "ended", "graces")}
TOLD = {name + "_total" * (name in TOTALS) for name in re.findall(r'"(wanpool_\w+)"', SOURCE)}
BOARD = json.loads((DOCS / "grafana.json").read_text(encoding="utf-8"))
LINES = [line.strip().removeprefix("expr: ") for line in (DOCS / "alerts.yml").read_text(encoding="utf-8").splitlines()]
ALERTED = {
    *("wanpool_redis_up", "wanpool_wan_readable", "wanpool_wan_up", "wanpool_ports", "wanpool_refused_total"),
    *("wanpool_ports_quarantined", "wanpool_grace_seconds", "wanpool_ended_total", "wanpool_waiting", "wanpool_doctor"),
}


def expressions() -> Iterator[str]:
    """What the board asks for."""
    for panel in BOARD["panels"]:
        for target in panel["targets"]:
            yield target["expr"]


def asked(text: str) -> set[str]:
    return set(re.findall(r"wanpool_\w+", text))


def test_they_ask_for_what_is_told() -> None:
    assert len(TOLD) > 12
    on_board = set().union(*map(asked, expressions()))
    in_rules = set().union(*(asked(line) for line in LINES if not line.startswith(("#", "summary", "description"))))
    assert on_board | in_rules <= TOLD and in_rules >= ALERTED and len(on_board) > 10
    for text in json.dumps(BOARD["templating"]), *expressions():
        assert text.count("(") == text.count(")") and text.count("{") == text.count("}")


def test_the_page_lists_all_that_is_told() -> None:
    page = (DOCS / "metrics.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(wanpool_\w+)", page, re.MULTILINE)) == TOLD


def test_each_alert_says_what_to_do() -> None:
    text = (DOCS / "alerts.yml").read_text(encoding="utf-8")
    rules = text.split("- alert: ")[1:]
    assert len(rules) >= 12
    for rule in rules:
        assert re.search(r"severity: (critical|warning)", rule) and "summary:" in rule
        assert re.search(r"description: .*(wanpool|systemctl) ", rule), rule


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return all(
        one[at] < other[at] + other[size] and other[at] < one[at] + one[size] for at, size in (("x", "w"), ("y", "h"))
    )


def test_the_board_has_the_form_that_grafana_reads() -> None:
    assert {"title", "uid", "schemaVersion", "panels", "templating", "time"} <= BOARD.keys()
    panels: list[dict[str, Any]] = BOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    names = {one["name"] for one in BOARD["templating"]["list"]}
    for panel in panels:
        place = panel["gridPos"]
        assert panel["title"] and place["x"] + place["w"] <= 24
        assert panel["type"] in ("stat", "timeseries", "state-timeline", "table")
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0
        used = set(re.findall(r"\$(\w+)", json.dumps(panel["targets"])))
        assert used <= names | {"__rate_interval"}
    assert not [pair for pair in combinations([panel["gridPos"] for panel in panels], 2) if overlap(*pair)]


@pytest.mark.parametrize("kind", ["Lines", "Ports by state", "Grace"])
def test_the_board_has_what_is_asked_for_first(kind: str) -> None:
    assert kind in [panel["title"] for panel in BOARD["panels"]]
