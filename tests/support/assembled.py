"""Writes the assembled scripts into a folder, for luacheck."""

import sys
from pathlib import Path

from redis_wanpool.protocol import scripts

for name in scripts.names():
    (Path(sys.argv[1]) / f"{name}.lua").write_text(scripts.script(name).source, encoding="utf-8")
