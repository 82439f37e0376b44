"""Which system this is."""

import sys

from redis_wanpool.terminal.language import said
from redis_wanpool.tuning import System, TuningError
from redis_wanpool.tuning.linux import settings as linux
from redis_wanpool.tuning.windows import machine


def this_machine() -> System:
    """The settings of the system that this program runs on. Raises TuningError: nothing is known of its settings."""
    if sys.platform == "win32":
        return machine.this_machine()
    if sys.platform.startswith("linux"):
        return linux.this_machine()
    raise TuningError(
        said(
            "the TCP settings of this system ({platform}) are not known here; nothing was looked at or changed",
            platform=sys.platform,
        )
    )
