"""How the randomised tests choose, and for how long they go on."""

from __future__ import annotations

import os
import random

SEED = int(os.environ.get("WANPOOL_SEED", "0")) or random.randrange(1, 2**31)
os.environ["WANPOOL_SEED"] = str(SEED)  # workers beside each other make the same choices
LONG = float(os.environ.get("WANPOOL_LONG", "1"))
"""how many times as long the randomised tests last"""
