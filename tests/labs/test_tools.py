"""The blocks of README.md and docs that need other programs or packages; test_redis_cli.py has those with redis-cli."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_docs import PAGES, ROOT, Stage, blocks, needs_tools, program, stage

__all__ = ["stage"]


def chosen(text: str) -> bool:
    return needs_tools(text) and "redis-cli" not in text


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(chosen(text) for _, text in blocks(page))], ids=lambda page: page.stem
)
def test_a_page_with_tools_runs_from_top_to_bottom(stage: Stage, page: Path) -> None:
    stage.run(program(page, chosen), PYTHONPATH=str(ROOT / "build/clients"))
