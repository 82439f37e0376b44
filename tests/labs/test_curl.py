"""The recipe for curl, with the curl of this machine."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from test_docs import WITH_CURL, run_example


@pytest.mark.parametrize("number", WITH_CURL)
def test_the_recipe_for_curl(server: Any, tmp_path: Path, number: int) -> None:
    first = random.randrange(25000, 32000, 20)  # ports without the TIME_WAIT of an earlier run, which curl cannot use
    run_example(server, tmp_path, number, first)
