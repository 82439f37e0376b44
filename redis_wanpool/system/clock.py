"""Our own clock, which measures how long something took; stored times come from the clock of Redis."""

import time

if hasattr(time, "CLOCK_BOOTTIME"):

    def boottime() -> float:
        """Seconds since an arbitrary moment, including the time in suspend."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:
    # macOS: the monotonic clock of Python (mach_absolute_time) stops in sleep, CLOCK_MONOTONIC_RAW does not.
    # Windows: the monotonic clock of Python (GetTickCount64, QueryPerformanceCounter) counts sleep.
    _RAW = getattr(time, "CLOCK_MONOTONIC_RAW", None)

    def boottime() -> float:
        """Seconds since an arbitrary moment, including the time in suspend."""
        return time.monotonic() if _RAW is None else time.clock_gettime(_RAW)
