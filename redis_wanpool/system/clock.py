"""Our own time, for how long something took; Redis time is for what is stored."""

import time

if hasattr(time, "CLOCK_BOOTTIME"):

    def boottime() -> float:
        """Seconds since an arbitrary moment; goes on while the machine is suspended."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:
    # macOS: the monotonic clock of Python (mach_absolute_time) stops in sleep, CLOCK_MONOTONIC_RAW does not.
    # Windows: the monotonic clock of Python (GetTickCount64, QueryPerformanceCounter) counts sleep.
    _RAW = getattr(time, "CLOCK_MONOTONIC_RAW", None)

    def boottime() -> float:
        """Seconds since an arbitrary moment; goes on while the machine is suspended."""
        return time.monotonic() if _RAW is None else time.clock_gettime(_RAW)
