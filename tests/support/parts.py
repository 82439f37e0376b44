"""Makes what its command line names, one after another, and tells at the end what failed and how long each took."""

from __future__ import annotations

import os
import subprocess
import sys
import time


def main() -> int:
    seen: list[tuple[str, float, int]] = []
    for part in sys.argv[1:]:
        print(f"== make {part}", flush=True)
        begun = time.monotonic()
        code = subprocess.run([os.environ.get("MAKE", "make"), part], check=False).returncode
        seen.append((part, time.monotonic() - begun, code))
    print("== minutes")
    for part, took, code in seen:
        print(f"{part:12} {took / 60:5.1f}  {'failed' if code else 'ok'}")
    return int(any(code for _, _, code in seen))


if __name__ == "__main__":
    sys.exit(main())
